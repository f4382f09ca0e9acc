//! `GET /readyz`

use std::borrow::Cow;
use std::collections::BTreeMap;

use access::{Peer, Role};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::admin::SharedAdmin;

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    components: BTreeMap<Cow<'static, str>, Component>,
}

#[derive(Serialize)]
struct Component {
    ok: bool,
    required: bool,
    /// For callers who may see the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Answers 200 while all required components work, else 503. Needs no token; details are for viewers.
pub(super) async fn get(State(admin): SharedAdmin, request: Parts) -> Response {
    let peer = request.extensions.get::<Peer>();
    let caller = peer.and_then(|peer| admin.gate.recognise(&request, peer));
    let shows_details = caller.is_some_and(|caller| caller.has(Role::Viewer));
    let node::Readiness { ready, components } = admin.health.readiness();
    let components = components.into_iter().map(|(name, component)| {
        let node::Component { ok, required, detail } = component;
        (name, Component { ok, required, detail: shows_details.then_some(detail) })
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, components: components.collect() })).into_response()
}
