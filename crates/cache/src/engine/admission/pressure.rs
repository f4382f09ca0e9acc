//! The pressure on an origin, which decides how much of a budget may be spent.

use coherence::Mono;
use coherence::governor::{Governor, OriginLoad};
use parking_lot::Mutex;

use super::concurrency_limit::{ConcurrencyLimit, LoadSignal};

/// The governor of one origin; its gate reports to it.
#[derive(Debug, Default)]
pub(crate) struct Pressure(Mutex<Governor>);

impl Pressure {
    /// Returns the share of a budget that may be spent at `now`.
    pub(crate) fn spend(&self, now: Mono) -> f64 {
        self.0.lock().spend(now)
    }

    pub(super) fn observe(&self, now: Mono, load: OriginLoad) {
        self.0.lock().observe(now, load);
    }
}

/// Returns the load as the limit sees it. `signal`: of a request that has just ended.
pub(super) fn load(limit: &ConcurrencyLimit, signal: LoadSignal) -> OriginLoad {
    OriginLoad {
        in_flight: limit.in_flight(),
        limit: limit.limit(),
        waiting: limit.queued(),
        slowness: limit.slowness(signal),
        overloaded: signal == LoadSignal::Overload,
    }
}
