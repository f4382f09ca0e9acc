//! `GET /metrics`

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::admin::SharedAdmin;
use crate::problem::problem;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn get(State(admin): SharedAdmin) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(err) => {
            tracing::error!(error = %err, "the metrics could not be encoded");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "Metrics could not be encoded", "")
        }
    }
}
