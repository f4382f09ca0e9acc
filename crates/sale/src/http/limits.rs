//! Limits of requests and answers.

/// The largest body, in bytes: a hold with the most and longest lines.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;

/// The largest event of a payment provider, in bytes.
pub(super) const WEBHOOK_BYTES_MAX: usize = 512 * 1024;

/// The most events in an answer.
pub(super) const EVENTS_MAX: u32 = 1_000;
