//! `POST /api/v1/token`

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use coherence::Lsn;
use serde::{Deserialize, Serialize};

use crate::admin::SharedAdmin;
use crate::problem::{Parameters, problem};

/// A causal token that covers every commit before the request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Token {
    /// The value for the header `Tidegate-After` of reads.
    pub token: String,
    /// The position that it covers, such as `16/B374D848`; with several sources, that in the main source's log.
    pub position: String,
    /// The positions by source; empty where there is one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub positions: BTreeMap<String, String>,
}

/// The query of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenQuery {
    /// The source whose commits the token covers; by default all.
    source: Option<String>,
}

pub(super) async fn post(
    State(admin): SharedAdmin,
    Parameters(TokenQuery { source }): Parameters<TokenQuery>,
) -> Response {
    let names: Vec<&str> = admin.sources.iter().map(|source| &*source.name).collect();
    if let Some(unknown) = source.as_deref().filter(|source| !names.contains(source)) {
        let detail =
            format!("there is no source {unknown:?}; the sources are: {}", names.join(", "));
        return problem(StatusCode::NOT_FOUND, "Unknown source", &detail);
    }
    match admin.tokens.issue(source.as_deref()).await {
        Ok((tokens, positions)) => {
            let token = tokens.to_string();
            let position = positions.first().map(|(_, position)| position.to_string());
            Json(Token {
                token,
                position: position.unwrap_or_default(),
                positions: by_source(&positions),
            })
            .into_response()
        }
        Err(err) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "No token available", &err.to_string())
        }
    }
}

/// Returns the positions by source, where there are several.
pub(super) fn by_source(positions: &[(Arc<str>, Lsn)]) -> BTreeMap<String, String> {
    let all = positions.iter().map(|(name, position)| (name.to_string(), position.to_string()));
    if positions.len() > 1 { all.collect() } else { BTreeMap::new() }
}
