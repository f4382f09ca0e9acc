//! The audit finds planted violations. An audit that sums with signs, for example, would be content with −1.

use std::collections::BTreeSet;

use crate::carts::held_cart;
use crate::checkouts::paid_order;
use crate::fixture::{Fixture, Shop, key, request};
use crate::gifts::split_order;

/// Each statement, and an invariant that it breaks.
const PLANTED: &[(&str, &str)] = &[
    (
        "update tidegate.stock set sold = sold + 1, on_hand = on_hand + 1 where sku = 'A'",
        "counters-are-the-ledger",
    ),
    ("update tidegate.stock set held = held - 1 where sku = 'A'", "counters-are-the-holds"),
    ("delete from tidegate.movement where kind = 'confirmed'", "one-end-per-hold"),
    ("delete from tidegate.hold where state = 'confirmed'", "lines-have-holds"),
    ("delete from tidegate.movement where kind = 'hold'", "holds-have-lines-and-keys"),
    (
        "insert into tidegate.movement(at, kind, sku, location, on_hand, held, sold, hold, key) \
         select at, kind, sku, location, on_hand, held, sold, hold, key from tidegate.movement where kind = 'confirmed'",
        "one-end-per-hold",
    ),
    (
        "insert into tidegate.movement(at, kind, sku, location, on_hand, held, sold) \
         select at, 'adjust', sku, location, -20, 0, 0 from tidegate.movement where kind = 'set' and sku = 'A'; \
         insert into tidegate.movement(at, kind, sku, location, on_hand, held, sold) \
         select at, 'adjust', sku, location, 20, 0, 0 from tidegate.movement where kind = 'set' and sku = 'A'",
        "never-negative",
    ),
    (
        "update tidegate.hold set expires_at = created_at where state = 'confirmed'",
        "ends-by-the-deadline",
    ),
    (
        "update tidegate.hold set state = 'expired' where state = 'confirmed'",
        "counters-are-the-holds",
    ),
    ("update tidegate.customer_units set units = units + 1", "customer-units-are-the-holds"),
    ("update tidegate.movement set key = 'k1' where kind = 'hold'", "one-effect-per-key"),
    ("update tidegate.sku set customer_limit = 1 where sku = 'B'", "customer-limit"),
    (
        "update tidegate.hold set state = 'cancelled' where state = 'confirmed'",
        "orders-have-sold-holds",
    ),
    ("update tidegate.checkout set ordered = false", "takes-are-for-orders"),
    ("update tidegate.checkout set refunded = 1 where captured > 0", "amounts-are-the-attempts"),
    (
        "insert into tidegate.payment_attempt(key, checkout, operation, amount, outcome, at) \
         select 'second ' || checkout, checkout, operation, amount, outcome, at from tidegate.payment_attempt \
         where operation = 'capture'",
        "one-capture-per-order",
    ),
    ("delete from tidegate.payment_attempt where operation = 'authorise'", "orders-are-authorised"),
    ("update tidegate.payment_attempt set outcome = 'sent'", "ended-attempts-are-known"),
    (
        "update tidegate.checkout_step set after = 'refunding' where after = 'captured'",
        "transitions-are-legal",
    ),
    ("delete from tidegate.outbox", "events-are-complete"),
    (
        "insert into tidegate.cart_hold(hold, cart, version, number, at) \
         select id, 'cart', 1, 2, created_at from tidegate.hold where state = 'confirmed'",
        "one-order-per-cart",
    ),
    (
        "insert into tidegate.cart_hold(hold, cart, version, number, at) \
         select id, 'cart', 1, 2, created_at from tidegate.hold where state = 'confirmed'",
        "one-hold-per-cart",
    ),
    ("update tidegate.cart set holds = 7", "carts-have-their-holds"),
    ("update tidegate.gift_card set spent = spent + 1", "gift-cards-are-the-movements"),
    (
        "insert into tidegate.gift_movement(at, card, kind, issued, reserved, spent, checkout) \
         select at, card, 'return', 0, 0, -900, 'x' from tidegate.gift_movement where kind = 'issue'",
        "gift-cards-are-never-negative",
    ),
    ("delete from tidegate.gift_movement where kind = 'spend'", "gift-parts-are-the-movements"),
    (
        "insert into tidegate.gift_movement(at, card, kind, issued, reserved, spent, checkout) \
         select at, card, kind, issued, reserved, spent, checkout from tidegate.gift_movement where kind = 'spend'",
        "gift-parts-are-moved-once",
    ),
    (
        "insert into tidegate.movement(at, kind, sku, location, on_hand, held, sold) \
      select at, kind, 'Z', location, on_hand, held, sold from tidegate.movement where kind = 'set' and sku = 'A'",
        "movements-have-stock",
    ),
];

