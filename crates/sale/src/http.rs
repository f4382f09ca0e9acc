//! The HTTP API of the sale, on a private address: its callers are the shop's own servers.

mod body;
mod holds;
mod problem;
mod stock;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use tokio::net::TcpListener;

use self::problem::{method_not_allowed, not_found};
use crate::service::Sale;

/// The largest body, in bytes: a hold with the most and longest lines.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Serves until `stop` completes; requests in flight are finished.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    sale: Sale,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(sale)).with_graceful_shutdown(stop).await
}

fn router(sale: Sale) -> Router {
    Router::new()
        .route("/v1/stock/{sku}", put(stock::put).get(stock::get))
        .route("/v1/stock/{sku}/adjust", post(stock::adjust))
        .route("/v1/holds", post(holds::post))
        .route("/v1/holds/{hold}", get(holds::get).delete(holds::delete))
        .route("/v1/holds/{hold}/extend", post(holds::extend))
        .route("/v1/holds/{hold}/confirm", post(holds::confirm))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(sale)
}
