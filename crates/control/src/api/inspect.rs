//! `GET /api/v1/inspect`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::admin::SharedAdmin;
use crate::inspect::{InspectQuery, InvalidQuery};
use crate::problem::{Parameters, problem};

pub(super) async fn get(
    State(admin): SharedAdmin,
    Parameters(query): Parameters<InspectQuery>,
) -> Response {
    let inspected = match query.check() {
        Ok(()) => admin.inspector.inspect(&query).await,
        Err(err) => Err(err),
    };
    match inspected {
        Ok(inspected) => Json(inspected).into_response(),
        Err(InvalidQuery(detail)) => problem(StatusCode::BAD_REQUEST, "Invalid query", &detail),
    }
}
