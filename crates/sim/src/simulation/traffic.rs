//! Readers and writers.

use std::sync::Arc;
use std::time::Duration;

use coherence::After;
use parking_lot::Mutex;
use rand::RngExt;
use tokio::time::sleep;

use super::check;
use super::node::Node;
use super::setup::{EVERYTHING, KEYS, TAGS};
use super::stage::Stage;
use super::trace::What;

/// The nodes as they are now.
pub(super) struct Cast {
    pub(super) stage: Arc<Stage>,
    pub(super) nodes: Mutex<Vec<Option<Arc<Node>>>>,
}

impl Cast {
    pub(super) fn node(&self, id: usize) -> Option<Arc<Node>> {
        self.nodes.lock()[id].clone()
    }

    fn popular(&self) -> usize {
        // About as steep as 1/rank.
        let unit: f64 = self.stage.draw(|dice| dice.random());
        let rank = ((KEYS as f64 + 1.0).powf(unit) - 1.0) as usize;
        rank.min(KEYS - 1)
    }
}

/// Readers of one node, until `end`.
pub(super) async fn readers(cast: Arc<Cast>, id: usize, end: u64) {
    let stage = &cast.stage;
    loop {
        sleep(stage.until_next(stage.setup.reads)).await;
        if stage.now() >= end {
            return;
        }
        if stage.is_stopped(id) {
            continue;
        }
        let key = cast.popular();
        let Some(node) = cast.node(id) else { continue };
        if stage.chance(0.1) {
            let mut keys = vec![key, cast.popular(), cast.popular()];
            keys.dedup();
            stage.spawn(async move { node.get_together(&keys).await });
            continue;
        }
        if stage.chance(0.8) && node.peek(key).is_some() {
            continue;
        }
        stage.spawn(async move { drop(node.get(key, None).await) });
    }
}

/// Writers, until `end`.
pub(super) async fn writers(cast: Arc<Cast>, end: u64) {
    let stage = &cast.stage;
    loop {
        let storm = stage.weather.lock().storm;
        sleep(stage.until_next(stage.setup.writes * storm)).await;
        if stage.now() >= end {
            return;
        }
        stage.spawn(write(Arc::clone(&cast)));
    }
}

/// What a transaction writes, and whether it is there afterwards.
fn plan(cast: &Cast) -> Vec<(usize, bool)> {
    let stage = &cast.stage;
    let kind: f64 = stage.draw(|dice| dice.random());
    if kind < 0.005 {
        return vec![(EVERYTHING, true)];
    }
    if kind < 0.1 {
        return vec![(KEYS + 1 + stage.draw(|dice| dice.random_range(0..TAGS)), true)];
    }
    let rows = if kind < 0.2 { 3 } else { 1 };
    let mut cells = Vec::new();
    for _ in 0..rows {
        let row = cast.popular();
        if cells.iter().all(|(cell, _)| *cell != row) {
            cells.push((row, !stage.chance(0.15)));
        }
    }
    cells
}

async fn write(cast: Arc<Cast>) {
    let stage = &cast.stage;
    let cells = plan(&cast);
    let begun = {
        let mut db = stage.db.lock();
        db.begin(&cells).map(|xid| (xid, db.life))
    };
    let Some((xid, life)) = begun else { return };
    sleep(stage.millis(0, 20)).await;
    let lazy = stage.chance(stage.setup.lazy);
    let bytes = stage.draw(|dice| dice.random_range(80..600));
    let number = {
        let mut db = stage.db.lock();
        if db.life != life {
            return;
        }
        if stage.chance(0.03) {
            db.roll_back(xid);
            return;
        }
        let number = db.commit(stage.now(), xid, cells.clone(), bytes, lazy);
        stage.note(None, What::Commit(number, db.commits[number].lsn.0));
        number
    };
    stage.counts.lock().commits += 1;
    if lazy {
        stage.spawn(flush_later(Arc::clone(stage), life));
    } else {
        stage.log_moved.notify_waiters();
        let hidden = stage.weather.lock().hidden_ms;
        sleep(stage.millis(0, hidden.max(3))).await;
        let mut db = stage.db.lock();
        if db.life != life {
            return;
        }
        db.show(stage.now(), number);
    }
    stage.note(None, What::Visible(number));
    if stage.chance(0.3) {
        read_own(&cast, &cells, number).await;
    }
}

/// The log writer comes by.
async fn flush_later(stage: Arc<Stage>, life: u64) {
    sleep(stage.millis(1, 400)).await;
    let mut db = stage.db.lock();
    if db.life == life {
        db.flush();
        stage.log_moved.notify_waiters();
    }
}

/// Whoever has written reads, on any node.
async fn read_own(cast: &Cast, cells: &[(usize, bool)], number: usize) {
    let stage = &cast.stage;
    let token = {
        let db = stage.db.lock();
        After::new(Some(db.log), db.end)
    };
    let (key, _) = cells[0];
    if key >= KEYS {
        return;
    }
    // A token is good for as long as somebody carries it, and on whichever node.
    for _ in 0..stage.draw(|dice| dice.random_range(1..4)) {
        let id = stage.draw(|dice| dice.random_range(0..stage.setup.nodes));
        if !stage.is_stopped(id)
            && let Some(node) = cast.node(id)
            && let Some(Ok(answer)) = node.get(key, Some(token)).await
        {
            check::has_written(stage, key, &answer.entry.content, number);
        }
        sleep(stage.millis(0, 3_000)).await;
    }
}

/// The log of an idle database grows a little too.
pub(super) async fn scribbler(stage: Arc<Stage>, end: u64) {
    loop {
        sleep(stage.until_next(0.2)).await;
        if stage.now() >= end {
            return;
        }
        let life = {
            let mut db = stage.db.lock();
            let bytes = stage.draw(|dice| dice.random_range(8..200));
            if db.up {
                db.scribble(bytes);
            }
            db.life
        };
        if stage.chance(0.5) {
            sleep(Duration::from_millis(200)).await;
            let mut db = stage.db.lock();
            if db.life == life && db.up {
                db.flush();
                stage.log_moved.notify_waiters();
            }
        }
    }
}
