//! A database with several rows, whose loads report the position they have seen.

use super::*;
use crate::origin::{LoadItem, LoadedMany};

/// The rows of the database.
pub(super) struct Table {
    rows: Mutex<std::collections::BTreeMap<u32, String>>,
    log_end: Arc<AtomicU64>,
    pub(super) takes: Mutex<Duration>,
    /// The number of single loads and of batch loads.
    pub(super) singles: AtomicUsize,
    pub(super) batches: AtomicUsize,
    /// Rows loaded, either way.
    pub(super) rows_loaded: AtomicUsize,
}

impl Table {
    /// Rows 0 to 99, each with the text `text`.
    pub(super) fn returning(world: &World, text: &str) -> Arc<Self> {
        Arc::new(Self {
            rows: Mutex::new((0..100).map(|id| (id, text.to_owned())).collect()),
            log_end: Arc::clone(&world.log_end),
            takes: Mutex::new(20 * MS),
            singles: AtomicUsize::new(0),
            batches: AtomicUsize::new(0),
            rows_loaded: AtomicUsize::new(0),
        })
    }

    /// Commits one transaction that changes these rows, without applying it to any tier.
    pub(super) fn commit(&self, world: &World, ids: &[u32], text: &str) -> Batch {
        let mut rows = self.rows.lock();
        for id in ids {
            rows.insert(*id, text.to_owned());
        }
        world.commit_unapplied(ids.iter().map(|id| Subject::Key(key(*id))).collect())
    }

    pub(super) fn item(self: &Arc<Self>, policy: &Arc<Policy>, id: u32) -> Item {
        let (policy, origin) = (Arc::clone(policy), Arc::clone(self) as Arc<dyn Origin>);
        Item { key: key(id), id: id.to_string().into(), policy, origin }
    }

    pub(super) fn items(self: &Arc<Self>, policy: &Arc<Policy>, ids: &[u32]) -> Vec<Item> {
        ids.iter().map(|id| self.item(policy, *id)).collect()
    }

    /// Single loads, batch loads.
    pub(super) fn calls(&self) -> (usize, usize) {
        (self.singles.load(Ordering::Relaxed), self.batches.load(Ordering::Relaxed))
    }

    fn read(&self, ids: &[&str]) -> Vec<Result<Loaded, OriginError>> {
        let rows = self.rows.lock();
        let seen = Some(Lsn(self.log_end.load(Ordering::Relaxed)));
        self.rows_loaded.fetch_add(ids.len(), Ordering::Relaxed);
        let read = |id: &&str| {
            let Some(text) = id.parse().ok().and_then(|id: u32| rows.get(&id)) else {
                let message = format!("{id:?} is no id");
                return Err(OriginError { kind: OriginErrorKind::BadRequest, message });
            };
            let value = Value { head: Bytes::new(), body: Bytes::from(text.clone()) };
            Ok(Loaded {
                content: Content::Present(value),
                tags: Vec::new(),
                ttl: None,
                seen,
                replayed: None,
                log: None,
                behind: Duration::ZERO,
                change: None,
            })
        };
        ids.iter().map(read).collect()
    }
}

#[async_trait]
impl Origin for Table {
    async fn load(&self, _key: &Key, id: &str) -> Result<Loaded, OriginError> {
        self.singles.fetch_add(1, Ordering::Relaxed);
        let mut seen = self.read(&[id]);
        let takes = *self.takes.lock();
        tokio::time::sleep(takes).await;
        seen.pop().expect("one row")
    }

    async fn load_many(&self, asks: &[LoadItem<'_>]) -> Result<LoadedMany, OriginError> {
        self.batches.fetch_add(1, Ordering::Relaxed);
        let items = self.read(&asks.iter().map(|ask| ask.id).collect::<Vec<_>>());
        let takes = *self.takes.lock();
        tokio::time::sleep(takes).await;
        Ok(LoadedMany { items, one_snapshot: true })
    }
}

pub(super) fn texts(answers: &[Result<Answer, ReadError>]) -> Vec<String> {
    answers.iter().map(|answer| text(answer.as_ref().expect("an answer"))).collect()
}
