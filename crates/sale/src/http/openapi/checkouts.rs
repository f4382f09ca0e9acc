//! `/v1/checkouts`, `/v1/orders`, `/v1/events` and `/v1/webhooks`

use access::Role;
use access::openapi::{Operation, object, query_parameter, schema};
use serde_json::{Value, json};

use super::problems::{BODY, KEY, LEDGER};
use super::schemas::{idempotency_key, or_null};
use crate::http::limits::{BODY_BYTES_MAX, EVENTS_MAX, WEBHOOK_BYTES_MAX};
use crate::request::METHOD_BYTES_MAX;

/// The kinds of events.
const EVENTS: [&str; 4] = ["order-placed", "order-captured", "order-refunded", "order-cancelled"];

pub(super) fn operations() -> Vec<Operation> {
    let mut operations = vec![check_out(), get_checkout(), get_order()];
    operations.extend([
        change("capture", "captureOrder", "Takes the amount, or a part of it, once")
            .body(part(), false, BODY_BYTES_MAX)
            .problems(&["amount-too-large"]),
        change("cancel", "cancelOrder", "Voids or refunds the payment, and puts the units back")
            .body(object(&[], json!({})), false, BODY_BYTES_MAX),
        change("refund", "refundOrder", "Gives the amount back, or a part of it")
            .body(part(), false, BODY_BYTES_MAX)
            .problems(&["amount-too-large"]),
    ]);
    operations.extend([events(), webhook()]);
    operations
}

fn check_out() -> Operation {
    let operation = Operation::new(
        "post",
        "/v1/checkouts",
        "createCheckout",
        "Pays for a hold and makes its order",
    )
    .role(Role::Operator)
    .parameter(idempotency_key())
    .body(checkout_body(), true, BODY_BYTES_MAX);
    paying(operation)
        .problems(BODY)
        .problems(KEY)
        .problems(&["unknown-hold", "hold-ended"])
        .problems(LEDGER)
}

/// The answers to a payment.
pub(super) fn paying(operation: Operation) -> Operation {
    let of_order = |operation: &str| json!({ "operationId": operation, "parameters": { "order": "$response.body#/order" } });
    operation
        .answer(201, "The order.", placed())
        .header(201, "Location", "The path of the order.", json!({ "type": "string" }))
        .link(201, "order", of_order("getOrder"))
        .link(201, "capture", of_order("captureOrder"))
        .link(201, "cancel", of_order("cancelOrder"))
        .link(201, "refund", of_order("refundOrder"))
        .answer(202, "The payment is under way: ask again at `Location`.", progress(json!({})))
        .header(202, "Location", "The path of the checkout.", json!({ "type": "string" }))
        .header(202, "Retry-After", "Seconds.", json!({ "type": "integer", "minimum": 1 }))
        .link(
            202,
            "checkout",
            json!({
                "operationId": "getCheckout",
                "parameters": { "checkout": "$response.body#/checkout" },
            }),
        )
        .problems(&[
            "payment-declined",
            "price-changed",
            "unpriced",
            "checkout-exists",
            "checkout-released",
            "too-many-payments",
            "unknown-order",
            "unknown-gift-card",
            "gift-card-short",
            "gift-card-currency",
        ])
}

fn get_checkout() -> Operation {
    Operation::new("get", "/v1/checkouts/{checkout}", "getCheckout", "Returns a checkout")
        .role(Role::Viewer)
        .in_path("checkout", schema("Id"))
        .answer(200, "The checkout.", progress(json!({})))
        .problems(&["invalid-request", "unknown-order"])
        .problems(LEDGER)
}

fn get_order() -> Operation {
    Operation::new("get", "/v1/orders/{order}", "getOrder", "Returns an order")
        .role(Role::Viewer)
        .in_path("order", schema("Id"))
        .answer(200, "The order.", order())
        .answer(202, "A payment is under way.", order())
        .header(202, "Retry-After", "Seconds.", json!({ "type": "integer", "minimum": 1 }))
        .problems(&["invalid-request", "unknown-order"])
        .problems(LEDGER)
}

/// A change of an order.
fn change(verb: &'static str, id: &'static str, summary: &'static str) -> Operation {
    let path = match verb {
        "capture" => "/v1/orders/{order}/capture",
        "cancel" => "/v1/orders/{order}/cancel",
        _ => "/v1/orders/{order}/refund",
    };
    Operation::new("post", path, id, summary)
        .role(Role::Operator)
        .in_path("order", schema("Id"))
        .parameter(idempotency_key())
        .answer(200, "The order as it is now.", order())
        .answer(202, "The change is under way.", order())
        .header(202, "Retry-After", "Seconds.", json!({ "type": "integer", "minimum": 1 }))
        .problems(BODY)
        .problems(KEY)
        .problems(&["unknown-order", "order-state"])
        .problems(LEDGER)
}

