//! A budget for retries: they may add a tenth to the load, not more.

/// What one load pays in, and what a retry costs, in tenths of a retry.
const PAY_IN: u32 = 1;
const COST: u32 = 10;

/// The most that can be saved up: ten retries.
const MOST: u32 = 100;

/// The state machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retries {
    tenths: u32,
}

impl Default for Retries {
    /// Begins with one retry, so that the first failure of a quiet service can be mended.
    fn default() -> Self {
        Self { tenths: COST }
    }
}

impl Retries {
    /// A first try was made.
    pub(crate) fn pay_in(&mut self) {
        self.tenths = (self.tenths + PAY_IN).min(MOST);
    }

    /// May there be a retry? If so it is paid.
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
    fn a_tenth_and_a_small_reserve() {
        let mut retries = Retries::default();
        let mut made = 0;
        for _ in 0..1_000 {
            retries.pay_in();
            made += u32::from(retries.spend());
        }
        assert_eq!(made, 101);
    }

    #[test]
    fn a_long_peace_does_not_pay_for_a_storm() {
        let mut retries = Retries::default();
        for _ in 0..100_000 {
            retries.pay_in();
        }
        assert_eq!((0..100).filter(|_| retries.spend()).count(), 10);
    }
}
