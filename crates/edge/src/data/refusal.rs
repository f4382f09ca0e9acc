//! Why there is no value, as a client is told.

use bytes::Bytes;
use cache::{OriginErrorKind, ReadError};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::{NO_STORE, PROBLEM};
use crate::body::Body;

/// Why there is no value.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) title: &'static str,
    pub(super) detail: String,
    pub(super) retry_after_s: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, title: &'static str, detail: String) -> Self {
        Self { status, title, detail, retry_after_s: None }
    }

    pub(super) fn response(&self) -> Response<Body> {
        let mut response =
            Response::new(Body::whole(problem(self.status, self.title, &self.detail)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM);
        headers.insert(CACHE_CONTROL, NO_STORE);
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

impl From<ReadError> for Refusal {
    fn from(err: ReadError) -> Self {
        let (status, title) = match &err {
            ReadError::Origin(err) => match err.kind {
                OriginErrorKind::BadRequest => (StatusCode::BAD_REQUEST, "that is no id"),
                OriginErrorKind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "the origin is slow"),
                OriginErrorKind::Unavailable | OriginErrorKind::Refused => {
                    (StatusCode::SERVICE_UNAVAILABLE, "the origin is away")
                }
                OriginErrorKind::Broken => (StatusCode::BAD_GATEWAY, "the origin failed"),
            },
            ReadError::Unproven { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "freshness can't be proven")
            }
            ReadError::Overloaded { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "the origin is spared")
            }
            ReadError::Waited(_) => (StatusCode::GATEWAY_TIMEOUT, "the origin is slow"),
            ReadError::Apart => (StatusCode::BAD_REQUEST, "these have no common moment"),
            ReadError::Aborted => (StatusCode::INTERNAL_SERVER_ERROR, "the load broke off"),
        };
        let retry_after_s = err.retry_after().map(|after| after.as_millis().div_ceil(1_000).max(1));
        let retry_after_s = retry_after_s.and_then(|seconds| u64::try_from(seconds).ok());
        Self { status, title, detail: err.to_string(), retry_after_s }
    }
}

/// RFC 9457.
pub(super) fn problem(status: StatusCode, title: &str, detail: &str) -> Bytes {
    let problem = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    Bytes::from(problem.to_string())
}
