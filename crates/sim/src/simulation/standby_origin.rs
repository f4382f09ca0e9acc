//! A node's client of the virtual standby.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::{LoadItem, Loaded, LoadedMany, Origin, OriginError};
use coherence::Replayed;
use contract::Key;
use node::StandbyProbe;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::commits::Version;
use super::contracts::cells_of;
use super::environment::{Environment, Peer};
use super::rows_origin::{error, loaded, rows, unavailable};
use super::setup::COLD;
use super::standby::Standby;
use super::trace::TraceEvent;

/// Replays the log on the standby, with a lag, without end.
pub(super) async fn replay(env: Arc<Environment>, lag_ms: u64) {
    let mut detached_ms = 0;
    loop {
        sleep(env.millis(1, lag_ms)).await;
        if env.faults.lock().replay_stalled {
            continue;
        }
        let mut db = env.db.lock();
        db.replay();
        let follows =
            db.standby.as_ref().is_some_and(|standby| standby.generation == db.generation);
        detached_ms = if follows || !db.up { 0 } else { detached_ms + lag_ms };
        if detached_ms > 20_000 {
            db.rebuild();
        }
    }
}

/// A node's client of the standby.
pub(super) struct StandbyOrigin {
    pub(super) env: Arc<Environment>,
    pub(super) node: usize,
    pub(super) generation: u64,
    last_report: Mutex<Option<Replayed>>,
}

impl StandbyOrigin {
    pub(super) fn new(env: &Arc<Environment>, node: usize, generation: u64) -> Arc<Self> {
        Arc::new(Self { env: Arc::clone(env), node, generation, last_report: Mutex::default() })
    }

    async fn transmit(&self) -> Result<(), OriginError> {
        let sent = self.env.transmit(self.node, self.generation, Peer::Database).await;
        sent.map_err(|_| unavailable("cut off"))
    }

    fn standby(&self) -> Result<Standby, OriginError> {
        let standby = self.env.db.lock().standby.clone();
        standby.filter(|standby| standby.up).ok_or_else(|| unavailable("away"))
    }

    /// Reads the position, a snapshot and the log's identity, one after the other on one connection.
    async fn read(&self, ids: &[&str]) -> Result<Vec<Loaded>, OriginError> {
        let keys = rows(ids)?;
        if keys.contains(&COLD) {
            return Err(unavailable("the cold-key check counts loads from the primary"));
        }
        self.transmit().await?;
        let reported = self.standby()?;
        sleep(self.env.millis(0, 4)).await;
        let (snapshot, seen) = {
            let snapshot = self.standby()?;
            let db = self.env.db.lock();
            let read = |key: &usize| cells_of(*key).map(|cell| db.read_standby(&snapshot, cell));
            let seen: Vec<[Version; 3]> = keys.iter().map(read).collect();
            (snapshot, seen)
        };
        sleep(self.env.millis(0, 4)).await;
        let after = self.standby()?;
        self.transmit().await?;
        if self.env.fails() {
            return Err(error(&self.env));
        }
        if after.rebuilds != reported.rebuilds {
            return Err(unavailable("it was shut down"));
        }
        let replayed = Some(Replayed { upto: reported.replayed, ..after.reported() });
        let items = keys.into_iter().zip(seen).map(|(key, seen)| {
            let (loaded, versions) = loaded(key, seen, Some(snapshot.shown));
            self.env.note(Some(self.node), TraceEvent::LoadFromStandby(key, versions));
            Loaded { replayed, ..loaded }
        });
        Ok(items.collect())
    }
}

#[async_trait]
impl StandbyProbe for StandbyOrigin {
    fn name(&self) -> &'static str {
        "standby"
    }

    async fn probe(&self) -> Result<Replayed, OriginError> {
        let reported = async {
            self.transmit().await?;
            let reported = self.standby()?.reported();
            self.transmit().await?;
            if self.env.fails() {
                return Err(error(&self.env));
            }
            Ok(reported)
        };
        let reported = reported.await;
        *self.last_report.lock() = reported.as_ref().ok().copied();
        reported
    }
}

#[async_trait]
impl Origin for StandbyOrigin {
    fn name(&self) -> &'static str {
        "standby"
    }

    fn replayed(&self) -> Option<Replayed> {
        *self.last_report.lock()
    }

    async fn load(&self, _: &Key, id: &str) -> Result<Loaded, OriginError> {
        self.read(&[id]).await?.pop().ok_or_else(|| unavailable("no such row"))
    }

    async fn load_many(&self, items: &[LoadItem<'_>]) -> Result<LoadedMany, OriginError> {
        let loaded = self.read(&items.iter().map(|ask| ask.id).collect::<Vec<_>>()).await?;
        Ok(LoadedMany { items: loaded.into_iter().map(Ok).collect(), one_snapshot: true })
    }
}

/// Takes the standby down for that long.
pub(super) async fn take_down(env: &Environment, lasts: Duration) {
    let set = |up| {
        if let Some(standby) = &mut env.db.lock().standby {
            standby.up = up;
        }
    };
    set(false);
    sleep(lasts).await;
    set(true);
}
