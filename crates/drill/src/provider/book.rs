//! The provider's ledger: payments, and each operation that was executed.

use std::collections::{BTreeMap, HashMap};

use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Reply {
    pub(super) fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body }
    }

    pub(super) fn error(status: StatusCode, kind: &str, message: &str) -> Self {
        Self { status, body: json!({ "error": { "type": kind, "message": message } }) }
    }
}

/// The state of a payment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    RequiresConfirmation,
    RequiresPaymentMethod,
    RequiresCapture,
    Succeeded,
    Canceled,
}

/// A payment.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) checkout: String,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) method: String,
    pub(super) status: Status,
    pub(super) captured: i64,
    pub(super) refunded: i64,
}

#[derive(Clone, Debug, Serialize)]
struct Executed {
    operation: &'static str,
    payment: String,
    checkout: String,
    amount: i64,
    key: String,
}

/// Why an operation was not executed.
pub(super) enum Refused {
    Unknown,
    /// The card was declined, with the issuer's word.
    Declined(&'static str),
    State(Box<Entry>),
}

/// The ledger.
#[derive(Default)]
pub(super) struct Book {
    payments: BTreeMap<String, Entry>,
    keys: HashMap<String, (String, Reply)>,
    executed: Vec<Executed>,
}

/// A payment method whose authorisation, or capture, is declined with a word.
fn decline(method: &str, operation: &str) -> Option<&'static str> {
    match (method, operation) {
        ("pm_declined", "authorise") => Some("generic_decline"),
        ("pm_no_funds", "authorise") => Some("insufficient_funds"),
        ("pm_try_again", "authorise") => Some("try_again_later"),
        ("pm_capture_declined", "capture") => Some("expired_card"),
        _ => None,
    }
}

impl Book {
    /// Returns the stored answer of a key. Another request with the key is refused.
    pub(super) fn stored(&self, key: &str, fingerprint: &str) -> Option<Reply> {
        let (first, reply) = self.keys.get(key)?;
        if first != fingerprint {
            let kind = "idempotency_error";
            return Some(Reply::error(StatusCode::BAD_REQUEST, kind, "another request"));
        }
        Some(reply.clone())
    }

    pub(super) fn store(&mut self, key: &str, fingerprint: String, reply: &Reply) {
        self.keys.insert(key.to_owned(), (fingerprint, reply.clone()));
    }

    /// Replaces the stored answer of a key.
    pub(super) fn replace(&mut self, key: &str, reply: &Reply) {
        if let Some((_, stored)) = self.keys.get_mut(key) {
            *stored = reply.clone();
        }
    }

    pub(super) fn executed(&self) -> usize {
        self.executed.len()
    }

    pub(super) fn find(&self, id: &str) -> Option<&Entry> {
        self.payments.get(id)
    }

    pub(super) fn payments(&self) -> impl Iterator<Item = &Entry> {
        self.payments.values()
    }

    pub(super) fn open(&mut self, payment: Entry) -> Entry {
        self.payments.entry(payment.id.clone()).or_insert(payment).clone()
    }

    pub(super) fn next_id(&self) -> String {
        format!("pi_{:06}", self.payments.len() + 1)
    }

    /// Executes an operation. A payment is captured once, and refunded up to that amount.
    pub(super) fn operate(
        &mut self,
        operation: &'static str,
        id: &str,
        amount: i64,
        key: &str,
    ) -> Result<Entry, Refused> {
        let payment = self.payments.get_mut(id).ok_or(Refused::Unknown)?;
        if let Some(word) = decline(&payment.method, operation) {
            if operation == "authorise" {
                payment.status = Status::RequiresPaymentMethod;
            }
            return Err(Refused::Declined(word));
        }
        let open = [Status::RequiresConfirmation, Status::RequiresPaymentMethod];
        match operation {
            "authorise" if open.contains(&payment.status) => {
                payment.status = Status::RequiresCapture;
            }
            "capture" if payment.status == Status::RequiresCapture && amount <= payment.amount => {
                payment.status = Status::Succeeded;
                payment.captured = amount;
            }
            "void" if payment.status != Status::Succeeded && payment.status != Status::Canceled => {
                payment.status = Status::Canceled;
            }
            "refund" if payment.captured - payment.refunded >= amount && amount > 0 => {
                payment.refunded += amount;
            }
            _ => return Err(Refused::State(Box::new(payment.clone()))),
        }
        let payment = payment.clone();
        self.executed.push(Executed {
            operation,
            payment: payment.id.clone(),
            checkout: payment.checkout.clone(),
            amount,
            key: key.to_owned(),
        });
        Ok(payment)
    }

    pub(super) fn shown(&self) -> Value {
        let payments: Vec<&Entry> = self.payments.values().collect();
        json!({ "payments": payments, "executed": self.executed })
    }
}
