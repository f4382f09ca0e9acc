//! Faults, planned from the seed.

use std::sync::Arc;
use std::time::Duration;

use coherence::Subject;
use rand::RngExt;
use rand::seq::IteratorRandom;
use tokio::time::sleep;

use super::cluster::Cluster;
use super::contracts;
use super::environment::Environment;
use super::node::Node;
use super::setup::{KEYS, tag_of};
use super::shared_server::SharedServer;
use super::standby_origin;
use super::trace::TraceEvent;
use super::traffic;
use super::values::nanos;

/// A kind of fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    NodeCrash,
    NodeStopped,
    CutShared,
    CutDatabase,
    LostAnswers,
    SlowShared,
    SharedFlushed,
    SharedRolledBack,
    SharedDown,
    SharedFailedOver,
    StreamBroken,
    DatabaseCrash,
    PowerCut,
    Failover,
    SlotLost,
    SlowVisibility,
    LogStalled,
    BadLoads,
    SlowLoads,
    StandbyStalled,
    StandbyDown,
    WallClock,
    Purge,
    Collection,
    WriteStorm,
    Alteration,
    Errors,
}

impl Kind {
    pub(super) const ALL: &[Self] = &[
        Self::NodeCrash,
        Self::NodeStopped,
        Self::CutShared,
        Self::CutDatabase,
        Self::LostAnswers,
        Self::SlowShared,
        Self::SharedFlushed,
        Self::SharedRolledBack,
        Self::SharedDown,
        Self::SharedFailedOver,
        Self::StreamBroken,
        Self::DatabaseCrash,
        Self::PowerCut,
        Self::Failover,
        Self::SlotLost,
        Self::SlowVisibility,
        Self::LogStalled,
        Self::BadLoads,
        Self::SlowLoads,
        Self::StandbyStalled,
        Self::StandbyDown,
        Self::WallClock,
        Self::Purge,
        Self::Collection,
        Self::WriteStorm,
        Self::Alteration,
        Self::Errors,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NodeCrash => "node crashed",
            Self::NodeStopped => "node stopped",
            Self::CutShared => "node cut off from the shared tier",
            Self::CutDatabase => "node cut off from the database",
            Self::LostAnswers => "answers of the shared tier lost or late",
            Self::SlowShared => "shared tier slow",
            Self::SharedFlushed => "shared tier flushed",
            Self::SharedRolledBack => "shared tier restarted from an old copy",
            Self::SharedDown => "shared tier down",
            Self::SharedFailedOver => "shared tier failed over, writes lost",
            Self::StreamBroken => "node stream broken",
            Self::DatabaseCrash => "database crashed",
            Self::PowerCut => "database and node crashed together",
            Self::Failover => "database failed over",
            Self::SlotLost => "slot lost",
            Self::SlowVisibility => "commits invisible for long",
            Self::LogStalled => "log stalled",
            Self::BadLoads => "origin failing or hanging",
            Self::SlowLoads => "origin slow",
            Self::StandbyStalled => "standby replays nothing",
            Self::StandbyDown => "standby away",
            Self::WallClock => "wall clock jumped",
            Self::Purge => "entries purged",
            Self::Collection => "tombstones collected early",
            Self::WriteStorm => "storm of writes",
            Self::Alteration => "rows changed without an event",
            Self::Errors => "errors in place of answers",
        }
    }
}

/// Injects faults until `end`, by which all of them have ended; with `only`, faults of that kind alone.
pub(super) async fn inject(
    cluster: Arc<Cluster>,
    every: Duration,
    end: u64,
    only: Option<&'static str>,
) {
    let env = Arc::clone(&cluster.env);
    loop {
        sleep(env.until_next(1.0 / every.as_secs_f64())).await;
        let now = env.now();
        if now >= end {
            return;
        }
        let left = Duration::from_nanos(end - now);
        let kind = env.draw(|rng| {
            let all = Kind::ALL.iter().filter(|kind| only.is_none_or(|only| kind.name() == only));
            all.choose(rng).copied()
        });
        let Some(kind) = kind else { return };
        let lasts = env.millis(50, 4_000);
        let lasts = if env.chance(0.15) { lasts * 6 } else { lasts };
        let node = env.draw(|rng| rng.random_range(0..env.setup.nodes));
        *env.counts.lock().faults.entry(kind.name()).or_default() += 1;
        env.note(Some(node), TraceEvent::Fault(kind.name(), nanos(lasts)));
        env.spawn(fault(Arc::clone(&cluster), kind, node, lasts.min(left)));
    }
}

