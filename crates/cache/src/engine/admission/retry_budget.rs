//! A retry budget: retries may add at most a tenth to the load.

/// The amount that a first try pays in, and the cost of a retry, in tenths of a retry.
const PAY_IN: u32 = 1;
const COST: u32 = 10;

/// The maximum balance: ten retries.
const MAX: u32 = 100;

/// The state machine of the budget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryBudget {
    tenths: u32,
}

impl Default for RetryBudget {
    /// Starts with one retry, so that the first failure of an idle origin can be retried.
    fn default() -> Self {
        Self { tenths: COST }
    }
}

impl RetryBudget {
    /// Records a first try.
    pub(crate) fn pay_in(&mut self) {
        self.tenths = (self.tenths + PAY_IN).min(MAX);
    }

    /// Pays for a retry. Returns false if the balance is too low.
    pub(crate) fn spend(&mut self) -> bool {
        let enough = self.tenths >= COST;
        if enough {
            self.tenths -= COST;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_limited_to_a_tenth() {
        let mut retries = RetryBudget::default();
        let mut made = 0;
        for _ in 0..1_000 {
            retries.pay_in();
            made += u32::from(retries.spend());
        }
        assert_eq!(made, 101);
    }

    #[test]
    fn idle_time_saves_at_most_ten_retries() {
        let mut retries = RetryBudget::default();
        for _ in 0..100_000 {
            retries.pay_in();
        }
        assert_eq!((0..100).filter(|_| retries.spend()).count(), 10);
    }
}
