//! Errors of requests to the upstream and to services.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use cache::admission::RequestOutcome;
use hyper_util::client::legacy::Error as ClientError;
use listen::is_out_of_descriptors;
use thiserror::Error;
use tls::{TlsFailure, alert_of};

use crate::settings::tls_files::NAMES;

/// The upstream gave no usable response.
#[derive(Debug, Error)]
pub(crate) enum UpstreamError {
    #[error("the upstream is overloaded: all of its places are taken")]
    Overloaded(Duration),
    #[error("the upstream can't be reached, or is silent; it is asked again in {0:?}")]
    Unreachable(Duration),
    #[error("the upstream fails to serve this page; it is asked again in {0:?}")]
    PageFails(Duration),
    #[error("the client has too many {0} open")]
    ClientLimit(&'static str),
    #[error("all clients together have too many {0} open")]
    TotalLimit(&'static str),
    #[error("can't connect to the upstream: {0}")]
    Connect(String),
    #[error("can't connect to the upstream: TLS: {0}")]
    Tls(String),
    #[error("this process has no file descriptors left for a connection to the upstream")]
    Descriptors,
    #[error("no connection to the upstream within {0:?}")]
    ConnectTimeout(Duration),
    #[error("no response from the upstream within {0:?}")]
    ResponseTimeout(Duration),
    #[error("no response from the upstream within the total timeout of {0:?}")]
    TotalTimeout(Duration),
    #[error("the upstream closed the connection without a response")]
    Closed,
    #[error("the upstream's response is not valid HTTP: {0}")]
    InvalidHttp(String),
    #[error("the upstream's response ended early: {0}")]
    Incomplete(String),
    #[error("the request body ended early")]
    RequestBody,
}

impl UpstreamError {
    /// Classifies a client error. `connect_timeout` is the limit that the client's connector has.
    pub(crate) fn from_client(err: &ClientError, connect_timeout: Duration) -> Self {
        let causes = || std::iter::successors(err.source(), |cause| (**cause).source());
        let text = causes().last().map_or_else(|| err.to_string(), ToString::to_string);
        let io = causes().find_map(|cause| cause.downcast_ref::<io::Error>());
        // TLS 1.3 refuses a client certificate after the handshake.
        let alert = io.and_then(|err| alert_of(err, &NAMES));
        let failure = causes().find_map(|cause| cause.downcast_ref::<TlsFailure>());
        if let Some(failure @ TlsFailure::Misconfigured { .. }) = alert.as_ref().or(failure) {
            return Self::Tls(failure.to_string());
        }
        if err.is_connect() {
            if io.is_some_and(is_out_of_descriptors) {
                return Self::Descriptors;
            }
            return match io.map(io::Error::kind) {
                Some(io::ErrorKind::TimedOut) => Self::ConnectTimeout(connect_timeout),
                _ => Self::Connect(text),
            };
        }
        let Some(hyper) = causes().find_map(|cause| cause.downcast_ref::<hyper::Error>()) else {
            return Self::Connect(text);
        };
        if hyper.is_user() {
            return Self::RequestBody;
        }
        if hyper.is_parse() {
            return Self::InvalidHttp(text);
        }
        Self::Closed
    }

    /// Whether the request was not sent for lack of a connection.
    pub(crate) fn is_before_sending(&self) -> bool {
        matches!(
            self,
            Self::Connect(_) | Self::Tls(_) | Self::ConnectTimeout(_) | Self::Descriptors
        )
    }

    /// The error type of RFC 9209 §2.3; also the label in metrics.
    pub(crate) fn proxy_error(&self) -> &'static str {
        match self {
            Self::Overloaded(_) | Self::TotalLimit(_) | Self::Descriptors => {
                "connection_limit_reached"
            }
            Self::Connect(_) | Self::Unreachable(_) | Self::PageFails(_) => {
                "destination_unavailable"
            }
            Self::Tls(_) => "tls_certificate_error",
            Self::ClientLimit(_) => "http_request_denied",
            Self::ConnectTimeout(_) => "connection_timeout",
            Self::ResponseTimeout(_) | Self::TotalTimeout(_) => "http_response_timeout",
            Self::Closed => "connection_terminated",
            Self::InvalidHttp(_) => "http_protocol_error",
            Self::Incomplete(_) => "http_response_incomplete",
            Self::RequestBody => "http_request_error",
        }
    }

    /// The time after which a retry may succeed, for a request that was not sent.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded(left) | Self::Unreachable(left) | Self::PageFails(left) => Some(*left),
            Self::ClientLimit(_) | Self::TotalLimit(_) | Self::Descriptors => {
                Some(Duration::from_secs(1))
            }
            _ => None,
        }
    }

    /// The signal for the admission to the upstream. Only a failed connection and silence say that the
    /// server is ill; other failures may be those of one page. `None`: no signal.
    pub(crate) fn outcome(&self) -> Option<RequestOutcome> {
        Some(match self {
            Self::Connect(_) | Self::Tls(_) | Self::ConnectTimeout(_) => RequestOutcome::Failed,
            Self::ResponseTimeout(_) | Self::TotalTimeout(_) => RequestOutcome::Silent,
            Self::Closed | Self::InvalidHttp(_) | Self::Incomplete(_) => RequestOutcome::Answered,
            Self::RequestBody
            | Self::Overloaded(_)
            | Self::Descriptors
            | Self::Unreachable(_)
            | Self::PageFails(_)
            | Self::ClientLimit(_)
            | Self::TotalLimit(_) => return None,
        })
    }

    /// The text for clients, without details for the operator only.
    pub(crate) fn public_text(&self) -> &'static str {
        match self {
            Self::Overloaded(_) => "the upstream is overloaded",
            Self::Descriptors => "the gateway has too many connections",
            Self::Unreachable(_) => "the upstream can't be reached",
            Self::PageFails(_) => "the upstream fails to serve this page",
            Self::ClientLimit(_) => "too many requests of this client are open",
            Self::TotalLimit(_) => "too many requests are open",
            Self::Connect(_) | Self::Tls(_) => "can't connect to the upstream",
            Self::ConnectTimeout(_) | Self::ResponseTimeout(_) | Self::TotalTimeout(_) => {
                "the upstream timed out"
            }
            Self::Closed => "the upstream closed the connection without a response",
            Self::InvalidHttp(_) => "the upstream's response is not valid HTTP",
            Self::Incomplete(_) => "the upstream's response ended early",
            Self::RequestBody => "the request body ended early",
        }
    }
}