async fn fault(cluster: Arc<Cluster>, kind: Kind, node: usize, lasts: Duration) {
    let env = &cluster.env;
    match kind {
        Kind::NodeCrash => crash(&cluster, node, lasts).await,
        Kind::NodeStopped => stop(env, node, lasts).await,
        Kind::CutShared => {
            env.faults.lock().cut_shared[node] = true;
            sleep(lasts).await;
            env.faults.lock().cut_shared[node] = false;
        }
        Kind::CutDatabase => cut_database(env, node, lasts).await,
        Kind::LostAnswers => {
            env.faults.lock().lost_answers = env.draw(|rng| rng.random_range(0.05..0.6));
            sleep(lasts).await;
            env.faults.lock().lost_answers = 0.0;
        }
        Kind::SlowShared => {
            env.faults.lock().slow_shared_ms = env.draw(|rng| rng.random_range(10..120));
            sleep(lasts).await;
            env.faults.lock().slow_shared_ms = 0;
        }
        Kind::SharedFlushed => replace_server(env, SharedServer::flush),
        Kind::SharedRolledBack => {
            env.server.lock().save();
            sleep(lasts).await;
            replace_server(env, SharedServer::roll_back);
        }
        Kind::SharedDown => {
            env.server.lock().up = false;
            sleep(lasts).await;
            env.server.lock().up = true;
            replace_server(env, SharedServer::restart);
        }
        Kind::SharedFailedOver => fail_over(env, lasts).await,
        Kind::StreamBroken => env.faults.lock().break_stream[node] = true,
        Kind::DatabaseCrash => crash_database(env, None, lasts).await,
        Kind::PowerCut => {
            tokio::join!(crash_database(env, None, lasts), crash(&cluster, node, lasts * 2));
        }
        Kind::Failover => {
            let lacking = env.draw(|rng| rng.random_range(0..4));
            crash_database(env, Some(lacking), lasts).await;
        }
        Kind::SlotLost => env.db.lock().slot = None,
        Kind::SlowVisibility => {
            env.faults.lock().hidden_ms = env.draw(|rng| rng.random_range(50..5_000));
            sleep(lasts).await;
            env.faults.lock().hidden_ms = 0;
        }
        Kind::LogStalled => {
            env.faults.lock().log_stalled = true;
            sleep(lasts).await;
            env.faults.lock().log_stalled = false;
        }
        Kind::BadLoads => {
            env.faults.lock().bad_loads = env.draw(|rng| rng.random_range(0.1..1.0));
            sleep(lasts).await;
            env.faults.lock().bad_loads = 0.0;
        }
        Kind::SlowLoads => {
            env.faults.lock().slow_loads_ms = env.draw(|rng| rng.random_range(20..2_500));
            sleep(lasts).await;
            env.faults.lock().slow_loads_ms = 0;
        }
        Kind::StandbyStalled => {
            env.faults.lock().replay_stalled = true;
            sleep(lasts).await;
            env.faults.lock().replay_stalled = false;
        }
        Kind::StandbyDown => standby_origin::take_down(env, lasts).await,
        Kind::WallClock => {
            let by = env.draw(|rng| rng.random_range(-3_600_000_000..3_600_000_000));
            env.faults.lock().wall_off[node] = by;
        }
        Kind::Purge => {
            let Some(node) = cluster.node(node) else { return };
            let key = env.draw(|rng| rng.random_range(0..KEYS));
            let subject = match env.draw(|rng| rng.random_range(0..5)) {
                0 => Subject::Everything,
                1 => contracts::subject(tag_of(key)),
                2 => contracts::wildcard(tag_of(key)),
                3 => contracts::wildcard(key),
                _ => contracts::subject(key),
            };
            // Without a position, as the gateway does after a write, or through the log.
            if env.chance(0.5) {
                node.engine.evict(&[subject]).await;
            } else {
                node.purge(subject).await;
            }
        }
        Kind::Collection => {
            if !env.owns_tier().await {
                return;
            }
            let (memory, upto) = (env.server.lock().memory(), env.db.lock().end);
            let _ = cache::SharedTier::collect(&*memory, upto).await;
        }
        Kind::WriteStorm => {
            env.faults.lock().storm = env.draw(|rng| rng.random_range(3.0..20.0));
            sleep(lasts.min(Duration::from_secs(5))).await;
            env.faults.lock().storm = 1.0;
        }
        Kind::Alteration => traffic::alter(&cluster).await,
        Kind::Errors => {
            env.faults.lock().errors = env.draw(|rng| rng.random_range(0.02..0.6));
            sleep(lasts).await;
            env.faults.lock().errors = 0.0;
        }
    }
    env.note(Some(node), TraceEvent::Fault(kind.name(), 0));
}

