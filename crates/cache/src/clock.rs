//! The clock of the operating system.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use coherence::{Clock, Mono};
use parking_lot::Mutex;

/// The interval at which the processor's counter is compared with the kernel's clock.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The monotonic time at which the clock starts.
const START: Duration = Duration::from_hours(30 * 24);

/// A check that took longer than this was preempted, and its result is ignored.
const MAX_CHECK: Duration = Duration::from_micros(50);

/// The allowed difference between the two since the last check, besides one part in a hundred.
const TOLERANCE: Duration = Duration::from_millis(2);

/// Monotonic and wall time of this machine. [`Mono`] counts from a month before the clock was created, so
/// that earlier events have a time too; create one per process and share it (clones are the same clock).
///
/// Every answer reads this clock, and reading the kernel's clock waits for all memory reads before it,
/// which costs an in-process hit more than everything else it does. So monotonic time is the processor's
/// counter where that is usable (`quanta` decides), compared with the kernel's clock ten times a second;
/// if the two ever diverge, this clock switches to the kernel's for good. Unlike a coarse clock that a
/// thread advances, the counter runs on while the process is stopped.
#[derive(Clone, Debug)]
pub struct SystemClock {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    counter: quanta::Clock,
    counter_start: u64,
    ticks_per_check: u64,
    kernel_start: Instant,
    /// The counter's value at the last check.
    checked: AtomicU64,
    trusted: AtomicBool,
    /// Counter's and kernel's nanoseconds at the last check.
    last: Mutex<(u64, u64)>,
}

impl SystemClock {
    /// Creates a clock that starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the only place that reads the system's time")]
    pub fn start() -> Self {
        let counter = quanta::Clock::new();
        let counter_start = counter.raw();
        let per_2_20_ticks = counter.delta_as_nanos(0, 1 << 20).max(1);
        let parts = Parts {
            counter,
            counter_start,
            ticks_per_check: (nanos(CHECK_INTERVAL) << 20) / per_2_20_ticks,
            kernel_start: Instant::now(),
            checked: AtomicU64::new(counter_start),
            trusted: AtomicBool::new(true),
            last: Mutex::new((nanos(START), nanos(START))),
        };
        Self { parts: Arc::new(parts) }
    }
}

impl Parts {
    fn counted(&self, raw: u64) -> u64 {
        nanos(START) + self.counter.delta_as_nanos(self.counter_start, raw)
    }

    fn kernel(&self) -> u64 {
        nanos(START + self.kernel_start.elapsed())
    }

    #[cold]
    fn check(&self, raw: u64) -> Mono {
        let counted = self.counted(raw);
        let Some(mut last) = self.last.try_lock() else { return Mono(counted) };
        let kernel = self.kernel();
        let pause = self.counted(self.counter.raw()).saturating_sub(counted);
        if pause > nanos(MAX_CHECK) && kernel.saturating_sub(last.1) < nanos(CHECK_INTERVAL) * 20 {
            return Mono(counted);
        }
        if agree(*last, (counted, kernel), pause) {
            *last = (counted, kernel);
            self.checked.store(raw, Ordering::Relaxed);
            return Mono(counted);
        }
        self.trusted.store(false, Ordering::Relaxed);
        tracing::warn!(
            counted,
            kernel,
            "the processor's counter and the kernel's clock have diverged; using the kernel's clock"
        );
        Mono(kernel.max(counted))
    }
}

/// Whether counter and kernel agree on the time between two checks, the second of which took `pause` ns.
fn agree(before: (u64, u64), after: (u64, u64), pause: u64) -> bool {
    let counted = after.0.checked_sub(before.0);
    let kernel = after.1.saturating_sub(before.1);
    let allowed = nanos(TOLERANCE) + kernel / 100 + pause;
    counted.is_some_and(|counted| counted.abs_diff(kernel) <= allowed)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Clock for SystemClock {
    #[inline]
    fn mono(&self) -> Mono {
        let parts = &*self.parts;
        if !parts.trusted.load(Ordering::Relaxed) {
            return Mono(parts.kernel());
        }
        let raw = parts.counter.raw();
        // A counter that jumped back is detected here too: the difference wraps around.
        if raw.wrapping_sub(parts.checked.load(Ordering::Relaxed)) > parts.ticks_per_check {
            return parts.check(raw);
        }
        Mono(parts.counted(raw))
    }

    fn wall_ms(&self) -> u64 {
        self.wall_us() / 1_000
    }

    #[expect(clippy::disallowed_methods, reason = "the only place that reads the system's time")]
    fn wall_us(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diverging_counter_detected() {
        const SECOND: u64 = 1_000_000_000;
        let from = (5 * SECOND, 5 * SECOND);
        let at = |counted, kernel| agree(from, (counted, kernel), 0);
        assert!(at(6 * SECOND, 6 * SECOND));
        assert!(at(6 * SECOND + 5_000_000, 6 * SECOND), "within a hundredth");
        assert!(!at(5 * SECOND + SECOND / 2, 6 * SECOND), "too slow");
        assert!(!at(7 * SECOND, 6 * SECOND), "too fast");
        assert!(!at(4 * SECOND, 6 * SECOND), "jumped back");
        assert!(at(65 * SECOND, 65 * SECOND), "both ran on while the process was stopped");
    }

    #[test]
    fn mono_never_decreases() {
        let clock = SystemClock::start();
        let mut last = clock.mono();
        for _ in 0..10_000 {
            let now = clock.mono();
            assert!(now >= last);
            last = now;
        }
    }
}
