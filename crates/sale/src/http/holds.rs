//! `/v1/holds`

use access::Object;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::body::{Segment, counted, hold_id, key, parse, timestamp};
use super::problem::Problem;
use crate::ledger::HoldView;
use crate::request::{ExtendRequest, HoldRequest};
use crate::rules::{Demand, HoldState};
use crate::service::{HoldReceipt, Sale};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldBody {
    customer: String,
    lines: Vec<Object<LineBody>>,
    ttl_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LineBody {
    sku: String,
    location: Option<String>,
    quantity: i64,
}

impl LineBody {
    pub(super) fn into_parts(self) -> (String, Option<String>, i64) {
        (self.sku, self.location, self.quantity)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtendBody {
    ttl_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfirmBody {}

#[derive(Serialize)]
pub(super) struct Line<'a> {
    sku: &'a str,
    location: &'a str,
    quantity: i64,
}

pub(super) fn lines(demands: &[Demand]) -> Vec<Line<'_>> {
    demands.iter().map(line).collect()
}

fn line(Demand { cell, quantity }: &Demand) -> Line<'_> {
    Line { sku: &cell.sku, location: &cell.location, quantity: *quantity }
}

type RequestBody = Result<Bytes, BytesRejection>;

pub(super) async fn post(
    State(sale): State<Sale>,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let key = key(&headers)?;
    let HoldBody { customer, lines: wanted, ttl_seconds } = parse(&headers, body)?;
    let wanted = wanted.into_iter().map(|Object(line)| line.into_parts());
    let request = HoldRequest::new(&customer, wanted, ttl_seconds)?;
    let held = sale.hold(request.clone(), &key).await;
    let HoldReceipt { hold, deadline_ms } = counted(&sale, "hold", held)?;
    let body = json!({
        "hold": hold.to_string(),
        "expires_at": timestamp(deadline_ms),
        "lines": lines(request.lines()),
    });
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/holds/{hold}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub(super) async fn get(
    State(sale): State<Sale>,
    Segment(hold): Segment,
) -> Result<Response, Problem> {
    let found = sale.find_hold(hold_id(&hold)?).await;
    let HoldView { id, customer, state, deadline_ms, lines: held } = counted(&sale, "find", found)?;
    let (state, extended) = match state {
        HoldState::Active { extended, .. } => ("active", Some(extended)),
        HoldState::Ended(end) => (end.word(), None),
    };
    let mut body = json!({
        "hold": id.to_string(),
        "customer": customer,
        "state": state,
        "expires_at": timestamp(deadline_ms),
        "lines": lines(&held),
    });
    if let Some(extended) = extended {
        body["extended"] = extended.into();
    }
    Ok(Json(body).into_response())
}

pub(super) async fn delete(
    State(sale): State<Sale>,
    Segment(hold): Segment,
) -> Result<Response, Problem> {
    let hold = hold_id(&hold)?;
    let end = counted(&sale, "cancel", sale.cancel(hold).await)?;
    Ok(Json(json!({ "hold": hold.to_string(), "state": end.word() })).into_response())
}

pub(super) async fn extend(
    State(sale): State<Sale>,
    Segment(hold): Segment,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let (key, hold) = (key(&headers)?, hold_id(&hold)?);
    let ExtendBody { ttl_seconds } = parse(&headers, body)?;
    let request = ExtendRequest::new(hold, ttl_seconds)?;
    let deadline_ms = counted(&sale, "extend", sale.extend(&request, &key).await)?;
    let body = json!({ "hold": hold.to_string(), "expires_at": timestamp(deadline_ms) });
    Ok(Json(body).into_response())
}

pub(super) async fn confirm(
    State(sale): State<Sale>,
    Segment(hold): Segment,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let (key, hold) = (key(&headers)?, hold_id(&hold)?);
    let ConfirmBody {} = parse(&headers, body)?;
    let at_ms = counted(&sale, "confirm", sale.confirm(hold, &key).await)?;
    let body = json!({
        "hold": hold.to_string(), "state": "confirmed", "confirmed_at": timestamp(at_ms),
    });
    Ok(Json(body).into_response())
}
