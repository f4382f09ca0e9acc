//! Effects that clients were told of are in the ledger, and those in the ledger were asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::exchange::{Exchange, Request};
use crate::ledger::{Finding, History};
use crate::request::cart_of_key;

/// Checks that acknowledged holds, ends, orders and payments are recorded.
pub(super) fn check(history: &History, exchanges: &[Exchange]) -> Vec<Finding> {
    let lines = held_lines(history);
    let mut findings = Vec::new();
    for exchange in exchanges.iter().filter(|exchange| exchange.is_success()) {
        findings.extend(match exchange.request() {
            Request::Hold => hold(history, &lines, exchange),
            Request::Confirm(hold) => ended(history, hold, &["confirmed"]),
            Request::CancelHold(hold) => ended(history, hold, &["cancelled", "expired"]),
            Request::Checkout | Request::CartCheckout(_) => {
                order(history, exchange.told("order"), exchange)
            }
            Request::Order(order) => payment(history, order, exchange),
            Request::Adjust => adjusted(history, exchange),
            Request::Other => None,
        });
    }
    findings.sort_by(|a, b| (a.invariant, &a.subject).cmp(&(b.invariant, &b.subject)));
    findings.dedup();
    findings
}

type Lines<'h> = BTreeMap<(&'h str, &'h str), i64>;

/// Returns the units of each hold by SKU and location.
fn held_lines(history: &History) -> BTreeMap<&str, Lines<'_>> {
    let mut holds = BTreeMap::<&str, Lines<'_>>::new();
    for movement in history.movements.iter().filter(|movement| movement.kind == "hold") {
        let lines = holds.entry(&movement.hold).or_default();
        *lines.entry((&movement.sku, &movement.location)).or_default() += movement.held;
    }
    holds
}

fn hold(
    history: &History,
    lines: &BTreeMap<&str, Lines<'_>>,
    exchange: &Exchange,
) -> Option<Finding> {
    let id = exchange.told("hold");
    let finding = |detail: String| {
        Some(Finding {
            invariant: "acknowledged-holds-exist",
            subject: id.to_owned(),
            detail,
            repair: "offer the customer the units again: the hold was lost, as with a restored backup or a failover",
        })
    };
    let Some(row) = history.holds.get(id) else {
        return finding("a client was told of it, and it does not exist".to_owned());
    };
    let customer = exchange.body["customer"].as_str().unwrap_or_default();
    if row.customer != customer {
        return finding(format!("it was promised to {customer:?} and is of {:?}", row.customer));
    }
    let mut promised = Lines::new();
    for line in exchange.answer["lines"].as_array().into_iter().flatten() {
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        *promised.entry((text("sku"), text("location"))).or_default() +=
            line["quantity"].as_i64().unwrap_or_default();
    }
    if lines.get(id) != Some(&promised) {
        return finding(format!("promised {promised:?}, recorded {:?}", lines.get(id)));
    }
    None
}

fn ended(history: &History, hold: &str, ends: &[&str]) -> Option<Finding> {
    let state = history.holds.get(hold).map_or("missing", |row| row.state.as_str());
    (!ends.contains(&state)).then(|| Finding {
        invariant: "acknowledged-ends-are-recorded",
        subject: hold.to_owned(),
        detail: format!("a client was told that it is {}, and it is {state}", ends.join(" or ")),
        repair: "compare the hold with the customer's order, and sell or free its units accordingly",
    })
}

fn order(history: &History, order: &str, exchange: &Exchange) -> Option<Finding> {
    let finding = |detail: String| {
        Some(Finding {
            invariant: "acknowledged-orders-exist",
            subject: order.to_owned(),
            detail,
            repair: "make the order again for this customer, or refund the payment at the provider",
        })
    };
    let Some(row) = history.checkouts.get(order).filter(|row| row.ordered) else {
        return finding("a client was told of it, and it does not exist".to_owned());
    };
    let (amount, currency) = (&exchange.answer["amount"], exchange.told("currency"));
    if amount.as_i64() != Some(row.amount) || currency != row.currency {
        let recorded = format!("{} {}", row.amount, row.currency);
        return finding(format!("the client was told {amount} {currency}, recorded is {recorded}"));
    }
    let hold = exchange.told("hold");
    if hold != row.hold {
        return finding(format!("the client was told the hold {hold}, recorded is {}", row.hold));
    }
    None
}

