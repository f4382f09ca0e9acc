//! `[upstream]`

use std::time::Duration;

use serde::Deserialize;

use super::duration;
use super::url::http_url;

/// The application behind the gateway.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Scheme and authority.
    pub(crate) url: http::Uri,
    /// The time limit until the first byte of a response.
    pub(crate) timeout: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamSection {
    url: String,
    #[serde(default = "ten_seconds")]
    timeout: String,
}

fn ten_seconds() -> String {
    "10s".into()
}

impl UpstreamSection {
    pub(super) fn check(self) -> Result<Upstream, String> {
        let url = http_url("url", &self.url)?;
        Ok(Upstream { url, timeout: duration::parse("timeout", &self.timeout)? })
    }
}
