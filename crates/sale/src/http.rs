//! The HTTP API of the sale, on a private address: its callers are the shop's own servers.

mod audit;
mod body;
mod carts;
mod checkouts;
mod gifts;
mod guard;
mod holds;
mod jobs;
mod limits;
mod openapi;
mod problem;
mod stock;

use access::{AuditLog, Gate};
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use hyper::service::{Service as _, service_fn};
use hyper_util::service::TowerToHyperService;
use listen::{Acceptor, Switch};

use self::guard::check_caller;
use self::limits::{BODY_BYTES_MAX, WEBHOOK_BYTES_MAX};
use self::problem::{method_not_allowed, not_found};
use crate::jobs::Jobs;
use crate::service::Sale;

/// The routes of the sale's API.
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

/// Events of payment providers, which show their right by a signature in place of an access token.
fn webhooks() -> Router<Sale> {
    Router::new()
        .route("/v1/webhooks/{provider}", post(checkouts::webhook))
        .layer(DefaultBodyLimit::max(WEBHOOK_BYTES_MAX))
        .method_not_allowed_fallback(method_not_allowed)
}

/// Returns the routes. With access tokens, reads need the role `viewer`, and changes `operator`. With an audit log, each
/// change of stock is on record before it happens. Requests need the extension [`access::Peer`].
pub fn router(gate: Gate, (sale, jobs): (Sale, Jobs), audit_log: Option<AuditLog>) -> Router {
    Router::new()
        .route("/v1/stock/{sku}", put(stock::put).get(stock::get))
        .route("/v1/stock/{sku}/adjust", post(stock::adjust))
        .route("/v1/holds", post(holds::post))
        .route("/v1/holds/{hold}", get(holds::get).delete(holds::delete))
        .route("/v1/holds/{hold}/extend", post(holds::extend))
        .route("/v1/holds/{hold}/confirm", post(holds::confirm))
        .route("/v1/carts/{cart}", put(carts::put).get(carts::get).delete(carts::delete))
        .route("/v1/carts/{cart}/checkout", post(carts::check_out))
        .route("/v1/gift-cards", post(gifts::post).get(gifts::get))
        .route("/v1/checkouts", post(checkouts::post))
        .route("/v1/checkouts/{checkout}", get(checkouts::get_checkout))
        .route("/v1/orders/{order}", get(checkouts::get_order))
        .route("/v1/orders/{order}/capture", post(checkouts::capture))
        .route("/v1/orders/{order}/cancel", post(checkouts::cancel))
        .route("/v1/orders/{order}/refund", post(checkouts::refund))
        .route("/v1/events", get(checkouts::events))
        .route("/openapi.json", get(openapi::get))
        .merge(jobs::routes(jobs))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(Extension(audit_log))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(gate, check_caller))
        .merge(webhooks())
        .with_state(sale)
}
