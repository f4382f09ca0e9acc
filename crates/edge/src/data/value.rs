//! Responses with one value.

use cache::{Answer, Content, Policy, Value};
use http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use super::error::DataError;
use crate::http::body::Body;
use crate::http::cache_control::NO_STORE;
use crate::http::freshness::{self, CACHE_STATUS, ServedBy, TIDEGATE_FRESHNESS};

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The value of an answer.
///
/// # Errors
/// [`DataError`] where the answer has no value.
pub(super) fn value(answer: &Answer, policy: &Policy) -> Result<Value, DataError> {
    match answer.entry.content() {
        Content::Present(value) => Ok(value),
        Content::Absent => {
            let detail = format!("{} has no row for this ID", policy.rules.name);
            Err(DataError::new(StatusCode::NOT_FOUND, "Row not found", detail))
        }
        Content::Uncacheable => {
            let detail =
                format!("the response of {}'s origin may not be shared", policy.rules.name);
            Err(DataError::new(StatusCode::BAD_GATEWAY, "Value not shareable", detail))
        }
    }
}

/// Builds the response with a value or its proven absence, and the proof.
pub(super) fn response(answer: &Answer, policy: &Policy) -> Response<Body> {
    let mut response = match value(answer, policy) {
        Ok(Value { head, body }) => {
            let mut response = Response::new(Body::complete(body));
            response.headers_mut().insert(CONTENT_TYPE, media_type(&head));
            response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
            response
        }
        Err(err) => err.response(),
    };
    let proof = answer.proof();
    let headers = response.headers_mut();
    headers.insert(CACHE_STATUS, freshness::cache_status(&proof));
    headers.insert(
        TIDEGATE_FRESHNESS,
        freshness::tidegate_freshness(
            &proof,
            &policy.rules.name,
            ServedBy::DataApi(policy.rules.evidence),
        ),
    );
    headers.insert(AGE, HeaderValue::from(proof.age.as_secs()));
    response
}

/// The media type of a value: JSON, unless its origin states another.
fn media_type(head: &[u8]) -> HeaderValue {
    let stated = (!head.is_empty()).then(|| HeaderValue::from_bytes(head).ok());
    stated.flatten().unwrap_or(JSON)
}
