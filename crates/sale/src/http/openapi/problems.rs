//! The kinds of problems. The tables of docs/sale.md and docs/jobs.md have them for people.

use access::openapi::ProblemKind;

const fn kind(word: &'static str, status: u16, meaning: &'static str) -> ProblemKind {
    ProblemKind::new(word, status, meaning)
}

/// All kinds, but for those of [`access::openapi::ACCESS_PROBLEMS`].
#[rustfmt::skip]
pub(super) const KINDS: &[ProblemKind] = &[
    kind("invalid-request", 400, "`field` names the value that can't be accepted.").with(&[("field", "Text")]),
    kind("idempotency-key-missing", 400, "There is no header `Idempotency-Key`, or several."),
    kind("unreadable-body", 400, "The body did not arrive as a whole."),
    kind("unreadable-body", 413, "The body is too large."),
    kind("unsupported-media-type", 415, "The body is not sent as JSON."),
    kind("idempotency-key-reused", 422, "The key stands for another request."),
    kind("request-in-flight", 409, "A request with this key is being executed, or the order is being changed: repeat it."),
    kind("unknown-stock", 404, "There is no stock record of the SKU, or not at the location."),
    kind("unknown-hold", 404, "There is no such hold."),
    kind("unknown-cart", 404, "There is no such cart."),
    kind("unknown-gift-card", 404, "There is no gift card with this code."),
    kind("unknown-order", 404, "There is no such checkout or order."),
    kind("not-found", 404, "There is no such path."),
    kind("method-not-allowed", 405, "The path has other methods: `Allow`."),
    kind("sold-out", 409, "`lines` are short of stock.").with(&[("lines", "Shortages")]),
    kind("customer-limit", 409, "`lines` would exceed the customer's limit.").with(&[("lines", "Shortages")]),
    kind("hold-ended", 409, "The hold has ended: `state`.").with(&[("state", "HoldEnd")]),
    kind("extended-before", 409, "A hold is extended once."),
    kind("stock-committed", 409, "Holds and sales need these units; `free` could be taken away.").with(&[("free", "Count")]),
    kind("payment-declined", 402, "Nothing was taken; pay again with a new key.").with(&[("checkout", "Id"), ("reason", "Text")]),
    kind("checkout-released", 409, "The payment was given up; nothing was taken.").with(&[("checkout", "Id"), ("reason", "Text")]),
    kind("price-changed", 409, "The hold has the price `amount`: show it to the customer.").with(&[("amount", "Amount"), ("currency", "Currency")]),
    kind("unpriced", 409, "A SKU had no price when it was held, or the lines have several currencies."),
    kind("checkout-exists", 409, "Another payment of the hold is under way or has an order.").with(&[("checkout", "Id")]),
    kind("cart-changed", 412, "The cart has another `version` than the one in `If-Match`, or exists already.").with(&[("version", "Count")]),
    kind("version-missing", 428, "There is no `If-Match` with the version that the customer has seen."),
    kind("cart-in-checkout", 409, "The `checkout` of the cart is under way.").with(&[("checkout", "Id")]),
    kind("cart-ordered", 409, "The cart has its order: `order`, where it is known."),
    kind("cart-empty", 409, "The cart has no lines."),
    kind("gift-card-short", 409, "The gift card has `available` left; nothing was begun.").with(&[("available", "Count")]),
    kind("gift-card-currency", 409, "The gift card has another currency; nothing was begun."),
    kind("gift-card-exists", 409, "A gift card has this code already."),
    kind("too-many-payments", 409, "Too many payments of the hold were declined."),
    kind("order-state", 409, "Not possible in the order's `state`.").with(&[("state", "Phase")]),
    kind("amount-too-large", 409, "The greatest amount is `most`.").with(&[("most", "Count")]),
    kind("webhook-refused", 400, "The event's signature does not fit."),
    kind("webhook-refused", 503, "The event's signature can't be checked."),
    kind("ledger-unavailable", 503, "No answer: the request may have had its effect. Repeat it with its key."),
    kind("overloaded", 503, "Too many requests wait. Repeat it with its key."),
    kind("not-recorded", 503, "The audit log is not writable, and nothing was changed."),
    kind("unknown-kind", 404, "There is no such kind of jobs."),
    kind("unknown-job", 404, "There is no such attempt, or it ended some time ago."),
    kind("lease-lost", 409, "Another worker has the job, or it has ended: drop the work."),
    kind("kind-has-endpoint", 409, "Nodes send these jobs to their endpoint."),
    kind("kind-draining", 409, "An operator drains the kind."),
    kind("jobs-busy", 503, "Too many jobs are open."),
];

/// Of every request with a body.
pub(super) const BODY: &[&str] = &["invalid-request", "unreadable-body", "unsupported-media-type"];

/// Of every request with an idempotency key.
pub(super) const KEY: &[&str] =
    &["invalid-request", "idempotency-key-missing", "idempotency-key-reused", "request-in-flight"];

/// Of every request that the ledger answers.
pub(super) const LEDGER: &[&str] = &["ledger-unavailable", "overloaded"];
