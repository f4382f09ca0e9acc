//! `/v1/checkouts`, `/v1/orders`, `/v1/events`

use access::Object;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Parameters, Segment, counted, hold_id, key, parse, timestamp};
use super::limits::EVENTS_MAX;
use super::problem::Problem;
use crate::checkout_id::CheckoutId;
use crate::ledger::CheckoutRecord;
use crate::request::{
    CheckoutRequest, GiftCode, GiftPart, InvalidRequest, OrderChange, OrderRequest, PaymentRequest,
    gift_name, price,
};
use crate::rules::{Phase, PricedLine, is_never_paid};
use crate::service::Sale;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckoutBody {
    hold: String,
    payment: Object<PaymentBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PaymentBody {
    provider: Option<String>,
    method: Option<String>,
    gift_card: Option<Object<GiftBody>>,
    amount: i64,
    currency: String,
    #[serde(default)]
    capture: CaptureBody,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GiftBody {
    code: String,
    amount: i64,
}

impl PaymentBody {
    pub(super) fn check(self) -> Result<PaymentRequest, InvalidRequest> {
        let shown = price("payment", self.amount, &self.currency)?;
        let later = self.capture == CaptureBody::Later;
        let gift = self.gift_card.map(|Object(gift)| {
            let code = GiftCode::new("payment.gift_card.code", &gift.code)?;
            Ok(GiftPart { code, amount: gift.amount })
        });
        let gift = gift.transpose()?;
        PaymentRequest::new(self.provider, self.method.as_deref(), shown, gift, later)
    }
}

#[derive(Clone, Copy, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum CaptureBody {
    #[default]
    Now,
    Later,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AmountBody {
    amount: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelBody {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    after: Option<String>,
    limit: Option<u32>,
}

type RequestBody = Result<Bytes, BytesRejection>;

fn checkout_id(text: &str) -> Result<CheckoutId, Problem> {
    text.parse().map_err(|_| {
        let detail = format!("{text:?}: the name of a checkout or order has 32 hexadecimal digits");
        Problem::new(StatusCode::NOT_FOUND, "unknown-order", "Unknown order", detail)
    })
}

pub(super) async fn post(
    State(sale): State<Sale>,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let key = key(&headers)?;
    let CheckoutBody { hold, payment: Object(payment) } = parse(&headers, body)?;
    let payment = payment.check()?;
    let request = CheckoutRequest { hold: hold_id(&hold)?, payment };
    let record = counted(&sale, "checkout", sale.check_out(&request, &key).await)?;
    answer(&sale, &record).await
}

/// Returns the order once the payment has succeeded or failed, and else a place to ask again.
pub(super) async fn answer(sale: &Sale, record: &CheckoutRecord) -> Result<Response, Problem> {
    let state = &record.state;
    if state.phase == Phase::Declined || is_never_paid(state) {
        return Err(ended(
            record,
            StatusCode::PAYMENT_REQUIRED,
            "payment-declined",
            "Payment declined",
        ));
    }
    if state.phase == Phase::Released {
        return Err(ended(record, StatusCode::CONFLICT, "checkout-released", "Checkout released"));
    }
    let is_first_capture = state.phase == Phase::Capturing && !state.captures_later;
    if !state.ordered
        || is_first_capture
        || (state.phase == Phase::Voiding && !state.captures_later)
    {
        return Ok((StatusCode::ACCEPTED, place(record), Json(progress(record))).into_response());
    }
    let lines = sale.order_lines(record).await?;
    let mut body = json!({
        "order": record.id.to_string(),
        "checkout": record.id.to_string(),
        "hold": record.hold.to_string(),
        "amount": record.price.amount,
        "currency": record.price.currency.to_string(),
        "lines": shown_lines(&lines),
        "ordered_at": record.ordered_at_ms.map(timestamp),
    });
    if let Some(card) = &record.gift_card {
        body["gift_card"] = json!({ "gift_card": gift_name(card), "amount": state.gift });
    }
    let location = format!("/v1/orders/{}", record.id);
    Ok((StatusCode::CREATED, located(&location), Json(body)).into_response())
}

fn ended(
    record: &CheckoutRecord,
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
) -> Problem {
    let reason = record.reason.as_deref().unwrap_or("the provider gave no reason");
    let detail = format!(
        "nothing was taken: {reason}; while the hold is active, it may be paid again with a new key"
    );
    Problem::new(status, kind, title, detail)
        .with("checkout", record.id.to_string().into())
        .with("reason", reason.into())
}

fn located(location: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.extend(HeaderValue::from_str(location).ok().map(|value| (header::LOCATION, value)));
    headers
}

fn place(record: &CheckoutRecord) -> HeaderMap {
    let mut headers = located(&format!("/v1/checkouts/{}", record.id));
    headers.insert(header::RETRY_AFTER, wait_seconds(record).into());
    headers
}

/// The time after which the state may have changed: that of the next call to the provider.
fn wait_seconds(record: &CheckoutRecord) -> u64 {
    let wait_ms = record.due_in_ms.unwrap_or_default().max(0).unsigned_abs();
    wait_ms.div_ceil(1_000).max(1)
}

fn progress(record: &CheckoutRecord) -> Value {
    let phase = record.state.phase;
    let mut body = json!({
        "checkout": record.id.to_string(),
        "hold": record.hold.to_string(),
        "state": phase.word(),
        "amount": record.price.amount,
        "currency": record.price.currency.to_string(),
    });
    if phase.is_open() {
        body["wait_seconds"] = wait_seconds(record).into();
    }
    if let Some(reason) = &record.reason {
        body["reason"] = reason.as_str().into();
    }
    if record.state.ordered {
        body["order"] = record.id.to_string().into();
    }
    body
}

fn shown_lines(lines: &[PricedLine]) -> Value {
    let line = |PricedLine { demand, price }: &PricedLine| {
        json!({
            "sku": demand.cell.sku, "location": demand.cell.location, "quantity": demand.quantity,
            "price": price.map(|price| price.amount),
        })
    };
    lines.iter().map(line).collect()
}

pub(super) async fn get_checkout(
    State(sale): State<Sale>,
    Segment(id): Segment,
) -> Result<Response, Problem> {
    let found = sale.find_checkout(checkout_id(&id)?).await;
    let record = counted(&sale, "find-checkout", found)?;
    Ok(Json(progress(&record)).into_response())
}

pub(super) async fn get_order(
    State(sale): State<Sale>,
    Segment(id): Segment,
) -> Result<Response, Problem> {
    let found = sale.find_checkout(checkout_id(&id)?).await;
    let record = counted(&sale, "find-order", found)?;
    shown_order(&sale, &record).await
}

/// Shows an order; one that is queued has the state of its checkout.
async fn shown_order(sale: &Sale, record: &CheckoutRecord) -> Result<Response, Problem> {
    let mut body = progress(record);
    let state = &record.state;
    body["order"] = record.id.to_string().into();
    body["customer"] = record.customer.as_str().into();
    body["is_placed"] = state.ordered.into();
    body["captured"] = state.captured.into();
    body["refunded"] = state.refunded.into();
    body["ordered_at"] = record.ordered_at_ms.map(timestamp).into();
    if let Some(card) = &record.gift_card {
        let (amount, returned) = (state.gift, state.gift_returned);
        body["gift_card"] =
            json!({ "gift_card": gift_name(card), "amount": amount, "returned": returned });
    }
    body["lines"] = shown_lines(&sale.order_lines(record).await?);
    if state.phase.is_open() {
        let wait = [(header::RETRY_AFTER, HeaderValue::from(wait_seconds(record)))];
        return Ok((StatusCode::ACCEPTED, wait, Json(body)).into_response());
    }
    Ok(Json(body).into_response())
}

async fn change(
    sale: &Sale,
    operation: &'static str,
    id: &str,
    headers: &HeaderMap,
    change: OrderChange,
) -> Result<Response, Problem> {
    let request = OrderRequest { order: checkout_id(id)?, change };
    let changed = sale.change_order(&request, &key(headers)?).await;
    shown_order(sale, &counted(sale, operation, changed)?).await
}

pub(super) async fn capture(
    State(sale): State<Sale>,
    Segment(id): Segment,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let AmountBody { amount } = parse(&headers, body)?;
    change(&sale, "capture", &id, &headers, OrderChange::Capture(amount)).await
}

pub(super) async fn refund(
    State(sale): State<Sale>,
    Segment(id): Segment,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let AmountBody { amount } = parse(&headers, body)?;
    change(&sale, "refund", &id, &headers, OrderChange::Refund(amount)).await
}

pub(super) async fn cancel(
    State(sale): State<Sale>,
    Segment(id): Segment,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let CancelBody {} = parse(&headers, body)?;
    change(&sale, "cancel-order", &id, &headers, OrderChange::Cancel).await
}

pub(super) async fn webhook(
    State(sale): State<Sale>,
    Segment(provider): Segment,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let body = body.map_err(|err| {
        Problem::new(err.status(), "unreadable-body", "Unreadable body", err.body_text())
    })?;
    let taken = sale.take_webhook(&provider, &headers, &body).await;
    let is_new = counted(&sale, "webhook", taken)?;
    Ok(Json(json!({ "repeated": !is_new })).into_response())
}

pub(super) async fn events(
    State(sale): State<Sale>,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<Response, Problem> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=EVENTS_MAX).contains(&limit) {
        return Err(InvalidRequest::new("limit", format!("write 1 to {EVENTS_MAX}")).into());
    }
    let found = sale.order_events(query.after.as_deref(), limit).await;
    let events = counted(&sale, "events", found)?;
    let next = events.last().map(|event| event.cursor.clone()).or(query.after);
    let shown: Vec<Value> = events
        .iter()
        .map(|event| {
            let content: Value = serde_json::from_str(&event.body).unwrap_or_default();
            json!({
                "order": event.order.to_string(), "number": event.number, "kind": event.kind,
                "content": content,
            })
        })
        .collect();
    Ok(Json(json!({ "events": shown, "next": next })).into_response())
}
