//! Parts that the handlers share: bodies, headers, counts, and times in answers.

use std::time::{Duration, UNIX_EPOCH};

use access::Object;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::hold_id::HoldId;
use crate::request::{IdempotencyKey, InvalidRequest};
use crate::service::{Sale, SaleError};

const KEY_HEADER: &str = "idempotency-key";

/// The parameter in a path.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parsed = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = parsed.map_err(|err| InvalidRequest::new("the path", err.body_text()))?;
        Ok(Self(text))
    }
}

/// The parameters in the query.
pub(super) struct Parameters<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parsed = Query::<T>::from_request_parts(parts, state).await;
        let Query(parameters) =
            parsed.map_err(|err| InvalidRequest::new("the query", err.body_text()))?;
        Ok(Self(parameters))
    }
}

/// Parses a JSON body. An empty one is `{}`, for requests whose fields are all optional.
pub(super) fn parse<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<T, Problem> {
    let body = body.map_err(|err| {
        let status = err.status();
        Problem::new(status, "unreadable-body", "Unreadable body", err.body_text())
    })?;
    if body.is_empty() {
        return object(b"{}");
    }
    // A page of another origin can't send this type from a browser without a preflight request.
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        let detail = "send the body as content-type: application/json";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Problem::new(status, "unsupported-media-type", "Not JSON", detail));
    }
    object(&body)
}

fn object<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let parsed = serde_json::from_slice::<Object<T>>(text);
    let Object(parsed) = parsed.map_err(|err| InvalidRequest::new("the body", err.to_string()))?;
    Ok(parsed)
}

/// Returns the idempotency key, which every POST must have.
pub(super) fn key(headers: &HeaderMap) -> Result<IdempotencyKey, Problem> {
    let mut values = headers.get_all(KEY_HEADER).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        let detail = "send one header Idempotency-Key with a new key for each request, such as a UUID, and the \
                      same key with a repeat";
        let status = StatusCode::BAD_REQUEST;
        return Err(Problem::new(
            status,
            "idempotency-key-missing",
            "Idempotency key missing",
            detail,
        ));
    };
    // The field's draft writes a string in quotes; most clients write none.
    let text = String::from_utf8_lossy(value.as_bytes());
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&text);
    Ok(IdempotencyKey::new(text)?)
}

/// Parses the name of a hold in a path.
pub(super) fn hold_id(text: &str) -> Result<HoldId, Problem> {
    text.parse().map_err(|err| {
        let detail = format!("{text:?}: {err}");
        Problem::new(StatusCode::NOT_FOUND, "unknown-hold", "Unknown hold", detail)
    })
}

/// Counts the outcome of a request.
pub(super) fn counted<T>(
    sale: &Sale,
    operation: &'static str,
    result: Result<T, SaleError>,
) -> Result<T, SaleError> {
    let outcome = result.as_ref().err().map_or("done", SaleError::kind);
    sale.metrics().answered(operation, outcome);
    result
}

/// Formats ms since 1970 as RFC 3339.
pub(super) fn timestamp(ms: i64) -> String {
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or_default());
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(keys: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for key in keys {
            headers.append(KEY_HEADER, HeaderValue::from_bytes(key.as_bytes()).expect("a value"));
        }
        headers
    }

    #[test]
    fn quoted_key_is_the_same_key() {
        let read = |text| key(&headers(&[text])).expect(text);
        assert_eq!(read("\"a b\""), read("a b"));
        for none in [&[][..], &["a", "b"], &[""], &["\"\""], &["\u{e9}"]] {
            assert!(key(&headers(none)).is_err(), "{none:?}");
        }
    }

    #[test]
    fn times_in_rfc_3339() {
        assert_eq!(timestamp(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }
}
