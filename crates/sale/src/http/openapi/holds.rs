//! `/v1/holds`

use access::Role;
use access::openapi::{Operation, object, schema};
use serde_json::{Value, json};

use super::problems::{BODY, KEY, LEDGER};
use super::schemas::{idempotency_key, or_null};
use crate::http::limits::BODY_BYTES_MAX;
use crate::request::{LINES_MAX, TTL_SECONDS_DEFAULT, TTL_SECONDS_MAX};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("post", "/v1/holds", "createHold", "Holds all lines, or none")
            .role(Role::Operator)
            .parameter(idempotency_key())
            .body(hold_body(), true, BODY_BYTES_MAX)
            .answer(201, "The hold, durable until its deadline.", held())
            .header(201, "Location", "The path of the hold.", json!({ "type": "string" }))
            .link(201, "get", of_hold("getHold"))
            .link(201, "extend", of_hold("extendHold"))
            .link(201, "confirm", of_hold("confirmHold"))
            .link(201, "cancel", of_hold("cancelHold"))
            .link(201, "checkout", checkout_of_hold())
            .problems(BODY)
            .problems(KEY)
            .problems(&["unknown-stock", "sold-out", "customer-limit"])
            .problems(LEDGER),
        Operation::new("get", "/v1/holds/{hold}", "getHold", "Returns a hold")
            .role(Role::Viewer)
            .in_path("hold", schema("Id"))
            .answer(200, "The hold.", shown())
            .problems(&["invalid-request", "unknown-hold"])
            .problems(LEDGER),
        Operation::new("delete", "/v1/holds/{hold}", "cancelHold", "Gives the units back")
            .role(Role::Operator)
            .in_path("hold", schema("Id"))
            .answer(200, "The hold is cancelled; a repeat gets the same answer.", cancelled())
            .problems(&["invalid-request", "unknown-hold", "hold-ended"])
            .problems(LEDGER),
        Operation::new(
            "post",
            "/v1/holds/{hold}/extend",
            "extendHold",
            "Adds time to the deadline, once",
        )
        .role(Role::Operator)
        .in_path("hold", schema("Id"))
        .parameter(idempotency_key())
        .body(object(&[], json!({ "ttl_seconds": ttl_seconds() })), false, BODY_BYTES_MAX)
        .answer(
            200,
            "The new deadline.",
            object(
                &["hold", "expires_at"],
                json!({ "hold": schema("Id"), "expires_at": schema("Time") }),
            ),
        )
        .problems(BODY)
        .problems(KEY)
        .problems(&["unknown-hold", "hold-ended", "extended-before"])
        .problems(LEDGER),
        Operation::new(
            "post",
            "/v1/holds/{hold}/confirm",
            "confirmHold",
            "Sells the units, for shops with a checkout of their own",
        )
        .role(Role::Operator)
        .in_path("hold", schema("Id"))
        .parameter(idempotency_key())
        .body(object(&[], json!({})), false, BODY_BYTES_MAX)
        .answer(200, "The units are sold.", confirmed())
        .problems(BODY)
        .problems(KEY)
        .problems(&["unknown-hold", "hold-ended"])
        .problems(LEDGER),
    ]
}

fn of_hold(operation: &str) -> Value {
    json!({ "operationId": operation, "parameters": { "hold": "$response.body#/hold" } })
}

/// The payment has to be that of the hold's lines; its members are the client's.
fn checkout_of_hold() -> Value {
    json!({ "operationId": "createCheckout", "requestBody": { "hold": "$response.body#/hold" } })
}

fn ttl_seconds() -> Value {
    or_null(json!({
        "type": "integer", "minimum": 1, "maximum": TTL_SECONDS_MAX, "default": TTL_SECONDS_DEFAULT,
    }))
}

/// Lines that a request wants.
pub(super) fn wanted_lines() -> Value {
    let line = object(
        &["sku", "quantity"],
        json!({
            "sku": schema("Name"),
            "location": or_null(schema("Name")),
            "quantity": schema("Quantity"),
        }),
    );
    json!({ "type": "array", "minItems": 1, "maxItems": LINES_MAX, "items": line })
}

fn hold_body() -> Value {
    object(
        &["customer", "lines"],
        json!({
            "customer": schema("Name"),
            "lines": wanted_lines(),
            "ttl_seconds": ttl_seconds(),
        }),
    )
}

/// Lines of an answer.
pub(super) fn lines() -> Value {
    let line = object(
        &["sku", "location", "quantity"],
        json!({
            "sku": schema("Name"), "location": schema("Name"),
            "quantity": { "type": "integer", "minimum": 1 },
        }),
    );
    json!({ "type": "array", "items": line })
}

fn held() -> Value {
    object(
        &["hold", "expires_at", "lines"],
        json!({ "hold": schema("Id"), "expires_at": schema("Time"), "lines": lines() }),
    )
}

fn shown() -> Value {
    let state = json!({ "anyOf": [{ "const": "active" }, schema("HoldEnd")] });
    object(
        &["hold", "customer", "state", "expires_at", "lines"],
        json!({
            "hold": schema("Id"), "customer": schema("Name"), "state": state,
            "expires_at": schema("Time"), "lines": lines(),
            "extended": { "type": "boolean", "description": "Of an active hold." },
        }),
    )
}

fn cancelled() -> Value {
    object(&["hold", "state"], json!({ "hold": schema("Id"), "state": schema("HoldEnd") }))
}

fn confirmed() -> Value {
    object(
        &["hold", "state", "confirmed_at"],
        json!({
            "hold": schema("Id"), "state": { "const": "confirmed" }, "confirmed_at": schema("Time"),
        }),
    )
}
