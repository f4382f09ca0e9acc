//! Error responses of the gateway.

use std::time::Duration;

use cache::{OriginErrorKind, ReadError};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use thiserror::Error;

use crate::http::body::Body;
use crate::http::cache_control::NO_STORE;
use crate::http::freshness::CACHE_STATUS;
use crate::http::path::PathError;
use crate::http::request_id::X_REQUEST_ID;
use crate::upstream::error::UpstreamError;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The gateway responds with an error of its own.
#[derive(Debug, Error)]
pub(crate) enum GatewayError {
    #[error("the host is missing or malformed")]
    Host,
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("the target of the request is neither a path nor a URL")]
    Target,
    #[error("this gateway does not serve the host")]
    UnknownHost,
    #[error("a WebSocket is opened by a GET of HTTP/1.1 with `Connection: upgrade`")]
    Upgrade,
    #[error("the method {0} is not supported")]
    Method(http::Method),
    #[error("100-continue is the only supported expectation")]
    Expectation,
    #[error(
        "the request has passed this gateway before, or too many Tidegate gateways: its upstream leads back to it"
    )]
    Loop,
    #[error("no page is stored, and the request has only-if-cached")]
    OnlyIfCached,
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl GatewayError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Host | Self::Path(_) | Self::Target => StatusCode::BAD_REQUEST,
            Self::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Upgrade => StatusCode::NOT_IMPLEMENTED,
            Self::Method(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::OnlyIfCached => StatusCode::GATEWAY_TIMEOUT,
            Self::Upstream(err) => match err {
                UpstreamError::Overloaded(_)
                | UpstreamError::Descriptors
                | UpstreamError::Unreachable(_)
                | UpstreamError::PageFails(_)
                | UpstreamError::TotalLimit(_) => StatusCode::SERVICE_UNAVAILABLE,
                UpstreamError::ClientLimit(_) => StatusCode::TOO_MANY_REQUESTS,
                UpstreamError::ConnectTimeout(_)
                | UpstreamError::ResponseTimeout(_)
                | UpstreamError::TotalTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
                UpstreamError::RequestBody => StatusCode::BAD_REQUEST,
                UpstreamError::Connect(_)
                | UpstreamError::Tls(_)
                | UpstreamError::Closed
                | UpstreamError::InvalidHttp(_)
                | UpstreamError::Incomplete(_) => StatusCode::BAD_GATEWAY,
            },
            Self::Read(err) => match err {
                ReadError::Origin(err) => match err.kind {
                    OriginErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
                    OriginErrorKind::Refused => StatusCode::SERVICE_UNAVAILABLE,
                    OriginErrorKind::Unavailable
                    | OriginErrorKind::Broken
                    | OriginErrorKind::BadRequest => StatusCode::BAD_GATEWAY,
                    // As the client of the load got it.
                    OriginErrorKind::ServerError(status) => {
                        StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
                    }
                },
                ReadError::WaitTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
                ReadError::Unproven { .. } | ReadError::Overloaded { .. } => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                ReadError::NoCommonSnapshot | ReadError::Aborted => {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
            },
        }
    }

    /// The error type of RFC 9209 §2.3, where one applies.
    fn proxy_error(&self) -> Option<&'static str> {
        Some(match self {
            Self::Upstream(err) => err.proxy_error(),
            Self::Loop => "proxy_loop_detected",
            Self::Host | Self::Path(_) | Self::Target | Self::Expectation => "http_request_error",
            Self::UnknownHost | Self::Method(_) | Self::Upgrade => "http_request_denied",
            Self::OnlyIfCached => return None,
            // The upstream's own answer.
            Self::Read(ReadError::Origin(err)) if is_server_error(err.kind) => return None,
            Self::Read(ReadError::Origin(err)) => match err.kind {
                OriginErrorKind::Timeout => "http_response_timeout",
                OriginErrorKind::Unavailable => "destination_unavailable",
                OriginErrorKind::Refused => "connection_limit_reached",
                OriginErrorKind::Broken
                | OriginErrorKind::BadRequest
                | OriginErrorKind::ServerError(_) => "http_protocol_error",
            },
            Self::Read(ReadError::WaitTimeout(_)) => "http_response_timeout",
            Self::Read(ReadError::Overloaded { .. }) => "connection_limit_reached",
            Self::Read(
                ReadError::Unproven { .. } | ReadError::NoCommonSnapshot | ReadError::Aborted,
            ) => "proxy_internal_error",
        })
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Upstream(err) => err.retry_after(),
            Self::Read(err) => err.retry_after(),
            _ => None,
        }
    }

    /// Builds the response. Its text is for people; it contains no address or path behind the gateway.
    pub(crate) fn response(&self, request_id: &HeaderValue) -> Response<Body> {
        let status = self.status();
        let id = request_id.to_str().unwrap_or_default();
        let reason = status.canonical_reason().unwrap_or_default();
        let public = self.public_text();
        let text = format!("{} {reason}: {public}\nrequest {id}\n", status.as_u16());
        let mut response = Response::new(Body::complete(text.into()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.insert(CACHE_STATUS, HeaderValue::from_static("tidegate; detail=error"));
        headers.insert(X_REQUEST_ID, request_id.clone());
        if let Some(error) = self.proxy_error() {
            let text = format!("tidegate; error={error}");
            headers.insert(
                PROXY_STATUS,
                HeaderValue::try_from(text).expect("fixed text is visible ASCII"),
            );
        }
        if let Some(after) = self.retry_after() {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }

    fn public_text(&self) -> String {
        match self {
            Self::Read(ReadError::Origin(err)) if is_server_error(err.kind) => {
                "the upstream answered with this error".to_owned()
            }
            Self::Read(ReadError::Origin(_)) => "the upstream failed".to_owned(),
            Self::Upstream(err) => err.public_text().to_owned(),
            other => other.to_string(),
        }
    }
}

fn is_server_error(kind: OriginErrorKind) -> bool {
    matches!(kind, OriginErrorKind::ServerError(_))
}
