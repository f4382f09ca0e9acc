//! The small protocol of a shop's own payment service.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::book::{Book, Entry, Refused, Reply, Status};
use super::call::Call;

/// Executes a call of `/payments…`. Returns the payment that it is about.
pub(super) fn call(book: &mut Book, call: &Call) -> (Reply, Option<String>) {
    let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
    match (&call.method, parts.as_slice()) {
        (&Method::GET, ["payments"]) => {
            let payments: Vec<Value> = book.payments().map(shown).collect();
            (Reply::ok(json!({ "payments": payments })), None)
        }
        (&Method::GET, ["payments", id]) => {
            (book.find(id).map_or_else(unknown, |payment| Reply::ok(shown(payment))), None)
        }
        (&Method::POST, ["payments", id, word]) => {
            let body: Value = serde_json::from_str(&call.body).unwrap_or_default();
            (operate(book, call, id, word, &body), Some((*id).to_owned()))
        }
        _ => (unknown(), None),
    }
}

fn operate(book: &mut Book, call: &Call, id: &str, word: &str, body: &Value) -> Reply {
    let operation = match word {
        "authorise" => "authorise",
        "capture" => "capture",
        "void" => "void",
        "refund" => "refund",
        _ => return unknown(),
    };
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let amount = body["amount"].as_i64().unwrap_or_default();
    // The first operation makes the payment; a void that comes first closes it for good.
    book.open(Entry {
        id: id.to_owned(),
        checkout: id.to_owned(),
        amount,
        currency: text("currency"),
        method: text("method"),
        status: Status::RequiresConfirmation,
        captured: 0,
        refunded: 0,
    });
    match book.operate(operation, id, amount, call.key.as_deref().unwrap_or_default()) {
        Ok(_) => Reply::ok(json!({ "outcome": "done" })),
        Err(Refused::State(payment))
            if operation == "void" && payment.status == Status::Canceled =>
        {
            Reply::ok(json!({ "outcome": "done" }))
        }
        Err(Refused::Declined(reason)) => {
            Reply::ok(json!({ "outcome": "declined", "retryable": false, "reason": reason }))
        }
        Err(Refused::State(_)) => {
            Reply::ok(json!({ "outcome": "declined", "retryable": false, "reason": "state" }))
        }
        Err(Refused::Unknown) => unknown(),
    }
}

fn unknown() -> Reply {
    Reply { status: StatusCode::NOT_FOUND, body: json!({ "error": "unknown-payment" }) }
}

fn shown(payment: &Entry) -> Value {
    let is_authorised = matches!(payment.status, Status::RequiresCapture | Status::Succeeded);
    json!({
        "payment": payment.id, "amount": payment.amount, "currency": payment.currency,
        "authorised": is_authorised, "declined": payment.status == Status::RequiresPaymentMethod,
        "closed": payment.status == Status::Canceled,
        "captured": payment.captured, "refunded": payment.refunded,
    })
}
