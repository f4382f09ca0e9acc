//! Errors of requests to the upstream and to services.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use hyper_util::client::legacy::Error as ClientError;
use thiserror::Error;

/// The upstream gave no usable response.
#[derive(Debug, Error)]
pub(crate) enum UpstreamError {
    #[error("the upstream is overloaded: all connections are in use")]
    Overloaded,
    #[error("can't connect to the upstream: {0}")]
    Connect(String),
    #[error("no connection to the upstream within {0:?}")]
    ConnectTimeout(Duration),
    #[error("no response from the upstream within {0:?}")]
    ResponseTimeout(Duration),
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
        if err.is_connect() {
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

    /// The error type of RFC 9209 §2.3; also the label in metrics.
    pub(crate) fn proxy_error(&self) -> &'static str {
        match self {
            Self::Overloaded => "connection_limit_reached",
            Self::Connect(_) => "destination_unavailable",
            Self::ConnectTimeout(_) => "connection_timeout",
            Self::ResponseTimeout(_) => "http_response_timeout",
            Self::Closed => "connection_terminated",
            Self::InvalidHttp(_) => "http_protocol_error",
            Self::Incomplete(_) => "http_response_incomplete",
            Self::RequestBody => "http_request_error",
        }
    }

    /// The text for clients, without details for the operator only.
    pub(crate) fn public_text(&self) -> &'static str {
        match self {
            Self::Overloaded => "the upstream is overloaded",
            Self::Connect(_) => "can't connect to the upstream",
            Self::ConnectTimeout(_) | Self::ResponseTimeout(_) => "the upstream timed out",
            Self::Closed => "the upstream closed the connection without a response",
            Self::InvalidHttp(_) => "the upstream's response is not valid HTTP",
            Self::Incomplete(_) => "the upstream's response ended early",
            Self::RequestBody => "the request body ended early",
        }
    }
}
