//! The access log: one line per request.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderName, Method, Response};

use super::metrics::Outcome;
use crate::http::freshness::TIDEGATE_FRESHNESS;
use crate::http::request_id::X_REQUEST_ID;

/// Logs a request, without its query, which may contain personal data.
pub(crate) fn log<B>(
    client: IpAddr,
    (method, path): (&Method, &str),
    took: Duration,
    outcome: Outcome,
    response: &Response<B>,
) {
    tracing::debug!(
        target: "tidegate::access",
        %client,
        %method,
        path,
        status = response.status().as_u16(),
        cache = outcome.as_str(),
        took_us = took.as_micros() as u64,
        request_id = text(response, &X_REQUEST_ID),
        freshness = text(response, &TIDEGATE_FRESHNESS),
    );
}

fn text<'a, B>(response: &'a Response<B>, name: &HeaderName) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
