//! What goes wrong, by a plan from the seed.

use std::sync::Arc;
use std::time::Duration;

use coherence::Subject;
use rand::RngExt;
use rand::seq::IteratorRandom;
use tokio::time::sleep;

use super::node::Node;
use super::setup::{self, KEYS};
use super::stage::Stage;
use super::standby;
use super::trace::What;
use super::traffic::Cast;

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
    StandbyStands,
    StandbyAway,
    WallClock,
    Purge,
    Collection,
    WriteStorm,
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
        Self::StandbyStands,
        Self::StandbyAway,
        Self::WallClock,
        Self::Purge,
        Self::Collection,
        Self::WriteStorm,
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
            Self::StandbyStands => "standby replays nothing",
            Self::StandbyAway => "standby away",
            Self::WallClock => "wall clock jumped",
            Self::Purge => "entries purged",
            Self::Collection => "tombstones collected early",
            Self::WriteStorm => "storm of writes",
        }
    }
}

/// Faults until `end`, by when all of them are over; `only`: no others than that.
pub(super) async fn happen(cast: Arc<Cast>, every: Duration, end: u64, only: Option<&'static str>) {
    let stage = Arc::clone(&cast.stage);
    loop {
        sleep(stage.until_next(1.0 / every.as_secs_f64())).await;
        let now = stage.now();
        if now >= end {
            return;
        }
        let left = Duration::from_nanos(end - now);
        let kind = stage.draw(|dice| {
            let all = Kind::ALL.iter().filter(|kind| only.is_none_or(|only| kind.name() == only));
            all.choose(dice).copied()
        });
        let Some(kind) = kind else { return };
        let lasts = stage.millis(50, 4_000);
        let lasts = if stage.chance(0.15) { lasts * 6 } else { lasts };
        let node = stage.draw(|dice| dice.random_range(0..stage.setup.nodes));
        *stage.counts.lock().faults.entry(kind.name()).or_default() += 1;
        stage.note(Some(node), What::Fault(kind.name(), nanos(lasts)));
        stage.spawn(fault(Arc::clone(&cast), kind, node, lasts.min(left)));
    }
}

async fn fault(cast: Arc<Cast>, kind: Kind, node: usize, lasts: Duration) {
    let stage = &cast.stage;
    match kind {
        Kind::NodeCrash => crash(&cast, node, lasts).await,
        Kind::NodeStopped => stop(stage, node, lasts).await,
        Kind::CutShared => {
            stage.weather.lock().cut_shared[node] = true;
            sleep(lasts).await;
            stage.weather.lock().cut_shared[node] = false;
        }
        Kind::CutDatabase => cut_database(stage, node, lasts).await,
        Kind::LostAnswers => {
            stage.weather.lock().lost_answers = stage.draw(|dice| dice.random_range(0.05..0.6));
            sleep(lasts).await;
            stage.weather.lock().lost_answers = 0.0;
        }
        Kind::SlowShared => {
            stage.weather.lock().slow_shared_ms = stage.draw(|dice| dice.random_range(10..120));
            sleep(lasts).await;
            stage.weather.lock().slow_shared_ms = 0;
        }
        Kind::SharedFlushed => another(stage, super::server::Server::flush),
        Kind::SharedRolledBack => {
            stage.server.lock().save();
            sleep(lasts).await;
            another(stage, super::server::Server::roll_back);
        }
        Kind::SharedDown => {
            stage.server.lock().up = false;
            sleep(lasts).await;
            stage.server.lock().up = true;
            another(stage, super::server::Server::restart);
        }
        Kind::SharedFailedOver => fail_over(stage, lasts).await,
        Kind::StreamBroken => stage.weather.lock().break_stream[node] = true,
        Kind::DatabaseCrash => fall(stage, None, lasts).await,
        Kind::PowerCut => {
            tokio::join!(fall(stage, None, lasts), crash(&cast, node, lasts * 2));
        }
        Kind::Failover => {
            let lacking = stage.draw(|dice| dice.random_range(0..4));
            fall(stage, Some(lacking), lasts).await;
        }
        Kind::SlotLost => stage.db.lock().slot = None,
        Kind::SlowVisibility => {
            stage.weather.lock().hidden_ms = stage.draw(|dice| dice.random_range(50..5_000));
            sleep(lasts).await;
            stage.weather.lock().hidden_ms = 0;
        }
        Kind::LogStalled => {
            stage.weather.lock().log_stalled = true;
            sleep(lasts).await;
            stage.weather.lock().log_stalled = false;
        }
        Kind::BadLoads => {
            stage.weather.lock().bad_loads = stage.draw(|dice| dice.random_range(0.1..1.0));
            sleep(lasts).await;
            stage.weather.lock().bad_loads = 0.0;
        }
        Kind::SlowLoads => {
            stage.weather.lock().slow_loads_ms = stage.draw(|dice| dice.random_range(20..2_500));
            sleep(lasts).await;
            stage.weather.lock().slow_loads_ms = 0;
        }
        Kind::StandbyStands => {
            stage.weather.lock().replay_stands = true;
            sleep(lasts).await;
            stage.weather.lock().replay_stands = false;
        }
        Kind::StandbyAway => standby::away(stage, lasts).await,
        Kind::WallClock => {
            let by = stage.draw(|dice| dice.random_range(-3_600_000_000..3_600_000_000));
            stage.weather.lock().wall_off[node] = by;
        }
        Kind::Purge => {
            let Some(node) = cast.node(node) else { return };
            let key = stage.draw(|dice| dice.random_range(0..KEYS));
            let subject = match stage.draw(|dice| dice.random_range(0..5)) {
                0 => Subject::Everything,
                1 => setup::subject(setup::tag_of(key)),
                2 => setup::wildcard(setup::tag_of(key)),
                3 => setup::wildcard(key),
                _ => setup::subject(key),
            };
            node.engine.evict(&[subject]).await;
        }
        Kind::Collection => {
            let (memory, upto) = (stage.server.lock().memory(), stage.db.lock().end);
            let _ = cache::SharedTier::collect(&*memory, upto).await;
        }
        Kind::WriteStorm => {
            stage.weather.lock().storm = stage.draw(|dice| dice.random_range(3.0..20.0));
            sleep(lasts.min(Duration::from_secs(5))).await;
            stage.weather.lock().storm = 1.0;
        }
    }
    stage.note(Some(node), What::Fault(kind.name(), 0));
}

