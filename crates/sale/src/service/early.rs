//! Refusals without a call for stock.

use std::sync::Arc;
use std::time::Duration;

use coherence::Clock;
use parking_lot::RwLock;

use crate::lane::Lane;
use crate::ledger::{HoldOutcome, Outcome};
use crate::rules::{Asking, Demand, EarlyRefusal, GrantRefusal, Shortage};

/// The fast counter of a node. Clones share it.
#[derive(Clone)]
pub(super) struct EarlyRefusals {
    counter: Arc<RwLock<EarlyRefusal>>,
    clock: Arc<dyn Clock>,
}

impl EarlyRefusals {
    /// Creates a counter that refuses nothing.
    pub(super) fn off(clock: Arc<dyn Clock>) -> Self {
        Self { counter: Arc::new(RwLock::new(EarlyRefusal::new(Duration::ZERO))), clock }
    }

    /// Forgets all readings, and uses those of the future for at most `bound`.
    pub(super) fn set_bound(&self, bound: Duration) {
        *self.counter.write() = EarlyRefusal::new(bound);
    }

    pub(super) fn shortages(&self, lines: &[Demand]) -> Vec<Shortage> {
        self.counter.read().shortages(lines, self.clock.mono())
    }

    pub(super) fn ask(&self) -> Asking {
        self.counter.read().ask(self.clock.mono())
    }

    pub(super) fn learn(&self, asking: &Asking, outcomes: &[HoldOutcome]) {
        let mut counter = self.counter.write();
        for outcome in outcomes {
            if let Outcome::Refused(GrantRefusal::SoldOut(shortages)) = outcome {
                counter.learn(asking, shortages, self.clock.mono());
            }
        }
    }

    /// `lane`: units of its SKUs have come back, or may have.
    pub(super) fn freed(&self, lane: Lane) {
        self.counter.write().freed(lane);
    }
}
