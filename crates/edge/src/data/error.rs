//! Errors of the data API as problem details.

use std::borrow::Cow;

use access::Refusal;
use cache::{OriginErrorKind, ReadError};
use contract::ProblemDetails;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

use crate::http::body::Body;
use crate::http::cache_control::NO_STORE;

/// A request or an item without a value, and why.
#[derive(Debug)]
pub(super) struct DataError {
    pub(super) status: StatusCode,
    /// A stable word.
    pub(super) kind: Cow<'static, str>,
    pub(super) title: &'static str,
    pub(super) detail: String,
    pub(super) retry_after_s: Option<u64>,
}

impl DataError {
    pub(super) fn new(status: StatusCode, title: &'static str, detail: String) -> Self {
        let kind = ProblemDetails::kind_of(title).into();
        Self { status, kind, title, detail, retry_after_s: None }
    }

    pub(super) fn invalid_id(detail: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Invalid ID", detail)
    }

    pub(super) fn response(&self) -> Response<Body> {
        let (title, detail) = (self.title, self.detail.as_str());
        let status = self.status.as_u16();
        let problem = ProblemDetails { kind: &self.kind, title, status, detail };
        let mut response = Response::new(Body::complete(problem.to_json().into()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(ProblemDetails::MEDIA_TYPE));
        headers.insert(CACHE_CONTROL, NO_STORE);
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

impl From<Refusal> for DataError {
    fn from(refusal: Refusal) -> Self {
        let status = refusal.status();
        let retry_after_s = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        let (kind, title) = (refusal.kind().into(), refusal.title());
        Self { status, kind, title, detail: refusal.to_string(), retry_after_s }
    }
}

impl From<ReadError> for DataError {
    fn from(err: ReadError) -> Self {
        let (status, title) = match &err {
            ReadError::Origin(err) => match err.kind {
                OriginErrorKind::BadRequest => (StatusCode::BAD_REQUEST, "Invalid ID"),
                OriginErrorKind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "Origin timed out"),
                OriginErrorKind::Unavailable | OriginErrorKind::Refused => {
                    (StatusCode::SERVICE_UNAVAILABLE, "Origin unavailable")
                }
                OriginErrorKind::Broken | OriginErrorKind::ServerError(_) => {
                    (StatusCode::BAD_GATEWAY, "Origin failed")
                }
            },
            ReadError::Unproven { .. } => (StatusCode::SERVICE_UNAVAILABLE, "Freshness not proven"),
            ReadError::Overloaded { .. } => (StatusCode::SERVICE_UNAVAILABLE, "Origin overloaded"),
            ReadError::WaitTimeout(_) => (StatusCode::GATEWAY_TIMEOUT, "Origin timed out"),
            ReadError::NoCommonSnapshot => (StatusCode::BAD_REQUEST, "No common snapshot"),
            ReadError::Aborted => (StatusCode::INTERNAL_SERVER_ERROR, "Load aborted"),
        };
        let retry_after_s = err.retry_after().map(|after| after.as_millis().div_ceil(1_000).max(1));
        let retry_after_s = retry_after_s.and_then(|seconds| u64::try_from(seconds).ok());
        Self { retry_after_s, ..Self::new(status, title, err.to_string()) }
    }
}
