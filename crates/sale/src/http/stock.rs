//! `/v1/stock`

use access::Object;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::audit::Recorder;
use super::body::{Segment, counted, key, parse};
use super::problem::Problem;
use crate::ledger::{CellStock, SkuStock};
use crate::request::{AdjustStock, InvalidRequest, SetStock, UNITS_MAX, check_sku, price};
use crate::rules::{Policy, Price, Stock};
use crate::service::Sale;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutBody {
    on_hand: i64,
    location: Option<String>,
    policy: Option<Object<PolicyBody>>,
    /// Absent: unchanged; null: none.
    #[serde(default, deserialize_with = "present")]
    customer_limit: Option<Option<i64>>,
    price: Option<Object<PriceBody>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PriceBody {
    amount: i64,
    currency: String,
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<i64>>, D::Error> {
    Option::deserialize(value).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdjustBody {
    by: i64,
    reason: String,
    location: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PolicyBody {
    kind: PolicyKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u32>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum PolicyKind {
    Strict,
    BoundedOversell,
}

impl PolicyBody {
    fn of(policy: Policy) -> Self {
        let (kind, units, percent) = match policy {
            Policy::Strict => (PolicyKind::Strict, None, None),
            Policy::OversellUnits(units) => (PolicyKind::BoundedOversell, Some(units), None),
            Policy::OversellPercent(percent) => (PolicyKind::BoundedOversell, None, Some(percent)),
        };
        Self { kind, units, percent }
    }

    fn check(&self) -> Result<Policy, InvalidRequest> {
        let invalid = |problem: &str| Err(InvalidRequest::new("policy", problem));
        match (&self.kind, self.units, self.percent) {
            (PolicyKind::Strict, None, None) => Ok(Policy::Strict),
            (PolicyKind::Strict, ..) => invalid("`strict` has no `units` or `percent`"),
            (_, Some(units), None) if (1..=UNITS_MAX).contains(&units.into()) => {
                Ok(Policy::OversellUnits(units))
            }
            (_, None, Some(percent @ 1..=100)) => Ok(Policy::OversellPercent(percent)),
            _ => {
                invalid("`bounded-oversell` has either `units`, at least 1, or `percent`, 1 to 100")
            }
        }
    }
}

pub(super) async fn put(
    State(sale): State<Sale>,
    recorder: Recorder,
    Segment(sku): Segment,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let PutBody { on_hand, location, policy, customer_limit, price: unit } = parse(&headers, body)?;
    let policy = policy.map(|Object(policy)| policy.check()).transpose()?;
    let unit = unit.map(|Object(unit)| price("price", unit.amount, &unit.currency)).transpose()?;
    let request = SetStock::new(&sku, location.as_deref(), on_hand, policy, customer_limit)?;
    let request = request.with_price(unit);
    let detail = json!({
        "sku": sku, "location": request.cell.location, "on_hand": on_hand,
        "policy": policy.map(PolicyBody::of), "customer_limit": customer_limit,
        "price": unit.map(|unit| json!({ "amount": unit.amount, "currency": unit.currency.to_string() })),
    });
    let record = recorder.begin("stock.set", detail).await?;
    let set = sale.set_stock(&request).await;
    record.end("stock.set.result", set.as_ref().err()).await;
    counted(&sale, "set-stock", set)?;
    show(&sale, &sku).await
}

pub(super) async fn get(
    State(sale): State<Sale>,
    Segment(sku): Segment,
) -> Result<Response, Problem> {
    check_sku(&sku)?;
    show(&sale, &sku).await
}

async fn show(sale: &Sale, sku: &str) -> Result<Response, Problem> {
    let SkuStock { policy, customer_limit, locations } =
        counted(sale, "stock", sale.stock(sku).await)?;
    let sum = |part: fn(&Stock) -> i64| -> i64 {
        locations.iter().map(|CellStock { stock, .. }| part(stock)).sum()
    };
    let available: i64 = locations.iter().map(|cell| cell.stock.free(policy).max(0)).sum();
    let cells: serde_json::Map<_, _> = locations
        .iter()
        .map(|CellStock { location, stock }| (location.clone(), counters(*stock, policy)))
        .collect();
    let unit = counted(sale, "price", sale.price(sku).await)?;
    let unit =
        unit.map(|Price { amount, currency }| PriceBody { amount, currency: currency.to_string() });
    let body = json!({
        "sku": sku,
        "on_hand": sum(|stock| stock.on_hand),
        "held": sum(|stock| stock.held),
        "sold": sum(|stock| stock.sold),
        "available": available,
        "policy": PolicyBody::of(policy),
        "customer_limit": customer_limit,
        "price": unit,
        "locations": cells,
    });
    Ok(Json(body).into_response())
}

fn counters(stock: Stock, policy: Policy) -> serde_json::Value {
    let Stock { on_hand, held, sold } = stock;
    let available = stock.free(policy).max(0);
    json!({ "on_hand": on_hand, "held": held, "sold": sold, "available": available })
}

pub(super) async fn adjust(
    State(sale): State<Sale>,
    recorder: Recorder,
    Segment(sku): Segment,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let key = key(&headers)?;
    let AdjustBody { by, reason, location } = parse(&headers, body)?;
    let request = AdjustStock::new(&sku, location.as_deref(), by, &reason)?;
    let detail = json!({
        "sku": sku, "location": request.cell.location, "by": by, "reason": reason, "key": key.as_str(),
    });
    let record = recorder.begin("stock.adjust", detail).await?;
    let adjusted = sale.adjust(&request, &key).await;
    record.end("stock.adjust.result", adjusted.as_ref().err()).await;
    let adjusted = counted(&sale, "adjust-stock", adjusted)?;
    let body = json!({
        "sku": sku, "location": request.cell.location,
        "on_hand": adjusted.on_hand, "held": adjusted.held, "sold": adjusted.sold,
    });
    Ok(Json(body).into_response())
}
