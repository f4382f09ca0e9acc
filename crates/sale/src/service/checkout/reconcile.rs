//! The comparison of checkouts with the providers' records.

use std::collections::BTreeMap;

use serde::Serialize;

use super::payments::Payments;
use crate::ledger::{CheckoutRecord, Ledger};
use crate::payment::ProviderPayment;
use crate::rules::{PaymentFacts, Phase, Price};
use crate::service::error::SaleError;

/// An open checkout that is older is reported.
const OPEN_MS_MAX: i64 = 60 * 60 * 1_000;
/// An order whose payment is not taken after this time is reported: card networks keep an authorisation for 7 days.
const UNTAKEN_MS_MAX: i64 = 6 * 24 * 60 * 60 * 1_000;

/// A difference, and its repair.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Difference {
    /// The kind: a stable word, with a page in docs/runbooks/sale-reconcile-difference.md.
    pub kind: &'static str,
    /// The checkout, or the provider's name of the payment.
    pub subject: String,
    /// The figures.
    pub detail: String,
    /// The repair.
    pub repair: &'static str,
}

/// The outcome of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Reconciliation {
    /// The number of checkouts that were compared.
    pub checkouts: usize,
    /// The number of payments in the providers' lists.
    pub payments: usize,
    /// The differences.
    pub differences: Vec<Difference>,
    /// Providers that could not be asked, with the reason: nothing is known of their payments.
    pub unknown: Vec<String>,
}

/// Compares checkouts of the last `within_ms`, and open ones, with the providers' lists since the same time.
/// `now_seconds`: wall time since 1970.
///
/// # Errors
/// The ledger's.
pub async fn reconcile(
    ledger: &dyn Ledger,
    payments: &Payments,
    within_ms: i64,
    now_seconds: u64,
) -> Result<Reconciliation, SaleError> {
    let mut found = BTreeMap::new();
    let mut unknown = Vec::new();
    let mut listed = 0;
    // The list is read first: a payment of it has its checkout in the ledger by then.
    let since = now_seconds.saturating_sub(within_ms.unsigned_abs() / 1_000);
    for (name, provider) in payments.all() {
        match provider.unguarded().list(since).await {
            Ok(list) => {
                listed += list.len();
                let named = |payment: ProviderPayment| {
                    ((name.to_owned(), payment.reference.clone()), payment)
                };
                found.extend(list.into_iter().map(named));
            }
            Err(err) => unknown.push(format!("{name}: {err}")),
        }
    }
    let records = ledger.recent_checkouts(within_ms).await?;
    let mut differences = Vec::new();
    for record in &records {
        differences.extend(overdue(record));
        let Some(reference) = &record.reference else { continue };
        let key = (record.provider.clone(), reference.clone());
        let facts = match (found.remove(&key), payments.get(&record.provider)) {
            (Some(payment), _) => {
                differences.extend(other_price(record, &payment));
                payment.facts
            }
            (None, Some(provider)) => match provider.unguarded().look_up(reference).await {
                Ok(facts) => facts,
                Err(err) => {
                    unknown.push(format!("{}: checkout {}: {err}", record.provider, record.id));
                    continue;
                }
            },
            (None, None) => {
                unknown.push(format!("{}: is not configured", record.provider));
                continue;
            }
        };
        differences.extend(compare(record, facts));
    }
    for ((_, reference), payment) in found {
        differences.extend(without_checkout(ledger, &reference, &payment).await?);
    }
    unknown.sort();
    unknown.dedup();
    Ok(Reconciliation { checkouts: records.len(), payments: listed, differences, unknown })
}

fn overdue(record: &CheckoutRecord) -> Option<Difference> {
    let subject = record.id.to_string();
    let phase = record.state.phase;
    if record.due_in_ms.is_some() && record.age_ms > OPEN_MS_MAX {
        let reason = record.reason.as_deref().unwrap_or("no reason");
        return Some(Difference {
            kind: "checkout-open",
            subject,
            detail: format!("{} for {} s: {reason}", phase.word(), record.age_ms / 1_000),
            repair: "see that a node runs and the provider answers; it goes on by itself",
        });
    }
    (phase == Phase::Authorised && record.age_ms > UNTAKEN_MS_MAX).then(|| Difference {
        kind: "capture-pending",
        subject,
        detail: format!("authorised for {} s", record.age_ms / 1_000),
        repair: "capture or cancel the order before the authorisation expires",
    })
}

fn other_price(record: &CheckoutRecord, payment: &ProviderPayment) -> Option<Difference> {
    let ours = Price { amount: record.state.total, ..record.price };
    (ours != payment.price).then(|| Difference {
        kind: "price-differs",
        subject: record.id.to_string(),
        detail: format!("order {ours}, payment {}", payment.price),
        repair: "refund the difference at the provider, and find out by which program it was changed",
    })
}

