//! The input of the audit.

use std::time::Instant;

use bytes::Bytes;

use crate::page::Page;

/// One response to audit.
pub(crate) struct AuditSample {
    /// Index of the target that responded.
    pub(crate) target: usize,
    pub(crate) page: Page,
    pub(crate) sent: Instant,
    pub(crate) received: Instant,
    pub(crate) body: Bytes,
}
