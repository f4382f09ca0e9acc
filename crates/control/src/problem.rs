//! Error responses.

use access::Refusal;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::ProblemDetails;
use serde::de::DeserializeOwned;

/// Returns a response with problem details as its body. The kind is that of the title.
pub(crate) fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    problem_of_kind(status, &ProblemDetails::kind_of(title), title, detail)
}

/// Returns the response of a refused request.
pub(crate) fn refused(refusal: &Refusal) -> Response {
    let (status, kind) = (refusal.status(), refusal.kind());
    problem_of_kind(status, kind, refusal.title(), &refusal.to_string())
}

fn problem_of_kind(status: StatusCode, kind: &str, title: &str, detail: &str) -> Response {
    let problem = ProblemDetails { kind, title, status: status.as_u16(), detail };
    let mut response = (status, problem.to_json()).into_response();
    let headers = response.headers_mut();
    let media_type = HeaderValue::from_static(ProblemDetails::MEDIA_TYPE);
    headers.insert(header::CONTENT_TYPE, media_type);
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

pub(crate) async fn method_not_allowed(method: Method) -> Response {
    let detail = format!("{method} is not a method of this path");
    problem(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", &detail)
}

/// The parameters in the query.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let parsed = Query::<T>::from_request_parts(parts, state).await;
        let invalid = |detail: String| problem(StatusCode::BAD_REQUEST, "Invalid query", &detail);
        let Query(parameters) = parsed.map_err(|err| invalid(err.body_text()))?;
        Ok(Self(parameters))
    }
}
