//! `/v1/gift-cards`

use access::Role;
use access::openapi::{Operation, header_parameter, object, schema};
use serde_json::{Value, json};

use super::problems::{BODY, KEY, LEDGER};
use super::schemas::idempotency_key;
use crate::http::limits::BODY_BYTES_MAX;

pub(super) fn operations() -> Vec<Operation> {
    let mut code_header =
        header_parameter("Gift-Card-Code", "The code: addresses are in logs.", code());
    code_header["required"] = true.into();
    vec![
        Operation::new("post", "/v1/gift-cards", "issueGiftCard", "Issues a gift card")
            .role(Role::Operator)
            .parameter(idempotency_key())
            .body(issue_body(), true, BODY_BYTES_MAX)
            .answer(201, "The card is issued.", issued())
            .problems(BODY)
            .problems(KEY)
            .problems(&["gift-card-exists", "not-recorded"])
            .problems(LEDGER),
        Operation::new(
            "get",
            "/v1/gift-cards",
            "getGiftCard",
            "Returns the balance of a gift card",
        )
        .role(Role::Viewer)
        .parameter(code_header)
        .answer(200, "The balance.", balance())
        .problems(&["invalid-request", "unknown-gift-card"])
        .problems(LEDGER),
    ]
}

/// Returns the schema of a code.
pub(super) fn code() -> Value {
    json!({
        "type": "string", "pattern": "^[ -]*([A-Za-z0-9][ -]*){16,64}$",
        "description": "16 to 64 random letters and digits; capitals, hyphens and spaces make no difference.",
    })
}

fn issue_body() -> Value {
    object(
        &["code", "amount", "currency"],
        json!({ "code": code(), "amount": schema("Amount"), "currency": schema("Currency") }),
    )
}

fn name() -> Value {
    json!({ "type": "string", "description": "The public name of the card." })
}

fn issued() -> Value {
    object(
        &["gift_card", "amount", "currency"],
        json!({ "gift_card": name(), "amount": schema("Amount"), "currency": schema("Currency") }),
    )
}

fn balance() -> Value {
    object(
        &["gift_card", "currency", "issued", "reserved", "spent", "available"],
        json!({
            "gift_card": name(), "currency": schema("Currency"), "issued": schema("Count"),
            "reserved": schema("Count"), "spent": schema("Count"), "available": schema("Count"),
        }),
    )
}
