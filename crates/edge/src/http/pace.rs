//! The pace of a peer: how long a message may wait for the peer that sends or reads it.

use std::time::Duration;

use tokio::time::Instant;

/// The limits of a pace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct PaceLimits {
    /// The longest pause.
    pub(crate) pause: Duration,
    /// The minimum rate in bytes per second of waiting; 0: none.
    pub(crate) rate: u64,
}

/// The state machine of a pace. Waiting for the peer spends time, bytes earn it back: one second for
/// each [`rate`](PaceLimits::rate) bytes, up to [`pause`](PaceLimits::pause). So a peer that pauses for
/// too long and one that sends single bytes now and then are both found, and a peer that keeps the
/// minimum rate never is. The time that this side takes does not count.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    limits: PaceLimits,
    left: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(limits: PaceLimits) -> Self {
        Self { limits, left: limits.pause, waiting_since: None }
    }

    pub(crate) fn limits(&self) -> PaceLimits {
        self.limits
    }

    /// Whether the peer is waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// The peer is waited for since `now`, or longer. Returns the time at which it is too slow.
    pub(crate) fn wait(&mut self, now: Instant) -> Instant {
        *self.waiting_since.get_or_insert(now) + self.left
    }

    /// Bytes have moved, or this side has none for the peer: the peer is not waited for any more. `now` is
    /// read only after a wait.
    pub(crate) fn moved(&mut self, bytes: u64, now: impl FnOnce() -> Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.left = self.left.saturating_sub(now().saturating_duration_since(since));
        }
        let earned = match self.limits.rate {
            0 if bytes == 0 => Duration::ZERO,
            0 => self.limits.pause,
            rate => Duration::from_millis(bytes.saturating_mul(1_000) / rate),
        };
        self.left = self.left.saturating_add(earned).min(self.limits.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: PaceLimits = PaceLimits { pause: Duration::from_secs(10), rate: 1_000 };

    /// Moves `bytes` after each second of waiting, and returns the seconds after which the peer is too
    /// slow; `None`: not within 1,000 s.
    fn too_slow_after(limits: PaceLimits, bytes: u64) -> Option<u64> {
        let (mut pace, mut now) = (Pace::new(limits), Instant::now());
        (1..1_000).find(|_| {
            let until = pace.wait(now);
            now += SECOND;
            pace.moved(bytes, || now);
            until < now
        })
    }

    #[tokio::test(start_paused = true)]
    async fn rate_decides_in_the_long_run() {
        assert_eq!(too_slow_after(LIMITS, 1_000), None);
        assert_eq!(too_slow_after(LIMITS, 5_000_000), None);
        assert_eq!(too_slow_after(LIMITS, 0), Some(11));
        assert_eq!(too_slow_after(LIMITS, 1), Some(11), "a drip");
        assert_eq!(too_slow_after(LIMITS, 500), Some(20));
        assert_eq!(too_slow_after(PaceLimits { rate: 0, ..LIMITS }, 1), None, "no minimum rate");
        assert_eq!(too_slow_after(PaceLimits { rate: 0, ..LIMITS }, 0), Some(11));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_earn_no_more_than_one_pause() {
        let (mut pace, now) = (Pace::new(LIMITS), Instant::now());
        pace.moved(1 << 40, || now);
        assert_eq!(pace.wait(now), now + LIMITS.pause);
    }

    #[tokio::test(start_paused = true)]
    async fn own_time_does_not_count() {
        let (mut pace, now) = (Pace::new(LIMITS), Instant::now());
        pace.wait(now);
        pace.moved(0, || now + SECOND);
        assert!(!pace.is_waiting());
        let later = now + Duration::from_secs(3_600);
        assert_eq!(pace.wait(later), later + 9 * SECOND);
    }
}
