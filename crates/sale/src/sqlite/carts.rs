//! Carts.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::checkout_changes::{self, live_checkout};
use super::holds;
use super::ledger::SqliteLedger;
use super::transaction::Session;
use crate::cart_columns::content;
use crate::hold_id::HoldId;
use crate::ledger::{
    BeginOutcome, CartLedger, CartRecord, CartRefused, EndHold, LedgerError, LinkHold, LinkOutcome,
    NewCheckout, Outcome,
};
use crate::request::{CartContent, CartId};
use crate::rules::{
    CartStage, CartState, CartVersion, CartWrite, HoldEnd, admits_cart_hold, begin_cart, write_cart,
};

/// The columns of a row.
struct Stored {
    version: i64,
    customer: String,
    lines: String,
    is_deleted: bool,
    hold: Option<String>,
    holds: i64,
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        version: row.get("version")?,
        customer: row.get("customer")?,
        lines: row.get("lines")?,
        is_deleted: row.get("is_deleted")?,
        hold: row.get("hold")?,
        holds: row.get("holds")?,
    })
}

/// Returns a cart, also a deleted one.
fn find(session: &Session<'_>, cart: &CartId) -> Result<Option<CartRecord>, LedgerError> {
    let sql =
        "select version, customer, lines, is_deleted, hold, holds from tidegate_cart where id = ?1";
    let Some(row) = session.find(sql, [cart.as_str()], stored)? else { return Ok(None) };
    let parse = |text: String| {
        text.parse().map_err(|_| LedgerError::Unreadable(format!("the hold {text:?}")))
    };
    let hold: Option<HoldId> = row.hold.map(parse).transpose()?;
    let (mut held, mut checkout) = (None, None);
    if let Some(hold) = hold {
        held = holds::find(session, hold)?;
        checkout = live_checkout(session, hold)?;
    }
    let hold_state = held.as_ref().map(|held| held.state);
    let state = checkout.as_ref().map(|checkout| &checkout.state);
    let stage = CartStage::of(hold_state, state, session.now_ms);
    Ok(Some(CartRecord {
        state: CartState { version: row.version, is_deleted: row.is_deleted, stage },
        content: content(row.customer, &row.lines)?,
        hold,
        holds: row.holds,
        deadline_ms: held.map(|held| held.deadline_ms),
        checkout: checkout.map(|checkout| checkout.id),
    }))
}

fn write(
    session: &Session<'_>,
    cart: &CartId,
    wanted: CartVersion,
    content: Option<&CartContent>,
) -> Result<Result<i64, CartRefused>, LedgerError> {
    let kept = find(session, cart)?;
    let is_there = kept.as_ref().is_some_and(|kept| !kept.state.is_deleted);
    if content.is_none() && !is_there {
        return Ok(Ok(0));
    }
    let state = kept.as_ref().map(|kept| kept.state);
    let is_same = is_there && kept.as_ref().map(|kept| &kept.content) == content;
    let checkout = kept.as_ref().and_then(|kept| kept.checkout);
    match write_cart(state, wanted, is_same) {
        Err(refusal) => Ok(Err(CartRefused { refusal, checkout })),
        Ok(CartWrite::Nothing) => Ok(Ok(state.map_or(0, |state| state.version))),
        Ok(CartWrite::Version { version, cancels_hold }) => {
            if let Some(hold) = kept.and_then(|kept| kept.hold).filter(|_| cancels_hold) {
                let end = EndHold { hold, end: HoldEnd::Cancelled, key: None };
                if !matches!(holds::end(session, &end)?, Outcome::Done(_)) {
                    return Err(LedgerError::Unreadable(format!("the hold {hold} is not held")));
                }
            }
            store(session, cart, version, content)?;
            Ok(Ok(version))
        }
    }
}

fn store(
    session: &Session<'_>,
    cart: &CartId,
    version: i64,
    content: Option<&CartContent>,
) -> Result<(), LedgerError> {
    let lines = content.map_or_else(|| "[]".to_owned(), CartContent::stored_lines);
    session.run(
        "insert into tidegate_cart(id, version, customer, lines, is_deleted, created_at, changed_at) \
         values (?1, ?2, ?3, ?4, ?5, ?6, ?6) on conflict (id) do update set version = ?2, customer = ?3, \
           lines = ?4, created_at = case when is_deleted then ?6 else created_at end, is_deleted = ?5, \
           changed_at = ?6",
        params![
            cart.as_str(),
            version,
            content.map_or("", CartContent::customer),
            lines,
            content.is_none(),
            session.now_ms,
        ],
    )?;
    Ok(())
}

fn link(session: &Session<'_>, wanted: &LinkHold) -> Result<LinkOutcome, LedgerError> {
    let LinkHold { cart, version, number, hold } = wanted;
    let Some(kept) = find(session, cart)? else { return Ok(LinkOutcome::Changed) };
    if kept.state.is_deleted || kept.state.version != *version {
        return Ok(LinkOutcome::Changed);
    }
    if kept.hold == Some(*hold) {
        return Ok(LinkOutcome::Linked);
    }
    if kept.holds != number - 1 || !admits_cart_hold(kept.state, *version) {
        return Ok(LinkOutcome::Superseded);
    }
    let (hold, now_ms) = (hold.to_string(), session.now_ms);
    session.run(
        "insert into tidegate_cart_hold(hold, cart, version, number, at) values (?1, ?2, ?3, ?4, ?5)",
        params![hold, cart.as_str(), version, number, now_ms],
    )?;
    session.run(
        "update tidegate_cart set hold = ?2, holds = ?3 where id = ?1",
        params![cart.as_str(), hold, number],
    )?;
    Ok(LinkOutcome::Linked)
}

/// Begins a checkout. That of a cart needs the cart as it was shown.
pub(super) fn begin(session: &Session<'_>, new: &NewCheckout) -> Result<BeginOutcome, LedgerError> {
    if let Some(shown) = &new.cart {
        let kept = find(session, &shown.cart)?;
        let is_its_hold = kept.as_ref().is_some_and(|kept| kept.hold == Some(new.hold));
        let checkout = kept.as_ref().and_then(|kept| kept.checkout);
        let state = kept.map(|kept| kept.state);
        if let Err(refusal) = begin_cart(state, shown.version, is_its_hold) {
            let refused = CartRefused { refusal, checkout };
            return Ok(BeginOutcome::Cart(shown.cart.clone(), refused));
        }
    }
    checkout_changes::begin(session, new)
}

#[async_trait]
impl CartLedger for SqliteLedger {
    async fn write_cart(
        &self,
        cart: &CartId,
        wanted: CartVersion,
        content: Option<&CartContent>,
    ) -> Result<Result<i64, CartRefused>, LedgerError> {
        let (cart, content) = (cart.clone(), content.cloned());
        self.write(move |session| write(session, &cart, wanted, content.as_ref())).await
    }

    async fn find_cart(&self, cart: &CartId) -> Result<Option<CartRecord>, LedgerError> {
        let cart = cart.clone();
        let read = move |connection: &Connection| find(&Session::snapshot(connection)?, &cart);
        let found = self.run(read).await?;
        Ok(found.filter(|found| !found.state.is_deleted))
    }

    async fn link_cart_hold(&self, wanted: &LinkHold) -> Result<LinkOutcome, LedgerError> {
        let wanted = wanted.clone();
        self.write(move |session| link(session, &wanted)).await
    }
}
