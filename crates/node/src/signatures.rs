//! Reports values and messages that were refused because of their signature.

use std::sync::Arc;
use std::time::Duration;

use coherence::Clock;
use contract::{RefusalReport, Refusals};

use crate::health::Health;

/// How often the refusals are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The refusals of a process, by the store that the values were in.
#[derive(Clone, Debug, Default)]
pub struct SignatureRefusals {
    /// Values in the shared tier.
    pub values: Refusals,
    /// Messages in the database's log.
    pub messages: Refusals,
}

impl SignatureRefusals {
    /// Reports in `/readyz` whether something was refused within the last minute. Does not end.
    pub async fn watch(&self, clock: Arc<dyn Clock>, health: Arc<Health>) {
        loop {
            report("shared-signatures", &self.values.report(), clock.wall_ms(), &health);
            report("log-signatures", &self.messages.report(), clock.wall_ms(), &health);
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

fn report(name: &'static str, refusals: &RefusalReport, now_ms: u64, health: &Health) {
    let RefusalReport { refused, last: Some(last), .. } = refusals else { return };
    if refusals.is_present(now_ms) {
        health.optional(name, false, format!("{refused} refused; the last one: {last}"));
    } else {
        health.optional(name, true, format!("{refused} refused, none in the last minute"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_shown_for_a_minute() {
        let (refusals, health) = (Refusals::default(), Health::default());
        report("x", &refusals.report(), 0, &health);
        assert!(health.readiness().components.is_empty());
        refusals.count("entry e: planted".to_owned(), 1_000);
        report("x", &refusals.report(), 60_999, &health);
        let component = health.readiness().components["x"].clone();
        assert!(!component.ok && !component.required);
        assert!(component.detail.contains("entry e: planted"), "{}", component.detail);
        report("x", &refusals.report(), 61_000, &health);
        assert!(health.readiness().components["x"].ok);
    }
}