fn events() -> Operation {
    let after = json!({ "type": "string", "pattern": "^[0-9]+(-[0-9]+)?$" });
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": EVENTS_MAX, "default": 100 });
    let event = object(
        &["order", "number", "kind", "content"],
        json!({
            "order": schema("Id"), "number": { "type": "integer", "minimum": 1 },
            "kind": { "enum": EVENTS },
            "content": { "type": "object" },
        }),
    );
    let page = object(
        &["events", "next"],
        json!({ "events": { "type": "array", "items": event }, "next": or_null(schema("Text")) }),
    );
    let next =
        json!({ "operationId": "listEvents", "parameters": { "after": "$response.body#/next" } });
    Operation::new("get", "/v1/events", "listEvents", "Returns events of orders, in their order")
        .role(Role::Viewer)
        .parameter(query_parameter("after", "`next` of an earlier answer.", after))
        .parameter(query_parameter("limit", "The most events.", limit))
        .answer(200, "Events, and the cursor after them.", page)
        .link(200, "next", next)
        .problems(&["invalid-request"])
        .problems(LEDGER)
}

fn webhook() -> Operation {
    let taken = object(&["repeated"], json!({ "repeated": { "type": "boolean" } }));
    Operation::new(
        "post",
        "/v1/webhooks/{provider}",
        "takeWebhook",
        "Takes an event of a payment provider, which signs it in place of an access token",
    )
    .in_path("provider", schema("Name"))
    .body(json!({}), true, WEBHOOK_BYTES_MAX)
    .answer(200, "The event is recorded.", taken)
    .problems(&["invalid-request", "unreadable-body", "webhook-refused"])
    .problems(LEDGER)
}

/// The body of a payment.
pub(super) fn payment() -> Value {
    let method = json!({
        "type": "string", "minLength": 1, "maxLength": METHOD_BYTES_MAX, "pattern": "^[!-~]+$",
        "description": "The provider's name of a payment method; never a card number.",
    });
    let provider = json!({ "type": "string", "description": "One of `[sale.payment.NAME]`." });
    let gift_card = object(
        &["code", "amount"],
        json!({ "code": super::gifts::code(), "amount": schema("Amount") }),
    );
    object(
        &["amount", "currency"],
        json!({
            "provider": or_null(provider),
            "method": or_null(method),
            "gift_card": or_null(gift_card),
            "amount": schema("Amount"),
            "currency": schema("Currency"),
            "capture": { "enum": ["now", "later"], "default": "now" },
        }),
    )
}

fn checkout_body() -> Value {
    object(&["hold", "payment"], json!({ "hold": schema("Id"), "payment": payment() }))
}

fn part() -> Value {
    let amount = json!({
        "type": "integer", "minimum": 1,
        "description": "Minor units; all that is left if it is absent.",
    });
    object(&[], json!({ "amount": or_null(amount) }))
}

fn lines() -> Value {
    let line = object(
        &["sku", "location", "quantity", "price"],
        json!({
            "sku": schema("Name"), "location": schema("Name"),
            "quantity": { "type": "integer", "minimum": 1 },
            "price": or_null(schema("Amount")),
        }),
    );
    json!({ "type": "array", "items": line })
}

fn placed() -> Value {
    object(
        &["order", "checkout", "hold", "amount", "currency", "lines", "ordered_at"],
        json!({
            "order": schema("Id"), "checkout": schema("Id"), "hold": schema("Id"),
            "amount": schema("Amount"), "currency": schema("Currency"), "lines": lines(),
            "ordered_at": or_null(schema("Time")),
        }),
    )
}

fn progress(more: Value) -> Value {
    let mut properties = json!({
        "checkout": schema("Id"), "hold": schema("Id"), "state": schema("Phase"),
        "amount": schema("Amount"), "currency": schema("Currency"),
        "wait_seconds": {
            "type": "integer", "minimum": 1, "description": "While the payment is under way.",
        },
        "reason": { "type": "string", "description": "The provider's word." },
        "gift_card": gift_part(),
        "order": schema("Id"),
    });
    let mut required = vec!["checkout", "hold", "state", "amount", "currency"];
    for (name, schema) in more.as_object().into_iter().flatten() {
        properties[name] = schema.clone();
        required.push(name);
    }
    object(&required, properties)
}

/// The part of an order that a gift card has paid.
fn gift_part() -> Value {
    object(
        &["gift_card", "amount", "returned"],
        json!({
            "gift_card": schema("Text"), "amount": schema("Amount"), "returned": schema("Count"),
        }),
    )
}

fn order() -> Value {
    progress(json!({
        "order": schema("Id"), "customer": schema("Name"), "is_placed": { "type": "boolean" },
        "captured": schema("Count"), "refunded": schema("Count"),
        "ordered_at": or_null(schema("Time")), "lines": lines(),
    }))
}