/// Compares a checkout that no node works on with the provider's record of its payment.
fn compare(record: &CheckoutRecord, facts: PaymentFacts) -> Vec<Difference> {
    let state = &record.state;
    let mut differences = Vec::new();
    if state.phase.is_open() {
        return differences;
    }
    let mut add = |kind, ours: i64, theirs: i64, repair| {
        let detail = format!("{}: order {ours}, provider {theirs}", state.phase.word());
        differences.push(Difference { kind, subject: record.id.to_string(), detail, repair });
    };
    if facts.captured != state.captured {
        let repair = if facts.captured > state.captured {
            "refund the surplus at the provider"
        } else {
            "the provider has not taken the amount: cancel the order, or take it there"
        };
        add("captured-differs", state.captured, facts.captured, repair);
    }
    if facts.refunded != state.refunded {
        let repair = "a refund was made at the provider only, or was reversed there: refund the rest with the \
                      order's API, so that both agree, or note it in the shop's books";
        add("refunded-differs", state.refunded, facts.refunded, repair);
    }
    let is_reserved = facts.authorised && !facts.closed && facts.captured == 0;
    if is_reserved && state.phase != Phase::Authorised {
        add("authorisation-stranded", 0, state.total, "void the payment at the provider");
    }
    if state.phase == Phase::Authorised && !is_reserved && facts.captured == 0 {
        let repair =
            "the authorisation is gone: cancel the order, or ask the customer for another payment";
        add("authorisation-lost", state.total, 0, repair);
    }
    differences
}

/// A payment that no checkout of the same time refers to.
async fn without_checkout(
    ledger: &dyn Ledger,
    reference: &str,
    payment: &ProviderPayment,
) -> Result<Option<Difference>, SaleError> {
    let ProviderPayment { checkout, price, facts, .. } = payment;
    let is_harmless = (!facts.authorised || facts.closed) && facts.captured == facts.refunded;
    if is_harmless {
        return Ok(None);
    }
    let known = match checkout.parse() {
        Ok(id) => ledger.find_checkout(id).await?,
        Err(_) => None,
    };
    let detail = match known {
        Some(record) if record.reference.as_deref() == Some(reference) => return Ok(None),
        Some(_) => format!("{price} for the checkout {checkout}, which has another payment"),
        None => format!("{price} for the checkout {checkout}, which does not exist"),
    };
    Ok(Some(Difference {
        kind: "payment-without-checkout",
        subject: reference.to_owned(),
        detail,
        repair: "refund or void it at the provider",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::CheckoutState;

    fn record(phase: Phase, captured: i64, refunded: i64) -> CheckoutRecord {
        let currency = "EUR".parse().expect("a currency");
        let state = CheckoutState { phase, captured, refunded, ..CheckoutState::new(500, false) };
        CheckoutRecord {
            id: "0123456789abcdef0123456789abcdef".parse().expect("a name"),
            hold: "0123456789abcdef0123456789abcdef".parse().expect("a name"),
            customer: "c".to_owned(),
            provider: "card".to_owned(),
            method: "pm".to_owned(),
            price: Price { amount: 500, currency },
            gift_card: None,
            reference: Some("p".to_owned()),
            state,
            version: 1,
            tries: 0,
            reason: None,
            due_in_ms: None,
            age_ms: 0,
            ordered_at_ms: None,
        }
    }

    fn kinds(record: &CheckoutRecord, facts: PaymentFacts) -> Vec<&'static str> {
        compare(record, facts).into_iter().map(|difference| difference.kind).collect()
    }

    #[test]
    fn each_difference_is_named() {
        let facts = |authorised, closed, captured, refunded| PaymentFacts {
            authorised,
            declined: false,
            closed,
            captured,
            refunded,
        };
        for (ours, theirs, expected) in [
            (record(Phase::Captured, 500, 0), facts(true, false, 500, 0), &[][..]),
            (record(Phase::Captured, 500, 0), facts(true, false, 1_000, 0), &["captured-differs"]),
            (
                record(Phase::Captured, 500, 0),
                facts(true, false, 0, 0),
                &["captured-differs", "authorisation-stranded"],
            ),
            (record(Phase::Captured, 500, 0), facts(true, false, 500, 1), &["refunded-differs"]),
            (record(Phase::Declined, 0, 0), facts(false, false, 0, 0), &[]),
            (record(Phase::Released, 0, 0), facts(true, true, 0, 0), &[]),
            (record(Phase::Released, 0, 0), facts(true, false, 0, 0), &["authorisation-stranded"]),
            (record(Phase::Released, 0, 0), facts(true, false, 500, 0), &["captured-differs"]),
            (record(Phase::Authorised, 0, 0), facts(true, false, 0, 0), &[]),
            (record(Phase::Authorised, 0, 0), facts(true, true, 0, 0), &["authorisation-lost"]),
            (record(Phase::Voiding, 0, 0), facts(true, false, 0, 0), &[]),
        ] {
            assert_eq!(kinds(&ours, theirs), expected, "{ours:?} {theirs:?}");
        }
    }
}
