//! Readers and writers.

use std::sync::Arc;
use std::time::Duration;

use coherence::CausalToken;
use rand::RngExt;
use tokio::time::sleep;

use super::checks;
use super::cluster::Cluster;
use super::environment::Environment;
use super::setup::{EVERYTHING, KEYS, TAGS};
use super::trace::TraceEvent;

/// Draws a row by popularity.
fn popular(env: &Environment) -> usize {
    // About as steep as 1/rank.
    let unit: f64 = env.draw(|rng| rng.random());
    let rank = ((KEYS as f64 + 1.0).powf(unit) - 1.0) as usize;
    rank.min(KEYS - 1)
}

/// Runs the readers of one node until `end`.
pub(super) async fn readers(cluster: Arc<Cluster>, id: usize, end: u64) {
    let env = &cluster.env;
    loop {
        sleep(env.until_next(env.setup.reads)).await;
        if env.now() >= end {
            return;
        }
        if env.is_stopped(id) {
            continue;
        }
        let key = popular(env);
        let Some(node) = cluster.node(id) else { continue };
        if env.chance(0.1) {
            let mut keys = vec![key, popular(env), popular(env)];
            keys.dedup();
            env.spawn(async move { node.get_batch(&keys).await });
            continue;
        }
        if env.chance(0.8) && node.peek(key).is_some() {
            continue;
        }
        env.spawn(async move { drop(node.get(key, None).await) });
    }
}

/// Runs the writers until `end`.
pub(super) async fn writers(cluster: Arc<Cluster>, end: u64) {
    let env = &cluster.env;
    loop {
        let storm = env.faults.lock().storm;
        sleep(env.until_next(env.setup.writes * storm)).await;
        if env.now() >= end {
            return;
        }
        env.spawn(write(Arc::clone(&cluster)));
    }
}

/// Draws the cells that a transaction writes, and whether each row exists afterwards.
fn plan(cluster: &Cluster) -> Vec<(usize, bool)> {
    let env = &cluster.env;
    let kind: f64 = env.draw(|rng| rng.random());
    if kind < 0.005 {
        return vec![(EVERYTHING, true)];
    }
    if kind < 0.1 {
        return vec![(KEYS + 1 + env.draw(|rng| rng.random_range(0..TAGS)), true)];
    }
    let rows = if kind < 0.2 { 3 } else { 1 };
    let mut cells = Vec::new();
    for _ in 0..rows {
        let row = popular(env);
        if cells.iter().all(|(cell, _)| *cell != row) {
            cells.push((row, !env.chance(0.15)));
        }
    }
    cells
}

async fn write(cluster: Arc<Cluster>) {
    let cells = plan(&cluster);
    transact(&cluster, cells, true).await;
}

/// Changes rows by an alteration of the schema, such as a swap of tables: the log lacks the changes.
pub(super) async fn alter(cluster: &Cluster) {
    let env = &cluster.env;
    // Both rows are of one table.
    let first = env.draw(|rng| rng.random_range(0..KEYS / 2));
    let swapped = [first, first + KEYS / 2].map(|row| (row, !env.chance(0.2)));
    transact(cluster, swapped.into(), false).await;
}

/// Runs a transaction that writes `cells`. Without `logged` the log lacks them, and the schema differs
/// afterwards.
async fn transact(cluster: &Cluster, cells: Vec<(usize, bool)>, logged: bool) {
    let env = &cluster.env;
    let begun = {
        let mut db = env.db.lock();
        db.begin(&cells).map(|xid| (xid, db.generation))
    };
    let Some((xid, generation)) = begun else { return };
    sleep(env.millis(0, 20)).await;
    let lazy = logged && env.chance(env.setup.lazy);
    let bytes = env.draw(|rng| rng.random_range(80..600));
    let number = {
        let mut db = env.db.lock();
        if db.generation != generation {
            return;
        }
        if env.chance(0.03) {
            db.roll_back(xid);
            return;
        }
        let number = db.commit(env.now(), xid, cells.clone(), bytes, lazy);
        db.commits[number].unlogged = !logged;
        env.note(None, TraceEvent::Commit(number, db.commits[number].lsn.0));
        number
    };
    env.counts.lock().commits += 1;
    if lazy {
        env.spawn(flush_later(Arc::clone(env), generation));
    } else {
        env.log_moved.notify_waiters();
        let hidden = env.faults.lock().hidden_ms;
        sleep(env.millis(0, hidden.max(3))).await;
        let mut db = env.db.lock();
        if db.generation != generation {
            return;
        }
        db.show(env.now(), number);
    }
    env.note(None, TraceEvent::Visible(number));
    if logged && env.chance(0.3) {
        read_own(cluster, &cells, number).await;
    }
}

/// Flushes the log after a delay, as the log writer does.
async fn flush_later(env: Arc<Environment>, generation: u64) {
    sleep(env.millis(1, 400)).await;
    let mut db = env.db.lock();
    if db.generation == generation {
        db.flush();
        env.log_moved.notify_waiters();
    }
}

/// Reads a writer's own write, on any node.
async fn read_own(cluster: &Cluster, cells: &[(usize, bool)], number: usize) {
    let env = &cluster.env;
    let token = {
        let db = env.db.lock();
        CausalToken::new(Some(db.log), db.end)
    };
    let (key, _) = cells[0];
    if key >= KEYS {
        return;
    }
    // A token is valid for as long as a client keeps it, and on every node.
    for _ in 0..env.draw(|rng| rng.random_range(1..4)) {
        let id = env.draw(|rng| rng.random_range(0..env.setup.nodes));
        if !env.is_stopped(id)
            && let Some(node) = cluster.node(id)
            && let Some(Ok(answer)) = node.get(key, Some(token)).await
        {
            checks::check_own_write(env, key, &answer.entry.content(), number);
        }
        sleep(env.millis(0, 3_000)).await;
    }
}

/// Lets the log of an idle database grow.
pub(super) async fn filler_writer(env: Arc<Environment>, end: u64) {
    loop {
        sleep(env.until_next(0.2)).await;
        if env.now() >= end {
            return;
        }
        let generation = {
            let mut db = env.db.lock();
            let bytes = env.draw(|rng| rng.random_range(8..200));
            if db.up {
                db.write_filler(bytes);
            }
            db.generation
        };
        if env.chance(0.5) {
            sleep(Duration::from_millis(200)).await;
            let mut db = env.db.lock();
            if db.generation == generation && db.up {
                db.flush();
                env.log_moved.notify_waiters();
            }
        }
    }
}
