//! The books of the ledger and of a payment provider agree.

use std::collections::BTreeMap;

use super::provider::{ProviderLedger, ProviderRecord};
use crate::ledger::{CheckoutRow, Finding, History};

/// Checks the ledger's history against a provider's ledger, which was read between `before` and `after`. A checkout that
/// changed in between, or that a node works on, is left out: its next audit has it.
#[must_use]
pub fn check_money(before: &History, after: &History, provider: &ProviderLedger) -> Vec<Finding> {
    let mut payments = BTreeMap::<&str, Vec<&ProviderRecord>>::new();
    for payment in &provider.payments {
        payments.entry(&payment.checkout).or_default().push(payment);
    }
    let mut findings = operations(provider);
    for (id, row) in &after.checkouts {
        let is_at_rest =
            !row.is_open && before.checkouts.get(id).is_some_and(|old| old.version == row.version);
        let of_checkout = payments.remove(id.as_str()).unwrap_or_default();
        if is_at_rest {
            findings.extend(checkout(id, row, &of_checkout));
        }
    }
    let strays =
        payments.into_values().flatten().filter(|payment| payment.captured > payment.refunded);
    findings.extend(strays.map(|payment| Finding {
        invariant: "captures-have-orders",
        subject: payment.id.clone(),
        detail: format!(
            "{} for the checkout {:?}, which does not exist",
            kept(payment),
            payment.checkout
        ),
        repair: "refund it at the provider",
    }));
    findings.extend(charged_twice(after, provider));
    findings
}

fn kept(payment: &ProviderRecord) -> String {
    let left = payment.captured - payment.refunded;
    format!("{left} {}", payment.currency.to_uppercase())
}

fn operations(provider: &ProviderLedger) -> Vec<Finding> {
    let mut captures = BTreeMap::<&str, usize>::new();
    for operation in provider.executed.iter().filter(|done| done.operation == "capture") {
        *captures.entry(&operation.payment).or_default() += 1;
    }
    let twice = captures.into_iter().filter(|(_, count)| *count > 1);
    let twice = twice.map(|(payment, count)| Finding {
        invariant: "one-capture-at-the-provider",
        subject: payment.to_owned(),
        detail: format!("{count} captures were executed"),
        repair: "refund all captures of the payment but one at the provider",
    });
    let beyond = provider.payments.iter().filter(|payment| payment.refunded > payment.captured);
    let beyond = beyond.map(|payment| Finding {
        invariant: "refunds-within-captures",
        subject: payment.id.clone(),
        detail: format!("taken {}, given back {}", payment.captured, payment.refunded),
        repair: "reclaim the difference from the customer, and find the second refund",
    });
    twice.chain(beyond).collect()
}

/// Compares a checkout at rest with its payments.
fn checkout(id: &str, row: &CheckoutRow, payments: &[&ProviderRecord]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |invariant, detail: String, repair| {
        findings.push(Finding { invariant, subject: id.to_owned(), detail, repair });
    };
    let sum = |amount: fn(&ProviderRecord) -> i64| -> i64 {
        payments.iter().map(|payment| amount(payment)).sum()
    };
    let (captured, refunded) = (sum(|payment| payment.captured), sum(|payment| payment.refunded));
    let reserved = payments.iter().filter(|payment| payment.status == "requires_capture").count();
    let refund = "refund the amount at the provider, or make the order";
    if captured > refunded && !row.ordered {
        let left = captured - refunded;
        add("captures-have-orders", format!("{left} taken, and there is no order"), refund);
    }
    let repair = "run `tidegate sale reconcile`, and refund or take the difference at the provider";
    if (captured, refunded) != (row.captured, row.refunded) {
        let detail = format!(
            "taken and given back: order {} and {}, provider {captured} and {refunded}",
            row.captured, row.refunded
        );
        add("money-agrees", detail, repair);
    }
    let has_money =
        |payment: &&&ProviderRecord| payment.captured > 0 || payment.status == "requires_capture";
    let is_other = |payment: &&&ProviderRecord| {
        payment.amount != row.amount - row.gift
            || !payment.currency.eq_ignore_ascii_case(&row.currency)
    };
    if let Some(payment) = payments.iter().filter(has_money).find(is_other) {
        let price = format!("{} {}", row.amount - row.gift, row.currency);
        let detail = format!("order {price}, payment {} {}", payment.amount, payment.currency);
        add("money-agrees", detail, "refund the difference at the provider");
    }
    if row.phase == "authorised" && reserved == 0
        || row.ordered && row.gift < row.amount && payments.is_empty()
    {
        let detail = format!("{}: the provider has no payment for it", row.phase);
        add("orders-have-payments", detail, "cancel the order, or ask for another payment");
    }
    let needed = usize::from(row.phase == "authorised");
    if reserved > needed {
        let detail = format!("{}: {reserved} amounts are reserved", row.phase);
        add("authorisations-are-not-stranded", detail, "void the payment at the provider");
    }
    findings
}

/// Several payments of one hold keep money: tabs, attempts and keys of one customer.
fn charged_twice(history: &History, provider: &ProviderLedger) -> Vec<Finding> {
    let mut by_hold = BTreeMap::<&str, Vec<&ProviderRecord>>::new();
    for payment in provider.payments.iter().filter(|payment| payment.captured > payment.refunded) {
        if let Some(row) = history.checkouts.get(&payment.checkout) {
            by_hold.entry(&row.hold).or_default().push(payment);
        }
    }
    let twice = by_hold.into_iter().filter(|(_, payments)| payments.len() > 1);
    let finding = |(hold, payments): (&str, Vec<&ProviderRecord>)| Finding {
        invariant: "customers-are-charged-once",
        subject: hold.to_owned(),
        detail: payments
            .iter()
            .map(|payment| format!("{} {}", payment.id, kept(payment)))
            .collect::<Vec<_>>()
            .join(", "),
        repair: "refund all payments of the hold but that of its order",
    };
    twice.map(finding).collect()
}
