//! Error responses.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::ProblemDetails;

/// Returns a response with problem details as its body.
pub(crate) fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let problem = ProblemDetails { title, status: status.as_u16(), detail };
    let mut response = (status, problem.to_json()).into_response();
    let media_type = HeaderValue::from_static(ProblemDetails::MEDIA_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}
