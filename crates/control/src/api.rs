//! The admin listener: `/healthz`, `/readyz`, `/metrics` and the API under `/api/v1/`, one module per
//! resource.
//!
//! The listener belongs on a private address. Purge requests must be sent as `application/json`, which a page
//! of another origin can't do in a browser without a preflight request (CSRF).

pub mod audit;
mod events;
mod health;
mod inspect;
pub mod invalidations;
mod metrics;
pub mod purge;
pub mod status;
pub mod token;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post};
use listen::Acceptor;

use crate::admin::Admin;
use crate::listener::AdminListener;
use crate::problem::problem;

/// Serves until `stop` completes; requests in flight are finished.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    acceptor: Acceptor,
    admin: Admin,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(AdminListener(acceptor), router(admin)).with_graceful_shutdown(stop).await
}

/// Returns the routes.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(health::get))
        .route("/metrics", get(metrics::get))
        .route("/api/v1/status", get(status::get))
        .route("/api/v1/audit", get(audit::get))
        .route("/api/v1/inspect", get(inspect::get))
        .route("/api/v1/invalidations", get(invalidations::get))
        .route("/api/v1/invalidate", post(purge::invalidate))
        .route("/api/v1/purge", post(purge::purge))
        .route("/api/v1/token", post(token::post))
        .layer(DefaultBodyLimit::max(purge::BODY_BYTES_MAX))
        .route(
            "/api/v1/events/{source}",
            post(events::post).layer(DefaultBodyLimit::max(events::BODY_BYTES_MAX)),
        )
        .fallback(async || problem(StatusCode::NOT_FOUND, "Not found", PATHS))
        .with_state(Arc::new(admin))
}

const PATHS: &str = "the paths are /healthz, /readyz, /metrics, /api/v1/status, \
                     /api/v1/audit, /api/v1/inspect, /api/v1/invalidations, \
                     /api/v1/invalidate, /api/v1/purge, /api/v1/token and \
                     /api/v1/events/{source}";
