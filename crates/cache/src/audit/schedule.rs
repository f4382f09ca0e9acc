//! The times of checks.

use std::time::Duration;

/// The delays after a commit at which the tiers are checked: the T of C(T).
pub const CHECK_DELAYS: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(10)];

/// A stale entry that is still served after this time is called sticky.
pub const STICKY_AFTER: Duration = Duration::from_secs(60);
