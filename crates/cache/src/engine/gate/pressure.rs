//! How hard pressed an origin is, for whoever asks how much of a budget may be spent.

use coherence::Mono;
use coherence::governor::{Governor, Load};
use parking_lot::Mutex;

use super::limiter::{Limiter, Sign};

/// One origin's governor, told by its gate.
#[derive(Debug, Default)]
pub(in super::super) struct Pressure(Mutex<Governor>);

impl Pressure {
    /// The share of a budget that may be spent at `now`.
    pub(in super::super) fn spend(&self, now: Mono) -> f64 {
        self.0.lock().spend(now)
    }

    pub(super) fn observe(&self, now: Mono, load: Load) {
        self.0.lock().observe(now, load);
    }
}

/// What the limiter knows; `sign`: of a load that has just ended.
pub(super) fn load(limiter: &Limiter, sign: Sign) -> Load {
    Load {
        under_way: limiter.under_way(),
        limit: limiter.limit(),
        waiting: limiter.waiting(),
        slowness: limiter.slowness(sign),
        turned_away: sign == Sign::Overload,
    }
}
