//! `/v1/stock`

use access::Role;
use access::openapi::{Operation, object, schema};
use serde_json::{Value, json};

use super::problems::{BODY, KEY, LEDGER};
use super::schemas::{idempotency_key, or_null, plain_text};
use crate::http::limits::BODY_BYTES_MAX;
use crate::request::{REASON_BYTES_MAX, UNITS_MAX};

pub(super) fn operations() -> Vec<Operation> {
    let changes = &["unknown-stock", "stock-committed", "not-recorded"];
    vec![
        Operation::new(
            "put",
            "/v1/stock/{sku}",
            "setStock",
            "Sets the stock of a SKU at a location",
        )
        .role(Role::Operator)
        .in_path("sku", schema("Name"))
        .body(set_body(), true, BODY_BYTES_MAX)
        .answer(200, "The stock of the SKU.", stock())
        .link(200, "hold", hold_of_stock())
        .problems(BODY)
        .problems(changes)
        .problems(LEDGER),
        Operation::new("get", "/v1/stock/{sku}", "getStock", "Returns the stock of a SKU")
            .role(Role::Viewer)
            .in_path("sku", schema("Name"))
            .answer(200, "The stock of the SKU.", stock())
            .problems(&["invalid-request", "unknown-stock"])
            .problems(LEDGER),
        Operation::new(
            "post",
            "/v1/stock/{sku}/adjust",
            "adjustStock",
            "Changes the units on hand, with a reason",
        )
        .role(Role::Operator)
        .in_path("sku", schema("Name"))
        .parameter(idempotency_key())
        .body(adjust_body(), true, BODY_BYTES_MAX)
        .answer(200, "The counters of the location.", adjusted())
        .problems(BODY)
        .problems(KEY)
        .problems(changes)
        .problems(LEDGER),
    ]
}

/// Only units of a SKU that has stock can be held.
fn hold_of_stock() -> Value {
    let lines = json!([{ "sku": "$response.body#/sku", "quantity": 1 }]);
    json!({ "operationId": "createHold", "requestBody": { "customer": "c1", "lines": lines } })
}

fn set_body() -> Value {
    let units = json!({ "type": "integer", "minimum": 0, "maximum": UNITS_MAX });
    object(
        &["on_hand"],
        json!({
            "on_hand": units,
            "location": or_null(schema("Name")),
            "policy": or_null(policy(true)),
            "customer_limit": or_null(schema("Quantity")),
            "price": or_null(schema("Price")),
        }),
    )
}

/// The policy of an answer; of a request too, where members without a meaning may also be null.
fn policy(is_request: bool) -> Value {
    let nothing = || if is_request { json!({ "type": "null" }) } else { json!(false) };
    let units = json!({ "type": "integer", "minimum": 1, "maximum": UNITS_MAX });
    let percent = json!({ "type": "integer", "minimum": 1, "maximum": 100 });
    let bounded = json!({ "const": "bounded-oversell" });
    json!({ "anyOf": [
        object(&["kind"], json!({ "kind": { "const": "strict" }, "units": nothing(), "percent": nothing() })),
        object(&["kind", "units"], json!({ "kind": bounded, "units": units, "percent": nothing() })),
        object(&["kind", "percent"], json!({ "kind": bounded, "units": nothing(), "percent": percent })),
    ] })
}

fn counters(more: Value) -> Value {
    let mut properties = json!({
        "on_hand": schema("Count"), "held": schema("Count"), "sold": schema("Count"),
    });
    let names = ["on_hand", "held", "sold"].into_iter();
    let mut required: Vec<&str> = names.collect();
    for (name, schema) in more.as_object().into_iter().flatten() {
        properties[name] = schema.clone();
        required.push(name);
    }
    object(&required, properties)
}

fn stock() -> Value {
    let at_location = counters(json!({ "available": schema("Count") }));
    counters(json!({
        "sku": schema("Name"),
        "available": schema("Count"),
        "policy": policy(false),
        "customer_limit": or_null(schema("Quantity")),
        "price": or_null(schema("Price")),
        "locations": { "type": "object", "additionalProperties": at_location },
    }))
}

fn adjust_body() -> Value {
    let by = json!({
        "type": "integer", "minimum": -UNITS_MAX, "maximum": UNITS_MAX, "not": { "const": 0 },
    });
    object(
        &["by", "reason"],
        json!({
            "by": by,
            "reason": plain_text(REASON_BYTES_MAX),
            "location": or_null(schema("Name")),
        }),
    )
}

fn adjusted() -> Value {
    counters(json!({ "sku": schema("Name"), "location": schema("Name") }))
}
