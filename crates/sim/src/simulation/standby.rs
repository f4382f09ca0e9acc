//! A virtual standby that answers reads, and a node's way to it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::{Ask, Loaded, LoadedMany, Origin, OriginError};
use coherence::{Log, Lsn, Replayed};
use contract::Key;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::database::{Cell, Commit, Database, Version};
use super::node::{loaded, rows, unavailable};
use super::setup::{COLD, cells_of};
use super::stage::{Peer, Stage};
use super::trace::What;

/// The server.
#[derive(Clone, Debug)]
pub(super) struct Standby {
    /// Its snapshots see the commits up to here.
    pub(super) shown: Lsn,
    /// What it says that it has replayed; moves after what is shown.
    pub(super) replayed: Lsn,
    /// Which log it follows.
    pub(super) log: Log,
    /// The primary's life that it is in.
    pub(super) life: u64,
    /// Counts how often it was made anew.
    made: u64,
    pub(super) up: bool,
}

impl Standby {
    /// A copy of the primary as it is.
    pub(super) fn of(db: &Database) -> Self {
        let (shown, log, life) = (db.flushed, db.log, db.life);
        Self { shown, replayed: shown, log, life, made: 0, up: true }
    }

    /// The primary, or the server that has taken its place, goes on from `kept` in another life. Whoever has
    /// replayed more can't follow it.
    pub(super) fn follow(&mut self, log: Log, life: u64, kept: Lsn) {
        if self.shown <= kept {
            (self.log, self.life) = (log, life);
        }
    }

    /// Whether its snapshots see the commit: it stands in the log that this one follows.
    fn sees(&self, commit: &Commit) -> bool {
        let written = commit.lsn <= self.shown && commit.life <= self.life;
        written && commit.lost_with.is_none_or(|life| life >= self.life)
    }

    fn says(&self) -> Replayed {
        Replayed { log: Log { server: 0, ..self.log }, upto: self.replayed }
    }
}

impl Database {
    /// The standby replays a step.
    fn replay(&mut self) {
        let Some(mut standby) = self.standby.take() else { return };
        if standby.replayed < standby.shown {
            standby.replayed = standby.shown;
        } else if self.up && standby.life == self.life {
            let (next, _) = self.sendable(standby.shown, 1);
            let next = next.first().map(|number| self.commits[*number].lsn);
            standby.shown = standby.shown.max(next.unwrap_or(self.flushed));
        }
        self.standby = Some(standby);
    }

    /// One that can't follow any more is made anew.
    fn rebuild(&mut self) {
        let Some(old) = self.standby.take_if(|standby| standby.life != self.life) else { return };
        self.standby = Some(Standby { made: old.made + 1, up: old.up, ..Standby::of(self) });
    }

    fn read_standby(&self, standby: &Standby, cell: Cell) -> Version {
        let seen = |version: &&Version| standby.sees(&self.commits[version.commit]);
        let first = Version { commit: 0, present: true };
        self.versions(cell).iter().rev().find(seen).copied().unwrap_or(first)
    }
}

/// The standby replays, with a lag, for ever.
pub(super) async fn replay(stage: Arc<Stage>, lag_ms: u64) {
    let mut alien_for = 0;
    loop {
        sleep(stage.millis(1, lag_ms)).await;
        if stage.weather.lock().replay_stands {
            continue;
        }
        let mut db = stage.db.lock();
        db.replay();
        let follows = db.standby.as_ref().is_some_and(|standby| standby.life == db.life);
        alien_for = if follows || !db.up { 0 } else { alien_for + lag_ms };
        if alien_for > 20_000 {
            db.rebuild();
        }
    }
}

/// A node's way to it.
pub(super) struct Twin {
    pub(super) stage: Arc<Stage>,
    pub(super) node: usize,
    pub(super) life: u64,
    heard: Mutex<Option<Replayed>>,
}

impl Twin {
    pub(super) fn new(stage: &Arc<Stage>, node: usize, life: u64) -> Arc<Self> {
        Arc::new(Self { stage: Arc::clone(stage), node, life, heard: Mutex::default() })
    }

    /// Looks how far it is, for ever, as the binary does.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            sleep(self.stage.setup.sample_every).await;
            let there = self.way().await;
            let heard = there.and_then(|()| self.standby()).ok().map(|standby| standby.says());
            let back = self.way().await.is_ok();
            *self.heard.lock() = heard.filter(|_| back);
        }
    }

    async fn way(&self) -> Result<(), OriginError> {
        let way = self.stage.way(self.node, self.life, Peer::Database).await;
        way.map_err(|_| unavailable("cut off"))
    }

    fn standby(&self) -> Result<Standby, OriginError> {
        let standby = self.stage.db.lock().standby.clone();
        standby.filter(|standby| standby.up).ok_or_else(|| unavailable("away"))
    }

    /// How far it is, a snapshot, and which log it follows: one after the other on one connection.
    async fn read(&self, ids: &[&str]) -> Result<Vec<Loaded>, OriginError> {
        let keys = rows(ids)?;
        if keys.contains(&COLD) {
            return Err(unavailable(
                "the question about cold keys counts what the primary is asked",
            ));
        }
        self.way().await?;
        let said = self.standby()?;
        sleep(self.stage.millis(0, 4)).await;
        let (snapshot, seen) = {
            let snapshot = self.standby()?;
            let db = self.stage.db.lock();
            let read = |key: &usize| cells_of(*key).map(|cell| db.read_standby(&snapshot, cell));
            let seen: Vec<[Version; 3]> = keys.iter().map(read).collect();
            (snapshot, seen)
        };
        sleep(self.stage.millis(0, 4)).await;
        let after = self.standby()?;
        self.way().await?;
        if after.made != said.made {
            return Err(unavailable("it was shut down"));
        }
        let replayed = Some(Replayed { upto: said.replayed, ..after.says() });
        let items = keys.into_iter().zip(seen).map(|(key, seen)| {
            let (loaded, versions) = loaded(key, seen, Some(snapshot.shown));
            self.stage.note(Some(self.node), What::LoadOfStandby(key, versions));
            Loaded { replayed, ..loaded }
        });
        Ok(items.collect())
    }
}

#[async_trait]
impl Origin for Twin {
    fn name(&self) -> &'static str {
        "standby"
    }

    fn replayed(&self) -> Option<Replayed> {
        *self.heard.lock()
    }

    async fn load(&self, _: &Key, id: &str) -> Result<Loaded, OriginError> {
        self.read(&[id]).await?.pop().ok_or_else(|| unavailable("no such row"))
    }

    async fn load_many(&self, asks: &[Ask<'_>]) -> Result<LoadedMany, OriginError> {
        let loaded = self.read(&asks.iter().map(|ask| ask.id).collect::<Vec<_>>()).await?;
        Ok(LoadedMany { items: loaded.into_iter().map(Ok).collect(), one_snapshot: true })
    }
}

/// It is away for so long.
pub(super) async fn away(stage: &Stage, lasts: Duration) {
    let set = |up| {
        if let Some(standby) = &mut stage.db.lock().standby {
            standby.up = up;
        }
    };
    set(false);
    sleep(lasts).await;
    set(true);
}
