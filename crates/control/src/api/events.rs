//! `POST /api/v1/events/{source}`
//!
//! The sender is authenticated, since its events decide which entries count as fresh: it signs each body
//! (Standard Webhooks; Debezium Server: `authentication.type=standard-webhooks`) or sends the secret as a
//! bearer token.

use access::Peer;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::admin::SharedAdmin;
use crate::events::EventError;
use crate::problem::problem;
use crate::webhook::Sender;

/// The largest body, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 16 << 20;

pub(super) async fn post(
    State(admin): SharedAdmin,
    source: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let Ok(Path(source)) = source else {
        return problem(StatusCode::NOT_FOUND, "Not found", "the name of the source is not UTF-8");
    };
    let mut endpoints = admin.sources.iter().filter_map(|source| source.events.as_ref());
    let Some(endpoint) = endpoints.find(|endpoint| endpoint.source == source) else {
        let detail = format!("no source {source:?} takes events; see [source.NAME] events");
        return problem(StatusCode::NOT_FOUND, "Not found", &detail);
    };
    let Some(Peer { address: from, .. }) = request.extensions().get().cloned() else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "Caller unknown", "");
    };
    let sender = match endpoint.secret.check_head(request.headers(), endpoint.clock.wall_us()) {
        Ok(sender) => sender,
        Err(what) => return refused(&source, what),
    };
    let slots = match &sender {
        Sender::Known => &admin.bodies.events,
        Sender::Signed(_) => &admin.bodies.signed_events,
    };
    let body = match slots.receive(from, request.into_body(), BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    if let Err(what) = endpoint.secret.check_body(&sender, &body) {
        return refused(&source, what);
    }
    match endpoint.sink.take(&body).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(EventError::Unreadable(what)) => {
            tracing::error!(source, what, "events can't be parsed and are refused until corrected");
            problem(StatusCode::BAD_REQUEST, "Invalid events", &what)
        }
        Err(EventError::NotNow(what)) => {
            let title = "Events not accepted by this node now";
            problem(StatusCode::SERVICE_UNAVAILABLE, title, &what)
        }
    }
}

fn refused(source: &str, what: &str) -> Response {
    tracing::warn!(source, what, "events were refused");
    problem(StatusCode::UNAUTHORIZED, "Authentication failed", what)
}
