//! `[upstream]`

use std::time::Duration;

use contract::config::TableReader;

use super::syntax::TIME_LIMITS;
use super::url::{HTTP_FORM, http_url};

pub(super) const KEYS: &[&str] = &["url", "timeout"];

/// The application behind the gateway.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Scheme and authority.
    pub(crate) url: http::Uri,
    /// The time limit until the first byte of a response.
    pub(crate) timeout: Duration,
}

impl Upstream {
    pub(super) fn read(table: &mut TableReader<'_>) -> Option<Self> {
        let timeout = table.duration("timeout", TIME_LIMITS).unwrap_or(Duration::from_secs(10));
        Some(Self { url: table.required_text_with("url", HTTP_FORM, http_url)?, timeout })
    }
}
