//! The ledger's history against records of clients and of a provider: true ones show nothing, and each false one is
//! named with its repair.

use std::collections::BTreeSet;
use std::time::Duration;

use sale::audit::{
    ClientOptions, Exchange, ProviderLedger, check_clients, check_money, read_exchanges,
};
use sale::ledger::{Finding, History};
use serde_json::{Value, json};

use crate::checkouts::paid_order;
use crate::fixture::Shop;

on_both_ledgers! {
    false_records_of_clients_named
    false_books_of_provider_named
}

const OPTIONS: ClientOptions =
    ClientOptions { is_complete: true, tolerance: Duration::from_millis(100) };

async fn fill(shop: &Shop) -> History {
    shop.put("A", 10).await;
    shop.put("B", 10).await;
    let basket = shop.hold("basket", "c", &[("A", 2), ("B", 1)]).await.expect("held");
    shop.confirm(basket.hold).await.expect("confirmed");
    let given_up = shop.hold("given up", "d", &[("A", 1)]).await.expect("held");
    shop.sale.cancel(given_up.hold).await.expect("cancelled");
    paid_order(shop).await;
    shop.ledger.history().await.expect("read")
}

fn exchange(key: &str, path: &str, body: Value, status: u16, answer: Value, at_ms: i64) -> Value {
    json!({ "method": "POST", "path": path, "key": key, "body": body, "sent_ms": at_ms,
        "answered_ms": at_ms, "status": status, "answer": answer })
}

/// Returns the exchanges that made a history.
fn exchanges(history: &History) -> Vec<Value> {
    // Effects of before the first request may be of clients that are not recorded.
    let mut made = vec![exchange("first", "/v1/other", Value::Null, 200, json!({}), 1)];
    for (id, row) in &history.holds {
        let lines = history.movements.iter().filter(|line| line.kind == "hold" && line.hold == *id);
        let line = |line: &sale::ledger::MovementRow| json!({ "sku": line.sku, "location": line.location, "quantity": line.held });
        let lines: Value = lines.map(line).collect();
        let body = json!({ "customer": row.customer, "lines": lines });
        let answer = json!({ "hold": id, "lines": lines });
        made.push(exchange(&row.key, "/v1/holds", body, 201, answer, row.at_ms));
    }
    let (basket, row) =
        history.holds.iter().find(|(_, row)| row.key == "basket").expect("the basket");
    let answer = json!({ "hold": basket, "state": "confirmed" });
    let path = format!("/v1/holds/{basket}/confirm");
    made.push(exchange("confirm", &path, Value::Null, 200, answer, row.at_ms));
    for (id, row) in &history.checkouts {
        let at_ms = history.holds[&row.hold].at_ms;
        let body = json!({ "hold": row.hold, "payment": {} });
        let answer = json!({ "order": id, "hold": row.hold, "amount": row.amount,
            "currency": row.currency });
        made.push(exchange("pay", "/v1/checkouts", body, 201, answer, at_ms));
        let answer = json!({ "order": id, "is_placed": true, "captured": row.captured,
            "refunded": row.refunded });
        let path = format!("/v1/orders/{id}/capture");
        made.push(exchange("capture", &path, json!({}), 200, answer, at_ms));
    }
    made
}

fn parsed(exchanges: &[Value]) -> Vec<Exchange> {
    let lines: Vec<String> = exchanges.iter().map(Value::to_string).collect();
    read_exchanges(&lines.join("\n")).expect("exchanges")
}

fn named(findings: &[Finding]) -> BTreeSet<&'static str> {
    assert!(findings.iter().all(|finding| finding.repair.len() > 10), "{findings:?}");
    findings.iter().map(|finding| finding.invariant).collect()
}

