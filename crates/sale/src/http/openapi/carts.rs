//! `/v1/carts`

use access::Role;
use access::openapi::{Operation, header_parameter, object, schema};
use serde_json::{Value, json};

use super::checkouts::{paying, payment};
use super::holds::{lines, wanted_lines};
use super::problems::{BODY, KEY, LEDGER};
use super::schemas::idempotency_key;
use crate::http::limits::BODY_BYTES_MAX;
use crate::request::CART_BYTES_MAX;
use crate::rules::CartStage;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            "put",
            "/v1/carts/{cart}",
            "putCart",
            "Creates a cart, or replaces its lines",
        )
        .role(Role::Operator)
        .in_path("cart", name())
        .parameter(if_match("Without it the cart is created."))
        .body(cart_body(), true, BODY_BYTES_MAX)
        .answer(201, "The cart is created.", written())
        .header(201, "ETag", "The version.", json!({ "type": "string" }))
        .answer(200, "The cart is replaced.", written())
        .header(200, "ETag", "The version.", json!({ "type": "string" }))
        .problems(BODY)
        .problems(&["cart-changed", "cart-in-checkout", "cart-ordered"])
        .problems(LEDGER),
        Operation::new("get", "/v1/carts/{cart}", "getCart", "Returns a cart")
            .role(Role::Viewer)
            .in_path("cart", name())
            .answer(200, "The cart.", shown())
            .header(200, "ETag", "The version.", json!({ "type": "string" }))
            .problems(&["invalid-request", "unknown-cart"])
            .problems(LEDGER),
        Operation::new(
            "delete",
            "/v1/carts/{cart}",
            "deleteCart",
            "Gives the units of its hold back",
        )
        .role(Role::Operator)
        .in_path("cart", name())
        .parameter(if_match("Without it any version is deleted."))
        .no_content(204, "There is no such cart any more.")
        .problems(&["invalid-request", "cart-changed", "cart-in-checkout", "cart-ordered"])
        .problems(LEDGER),
        paying(
            Operation::new(
                "post",
                "/v1/carts/{cart}/checkout",
                "checkOutCart",
                "Holds the lines, pays for them and makes the order, once for a cart",
            )
            .role(Role::Operator)
            .in_path("cart", name())
            .parameter(if_match("The version that the customer has seen."))
            .parameter(idempotency_key())
            .body(
                object(&["payment"], json!({ "payment": payment() })),
                true,
                BODY_BYTES_MAX,
            ),
        )
        .problems(BODY)
        .problems(KEY)
        .problems(&[
            "unknown-cart",
            "version-missing",
            "cart-changed",
            "cart-in-checkout",
            "cart-ordered",
            "cart-empty",
            "unknown-stock",
            "sold-out",
            "customer-limit",
        ])
        .problems(LEDGER),
    ]
}

fn name() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": CART_BYTES_MAX, "pattern": "^[A-Za-z0-9_.:-]+$" })
}

fn if_match(description: &str) -> Value {
    let description = format!("The `ETag` of the cart, or `*` for any. {description}");
    let schema = json!({ "type": "string", "pattern": "^(\\*|\"[1-9][0-9]{0,17}\")$" });
    header_parameter("If-Match", &description, schema)
}

fn cart_body() -> Value {
    let mut lines = wanted_lines();
    lines["minItems"] = 0.into();
    object(&["customer", "lines"], json!({ "customer": schema("Name"), "lines": lines }))
}

fn version() -> Value {
    json!({ "type": "integer", "minimum": 1 })
}

fn written() -> Value {
    object(
        &["cart", "version", "customer", "lines"],
        json!({
            "cart": schema("Text"), "version": version(), "customer": schema("Name"),
            "lines": lines(),
        }),
    )
}

fn shown() -> Value {
    object(
        &["cart", "version", "state", "customer", "lines"],
        json!({
            "cart": schema("Text"), "version": version(),
            "state": { "enum": CartStage::ALL.map(CartStage::word) },
            "customer": schema("Name"), "lines": lines(),
            "hold": schema("Id"), "expires_at": schema("Time"),
            "checkout": schema("Id"), "order": schema("Id"),
        }),
    )
}
