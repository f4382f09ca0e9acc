//! Faults of the provider.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use super::call::CallKind;
use super::webhooks::WebhookPlan;

/// The faults: counts are of the next changing calls; shares are of all, 0 to 1.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Faults {
    /// Connections are closed, and nothing is executed.
    pub(super) away: bool,
    /// Replies that are lost after the execution.
    pub(super) lose_next: u32,
    pub(super) lose_share: f64,
    /// Of operations: replies that are an error after the execution, also to repeats with the key, as Stripe's errors are.
    pub(super) fail_next: u32,
    /// Calls that are answered with this status, and not executed.
    pub(super) refuse_next: u32,
    pub(super) refuse_share: f64,
    pub(super) refuse_status: u16,
    /// Before each execution.
    pub(super) delay_ms: u64,
    /// Events of executed operations.
    pub(super) webhooks: Option<WebhookPlan>,
}

/// The provider's way with a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Execute,
    LoseReply,
    FailAfter,
    Refuse(StatusCode),
    Unreachable,
}

impl Faults {
    pub(super) fn fate(&mut self, kind: CallKind) -> (Fate, Duration) {
        let delay = Duration::from_millis(self.delay_ms);
        if self.away {
            return (Fate::Unreachable, Duration::ZERO);
        }
        if kind == CallKind::Read {
            return (Fate::Execute, delay);
        }
        if happens(&mut self.refuse_next, self.refuse_share) {
            let status = StatusCode::from_u16(self.refuse_status);
            return (Fate::Refuse(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)), delay);
        }
        if kind == CallKind::Operation && happens(&mut self.fail_next, 0.0) {
            return (Fate::FailAfter, delay);
        }
        let is_lost = happens(&mut self.lose_next, self.lose_share);
        (if is_lost { Fate::LoseReply } else { Fate::Execute }, delay)
    }
}

fn happens(next: &mut u32, share: f64) -> bool {
    if *next > 0 {
        *next -= 1;
        return true;
    }
    rand::random::<f64>() < share
}
