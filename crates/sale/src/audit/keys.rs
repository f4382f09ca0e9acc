//! One key has one effect and one answer, and a refusal has none.

use std::collections::{BTreeMap, BTreeSet};

use super::exchange::{Exchange, Request};
use crate::ledger::{Finding, History};

/// Answers are kept for at least this time.
const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// Checks the answers that requests with one key, and the payments of one hold, have got.
pub(super) fn check(history: &History, exchanges: &[Exchange]) -> Vec<Finding> {
    let mut by_key = BTreeMap::<&str, Vec<&Exchange>>::new();
    let mut orders = BTreeMap::<(&'static str, &str), BTreeSet<&str>>::new();
    for exchange in exchanges {
        if let Some(key) = exchange.key.as_deref() {
            by_key.entry(key).or_default().push(exchange);
        }
        let subject = match exchange.request() {
            Request::Checkout => {
                ("one-order-per-hold", exchange.body["hold"].as_str().unwrap_or_default())
            }
            Request::CartCheckout(cart) => ("carts-got-one-order", cart),
            _ => continue,
        };
        if exchange.status == Some(201) {
            orders.entry(subject).or_default().insert(exchange.told("order"));
        }
    }
    let mut findings = Vec::new();
    let effects: BTreeSet<&str> = history.movements.iter().map(|row| row.key.as_str()).collect();
    for (key, sent) in &by_key {
        findings.extend(one_answer(key, sent));
        let is_known = history.keys.contains(*key) || effects.contains(key);
        if is_known && sent.iter().all(|exchange| is_refusal(exchange)) {
            findings.push(refused_with_effect(key, sent));
        }
    }
    let several = orders.iter().filter(|(_, orders)| orders.len() > 1);
    findings.extend(several.map(|((invariant, subject), orders)| Finding {
        invariant,
        subject: (*subject).to_owned(),
        detail: format!("clients were told of the orders {orders:?}"),
        repair: "cancel all orders but one, and refund them",
    }));
    findings
}

/// Returns the first answer that differs from the first success of the key.
fn one_answer(key: &str, sent: &[&Exchange]) -> Option<Finding> {
    let answered = |exchange: &&&Exchange| exchange.is_success();
    let first = sent.iter().filter(answered).min_by_key(|exchange| exchange.answered_ms)?;
    let until_ms = first.answered_ms?.saturating_add(KEPT_MS);
    let is_kept = |exchange: &&&Exchange| exchange.answered_ms.is_some_and(|at| at < until_ms);
    let is_other = |other: &&&Exchange| {
        let same_request =
            (&other.method, &other.path, &other.body) == (&first.method, &first.path, &first.body);
        !same_request || (other.status == Some(201) && other.answer != first.answer)
    };
    let other = sent.iter().filter(answered).filter(is_kept).find(is_other)?;
    let same_path = other.path == first.path && other.body == first.body;
    Some(Finding {
        invariant: if same_path { "one-answer-per-key" } else { "one-request-per-key" },
        subject: key.to_owned(),
        detail: match same_path {
            true => format!("answered with {} and with {}", first.answer, other.answer),
            false => format!("accepted for {} and for {}", shown(first), shown(other)),
        },
        repair: "ask the customer which effect was meant, and cancel the others",
    })
}

fn shown(exchange: &Exchange) -> String {
    format!("{} {} {}", exchange.method, exchange.path, exchange.body)
}

/// Whether the request was refused, so that it can't have had an effect. A checkout that was declined has one, and so may an
/// operation on an order.
fn is_refusal(exchange: &Exchange) -> bool {
    let is_refused = exchange.status.is_some_and(|status| (400..500).contains(&status));
    let says_nothing =
        ["request-in-flight", "idempotency-key-reused"].contains(&exchange.problem());
    let is_checkout = matches!(exchange.request(), Request::Checkout | Request::CartCheckout(_))
        && exchange.status != Some(429);
    let is_order = matches!(exchange.request(), Request::Order(_));
    is_refused && !says_nothing && !is_checkout && !is_order
}

fn refused_with_effect(key: &str, sent: &[&Exchange]) -> Finding {
    let statuses: BTreeSet<u16> = sent.iter().filter_map(|exchange| exchange.status).collect();
    Finding {
        invariant: "refusals-have-no-effect",
        subject: key.to_owned(),
        detail: format!("all answers were refusals ({statuses:?}), and the key has an effect"),
        repair: "cancel the hold of this key: its customer was told that there is none",
    }
}