async fn false_records_of_clients_named(shop: Shop) {
    let history = fill(&shop).await;
    let truth = exchanges(&history);
    assert_eq!(check_clients(&history, &parsed(&truth), OPTIONS), []);

    let at = |path: &str| {
        let is_at = |exchange: &Value| exchange["path"].as_str().is_some_and(|p| p.ends_with(path));
        truth.iter().position(is_at).unwrap_or_else(|| panic!("{path}: {truth:?}"))
    };
    let (hold, confirm) = (at("/v1/holds"), at("/confirm"));
    let (pay, capture) = (at("/v1/checkouts"), at("/capture"));
    let other = "0123456789abcdef0123456789abcdef";
    let none = json!({ "type": "urn:tidegate:problem:sold-out" });
    // Each change of one exchange, and the check that sees it.
    for (of, pointer, value, invariant) in [
        (hold, "/answer/hold", json!(other), "acknowledged-holds-exist"),
        (hold, "/body/customer", json!("another"), "acknowledged-holds-exist"),
        (hold, "/answer/lines/0/quantity", json!(7), "acknowledged-holds-exist"),
        (hold, "/key", json!("of no request"), "holds-were-asked-for"),
        (hold, "/status", json!(409), "refusals-have-no-effect"),
        (hold, "/answer", none.clone(), "acknowledged-holds-exist"),
        (
            confirm,
            "/path",
            json!(format!("/v1/holds/{other}/confirm")),
            "acknowledged-ends-are-recorded",
        ),
        (pay, "/answer/order", json!(other), "acknowledged-orders-exist"),
        (pay, "/answer/amount", json!(1), "acknowledged-orders-exist"),
        (pay, "/answer/currency", json!("USD"), "acknowledged-orders-exist"),
        (pay, "/body/hold", json!(other), "orders-were-asked-for"),
        (capture, "/answer/captured", json!(1_000_000), "acknowledged-payments-are-recorded"),
        (capture, "/answer/refunded", json!(1), "acknowledged-payments-are-recorded"),
        (capture, "/path", json!("/v1/stock/A/adjust"), "acknowledged-adjustments-exist"),
    ] {
        let mut planted = truth.clone();
        *planted[of].pointer_mut(pointer).expect(pointer) = value;
        let found = check_clients(&history, &parsed(&planted), OPTIONS);
        assert!(named(&found).contains(invariant), "{pointer}: {found:?}");
    }
    // Each further exchange, and the check that sees it.
    let again = |change: &dyn Fn(&mut Value), of: usize| {
        let mut second = truth[of].clone();
        change(&mut second);
        second
    };
    let now_ms = history.movements.iter().map(|row| row.at_ms).max().expect("movements");
    let wanted = json!({ "customer": "e", "lines": [{ "sku": "A", "quantity": 2 }] });
    let much = json!({ "customer": "e", "lines": [{ "sku": "A", "quantity": 8 }] });
    let refused = |body: &Value, at_ms: i64| {
        exchange("refused", "/v1/holds", body.clone(), 409, none.clone(), at_ms)
    };
    let of_cart = |key: &str, order: &str| {
        let change = |e: &mut Value| {
            e["path"] = json!("/v1/carts/c/checkout");
            e["key"] = json!(key);
            e["answer"]["order"] = json!(order);
        };
        again(&change, pay)
    };
    let id = truth[pay]["answer"]["order"].as_str().expect("an order");
    let planted = [&truth[..], &[of_cart("tab 1", id), of_cart("tab 2", other)]].concat();
    let found = named(&check_clients(&history, &parsed(&planted), OPTIONS));
    assert!(found.contains("carts-got-one-order"), "{found:?}");
    for (second, invariant) in [
        (again(&|e| e["answer"]["expires_at"] = json!("later"), hold), "one-answer-per-key"),
        (again(&|e| e["body"]["customer"] = json!("x"), hold), "one-request-per-key"),
        (again(&|e| e["answer"]["order"] = json!(other), pay), "one-order-per-hold"),
        (again(&|e| e["path"] = json!("/v1/carts/c/checkout"), pay), "one-request-per-key"),
        (refused(&wanted, now_ms + 1_000), "sold-out-is-true"),
    ] {
        let planted = [&truth[..], &[second]].concat();
        let found = check_clients(&history, &parsed(&planted), OPTIONS);
        assert!(named(&found).contains(invariant), "{invariant}: {found:?}");
    }
    // There were 7 units of A at the end, and none before it was put in stock.
    for (body, at_ms) in [(&much, now_ms + 1_000), (&much, now_ms), (&wanted, 0)] {
        let planted = [&truth[..], &[refused(body, at_ms)]].concat();
        let options = ClientOptions { is_complete: false, ..OPTIONS };
        assert_eq!(check_clients(&history, &parsed(&planted), options), [], "{body} {at_ms}");
    }
}

async fn false_books_of_provider_named(shop: Shop) {
    let history = fill(&shop).await;
    let (id, row) = history.checkouts.iter().next().expect("an order");
    let payment = json!({ "id": "pi_1", "checkout": id, "amount": row.amount, "currency": "eur",
        "status": "succeeded", "captured": row.captured, "refunded": row.refunded });
    let capture = json!({ "operation": "capture", "payment": "pi_1", "amount": row.captured });
    let truth = json!({ "payments": [payment], "executed": [capture] });
    let found = |books: &Value| {
        let books = ProviderLedger::read(books.to_string().as_bytes()).expect("books");
        check_money(&history, &history, &books)
    };
    assert_eq!(found(&truth), []);
    let more = |pointer: &str, further: &Value| {
        let mut books = truth.clone();
        let list = books.pointer_mut(pointer).and_then(Value::as_array_mut).expect(pointer);
        list.push(further.clone());
        books
    };
    let changed = |pointer: &str, value: Value| {
        let mut books = truth.clone();
        *books.pointer_mut(pointer).expect(pointer) = value;
        books
    };
    let mut second = payment.clone();
    second["id"] = json!("pi_2");
    let mut stray = second.clone();
    stray["checkout"] = json!("none");
    let mut reserved = second.clone();
    reserved["status"] = json!("requires_capture");
    reserved["captured"] = json!(0);
    for (books, invariant) in [
        (more("/executed", &capture), "one-capture-at-the-provider"),
        (more("/payments", &second), "customers-are-charged-once"),
        (more("/payments", &stray), "captures-have-orders"),
        (more("/payments", &reserved), "authorisations-are-not-stranded"),
        (changed("/payments/0/captured", json!(row.captured + 1)), "money-agrees"),
        (changed("/payments/0/refunded", json!(1)), "money-agrees"),
        (changed("/payments/0/currency", json!("usd")), "money-agrees"),
        (changed("/payments/0/amount", json!(1)), "money-agrees"),
        (changed("/payments/0/refunded", json!(row.captured + 1)), "refunds-within-captures"),
        (changed("/payments", json!([])), "orders-have-payments"),
    ] {
        let findings = found(&books);
        assert!(named(&findings).contains(invariant), "{books}: {findings:?}");
    }
    let mut without_order = history.clone();
    without_order.checkouts.get_mut(id).expect("there").ordered = false;
    let books = ProviderLedger::read(truth.to_string().as_bytes()).expect("books");
    let findings = check_money(&without_order, &without_order, &books);
    assert!(named(&findings).contains("captures-have-orders"), "{findings:?}");
    // A checkout that changed while the provider was asked is not judged.
    let mut earlier = history.clone();
    earlier.checkouts.get_mut(id).expect("there").version -= 1;
    let books = changed("/payments/0/refunded", json!(1));
    let books = ProviderLedger::read(books.to_string().as_bytes()).expect("books");
    assert_eq!(check_money(&earlier, &history, &books), []);
}