/// A replica lags behind; its primary dies, and after a while it is promoted, without the last writes that
/// were acknowledged.
async fn fail_over(stage: &Stage, lasts: Duration) {
    let replica = stage.server.lock().memory().copy();
    sleep(stage.millis(0, 1_500).min(lasts / 2)).await;
    stage.server.lock().up = false;
    sleep(lasts / 2).await;
    let mut server = stage.server.lock();
    server.up = true;
    server.become_another(replica);
}

fn another(stage: &Stage, become_another: impl FnOnce(&mut super::server::Server)) {
    become_another(&mut stage.server.lock());
}

/// The process dies, and another one takes its place. The database needs a while to notice.
async fn crash(cast: &Arc<Cast>, id: usize, lasts: Duration) {
    let stage = &cast.stage;
    let Some(dead) = cast.nodes.lock()[id].take() else { return };
    stage.weather.lock().lives[id] += 1;
    drop(dead);
    let session = stage.sessions.lock()[id].take();
    let notices = stage.millis(0, 3_000).min(lasts);
    sleep(notices).await;
    if let Some(session) = session {
        stage.db.lock().leave(session);
    }
    sleep(lasts.saturating_sub(notices)).await;
    let booted = Node::boot(stage, id);
    cast.nodes.lock()[id] = Some(booted);
}

/// The process stands still (SIGSTOP). The database gives its slot to another after a while.
async fn stop(stage: &Arc<Stage>, id: usize, lasts: Duration) {
    let until = stage.now() + nanos(lasts);
    {
        let mut weather = stage.weather.lock();
        weather.stopped_until[id] = weather.stopped_until[id].max(until);
    }
    let session = stage.sessions.lock()[id];
    let patience = stage.millis(1_000, 8_000);
    sleep(patience.min(lasts)).await;
    if patience < lasts
        && let Some(session) = session
    {
        stage.db.lock().leave(session);
        stage.weather.lock().connections[id] += u64::from(stage.chance(0.5));
    }
    sleep(lasts.saturating_sub(patience)).await;
}

async fn cut_database(stage: &Arc<Stage>, id: usize, lasts: Duration) {
    stage.weather.lock().cut_database[id] = true;
    let patience = stage.millis(100, 4_000);
    sleep(patience.min(lasts)).await;
    if patience < lasts {
        // The connections do not survive it.
        stage.weather.lock().connections[id] += 1;
        let session = stage.sessions.lock()[id];
        if let Some(session) = session {
            stage.db.lock().leave(session);
        }
        sleep(lasts - patience).await;
    }
    stage.weather.lock().cut_database[id] = false;
}

async fn fall(stage: &Arc<Stage>, failover: Option<usize>, lasts: Duration) {
    if !stage.db.lock().up {
        return;
    }
    stage.db.lock().crash(stage.now(), failover);
    sleep(lasts).await;
    stage.db.lock().recover(stage.now());
    stage.log_moved.notify_waiters();
}

fn nanos(duration: Duration) -> u64 {
    super::check::nanos(duration)
}
