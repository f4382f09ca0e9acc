//! Monotonic time, and the trait through which it enters.

use std::ops::Add;
use std::time::Duration;

/// A reading of a monotonic clock, in nanoseconds since a start that is private to this process.
///
/// Readings of two processes are never compared: each node keeps its own bound.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Mono(pub u64);

impl Mono {
    /// Returns the time from `earlier` to this reading; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the reading `by` before this one; `None` if the clock had not started.
    #[must_use]
    pub fn before(self, by: Duration) -> Option<Self> {
        let nanos = u64::try_from(by.as_nanos()).ok()?;
        self.0.checked_sub(nanos).map(Self)
    }
}

impl Add<Duration> for Mono {
    type Output = Self;

    #[inline]
    fn add(self, by: Duration) -> Self {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// The only source of time; the simulator has its own.
pub trait Clock: Send + Sync + 'static {
    /// Returns monotonic time: never goes back, runs on while the process is stopped (SIGSTOP).
    fn mono(&self) -> Mono;
    /// Returns wall time in milliseconds since 1970-01-01 UTC; for people and for HTTP dates, never for
    /// the bound.
    fn wall_ms(&self) -> u64;
    /// Returns wall time in microseconds, for lag metrics.
    fn wall_us(&self) -> u64 {
        self.wall_ms() * 1_000
    }
}
