//! A function of the program as origin, for programs that use the engine as a library.

use std::sync::Arc;

use async_trait::async_trait;
use contract::{Contract, Key};
use tokio::sync::Semaphore;

use super::error::OriginError;
use super::load::{Loaded, Origin};
use super::row::tags_of;

/// The number of calls of one function that run at once by default.
const CONCURRENCY: usize = 64;

/// An origin that calls an async function with the key and the id that the caller gave.
///
/// Leases apply to a function as to an HTTP service. Its contract has neither a statement nor a service
/// in `value`. With `from`, commits invalidate its entries, and τ is W as it was known before the call
/// (or, if the contract has a `lag`, that much earlier): the answer has to contain every commit up to τ.
/// A function that knows more reports it in its result:
///
/// * [`Loaded::replayed`]: the position in the log up to which its answer has every commit;
/// * [`Loaded::behind`]: the age that its answer may already have, such as an answer from a cache;
/// * [`Loaded::ttl`]: the TTL of its answer, zero for an answer that may not be cached;
/// * [`Loaded::tags`]: tags beside the contract's.
///
/// Without `from`, only the time of the call proves an entry, and the entry expires with the contract's
/// budget.
///
/// ```
/// use std::sync::Arc;
///
/// use cache::origin::function::FunctionOrigin;
/// use cache::shared::{MemoryTier, SharedTier};
/// use cache::{Engine, EngineOptions, Loaded, Metrics, Origin, Policy, SystemClock};
/// use coherence::{Batch, Clock, CoverageDigest, Epoch, Lsn};
/// use contract::Contract;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let contract = r#"
///     key = "v1:shipping:quote:{id}"
///     staleness = "30s"
/// "#;
/// let contract = Contract::from_toml("quote", &contract.parse()?)?;
/// let policy = Arc::new(Policy::from(&contract));
///
/// let clock = Arc::new(SystemClock::start());
/// let shared = Arc::new(MemoryTier::new(clock.clone(), 64 << 20));
/// let (options, metrics) = (EngineOptions::default(), Metrics::detached());
/// let engine = Engine::new(options, shared.clone(), clock.clone(), metrics);
/// let follower = engine.clone();
/// tokio::spawn(async move { follower.follow(std::future::pending()).await });
///
/// // No database is followed here, so the tier gets an epoch and a log of its own. Nothing is stored in a tier
/// // before a sample shows that its log is the one that is read.
/// let epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
/// shared.reset_epoch(epoch, Lsn::ZERO, Lsn::ZERO).await?;
/// engine.sample(epoch.log(), clock.mono(), Lsn::ZERO);
/// let (prev, upto, watermark) = (Lsn::ZERO, Lsn::ZERO, Lsn::ZERO);
/// while engine.status().epoch.is_none() {
///     // A heartbeat, as a leader sends it: every subscriber then knows the epoch and the position.
///     let (coverage, events) = (CoverageDigest::NONE, Vec::new());
///     let _ = shared.apply(&Batch { epoch, prev, upto, watermark, coverage, events }).await?;
///     tokio::task::yield_now().await;
/// }
///
/// let origin = FunctionOrigin::new(contract.clone(), |_key, id| async move {
///     Ok(Loaded::value(format!("{{\"parcel\":\"{id}\",\"cents\":490}}")))
/// });
/// let origin: Arc<dyn Origin> = Arc::new(origin);
/// let key = contract.key("42")?;
/// let answer = engine.get(&key, "42", &policy, &origin).await?;
/// assert_eq!(answer.proof().tier, cache::Tier::Origin);
/// let again = engine.get(&key, "42", &policy, &origin).await?;
/// assert_eq!(again.proof().tier, cache::Tier::Local);
/// assert!(again.proof().bound >= answer.proof().bound);
/// # Ok(())
/// # }
/// ```
pub struct FunctionOrigin<F> {
    contract: Contract,
    name: String,
    function: F,
    limit: usize,
    permits: Semaphore,
}

impl<F, R> FunctionOrigin<F>
where
    F: Fn(Key, Arc<str>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Loaded, OriginError>> + Send + 'static,
{
    /// Creates the origin of `contract`. At most 64 calls run at once.
    #[must_use]
    pub fn new(contract: Contract, function: F) -> Self {
        let name = format!("function:{}", contract.name);
        let permits = Semaphore::new(CONCURRENCY);
        Self { contract, name, function, limit: CONCURRENCY, permits }
    }

    /// Limits the calls that run at once to `limit`, at least one.
    #[must_use]
    pub fn at_most(self, limit: usize) -> Self {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        Self { limit, permits: Semaphore::new(limit), ..self }
    }
}

#[async_trait]
impl<F, R> Origin for FunctionOrigin<F>
where
    F: Fn(Key, Arc<str>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Loaded, OriginError>> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn concurrency(&self) -> Option<usize> {
        Some(self.limit)
    }

    async fn load(&self, key: &Key, id: &str) -> Result<Loaded, OriginError> {
        // A batch takes one permit of the origin's gate and makes many calls at once.
        let _permit = self.permits.acquire().await;
        let mut loaded = (self.function)(key.clone(), id.into()).await?;
        for tag in tags_of(&self.contract, id) {
            if !loaded.tags.contains(&tag) {
                loaded.tags.push(tag);
            }
        }
        Ok(loaded)
    }
}
