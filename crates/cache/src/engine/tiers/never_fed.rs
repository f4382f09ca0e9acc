//! The warning of an engine that no log feeds.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coherence::Mono;

/// A log may need this time after the first load: its slot, its leader, the tier's epoch.
const GRACE: Duration = Duration::from_secs(10);

/// Whether the warning is due.
#[derive(Debug, Default)]
pub(super) struct NeverFedWarning {
    /// The time of the first load that nothing could store.
    since: OnceLock<Mono>,
    is_given: AtomicBool,
}

impl NeverFedWarning {
    /// Records a load at `now` whose value no tier can store, since none has an epoch. Returns whether to warn, once.
    pub(super) fn is_due(&self, now: Mono) -> bool {
        let since = *self.since.get_or_init(|| now);
        now.since(since) >= GRACE && !self.is_given.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_is_given_once_after_the_grace() {
        let (warning, start) = (NeverFedWarning::default(), Mono(5));
        assert!(!warning.is_due(start));
        assert!(!warning.is_due(start + GRACE / 2));
        assert!(warning.is_due(start + GRACE));
        assert!(!warning.is_due(start + GRACE * 2));
    }
}
