//! Requests for jobs, checked.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::ledger::NewJob;
use crate::request::{IdempotencyKey, InvalidRequest, RequestKey, digest};

/// The longest content of a job, in bytes of JSON.
pub(crate) const JOB_BYTES_MAX: usize = 48 * 1024;
/// The longest unique key of a job, in bytes.
pub(crate) const UNIQUE_BYTES_MAX: usize = 255;
/// The longest delay and time to live of a job, in seconds: a year.
pub(crate) const JOB_SECONDS_MAX: i64 = 366 * 24 * 60 * 60;

const YEAR_MS: i64 = JOB_SECONDS_MAX * 1_000;

/// The lengths of a lease that a worker may ask for, in seconds.
pub const LEASES: RangeInclusive<u64> = 1..=3_600;

/// The longest reason of a failure that is recorded, in characters.
const REASON_MAX: usize = 500;

/// Returns a reason as it can be recorded: a database refuses a NUL, and the ends of other jobs with it.
pub(super) fn recordable(reason: &str) -> String {
    reason.chars().filter(|char| *char != '\0').take(REASON_MAX).collect()
}

/// A request for a job.
#[derive(Clone, Debug)]
pub struct JobRequest {
    pub(super) job: NewJob,
}

impl JobRequest {
    /// Checks a job: its content is JSON, and is kept as it is written. `delay_ms`: it is due after this time; `ttl_ms`: its time to live from then on,
    /// in place of that of its kind.
    ///
    /// # Errors
    /// A value is too large, negative or empty.
    pub fn new(
        kind: &str,
        content: &impl Display,
        unique: Option<&str>,
        delay_ms: i64,
        ttl_ms: Option<i64>,
    ) -> Result<Self, InvalidRequest> {
        let body = content.to_string();
        if body.len() > JOB_BYTES_MAX {
            let problem =
                format!("has more than {JOB_BYTES_MAX} bytes; store it elsewhere and name it");
            return Err(InvalidRequest::new("content", problem));
        }
        let is_key =
            |key: &str| !key.is_empty() && key.len() <= UNIQUE_BYTES_MAX && !key.contains('\0');
        if unique.is_some_and(|key| !is_key(key)) {
            return Err(InvalidRequest::new("unique", "write 1 to 255 bytes"));
        }
        if !(0..=YEAR_MS).contains(&delay_ms) {
            return Err(InvalidRequest::new("delay_seconds", "write 0 to a year"));
        }
        if ttl_ms.is_some_and(|ttl| !(1..=YEAR_MS).contains(&ttl)) {
            return Err(InvalidRequest::new("ttl_seconds", "write a time up to a year"));
        }
        let unique = unique.map(str::to_owned);
        let kind = kind.to_owned();
        Ok(Self { job: NewJob { kind, body, unique, delay_ms, ttl_ms, request: None } })
    }

    /// Returns the request with its idempotency key.
    #[must_use]
    pub fn with_key(mut self, key: &IdempotencyKey) -> Self {
        let NewJob { kind, body, unique, delay_ms, ttl_ms, .. } = &self.job;
        let ttl = ttl_ms.map(|ttl| ttl.to_string()).unwrap_or_default();
        let unique = unique.as_deref().unwrap_or_default();
        let digest = digest(&["job", kind, body, unique, &delay_ms.to_string(), &ttl]);
        self.job.request = Some(RequestKey { key: key.clone(), digest });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_has_no_nul_and_an_end() {
        assert_eq!(recordable("a\0b"), "ab");
        assert_eq!(recordable(&"é".repeat(600)).chars().count(), REASON_MAX);
    }

    #[test]
    fn digest_covers_all_values() {
        let key = IdempotencyKey::new("k").expect("a key");
        let digest = |unique, delay, ttl| {
            let request = JobRequest::new("mail", &serde_json::json!(1), unique, delay, ttl);
            request.expect("valid").with_key(&key).job.request.expect("a key").digest
        };
        let first = digest(None, 0, None);
        assert_eq!(first, digest(None, 0, None));
        for other in [digest(Some("a"), 0, None), digest(None, 1, None), digest(None, 0, Some(1))] {
            assert_ne!(first, other);
        }
    }
}
