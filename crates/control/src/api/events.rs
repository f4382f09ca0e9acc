//! `POST /api/v1/events/{source}`
//!
//! The sender is authenticated, since its events decide which entries count as fresh: it signs each body
//! (Standard Webhooks; Debezium Server: `authentication.type=standard-webhooks`) or sends the secret as a
//! bearer token.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::admin::SharedAdmin;
use crate::events::EventError;
use crate::problem::problem;

/// The largest body, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 16 << 20;

pub(super) async fn post(
    State(admin): SharedAdmin,
    Path(source): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(endpoint) = admin.events.as_ref().filter(|endpoint| endpoint.source == source) else {
        let detail = format!("no source {source:?} takes events; see [source.NAME] events");
        return problem(StatusCode::NOT_FOUND, "Not found", &detail);
    };
    if let Err(what) = endpoint.secret.check(&headers, &body, endpoint.clock.wall_us()) {
        tracing::warn!(source, what, "events were refused");
        let mut response = problem(StatusCode::UNAUTHORIZED, "Authentication failed", what);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    }
    match endpoint.sink.take(&body).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(EventError::Unreadable(what)) => {
            tracing::error!(source, what, "events can't be parsed and are refused until corrected");
            problem(StatusCode::BAD_REQUEST, "Invalid events", &what)
        }
        Err(EventError::NotNow(what)) => {
            let title = "Events not accepted by this node now";
            let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, title, &what);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}
