//! The origin: the rows of the virtual database.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::origin::KeyScan;
use cache::{Content, LoadItem, Loaded, LoadedMany, Origin, OriginError, OriginErrorKind, Value};
use coherence::Lsn;
use contract::Key;
use tokio::time::sleep;

use super::commits::Version;
use super::contracts;
use super::database::Database;
use super::environment::{Environment, Peer};
use super::recorder::{self, Participant, Tone};
use super::setup::tag_of;
use super::trace::TraceEvent;
use super::values;
use crate::model::composition::CompositionRule;

/// The origin; each load is one statement with one snapshot.
pub(super) struct RowsOrigin {
    pub(super) env: Arc<Environment>,
    pub(super) node: usize,
    pub(super) generation: u64,
    pub(super) standbys: Vec<Arc<dyn Origin>>,
}

pub(super) fn unavailable(text: &str) -> OriginError {
    OriginError { kind: OriginErrorKind::Unavailable, message: text.to_owned() }
}

/// Returns the error of a statement: of the server, or of one row's value.
pub(super) fn error(env: &Environment) -> OriginError {
    let of_row = env.chance(0.5);
    let kind = if of_row { OriginErrorKind::Broken } else { OriginErrorKind::Unavailable };
    OriginError { kind, message: "the statement failed".to_owned() }
}

/// Parses row numbers.
pub(super) fn rows(ids: &[&str]) -> Result<Vec<usize>, OriginError> {
    let rows = ids.iter().map(|id| id.parse::<usize>());
    rows.collect::<Result<_, _>>().map_err(|_| unavailable("no such row"))
}

/// Returns a row that was read from a snapshot without commits beyond `seen`, and its versions.
pub(super) fn loaded(
    key: usize,
    read: [Version; 3],
    seen: Option<Lsn>,
) -> (Loaded, Option<[u64; 3]>) {
    let versions = read.map(|version| version.commit as u64);
    let versions = read[0].present.then_some(versions);
    let alone = versions.is_none() || contracts::is_row_alone(key);
    let tags = if alone { Vec::new() } else { vec![contracts::tag(tag_of(key))] };
    let content = match versions {
        None => Content::Absent,
        Some(versions) => {
            Content::Present(Value { body: values::encode(versions).into(), ..Value::default() })
        }
    };
    (
        Loaded {
            content,
            tags,
            ttl: None,
            seen,
            replayed: None,
            log: None,
            behind: Duration::ZERO,
            change: None,
        },
        versions,
    )
}

impl RowsOrigin {
    pub(super) async fn transmit(&self) -> Result<(), OriginError> {
        let sent = self.env.transmit(self.node, self.generation, Peer::Database).await;
        sent.map_err(|_| unavailable("cut off"))
    }

    pub(super) async fn think_time(&self) {
        let slow = self.env.faults.lock().slow_loads_ms;
        sleep(self.env.millis(0, slow.max(4))).await;
    }
}

#[async_trait]
impl Origin for RowsOrigin {
    fn name(&self) -> &'static str {
        "rows"
    }

    fn standbys(&self) -> &[Arc<dyn Origin>] {
        &self.standbys
    }

    fn key_scan(&self) -> Option<&dyn KeyScan> {
        Some(self)
    }

    async fn load(&self, _: &Key, id: &str) -> Result<Loaded, OriginError> {
        let mut loaded = self.read(&[id]).await?;
        loaded.pop().unwrap_or_else(|| Err(unavailable("no such row")))
    }

    async fn load_many(&self, items: &[LoadItem<'_>]) -> Result<LoadedMany, OriginError> {
        let items = self.read(&items.iter().map(|ask| ask.id).collect::<Vec<_>>()).await?;
        Ok(LoadedMany { items, one_snapshot: true })
    }
}

impl RowsOrigin {
    /// Reads rows from one snapshot. The statement of each row may fail by itself.
    async fn read(&self, ids: &[&str]) -> Result<Vec<Result<Loaded, OriginError>>, OriginError> {
        let keys = rows(ids)?;
        for key in &keys {
            self.env.loads.lock()[*key] += 1;
        }
        let left = self.env.now();
        self.transmit().await?;
        let bad = self.env.faults.lock().bad_loads;
        if self.env.chance(bad) {
            if self.env.chance(0.3) {
                sleep(Duration::from_secs(30)).await;
            }
            return Err(unavailable("broken"));
        }
        self.think_time().await;
        let (generation, seen, end) = {
            let db = self.env.db.lock();
            if !db.up {
                return Err(unavailable("down"));
            }
            let read = |key: &usize| contracts::cells_of(*key).map(|cell| db.read(cell));
            (db.generation, keys.iter().map(read).collect::<Vec<_>>(), Some(db.end))
        };
        let turned = self.env.now();
        self.think_time().await;
        self.transmit().await?;
        let gone = |db: &Database| db.generation != generation;
        if gone(&self.env.db.lock()) {
            return Err(unavailable("the server was shut down"));
        }
        let all = keys.into_iter().zip(seen).map(|(key, mut seen)| {
            if self.env.fails() {
                if self.env.enforces(CompositionRule::FailedLoadIsNoAbsence) {
                    return Err(error(&self.env));
                }
                seen[0].present = false;
            }
            let (loaded, versions) = loaded(key, seen, end);
            self.env.recorder.record_exchange(
                [Participant::Node(self.node), Participant::Database],
                [left, turned, self.env.now()],
                || "select".into(),
                || (recorder::version(versions), Tone::Plain),
            );
            self.env.note(Some(self.node), TraceEvent::Load(key, versions));
            Ok(loaded)
        });
        Ok(all.collect())
    }
}
