//! A counter for the hot path.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The stripes of a counter; the last one is shared by all threads without a stripe of their own.
const STRIPES: usize = 17;
const OWN_STRIPES: usize = STRIPES - 1;

/// A counter in several stripes, so that threads which count hits of the same contract do not contend for
/// one cache line.
#[derive(Debug, Default)]
pub(super) struct StripedCounter([Stripe; STRIPES]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

impl StripedCounter {
    #[inline]
    pub(super) fn inc(&self) {
        let stripe = own_stripe();
        let count = &self.0[stripe].0;
        if stripe < OWN_STRIPES {
            // No other thread writes to this stripe, so no locked instruction is needed.
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}

/// Returns the stripe of this thread. The first threads that count get a stripe each for the life of the
/// process; all others share the last one.
#[inline]
fn own_stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: usize = NEXT.fetch_add(1, Ordering::Relaxed).min(OWN_STRIPES);
    }
    STRIPE.with(|stripe| *stripe)
}
