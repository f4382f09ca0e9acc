//! Errors as problem details (RFC 9457).

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::ProblemDetails;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::openapi;
use crate::ledger::GiftRefusal;
use crate::payment::WebhookRefusal;
use crate::request::InvalidRequest;
use crate::rules::Shortage;
use crate::service::SaleError;

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    details: ProblemDetails<'a>,
    #[serde(flatten)]
    members: Map<String, Value>,
}

/// The answer to a request that is refused or fails.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    members: Vec<(&'static str, Value)>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { status, kind, title, detail: detail.into(), members: Vec::new() }
    }

    pub(super) fn with(mut self, member: &'static str, value: Value) -> Self {
        self.members.push((member, value));
        self
    }
}

impl From<InvalidRequest> for Problem {
    fn from(invalid: InvalidRequest) -> Self {
        SaleError::from(invalid).into()
    }
}

impl From<SaleError> for Problem {
    fn from(err: SaleError) -> Self {
        let (status, title) = match &err {
            SaleError::Invalid(_) => (StatusCode::BAD_REQUEST, "Invalid request"),
            SaleError::SoldOut(_) => (StatusCode::CONFLICT, "Sold out"),
            SaleError::CustomerLimit(_) => (StatusCode::CONFLICT, "Customer limit reached"),
            SaleError::UnknownCell(_) | SaleError::UnknownSku(_) => {
                (StatusCode::NOT_FOUND, "Unknown stock")
            }
            SaleError::UnknownHold(_) => (StatusCode::NOT_FOUND, "Unknown hold"),
            SaleError::HoldEnded(_) => (StatusCode::CONFLICT, "Hold ended"),
            SaleError::ExtendedBefore => (StatusCode::CONFLICT, "Hold extended before"),
            SaleError::Committed { .. } => (StatusCode::CONFLICT, "Stock committed"),
            SaleError::UnknownCart(_) => (StatusCode::NOT_FOUND, "Unknown cart"),
            SaleError::CartChanged { .. } => (StatusCode::PRECONDITION_FAILED, "Cart changed"),
            SaleError::CartInCheckout(_) => (StatusCode::CONFLICT, "Cart in checkout"),
            SaleError::CartOrdered(_) => (StatusCode::CONFLICT, "Cart ordered"),
            SaleError::CartEmpty => (StatusCode::CONFLICT, "Cart empty"),
            SaleError::UnknownCheckout(_) => (StatusCode::NOT_FOUND, "Unknown order"),
            SaleError::PriceChanged(_) => (StatusCode::CONFLICT, "Price changed"),
            SaleError::Unpriced(_) => (StatusCode::CONFLICT, "No price"),
            SaleError::CheckoutExists(_) => (StatusCode::CONFLICT, "Checkout exists"),
            SaleError::TooManyPayments => (StatusCode::CONFLICT, "Too many payments"),
            SaleError::CheckoutBusy => (StatusCode::CONFLICT, "Request in flight"),
            SaleError::OrderState(_) => (StatusCode::CONFLICT, "Not possible in this state"),
            SaleError::AmountTooLarge { .. } => (StatusCode::CONFLICT, "Amount too large"),
            SaleError::Webhook(WebhookRefusal::NoSecret | WebhookRefusal::SecretUnreadable) => {
                (StatusCode::SERVICE_UNAVAILABLE, "Event can't be checked")
            }
            SaleError::Webhook(_) => (StatusCode::BAD_REQUEST, "Event refused"),
            SaleError::Gift(GiftRefusal::Unknown) => (StatusCode::NOT_FOUND, "Unknown gift card"),
            SaleError::Gift(GiftRefusal::Exists) => (StatusCode::CONFLICT, "Gift card exists"),
            SaleError::Gift(_) => (StatusCode::CONFLICT, "Gift card does not suffice"),
            SaleError::KeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "Idempotency key used for another request")
            }
            SaleError::KeyInFlight => (StatusCode::CONFLICT, "Request in flight"),
            SaleError::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "Overloaded"),
            SaleError::Ledger(_) | SaleError::Stopped => {
                (StatusCode::SERVICE_UNAVAILABLE, "Ledger unavailable")
            }
        };
        if let SaleError::Ledger(error) = &err
            && !error.is_transient()
        {
            tracing::error!(%error, "the ledger refuses a call");
        }
        let problem = Self::new(status, err.kind(), title, err.to_string());
        match err {
            SaleError::SoldOut(lines) => problem.with("lines", shortages(&lines)),
            SaleError::CustomerLimit(lines) => problem.with("lines", shortages(&lines)),
            SaleError::HoldEnded(end) => problem.with("state", end.word().into()),
            SaleError::PriceChanged(price) => problem
                .with("amount", price.amount.into())
                .with("currency", price.currency.to_string().into()),
            SaleError::CheckoutExists(other) => problem.with("checkout", other.to_string().into()),
            SaleError::CartChanged { version } => problem.with("version", version.into()),
            SaleError::CartInCheckout(checkout) => {
                problem.with("checkout", checkout.to_string().into())
            }
            SaleError::CartOrdered(Some(order)) => problem.with("order", order.to_string().into()),
            SaleError::Gift(GiftRefusal::Short { available }) => {
                problem.with("available", available.into())
            }
            SaleError::OrderState(phase) => problem.with("state", phase.word().into()),
            SaleError::AmountTooLarge { most } => problem.with("most", most.into()),
            SaleError::Committed { free } => problem.with("free", free.into()),
            SaleError::Invalid(InvalidRequest { field, .. }) => problem.with("field", field.into()),
            _ => problem,
        }
    }
}

fn shortages(lines: &[Shortage]) -> Value {
    let line = |Shortage { demand, available }: &Shortage| {
        json!({
            "sku": demand.cell.sku, "location": demand.cell.location,
            "requested": demand.quantity, "available": available,
        })
    };
    lines.iter().map(line).collect()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, kind, title, detail, members } = self;
        let details = ProblemDetails { kind, title, status: status.as_u16(), detail: &detail };
        let members = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let body = Body { details, members };
        let body = serde_json::to_string(&body).unwrap_or_else(|_| details.to_json());
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let media_type = HeaderValue::from_static(ProblemDetails::MEDIA_TYPE);
        headers.insert(header::CONTENT_TYPE, media_type);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

pub(super) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found", openapi::paths())
}

pub(super) async fn method_not_allowed(method: Method) -> Problem {
    let detail = format!("{method} is not a method of this path");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
}
