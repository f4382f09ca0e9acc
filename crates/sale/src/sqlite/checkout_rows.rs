//! Rows of checkouts.

use rusqlite::{Row, params};

use super::transaction::Session;
use crate::checkout_columns::{checkout_id, parse_phase, parse_price};
use crate::checkout_id::CheckoutId;
use crate::ledger::{CheckoutRecord, LedgerError};
use crate::rules::CheckoutState;

pub(super) const COLUMNS: &str = "id, hold, customer, provider, method, amount, currency, captures_later, reference, phase, \
    sent, number, operation_amount, captured, refunded, ordered, cancelling, reason, version, tries, \
    ordered_at, due_at, created_at, gift_card, gift_amount, gift_returned";

/// A row whose words are not parsed.
pub(super) struct Stored {
    texts: [String; 6],
    flags: [bool; 4],
    numbers: [i64; 9],
    number: u32,
    gift_card: Option<String>,
    reference: Option<String>,
    reason: Option<String>,
    ordered_at: Option<i64>,
    due_at: Option<i64>,
    phase: String,
}

pub(super) fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let text = |name| row.get::<_, String>(name);
    Ok(Stored {
        texts: [
            text("id")?,
            text("hold")?,
            text("customer")?,
            text("provider")?,
            text("method")?,
            text("currency")?,
        ],
        flags: [
            row.get("sent")?,
            row.get("ordered")?,
            row.get("cancelling")?,
            row.get("captures_later")?,
        ],
        numbers: [
            row.get("amount")?,
            row.get("operation_amount")?,
            row.get("captured")?,
            row.get("refunded")?,
            row.get("version")?,
            row.get("tries")?,
            row.get("created_at")?,
            row.get("gift_amount")?,
            row.get("gift_returned")?,
        ],
        number: row.get("number")?,
        gift_card: row.get("gift_card")?,
        reference: row.get("reference")?,
        reason: row.get("reason")?,
        ordered_at: row.get("ordered_at")?,
        due_at: row.get("due_at")?,
        phase: text("phase")?,
    })
}

pub(super) fn record(stored: Stored, now_ms: i64) -> Result<CheckoutRecord, LedgerError> {
    let [id, hold, customer, provider, method, currency] = stored.texts;
    let [sent, ordered, cancelling, captures_later] = stored.flags;
    let [price, amount, captured, refunded, version, tries, created_at, gift, gift_returned] =
        stored.numbers;
    let state = CheckoutState {
        phase: parse_phase(&stored.phase)?,
        sent,
        number: stored.number,
        total: price - gift,
        amount,
        captured,
        refunded,
        ordered,
        cancelling,
        captures_later,
        gift,
        gift_returned,
    };
    Ok(CheckoutRecord {
        id: checkout_id(&id)?,
        hold: hold.parse().map_err(|_| LedgerError::Unreadable(format!("the hold {hold:?}")))?,
        customer,
        provider,
        method,
        price: parse_price(price, &currency)?,
        gift_card: stored.gift_card,
        reference: stored.reference,
        state,
        version,
        tries,
        reason: stored.reason,
        due_in_ms: stored.due_at.map(|due_at| due_at - now_ms),
        age_ms: now_ms - created_at,
        ordered_at_ms: stored.ordered_at,
    })
}

/// Returns a checkout.
pub(super) fn find(
    session: &Session<'_>,
    id: CheckoutId,
) -> Result<Option<CheckoutRecord>, LedgerError> {
    let sql = format!("select {COLUMNS} from tidegate_checkout where id = ?1");
    let found = session.find(&sql, [id.to_string()], stored)?;
    found.map(|found| record(found, session.now_ms)).transpose()
}

/// Leases the checkouts that `which` selects.
pub(super) fn lease(
    session: &Session<'_>,
    which: &str,
    id: Option<CheckoutId>,
    limit: u32,
    lease_ms: i64,
) -> Result<Vec<CheckoutRecord>, LedgerError> {
    let sql = format!(
        "update tidegate_checkout set version = version + 1, tries = tries + 1, leased_until = ?1 + ?2 \
         where id in (select id from tidegate_checkout where {which} \
           and coalesce(leased_until, 0) <= ?1 order by due_at limit ?4) returning {COLUMNS}"
    );
    let id = id.map(|id| id.to_string());
    let leased = session.list(&sql, params![session.now_ms, lease_ms, id, limit], stored)?;
    leased.into_iter().map(|found| record(found, session.now_ms)).collect()
}
