//! A function of the program as origin: for whoever uses the engine as a library.

use std::sync::Arc;

use async_trait::async_trait;
use contract::{Contract, Key};
use tokio::sync::Semaphore;

use super::{Loaded, Origin, OriginError, tags_of};

/// As many calls of one function run at once, unless said otherwise.
const CONCURRENCY: usize = 64;

/// An origin that calls an async function, with the key and the id that the caller named.
///
/// A function gets the lease's promise, as an HTTP service does. Its contract says neither a
/// statement nor a service in `value`. With `from`, commits end its entries, and τ is W as it was
/// known before the call (as the contract's `lag` ago, if it says one): the function has to show
/// what was committed by then. A function that knows better says so in what it returns:
///
/// * [`Loaded::replayed`]: a token of its own, how far in the log what it read reaches;
/// * [`Loaded::behind`]: how old its answer may already be, such as one out of a cache;
/// * [`Loaded::ttl`]: how long it may be kept, zero for not at all;
/// * [`Loaded::tags`]: more tags than the contract's.
///
/// Without `from`, the time of the call is all that proves an entry, and it ends with the contract's
/// budget.
///
/// ```
/// use std::sync::Arc;
///
/// use cache::origin::function::FunctionOrigin;
/// use cache::shared::{MemoryTier, SharedTier};
/// use cache::{Engine, EngineOptions, Loaded, Metrics, Origin, Policy, SystemClock};
/// use coherence::{Batch, Epoch, Lsn};
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
/// let engine = Engine::new(EngineOptions::default(), shared.clone(), clock, Metrics::detached());
/// let follower = engine.clone();
/// tokio::spawn(async move { follower.follow(std::future::pending()).await });
///
/// // No database is followed here, so the tiers begin a history of their own.
/// let epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
/// shared.incarnate(epoch, Lsn::ZERO, Lsn::ZERO).await?;
/// let (prev, upto, watermark) = (Lsn::ZERO, Lsn::ZERO, Lsn::ZERO);
/// while engine.standing().epoch.is_none() {
///     // A beat, as a leader sends them: whoever listens by now knows where the history stands.
///     let _ = shared.apply(&Batch { epoch, prev, upto, watermark, events: Vec::new() }).await?;
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
    most: usize,
    permits: Semaphore,
}

impl<F, R> FunctionOrigin<F>
where
    F: Fn(Key, Arc<str>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Loaded, OriginError>> + Send + 'static,
{
    /// The origin of `contract`. At most 64 calls run at once.
    #[must_use]
    pub fn new(contract: Contract, function: F) -> Self {
        let name = format!("function:{}", contract.name);
        let permits = Semaphore::new(CONCURRENCY);
        Self { contract, name, function, most: CONCURRENCY, permits }
    }

    /// The same with at most `most` calls at once, at least one.
    #[must_use]
    pub fn at_most(self, most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self { most, permits: Semaphore::new(most), ..self }
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
        Some(self.most)
    }

    async fn load(&self, key: &Key, id: &str) -> Result<Loaded, OriginError> {
        // A batch is one load of its gate, and asks for many at once.
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
