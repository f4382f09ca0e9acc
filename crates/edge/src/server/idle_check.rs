//! When a client connection is idle, and when it has been for too long.

use std::time::Duration;

use crate::http::in_flight::ConnectionActivity;

/// The number of checks within a short time limit of an idle connection.
const CHECKS: u32 = 8;

/// The longest time between two checks.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);

/// A connection that writes at least this many bytes while it is idle is not. Less may be the pings of HTTP/2.
const ACTIVE_BYTES: u64 = 1 << 10;

/// The state of a connection at a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Idleness {
    /// A request is in flight, or was since the last check.
    Active,
    /// Nothing has happened since the last check.
    Idle,
    /// Nothing has happened within the time limit.
    Expired,
}

/// The state machine of the checks of one connection, which are made every [`interval`](Self::interval).
#[derive(Debug)]
pub(super) struct IdleCheck {
    limit: Duration,
    /// The time since something has happened, as far as checks tell.
    idle: Duration,
    /// The requests and the written bytes at that time.
    started: u64,
    written: u64,
}

impl IdleCheck {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, idle: Duration::ZERO, started: 0, written: 0 }
    }

    pub(super) fn interval(&self) -> Duration {
        (self.limit / CHECKS).clamp(Duration::from_millis(1), LONGEST_INTERVAL)
    }

    /// The time that is left of the limit, as of the last check.
    pub(super) fn time_left(&self) -> Duration {
        self.limit.saturating_sub(self.idle)
    }

    /// Starts the limit again: bytes have arrived.
    pub(super) fn restart(&mut self) {
        self.idle = Duration::ZERO;
    }

    pub(super) fn check(&mut self, activity: &ConnectionActivity) -> Idleness {
        let (started, written) = (activity.started(), activity.written_bytes());
        let is_writing = written.saturating_sub(self.written) >= ACTIVE_BYTES;
        if !activity.is_idle() || started != self.started || is_writing {
            (self.idle, self.started, self.written) = (Duration::ZERO, started, written);
            return Idleness::Active;
        }
        self.idle += self.interval();
        if self.idle < self.limit { Idleness::Idle } else { Idleness::Expired }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::in_flight::ClientRequest;

    const LIMIT: Duration = Duration::from_secs(8);

    #[test]
    fn expires_after_the_limit() {
        let (mut check, activity) = (IdleCheck::new(LIMIT), ConnectionActivity::default());
        for at in 1..8 {
            assert_eq!(check.check(&activity), Idleness::Idle, "{at}");
            assert_eq!(check.time_left(), LIMIT - Duration::from_secs(at));
        }
        assert_eq!(check.check(&activity), Idleness::Expired);
        for (limit, interval_ms) in [(800, 100), (8_000, 1_000), (60_000, 1_000), (1, 1)] {
            let check = IdleCheck::new(Duration::from_millis(limit));
            assert_eq!(check.interval(), Duration::from_millis(interval_ms), "{limit}");
        }
    }

    #[test]
    fn requests_and_responses_are_activity() {
        let (mut check, activity) = (IdleCheck::new(LIMIT), Arc::<ConnectionActivity>::default());
        activity.request_started(false);
        assert_eq!(check.check(&activity), Idleness::Active);
        assert_eq!(check.check(&activity), Idleness::Idle);
        let request = ClientRequest::new(&activity);
        for _ in 0..20 {
            assert_eq!(check.check(&activity), Idleness::Active, "in flight");
        }
        drop(request);
        activity.write_blocked();
        assert_eq!(check.check(&activity), Idleness::Active, "the client has not read");
        activity.wrote(ACTIVE_BYTES - 1);
        assert_eq!(check.check(&activity), Idleness::Idle, "a ping");
        activity.wrote(1);
        assert_eq!(check.check(&activity), Idleness::Active, "pings in sum");
        assert_eq!(check.time_left(), LIMIT);
    }
}