/// Fails the shared tier over: its primary dies, and after a while a replica is promoted that lacks the
/// last acknowledged writes.
async fn fail_over(env: &Environment, lasts: Duration) {
    let replica = env.server.lock().memory().copy();
    sleep(env.millis(0, 1_500).min(lasts / 2)).await;
    env.server.lock().up = false;
    sleep(lasts / 2).await;
    let mut server = env.server.lock();
    server.up = true;
    server.replace_with(replica);
}

fn replace_server(env: &Environment, replace_with: impl FnOnce(&mut SharedServer)) {
    replace_with(&mut env.server.lock());
}

/// Crashes a process and replaces it. The database takes a while to detect that.
async fn crash(cluster: &Arc<Cluster>, id: usize, lasts: Duration) {
    let env = &cluster.env;
    let Some(dead) = cluster.nodes.lock()[id].take() else { return };
    env.faults.lock().generations[id] += 1;
    drop(dead);
    let session = env.sessions.lock()[id].take();
    let notices = env.millis(0, 3_000).min(lasts);
    sleep(notices).await;
    if let Some(session) = session {
        env.db.lock().leave(session);
    }
    sleep(lasts.saturating_sub(notices)).await;
    let booted = Node::boot(env, id);
    cluster.nodes.lock()[id] = Some(booted);
}

/// Stops a process (SIGSTOP). The database gives its slot to another node after a while.
async fn stop(env: &Arc<Environment>, id: usize, lasts: Duration) {
    let until = env.now() + nanos(lasts);
    {
        let mut faults = env.faults.lock();
        faults.stopped_until[id] = faults.stopped_until[id].max(until);
    }
    let session = env.sessions.lock()[id];
    let patience = env.millis(1_000, 8_000);
    sleep(patience.min(lasts)).await;
    if patience < lasts
        && let Some(session) = session
    {
        env.db.lock().leave(session);
        env.faults.lock().connections[id] += u64::from(env.chance(0.5));
    }
    sleep(lasts.saturating_sub(patience)).await;
}

async fn cut_database(env: &Arc<Environment>, id: usize, lasts: Duration) {
    env.faults.lock().cut_database[id] = true;
    let patience = env.millis(100, 4_000);
    sleep(patience.min(lasts)).await;
    if patience < lasts {
        // The node's connections do not survive.
        env.faults.lock().connections[id] += 1;
        let session = env.sessions.lock()[id];
        if let Some(session) = session {
            env.db.lock().leave(session);
        }
        sleep(lasts - patience).await;
    }
    env.faults.lock().cut_database[id] = false;
}

async fn crash_database(env: &Arc<Environment>, failover: Option<usize>, lasts: Duration) {
    if !env.db.lock().up {
        return;
    }
    env.db.lock().crash(env.now(), failover);
    sleep(lasts).await;
    env.db.lock().recover(env.now());
    env.log_moved.notify_waiters();
}
