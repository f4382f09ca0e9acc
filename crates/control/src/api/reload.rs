//! `POST /api/v1/reload`

use access::{AuditLogError, Caller};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;

use crate::admin::{Admin, SharedAdmin};
use crate::problem::problem;
use crate::reload::{ReloadError, Reloaded};

pub(super) async fn post(
    State(admin): SharedAdmin,
    Extension(caller): Extension<Caller>,
) -> Response {
    match reload(&admin, &caller).await {
        Ok(Ok(reloaded)) => Json(reloaded).into_response(),
        Ok(Err(err)) => error_response(&err),
        Err(err) => {
            let detail = format!("nothing was reloaded, because it could not be recorded: {err}");
            problem(StatusCode::SERVICE_UNAVAILABLE, "Audit log not writable", &detail)
        }
    }
}

/// Reloads between two records in the audit log: the request and its result.
async fn reload(
    admin: &Admin,
    caller: &Caller,
) -> Result<Result<Reloaded, ReloadError>, std::sync::Arc<AuditLogError>> {
    tracing::info!(by = caller.name(), from = %caller.from(), "reload requested");
    let mut number = None;
    if let Some(log) = &admin.audit_log {
        number = Some(log.record(caller, "reload", json!({})).await?.number);
    }
    let reloaded = admin.reloader.reload().await;
    if let Some(log) = &admin.audit_log {
        let result = match &reloaded {
            Ok(reloaded) => json!({ "record": number, "changed": reloaded.changed }),
            Err(err) => json!({ "record": number, "error": err.to_string() }),
        };
        // The request is on record, and has happened: a result that can't be recorded is logged and counted.
        let _ = log.record(caller, "reload.result", result).await;
    }
    Ok(reloaded)
}

fn error_response(err: &ReloadError) -> Response {
    let (status, title) = match err {
        ReloadError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid configuration"),
        ReloadError::NeedsRestart(_) => (StatusCode::CONFLICT, "Restart needed"),
        ReloadError::Environment(_) => (StatusCode::SERVICE_UNAVAILABLE, "Not reloaded"),
        ReloadError::Busy => (StatusCode::TOO_MANY_REQUESTS, "Too many reloads"),
        ReloadError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "No reload now"),
    };
    problem(status, title, &err.to_string())
}
