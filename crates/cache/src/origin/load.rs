//! The trait of all origins, and the results of loads.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use coherence::bound::ServerLog;
use coherence::{ClockTime, Lsn, Mono, Replayed};
use contract::{Key, Tag};
use futures_util::future::join_all;

use super::error::OriginError;
use super::key_scan::KeyScan;
use super::party::Party;
use crate::entry::{Content, Value};
use crate::partial::PartialBody;

/// A time at which a value changes without a commit, such as the start of a sale.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimedChange {
    /// The earliest such time after the load, by the clock of the origin.
    pub at: ClockTime,
    /// The time that this clock showed during the load, before the value was computed. `None`: it is not known, so that the
    /// database's clock decides, or without a database this process's wall clock.
    pub shown: Option<ClockTime>,
}

/// The result of a load.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The content.
    pub content: Content,
    /// The surrogate keys of the data that the content was made from.
    pub tags: Vec<Tag>,
    /// A TTL in place of the contract's (HTTP: `s-maxage`).
    pub ttl: Option<Duration>,
    /// The end of the log after the last of its snapshots was taken, so that it contains no commit beyond.
    /// `None`: not known. Then the value is never part of an [atomic batch](coherence::atomic) from a tier.
    pub seen: Option<Lsn>,
    /// For the answer of a standby: the position that it reported in a statement before the one that read.
    /// That position is τ. `None`: the primary answered, and τ is W as it was known before the load.
    pub replayed: Option<Replayed>,
    /// The log of the primary that answered, as its connection has reported it; `None`: the origin does not say.
    pub log: Option<ServerLog>,
    /// The age that the answer may already have had when its load began, as far as only the answer itself
    /// could tell (HTTP: `Age`). The contract's [lag](contract::Contract::lag) is added to it.
    pub behind: Duration,
    /// The next time at which the value changes without a commit; `None`: it does not.
    pub change: Option<TimedChange>,
}

impl Loaded {
    /// A value with this body.
    #[must_use]
    pub fn value(body: impl Into<Bytes>) -> Self {
        Self::of(Content::Present(Value { head: Bytes::new(), body: body.into() }))
    }

    /// An answer that says that there is no value. It is cached too.
    #[must_use]
    pub fn absent() -> Self {
        Self::of(Content::Absent)
    }

    /// An answer of which only the content is known.
    #[must_use]
    pub fn of(content: Content) -> Self {
        let (ttl, seen, replayed, log, change) = (None, None, None, None, None);
        Self { content, tags: Vec::new(), ttl, seen, replayed, log, behind: Duration::ZERO, change }
    }
}

/// Hands a value to the readers of a load before its body is complete.
pub struct EarlyAnswer<'a> {
    pub(crate) began: Mono,
    pub(crate) publish: Option<&'a PublishEarly<'a>>,
}

/// Publishes the value of a load that began at that time.
pub(crate) type PublishEarly<'a> = dyn Fn(Loaded, PartialBody, Mono) + Send + Sync + 'a;

impl EarlyAnswer<'_> {
    /// Returns the early answer of a load whose readers wait for its end.
    #[must_use]
    pub fn impossible() -> Self {
        Self { began: Mono(0), publish: None }
    }

    /// Returns whether readers can get the value early.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.publish.is_some()
    }

    /// Publishes the value with the body that is still to come. `loaded`: the value without its body. The result
    /// of the load has to be the same value, or an error after `body` has failed.
    pub fn publish(&self, loaded: Loaded, body: PartialBody) {
        if let Some(publish) = self.publish {
            publish(loaded, body, self.began);
        }
    }
}

/// One item of a batch of loads.
#[derive(Clone, Copy)]
pub struct LoadItem<'a> {
    /// The origin to load from.
    pub origin: &'a dyn Origin,
    /// The key of the value.
    pub key: &'a Key,
    /// The id that the caller gave.
    pub id: &'a str,
}

/// The result of a batch of loads.
#[derive(Debug)]
pub struct LoadedMany {
    /// In the order of the items.
    pub items: Vec<Result<Loaded, OriginError>>,
    /// Whether all answers are from one snapshot.
    pub one_snapshot: bool,
}

/// Loads values, each with one statement, one request or one call.
#[async_trait]
pub trait Origin: Any + Send + Sync {
    /// Returns the name of the system that it asks, such as the source's or upstream's name. Loads of one
    /// name share one concurrency limit and one circuit breaker, so the number of names has to be small.
    fn name(&self) -> &str {
        "origin"
    }

    /// Returns the number of loads that it gets at most at once, if that differs from the engine's options.
    /// Among origins with one name, the first one that is asked decides.
    fn concurrency(&self) -> Option<usize> {
        None
    }

    /// Returns the party that it loads for. Its [gate](crate::admission::OriginGate) limits the share of each
    /// party. `None`: no such limit.
    fn party(&self) -> Option<Party> {
        None
    }

    /// Returns origins that have the same values and may lag behind this one, each with a name of its own.
    /// Their results say [how far they have replayed](Loaded::replayed). They are asked before this one while
    /// their lag is acceptable.
    fn standbys(&self) -> &[Arc<dyn Origin>] {
        &[]
    }

    /// For a standby: returns the last position that it reported. `None`: it must not be asked.
    fn replayed(&self) -> Option<Replayed> {
        None
    }

    /// Loads the value of `key`; `id` is the id that the caller gave. All of its snapshots begin after the
    /// call.
    async fn load(&self, key: &Key, id: &str) -> Result<Loaded, OriginError>;

    /// Loads as [`load`](Self::load) does. A value whose body takes its time may be given to `early` before.
    async fn load_early(
        &self,
        key: &Key,
        id: &str,
        early: &EarlyAnswer<'_>,
    ) -> Result<Loaded, OriginError> {
        let _ = early;
        self.load(key, id).await
    }

    /// Returns whether the reader that it loads for can use a value whose body is still to come.
    fn takes_early(&self) -> bool {
        false
    }

    /// Prepares its statements again, because a definition that they depend on was altered. `schema` identifies the
    /// altered schema, so that origins with common connections do the common part once.
    ///
    /// # Errors
    /// [`Broken`](super::OriginErrorKind::Broken) if its contract no longer fits the database; then every load
    /// fails with the same error until a later call succeeds. Any other error: nothing has changed.
    async fn prepare_again(&self, schema: u64) -> Result<(), OriginError> {
        let _ = schema;
        Ok(())
    }

    /// Returns the scan of its ids, if it can list them.
    fn key_scan(&self) -> Option<&dyn KeyScan> {
        None
    }

    /// Loads several items from origins of this one's [name](Self::name): in one snapshot and one round trip
    /// if possible, else concurrently. All of their snapshots begin after the call.
    ///
    /// # Errors
    /// No item could be loaded. The failure of a single item is that item's result.
    async fn load_many(&self, items: &[LoadItem<'_>]) -> Result<LoadedMany, OriginError> {
        Ok(load_separately(items).await)
    }
}

/// Loads each item by itself, all at once.
pub(super) async fn load_separately(items: &[LoadItem<'_>]) -> LoadedMany {
    let loads = items.iter().map(|item| item.origin.load(item.key, item.id));
    LoadedMany { items: join_all(loads).await, one_snapshot: items.len() < 2 }
}
