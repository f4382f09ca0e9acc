//! The part of Stripe's API that a shop uses.

use std::collections::HashMap;

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::book::{Book, Entry, Refused, Reply, Status};
use super::call::Call;

/// Executes a call of `/v1/…`. Returns the payment that it is about.
pub(super) fn call(book: &mut Book, call: &Call, path: &str) -> (Reply, Option<String>) {
    let form = form(&call.body);
    let field = |name: &str| form.get(name).cloned().unwrap_or_default();
    let amount = |name: &str| field(name).parse::<i64>().unwrap_or_default();
    let key = call.key.clone().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    match (&call.method, parts.as_slice()) {
        (&Method::POST, ["payment_intents"]) => {
            let payment = book.open(Entry {
                id: book.next_id(),
                checkout: field("metadata[tidegate_checkout]"),
                amount: amount("amount"),
                currency: field("currency"),
                method: field("payment_method"),
                status: Status::RequiresConfirmation,
                captured: 0,
                refunded: 0,
            });
            (Reply::ok(intent(&payment)), None)
        }
        (&Method::GET, ["payment_intents"]) => (list(book, &call.query), None),
        (&Method::GET, ["payment_intents", id]) => {
            let found = book.find(id).map(|payment| Reply::ok(intent(payment)));
            (found.unwrap_or_else(unknown), None)
        }
        (&Method::POST, ["payment_intents", id, verb]) => {
            let (operation, amount) = match *verb {
                "confirm" => ("authorise", 0),
                "capture" => ("capture", amount("amount_to_capture")),
                "cancel" => ("void", 0),
                _ => return (unknown(), None),
            };
            let done = book.operate(operation, id, amount, &key);
            (reply(done, |payment| intent(&payment)), Some((*id).to_owned()))
        }
        (&Method::POST, ["refunds"]) => {
            let (id, amount) = (field("payment_intent"), amount("amount"));
            let done = book.operate("refund", &id, amount, &key);
            let refund = |payment: Entry| {
                json!({ "id": format!("re_{key}"), "object": "refund", "status": "succeeded",
                    "amount": amount, "payment_intent": payment.id })
            };
            (reply(done, refund), Some(id))
        }
        _ => (unknown(), None),
    }
}

fn unknown() -> Reply {
    let error = json!({ "type": "invalid_request_error", "code": "resource_missing" });
    Reply { status: StatusCode::NOT_FOUND, body: json!({ "error": error }) }
}

fn reply(done: Result<Entry, Refused>, show: impl FnOnce(Entry) -> Value) -> Reply {
    match done {
        Ok(payment) => Reply::ok(show(payment)),
        Err(Refused::Unknown) => unknown(),
        Err(Refused::Declined(word)) => {
            let error =
                json!({ "type": "card_error", "code": "card_declined", "decline_code": word });
            Reply { status: StatusCode::PAYMENT_REQUIRED, body: json!({ "error": error }) }
        }
        Err(Refused::State(payment)) => {
            let error = json!({
                "type": "invalid_request_error", "code": "payment_intent_unexpected_state",
                "payment_intent": intent(&payment),
            });
            Reply { status: StatusCode::BAD_REQUEST, body: json!({ "error": error }) }
        }
    }
}

fn intent(payment: &Entry) -> Value {
    let is_declined = payment.status == Status::RequiresPaymentMethod;
    let charge = (payment.captured > 0)
        .then(|| json!({ "object": "charge", "amount_refunded": payment.refunded }));
    json!({
        "id": payment.id, "object": "payment_intent", "status": payment.status,
        "amount": payment.amount, "currency": payment.currency,
        "amount_received": payment.captured, "latest_charge": charge,
        "last_payment_error": is_declined.then(|| json!({ "code": "card_declined" })),
        "metadata": { "tidegate_checkout": payment.checkout },
    })
}

/// Two payments on a page, so that clients have to turn pages.
fn list(book: &Book, query: &str) -> Reply {
    let query = form(query);
    let after = query.get("starting_after");
    let mut rest = book.payments().filter(|payment| after.is_none_or(|after| payment.id > *after));
    let page: Vec<Value> = rest.by_ref().take(2).map(intent).collect();
    Reply::ok(json!({ "object": "list", "data": page, "has_more": rest.next().is_some() }))
}

fn form(text: &str) -> HashMap<String, String> {
    let decode =
        |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}
