//! The clock of a run.

use coherence::{Clock, Mono};
use tokio::time::Instant;

pub(super) fn since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The shared tier's clock.
#[derive(Debug)]
pub(super) struct WorldClock(pub(super) Instant);

impl Clock for WorldClock {
    fn mono(&self) -> Mono {
        Mono(since(self.0))
    }

    fn wall_ms(&self) -> u64 {
        0
    }
}