/// Amounts that were taken or given back only grow.
fn payment(history: &History, order: &str, exchange: &Exchange) -> Option<Finding> {
    if exchange.answer["is_placed"] != Value::Bool(true) {
        return None;
    }
    let finding = |detail: String| {
        Some(Finding {
            invariant: "acknowledged-payments-are-recorded",
            subject: order.to_owned(),
            detail,
            repair: "run `tidegate sale reconcile`: the provider's record tells which amount is right",
        })
    };
    let Some(row) = history.checkouts.get(order).filter(|row| row.ordered) else {
        return finding("a client was shown the order, and it does not exist".to_owned());
    };
    let told = |name: &str| exchange.answer[name].as_i64().unwrap_or_default();
    let (captured, refunded) = (told("captured"), told("refunded"));
    if captured > row.captured || refunded > row.refunded {
        let recorded = format!("{} and {}", row.captured, row.refunded);
        return finding(format!(
            "a client was told {captured} taken and {refunded} given back, recorded are {recorded}"
        ));
    }
    None
}

fn adjusted(history: &History, exchange: &Exchange) -> Option<Finding> {
    let key = exchange.key.as_deref().unwrap_or_default();
    let is_recorded = history.movements.iter().any(|row| row.kind == "adjust" && row.key == key);
    (!is_recorded).then(|| Finding {
        invariant: "acknowledged-adjustments-exist",
        subject: key.to_owned(),
        detail: "a client was told of it, and there is no movement with its key".to_owned(),
        repair: "count the units, and adjust the stock again",
    })
}

fn paid_cart(exchange: &Exchange) -> Option<&str> {
    match exchange.request() {
        Request::CartCheckout(cart) => Some(cart),
        _ => None,
    }
}

/// Checks that holds and orders of the recorded time were asked for.
pub(super) fn check_asked_for(
    history: &History,
    exchanges: &[Exchange],
    tolerance_ms: i64,
) -> Vec<Finding> {
    let Some(first_ms) = exchanges.iter().map(|exchange| exchange.sent_ms).min() else {
        return Vec::new();
    };
    let sent = |request| exchanges.iter().filter(move |exchange| exchange.request() == request);
    let keys: BTreeSet<&str> = sent(Request::Hold).filter_map(|e| e.key.as_deref()).collect();
    let paid: BTreeSet<&str> =
        sent(Request::Checkout).filter_map(|e| e.body["hold"].as_str()).collect();
    let carts: BTreeSet<&str> = exchanges.iter().filter_map(paid_cart).collect();
    let is_of_cart = |key: &str| cart_of_key(key).is_some_and(|cart| carts.contains(cart));
    let since_ms = first_ms.saturating_add(tolerance_ms);
    let is_recent = |hold: &str| history.holds.get(hold).is_some_and(|row| row.at_ms >= since_ms);
    let holds = history.holds.iter().filter(|(_, row)| row.at_ms >= since_ms);
    let holds = holds.filter(|(_, row)| !keys.contains(row.key.as_str()) && !is_of_cart(&row.key));
    let holds = holds.map(|(id, row)| Finding {
        invariant: "holds-were-asked-for",
        subject: id.clone(),
        detail: format!(
            "of {:?} with the key {:?}, which no client has sent",
            row.customer, row.key
        ),
        repair: "find the program that made it, and cancel it",
    });
    let orders = history.checkouts.iter().filter(|(_, row)| row.ordered && is_recent(&row.hold));
    let of_cart = |hold: &str| history.holds.get(hold).is_some_and(|row| is_of_cart(&row.key));
    let orders = orders.filter(|(_, row)| !paid.contains(row.hold.as_str()) && !of_cart(&row.hold));
    let orders = orders.map(|(id, row)| Finding {
        invariant: "orders-were-asked-for",
        subject: id.clone(),
        detail: format!("no client has asked for a checkout of the hold {}", row.hold),
        repair: "find the program that made it, and cancel and refund it",
    });
    holds.chain(orders).collect()
}
