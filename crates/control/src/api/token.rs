//! `POST /api/v1/token`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::admin::SharedAdmin;
use crate::problem::problem;

/// A causal token that covers every commit before the request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Token {
    /// The value for the header `Tidegate-After` of reads.
    pub token: String,
    /// The position that it covers, such as `16/B374D848`.
    pub position: String,
}

pub(super) async fn post(State(admin): SharedAdmin) -> Response {
    match admin.tokens.issue().await {
        Ok(issued) => {
            let (token, position) = (issued.token.to_string(), issued.position.to_string());
            Json(Token { token, position }).into_response()
        }
        Err(err) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "No token available", &err.to_string())
        }
    }
}