async fn fill(shop: &Shop) {
    shop.put("A", 10).await;
    shop.put_with("B", 10, None, Some(5)).await;
    let sold = shop.hold("k1", "c", &[("A", 2), ("B", 2)]).await.expect("held");
    shop.confirm(sold.hold).await.expect("confirmed");
    paid_order(shop).await;
    shop.hold("k2", "c", &[("A", 1), ("B", 1)]).await.expect("held");
    shop.sale.hold(request("d", &[("B", 1)], 600), &key("k3")).await.expect("held");
    shop.put("C", 10).await;
    shop.hold("k4", "d", &[("C", 1)]).await.expect("held");
    let sold = shop.hold("k5", "d", &[("C", 2)]).await.expect("held");
    shop.confirm(sold.hold).await.expect("confirmed");
    held_cart(shop).await;
    split_order(shop).await;
}

async fn broken_invariants(shop: &Shop) -> BTreeSet<&'static str> {
    let findings = shop.ledger.audit().await.expect("audited");
    findings.iter().map(|finding| finding.invariant).collect()
}

/// `save` copies the tables, and `restore` puts the copies in their place.
async fn finds_planted(
    fixture: &Fixture,
    planted: impl IntoIterator<Item = (String, &str)>,
    save: &str,
    restore: &str,
) {
    let shop = fixture.shop().await;
    fill(&shop).await;
    assert_eq!(broken_invariants(&shop).await, BTreeSet::new());
    fixture.sql(save);
    for (sql, invariant) in planted {
        fixture.sql(&sql);
        let broken = broken_invariants(&shop).await;
        assert!(broken.contains(invariant), "{sql}: {broken:?}");
        fixture.sql(restore);
    }
}

const TABLES: [&str; 14] = [
    "sku",
    "stock",
    "hold",
    "customer_units",
    "request",
    "movement",
    "checkout",
    "checkout_step",
    "payment_attempt",
    "outbox",
    "cart",
    "cart_hold",
    "gift_card",
    "gift_movement",
];

/// Violations of holds whose rows have their line.
const PLANTED_INLINE: &[(&str, &str)] = &[
    ("update tidegate.hold set units = units + 1 where sku is not null", "counters-are-the-ledger"),
    ("delete from tidegate.hold where sku is not null", "keys-have-effects"),
    ("update tidegate.hold set key = 'k1' where sku is not null", "one-effect-per-key"),
    (
        "update tidegate.hold set sku = null, location = null, units = null, key = null, movement_id = null",
        "holds-have-lines-and-keys",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_violations_found_in_postgres() {
    // Rows are added through the view, and changed in the table.
    let stored = |sql: &str| match sql.starts_with("insert") {
        true => sql.to_owned(),
        false => sql.replace("tidegate.movement", "tidegate.movement_row"),
    };
    let planted = PLANTED.iter().chain(PLANTED_INLINE).map(|(sql, broken)| (stored(sql), *broken));
    let tables = TABLES.map(|table| if table == "movement" { "movement_row" } else { table });
    let save =
        tables.map(|table| format!("create table saved_{table} as table tidegate.{table}; "));
    let restore = tables.map(|table| {
        let identity = if matches!(table, "movement_row" | "outbox" | "gift_movement") {
            "overriding system value "
        } else {
            ""
        };
        format!(
            "truncate tidegate.{table} cascade; \
             insert into tidegate.{table} {identity}select * from saved_{table}; "
        )
    });
    let fixture = Fixture::postgres().await;
    finds_planted(&fixture, planted, &save.concat(), &restore.concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_violations_found_in_sqlite() {
    let save = TABLES
        .map(|table| format!("create table saved_{table} as select * from tidegate.{table}; "));
    let restore = TABLES.map(|table| {
        format!(
            "delete from tidegate.{table}; insert into tidegate.{table} select * from saved_{table}; "
        )
    });
    let fixture = Fixture::sqlite().await;
    let planted = PLANTED.iter().map(|(sql, broken)| ((*sql).to_owned(), *broken));
    finds_planted(&fixture, planted, &save.concat(), &restore.concat()).await;
}
