//! The admin listener: `/healthz`, `/readyz`, `/metrics` and the API under `/api/v1/`.
//!
//! It belongs on a private address. Orders must be sent as `application/json`, which a page in
//! somebody's browser can't do across origins without being asked first (CSRF).

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use coherence::{Cause, Subject};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use crate::events::{self, BODY_BYTES_MAX, EventsIn};
use crate::health::Health;
use crate::inspect::{Asked, Inspect, Senseless};
use crate::journal::Journal;
use crate::order::{Body, Order, OrderError, Orders};
use crate::token::Tokens;

/// The largest order, in bytes.
const ORDER_BYTES_MAX: usize = 512 * 1024;

/// A function that says how things stand, for `/api/v1/status`.
pub type Status = Box<dyn Fn() -> serde_json::Value + Send + Sync>;

/// What the admin listener shows and does.
pub struct Admin {
    /// Whether to send traffic here.
    pub health: Arc<Health>,
    /// The last invalidations.
    pub journal: Arc<Journal>,
    /// Everything that is counted.
    pub registry: Registry,
    /// How things stand.
    pub status: Status,
    /// What the auditor has found, for `/api/v1/audit`.
    pub audit: Status,
    /// Who tells another node's auditor what would be answered here.
    pub inspect: Arc<dyn Inspect>,
    /// Who carries out orders.
    pub orders: Arc<dyn Orders>,
    /// Who gives read-your-writes tokens out.
    pub tokens: Arc<dyn Tokens>,
    /// Who takes change events, if the source's are posted.
    pub events: Option<EventsIn>,
}

/// Serves until `stop` ends; requests under way are finished.
///
/// # Errors
/// The listener broke.
pub async fn serve(
    listener: TcpListener,
    admin: Admin,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(admin)).with_graceful_shutdown(stop).await
}

/// The routes.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(async |State(admin): Shared| Json((admin.status)())))
        .route("/api/v1/audit", get(async |State(admin): Shared| Json((admin.audit)())))
        .route("/api/v1/inspect", get(inspect))
        .route("/api/v1/invalidations", get(invalidations))
        .route("/api/v1/invalidate", post(invalidate))
        .route("/api/v1/purge", post(purge))
        .route("/api/v1/token", post(token))
        .layer(DefaultBodyLimit::max(ORDER_BYTES_MAX))
        .route(
            "/api/v1/events/{source}",
            post(events::take).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)),
        )
        .fallback(async || problem(StatusCode::NOT_FOUND, "no such page", NOT_FOUND))
        .with_state(Arc::new(admin))
}

const NOT_FOUND: &str = "there are /healthz, /readyz, /metrics, /api/v1/status, \
                         /api/v1/audit, /api/v1/inspect, /api/v1/invalidations, \
                         /api/v1/invalidate, /api/v1/purge, /api/v1/token and \
                         /api/v1/events/{source}";

pub(crate) type Shared = State<Arc<Admin>>;

async fn readyz(State(admin): Shared) -> Response {
    let readiness = admin.health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(admin): Shared) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => {
            let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, open_metrics)], text).into_response()
        }
        Err(err) => {
            tracing::error!(error = %err, "the metrics could not be written");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written", "")
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Latest {
    limit: Option<usize>,
    subject: Option<String>,
}

async fn invalidations(State(admin): Shared, Query(asked): Query<Latest>) -> Response {
    let subject = match asked.subject.as_deref().map(str::parse::<Subject>).transpose() {
        Ok(subject) => subject,
        Err(err) => {
            return problem(
                StatusCode::BAD_REQUEST,
                "the question makes no sense",
                &err.to_string(),
            );
        }
    };
    Json(admin.journal.latest(asked.limit.unwrap_or(100), subject.as_ref())).into_response()
}

async fn inspect(State(admin): Shared, Query(asked): Query<Asked>) -> Response {
    let told = match asked.check() {
        Ok(()) => admin.inspect.inspect(&asked).await,
        Err(err) => Err(err),
    };
    match told {
        Ok(told) => Json(told).into_response(),
        Err(Senseless(detail)) => {
            problem(StatusCode::BAD_REQUEST, "the question makes no sense", &detail)
        }
    }
}

async fn invalidate(admin: Shared, headers: HeaderMap, body: axum::body::Bytes) -> Response {
    order(admin, Cause::Application, &headers, &body).await
}

async fn purge(admin: Shared, headers: HeaderMap, body: axum::body::Bytes) -> Response {
    order(admin, Cause::Purge, &headers, &body).await
}

async fn order(State(admin): Shared, cause: Cause, headers: &HeaderMap, body: &[u8]) -> Response {
    let json = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if json.is_none_or(|value| value.split(';').next() != Some("application/json")) {
        let detail = "send the order with `Content-Type: application/json`";
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "an order is JSON", detail);
    }
    let order = serde_json::from_slice::<Body>(body)
        .map_err(|err| OrderError::Bad(format!("the order can't be read: {err}")))
        .and_then(|body| {
            let keys_of = |contract: &str| admin.orders.keys_of(contract);
            Ok((Order::check(cause, &body, keys_of)?, body.dry_run))
        });
    let (order, dry_run) = match order {
        Ok(order) => order,
        Err(err) => return refusal(&err),
    };
    if dry_run {
        return match admin.orders.survey(order).await {
            Ok(survey) => Json(survey).into_response(),
            Err(err) => refusal(&err),
        };
    }
    if cause == Cause::Purge {
        tracing::warn!(subjects = ?order.subjects, "purge ordered");
    }
    match admin.orders.carry_out(order).await {
        Ok(receipt) => Json(receipt).into_response(),
        Err(err) => refusal(&err),
    }
}

async fn token(State(admin): Shared) -> Response {
    match admin.tokens.now().await {
        Ok(token) => Json(token).into_response(),
        Err(err) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "no token can be given", &err.to_string())
        }
    }
}

fn refusal(err: &OrderError) -> Response {
    let (status, title) = match err {
        OrderError::Bad(_) => (StatusCode::BAD_REQUEST, "the order makes no sense"),
        OrderError::NoLog { .. } => (StatusCode::SERVICE_UNAVAILABLE, "the order is not fenced"),
        OrderError::Unseen { .. } => (StatusCode::SERVICE_UNAVAILABLE, "nothing was counted"),
        OrderError::Late { .. } => (StatusCode::GATEWAY_TIMEOUT, "the order is not applied yet"),
    };
    problem(status, title, &err.to_string())
}

/// RFC 9457.
pub(crate) fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let body = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    let mut response = (status, body.to_string()).into_response();
    let kind = header::HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
