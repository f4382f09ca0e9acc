//! A node with an in-process tier only, and an origin that answers immediately.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache::shared::MemoryTier;
use cache::{
    Content, Engine, EngineOptions, Loaded, Metrics, Origin, OriginError, Policy, Rules,
    SharedTier, SystemClock, Value,
};
use coherence::{Clock, Epoch, Lsn};
use contract::{Key, Refresh, Tag, Tiers};
use tokio::runtime::Runtime;

/// As in the binary, with its feature.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Entries from this number on have no tags.
pub(crate) const UNTAGGED: u32 = 1 << 31;

/// A started node.
pub(crate) struct Node {
    pub(crate) runtime: Runtime,
    pub(crate) shared: Arc<MemoryTier>,
    engine: Engine,
    policy: Arc<Policy>,
    origin: Arc<dyn Origin>,
}

struct InstantOrigin {
    tags_each: u32,
    categories: u32,
}

#[async_trait]
impl Origin for InstantOrigin {
    async fn load(&self, _key: &Key, id: &str) -> Result<Loaded, OriginError> {
        let body = Bytes::copy_from_slice(&id.as_bytes()[..id.len().min(8)]);
        let value = Value { head: Bytes::new(), body };
        let number: u32 = id.parse().unwrap_or_default();
        let names = [format!("product-{number}"), category(number % self.categories)];
        let tags_each = if number < UNTAGGED { self.tags_each as usize } else { 0 };
        let names = names.into_iter().take(tags_each);
        let tags = names.map(|name| Tag::parse(&name).expect("a tag")).collect();
        Ok(Loaded {
            content: Content::Present(value),
            tags,
            ttl: None,
            seen: None,
            replayed: None,
            log: None,
            behind: Duration::ZERO,
            change: None,
        })
    }
}

/// Returns the key of the n-th entry.
pub(crate) fn key(id: u32) -> Key {
    Key::parse(&format!("v1:catalog:price:{id}")).expect("a key")
}

/// Returns the tag of the n-th category.
pub(crate) fn category(n: u32) -> String {
    format!("category-{n}")
}

impl Node {
    /// Starts a node with an in-process tier of `bytes`; each entry has `tags_each` tags, at most two.
    pub(crate) fn start(bytes: u64, tags_each: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self::start_on(runtime.expect("a runtime"), bytes, tags_each, 1_000)
    }

    /// As [`start`](Self::start), on this runtime, with that number of categories.
    pub(crate) fn start_on(runtime: Runtime, bytes: u64, tags_each: u32, categories: u32) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let shared = Arc::new(MemoryTier::new(Arc::clone(&clock), 1 << 20));
        let options = EngineOptions { local_bytes: bytes, ..EngineOptions::default() };
        let tier = Arc::clone(&shared) as Arc<dyn SharedTier>;
        let engine = Engine::new(options, tier, Arc::clone(&clock), Metrics::detached());
        let rules = Rules {
            tiers: Tiers { local: true, shared: false },
            refresh: Refresh { beta: 0.0, jitter: 0.1 },
            ..Rules::new("bench", Duration::from_secs(3_600))
        };
        runtime.block_on(async {
            let follower = engine.clone();
            tokio::spawn(async move { follower.follow(std::future::pending()).await });
            while engine.status().epoch.is_none() {
                tokio::task::yield_now().await;
                let epoch = Epoch { incarnation: 1, ..Epoch::default() };
                shared.reset_epoch(epoch, Lsn(1), Lsn(1)).await.expect("memory");
            }
        });
        engine.sample(Epoch::default().log(), clock.mono(), Lsn(1));
        let origin = Arc::new(InstantOrigin { tags_each, categories });
        Self { runtime, shared, engine, policy: Arc::new(Policy::new(rules)), origin }
    }

    /// Reads each of these keys once.
    pub(crate) fn fill(&self, ids: Range<u32>) {
        self.runtime.block_on(async {
            for id in ids {
                let name = id.to_string();
                let key = key(id);
                let read = self.engine.get(&key, &name, &self.policy, &self.origin);
                read.await.expect("the origin answers");
            }
        });
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine.clone()
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy)
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark reports on its standard output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Returns the resident bytes of this process.
pub(crate) fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}
