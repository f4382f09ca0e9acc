//! The admin listener: `/healthz`, `/readyz`, `/metrics` and the API under `/api/v1/`, one module per
//! resource.
//!
//! A request passes `guard` before its body is read: the host and the site of the page that sends it, the
//! caller, the role. Purge requests must be sent as `application/json`, which a page of another origin can't do
//! in a browser without a preflight request (CSRF).

pub mod audit;
mod events;
mod guard;
mod health;
mod inspect;
pub mod invalidations;
mod metrics;
mod openapi;
pub mod purge;
mod reload;
pub mod status;
pub mod token;

use std::sync::Arc;

use access::Role;
use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use hyper::service::{Service as _, service_fn};
use hyper_util::service::TowerToHyperService;
use listen::{Acceptor, Switch};

use crate::admin::Admin;
use crate::problem::{method_not_allowed, problem};
use guard::{Needs, check_caller, check_host};

/// The routes of the admin API.
pub type Routes = Router;

/// Serves each request by the [`router`] on which `current` stands when it arrives, until `stop` completes; requests in
/// flight are finished.
pub async fn serve(
    acceptor: Acceptor,
    current: Switch<Router>,
    stop: impl Future<Output = ()> + Send,
) {
    let service = service_fn(move |request| TowerToHyperService::new(current.get()).call(request));
    access::serve(acceptor, service, stop).await;
}

/// Returns the routes, in groups by the role that they need. Requests need the extension [`access::Peer`].
pub fn router(admin: Admin) -> Router {
    let admin = Arc::new(admin);
    let caller = |role| {
        let needs = Needs { admin: Arc::clone(&admin), role };
        from_fn_with_state(needs, check_caller)
    };
    let any_token =
        Router::new().route("/api/v1/token", post(token::post)).route_layer(caller(None));
    let viewers = Router::new()
        .route("/metrics", get(metrics::get))
        .route("/api/v1/status", get(status::get))
        .route("/api/v1/audit", get(audit::get))
        .route("/api/v1/inspect", get(inspect::get))
        .route("/api/v1/invalidations", get(invalidations::get))
        .route("/openapi.json", get(openapi::get))
        .route_layer(caller(Some(Role::Viewer)));
    let operators = Router::new()
        .route("/api/v1/invalidate", post(purge::invalidate))
        .route("/api/v1/purge", post(purge::purge))
        .route_layer(caller(Some(Role::Operator)));
    let admins = Router::new()
        .route("/api/v1/reload", post(reload::post))
        .route_layer(caller(Some(Role::Admin)));
    // The sender of events has a secret of its own.
    let events = Router::new().route("/api/v1/events/{source}", post(events::post));
    let checked = any_token.merge(viewers).merge(operators).merge(admins).merge(events);
    // Health is open: probes of load balancers have no token, and some send no host name.
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(health::get))
        .merge(checked.route_layer(from_fn_with_state(Arc::clone(&admin), check_host)))
        .fallback(async || problem(StatusCode::NOT_FOUND, "Not found", openapi::paths()))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(admin)
}
