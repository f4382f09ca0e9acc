//! Problem details (RFC 9457).

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::json;

/// The media type of problem details.
pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Formats problem details as JSON.
pub(crate) fn problem(status: StatusCode, title: &str, detail: &str) -> Bytes {
    let problem = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    Bytes::from(problem.to_string())
}
