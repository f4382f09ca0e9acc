//! The gateway's options.

use std::path::Path;
use std::time::Duration;

use contract::config::{TIME_LIMITS, TableReader, ValueError};
use thiserror::Error;

use super::client_limits::ClientLimits;
use super::page_limits::PageLimits;
use super::proxies::Proxies;
use super::routes::Routes;
use super::server_address::ServerAddress;
use super::tls_files::TlsFiles;
use super::upstream_limits::{TimeoutOverrides, Timeouts, UpstreamLimits};

/// The options of a [`Gateway`](crate::Gateway).
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// The application's address.
    pub upstream: ServerAddress,
    /// The files of encrypted connections to it.
    pub tls: TlsFiles,
    /// The `Host` that the upstream receives.
    pub host: HostPolicy,
    /// The proxies in front of the gateway, and the served hosts.
    pub proxies: Proxies,
    /// The rules for pages, by path prefix.
    pub routes: Routes,
    /// The limits of stored pages.
    pub pages: PageLimits,
    /// The time limit for connecting to the upstream.
    pub connect_timeout: Duration,
    /// The timeouts of exchanges with the upstream, where a route does not set its own.
    pub timeouts: Timeouts,
    /// How many requests the upstream gets at once.
    pub upstream_limits: UpstreamLimits,
    /// The limits of clients.
    pub clients: ClientLimits,
    /// The time limit for the head of a request, counted from the moment the connection is idle. The
    /// connection closes after at most twice this time.
    pub head_timeout: Duration,
    /// The largest request head in bytes; a larger one gets a 431. At least 8 KiB.
    pub max_head_bytes: usize,
    /// The time limit for requests in flight to end after shutdown begins.
    pub drain: Duration,
}

impl GatewayOptions {
    /// The keys of `[upstream]`.
    pub const UPSTREAM_KEYS: &[&str] = &{
        let [a, b, c] = TimeoutOverrides::KEYS;
        let [d, e, f, g, h, i, j] = UpstreamLimits::KEYS;
        let [k, l, m] = TlsFiles::KEYS;
        ["url", "host", "server_name", "connect_timeout", a, b, c, d, e, f, g, h, i, j, k, l, m]
    };

    /// Reads `[upstream]`; all other options have their defaults. `form`: the help where the address is
    /// missing. `parse`: parses the address. `folder`: the base of relative file names. `None` only after a problem
    /// was recorded.
    pub fn read_upstream(
        table: &mut TableReader<'_>,
        form: &str,
        parse: impl FnOnce(&str) -> Result<ServerAddress, ValueError>,
        folder: &Path,
    ) -> Option<Self> {
        let timeouts = TimeoutOverrides::read(table).or(Timeouts::default());
        let upstream_limits = UpstreamLimits::read(table);
        let connect_timeout = table.duration("connect_timeout", TIME_LIMITS);
        let host = table.choice("host", &HOST_WORDS).unwrap_or_default();
        let tls = TlsFiles {
            server_name: table.text_with("server_name", parse_server_name),
            ..TlsFiles::read(table, folder)
        };
        let options = Self::new(table.required_text_with("url", form, parse)?);
        for key in TlsFiles::KEYS.iter().chain(&["server_name"]) {
            if table.has(key) && !options.upstream.is_tls() {
                let help = "write `url = \"https://…\"`, or remove it";
                table.problem("conflict", key, "is for `https://` only", help);
            }
        }
        let connect_timeout = connect_timeout.unwrap_or(options.connect_timeout);
        Some(Self { host, tls, timeouts, upstream_limits, connect_timeout, ..options })
    }

    /// The default options for `upstream`.
    #[must_use]
    pub fn new(upstream: ServerAddress) -> Self {
        Self {
            upstream,
            tls: TlsFiles::default(),
            host: HostPolicy::Preserve,
            proxies: Proxies::default(),
            routes: Routes::default(),
            pages: PageLimits::default(),
            connect_timeout: Duration::from_secs(2),
            timeouts: Timeouts::default(),
            upstream_limits: UpstreamLimits::default(),
            clients: ClientLimits::default(),
            head_timeout: Duration::from_secs(10),
            max_head_bytes: 32 << 10,
            drain: Duration::from_secs(10),
        }
    }

    /// Validates the options.
    ///
    /// # Errors
    /// [`OptionsError`] names the first invalid option.
    pub(crate) fn validate(&self) -> Result<(), OptionsError> {
        let positive = [
            ("pages.max_bytes", self.pages.max_bytes != 0),
            ("connect_timeout", !self.connect_timeout.is_zero()),
            ("timeouts.first_byte", !self.timeouts.first_byte.is_zero()),
            ("timeouts.between_bytes", !self.timeouts.between_bytes.is_zero()),
            ("clients.timeout", !self.clients.timeout.is_zero()),
            ("head_timeout", !self.head_timeout.is_zero()),
            ("upstream_limits.concurrency", self.upstream_limits.concurrency != 0),
        ];
        match positive.into_iter().find(|(_, valid)| !valid) {
            Some((name, _)) => Err(OptionsError::Zero(name)),
            None if self.max_head_bytes < 8 << 10 => Err(OptionsError::Head(self.max_head_bytes)),
            None => Ok(()),
        }
    }
}

fn parse_server_name(text: &str) -> Result<String, ValueError> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_address = text.parse::<std::net::IpAddr>().is_ok();
    if is_address || (!text.is_empty() && text.bytes().all(is_name)) {
        return Ok(text.to_owned());
    }
    let help = "write a host name or an IP address, without scheme and port";
    Err(ValueError::wrong_value("is no host name", help))
}

/// The `Host` that the upstream receives.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HostPolicy {
    /// The client's `Host`.
    #[default]
    Preserve,
    /// The upstream's own host from the configuration; the client's is in `X-Forwarded-Host`.
    Upstream,
}

/// The words for [`HostPolicy`].
const HOST_WORDS: [(&str, HostPolicy); 2] =
    [("preserve", HostPolicy::Preserve), ("upstream", HostPolicy::Upstream)];

/// An option is invalid.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum OptionsError {
    /// An option that must be more than zero is zero.
    #[error("{0} must be more than zero")]
    Zero(&'static str),
    /// The files of TLS can't be used.
    #[error("{0}")]
    Tls(String),
    /// The limit on request heads is too small.
    #[error("max_head_bytes is {0}; the minimum is 8192")]
    Head(usize),
}
