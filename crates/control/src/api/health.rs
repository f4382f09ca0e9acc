//! `GET /readyz`

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::admin::SharedAdmin;

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    components: BTreeMap<&'static str, Component>,
}

#[derive(Serialize)]
struct Component {
    ok: bool,
    required: bool,
    detail: String,
}

/// Answers 200 while all required components work, else 503.
pub(super) async fn get(State(admin): SharedAdmin) -> Response {
    let node::Readiness { ready, components } = admin.health.readiness();
    let components = components.into_iter().map(|(name, component)| {
        let node::Component { ok, required, detail } = component;
        (name, Component { ok, required, detail })
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, components: components.collect() })).into_response()
}
