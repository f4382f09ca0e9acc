//! The gateway's settings.

use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use thiserror::Error;

use crate::routes::Routes;

/// How a [`Gateway`](crate::Gateway) behaves.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// The application: `http://host[:port]`.
    pub upstream: Uri,
    /// Which name the upstream is called by.
    pub host: HostPolicy,
    /// The hosts that are served, in lower case, with their port unless it is the usual one.
    /// Empty: any. A request for another one is answered 421.
    pub hosts: Vec<String>,
    /// Whether the client is a proxy of ours: its `X-Forwarded-For` is continued and its
    /// `X-Forwarded-Proto` believed. Otherwise what a client says of itself is dropped.
    pub trust_forwarded: bool,
    /// Which pages may be how stale.
    pub routes: Routes,
    /// Larger bodies go through, but are not stored.
    pub max_object_bytes: u64,
    /// A response with more surrogate keys is not stored.
    pub max_tags: usize,
    /// How long connecting to the upstream may take.
    pub connect_timeout: Duration,
    /// How long the upstream may be silent before the first byte of its answer.
    pub first_byte_timeout: Duration,
    /// How long a body may pause, in either direction, before it is given up.
    pub body_pause: Duration,
    /// How long a client may take for the head of a request, from the moment its connection is
    /// idle; it is cut off after at most twice as long.
    pub head_timeout: Duration,
    /// The largest head of a request; a larger one is answered 431. At least 8 KiB.
    pub max_head_bytes: usize,
    /// The most client connections at once; more wait to be accepted.
    pub max_connections: usize,
    /// The most requests at the upstream at once; more are answered 503.
    pub max_upstream_requests: usize,
    /// How long requests under way may take to end when the gateway is told to stop.
    pub drain: Duration,
}

impl GatewayOptions {
    /// The usual settings in front of `upstream`.
    #[must_use]
    pub fn new(upstream: Uri) -> Self {
        Self {
            upstream,
            host: HostPolicy::Preserve,
            hosts: Vec::new(),
            trust_forwarded: false,
            routes: Routes::default(),
            max_object_bytes: 4 << 20,
            max_tags: 128,
            connect_timeout: Duration::from_secs(2),
            first_byte_timeout: Duration::from_secs(10),
            body_pause: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            max_head_bytes: 32 << 10,
            max_connections: 10_000,
            max_upstream_requests: 512,
            drain: Duration::from_secs(10),
        }
    }

    /// The authority of the upstream.
    ///
    /// # Errors
    /// [`OptionsError`] names the first setting that can't be.
    pub(crate) fn check(&self) -> Result<Authority, OptionsError> {
        let uri = &self.upstream;
        let plain = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        let authority = match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(authority)) if plain && !authority.as_str().contains('@') => {
                authority
            }
            _ => return Err(OptionsError::Upstream(uri.clone())),
        };
        let needed = [
            ("max_object_bytes", self.max_object_bytes != 0),
            ("connect_timeout", !self.connect_timeout.is_zero()),
            ("first_byte_timeout", !self.first_byte_timeout.is_zero()),
            ("body_pause", !self.body_pause.is_zero()),
            ("head_timeout", !self.head_timeout.is_zero()),
            ("max_connections", self.max_connections != 0),
            ("max_upstream_requests", self.max_upstream_requests != 0),
        ];
        match needed.into_iter().find(|(_, given)| !given) {
            Some((name, _)) => Err(OptionsError::Zero(name)),
            None if self.max_head_bytes < 8 << 10 => Err(OptionsError::Head(self.max_head_bytes)),
            None => Ok(authority.clone()),
        }
    }
}

/// Which name the upstream is called by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HostPolicy {
    /// The one the client used.
    #[default]
    Preserve,
    /// Its own, from the configuration; the client's is in `X-Forwarded-Host`.
    Upstream,
}

/// A setting that can't be.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum OptionsError {
    /// The upstream is not of the form `http://host[:port]`.
    #[error("the upstream {0} is not of the form http://host[:port]")]
    Upstream(Uri),
    /// A setting is zero that must not be.
    #[error("{0} must be more than zero")]
    Zero(&'static str),
    /// The limit on request heads is too small to work with.
    #[error("max_head_bytes is {0}; at least 8192 are needed")]
    Head(usize),
}
