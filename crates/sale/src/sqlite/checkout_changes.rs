//! Changes of checkouts, inside a transaction.

use rusqlite::params;

use super::checkout_rows::{COLUMNS, find, record, stored};
use super::transaction::Session;
use super::{gifts, holds};
use crate::checkout_columns::{checkout_id, parse_price};
use crate::checkout_id::CheckoutId;
use crate::hold_id::HoldId;
use crate::ledger::{
    ATTEMPTS_MAX, BeginOutcome, ChangeOutcome, CheckoutChange, CheckoutRecord, EndHold,
    LedgerError, NewCheckout, Outcome, PricedHold,
};
use crate::request::IdempotencyKey;
use crate::rules::{
    Cell, CheckoutState, Demand, HoldEnd, HoldState, KeyVerdict, Price, PricedLine,
    admits_checkout, gift_moves, judge_key, may_record,
};

/// Returns the price of a SKU at a time.
pub(super) fn price(
    session: &Session<'_>,
    sku: &str,
    at_ms: i64,
) -> Result<Option<Price>, LedgerError> {
    let sql = "select amount, currency from tidegate_price where sku = ?1 and since <= ?2 \
        order by since desc limit 1";
    let found = session.find(sql, params![sku, at_ms], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    })?;
    found.map(|(amount, currency)| parse_price(amount, &currency)).transpose()
}

/// Returns a hold with the prices that were in force when it was granted.
pub(super) fn priced_hold(
    session: &Session<'_>,
    hold: HoldId,
) -> Result<Option<PricedHold>, LedgerError> {
    let sql = "select m.sku, m.location, m.held, h.created_at, h.customer from tidegate_hold h \
        join tidegate_movement m on m.hold = h.id and m.kind = 'hold' \
        where h.id = ?1 order by m.sku, m.location";
    let lines = session.list(sql, [hold.to_string()], |row| {
        let cell = Cell { sku: row.get(0)?, location: row.get(1)? };
        Ok((Demand { cell, quantity: row.get(2)? }, row.get(3)?, row.get(4)?))
    })?;
    let mut found: Option<PricedHold> = None;
    for (demand, granted_at, customer) in lines {
        let price = price(session, &demand.cell.sku, granted_at)?;
        let hold = found.get_or_insert_with(|| PricedHold { customer, lines: Vec::new() });
        hold.lines.push(PricedLine { demand, price });
    }
    Ok(found)
}

/// Sets the price of a SKU.
pub(super) fn set_price(
    session: &Session<'_>,
    sku: &str,
    price: Price,
) -> Result<bool, LedgerError> {
    let known = session.find("select 1 from tidegate_sku where sku = ?1", [sku], |_| Ok(()))?;
    if known.is_none() {
        return Ok(false);
    }
    if self::price(session, sku, i64::MAX)? != Some(price) {
        // A hold of this ms was granted before, under the file's lock.
        session.run(
            "insert into tidegate_price(sku, since, amount, currency) \
             select ?1, max(?2, coalesce(max(since), 0) + 1, coalesce((select max(created_at) + 1 \
               from tidegate_hold), 0)), ?3, ?4 from tidegate_price where sku = ?1",
            params![sku, session.now_ms, price.amount, price.currency.to_string()],
        )?;
    }
    Ok(true)
}

/// Returns the digest and the checkout of a request.
pub(super) fn request(
    session: &Session<'_>,
    key: &IdempotencyKey,
) -> Result<Option<(u64, Option<CheckoutId>)>, LedgerError> {
    let sql = "select digest, checkout from tidegate_request where key = ?1";
    let found = session.find(sql, [key.as_str()], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, Option<String>>(1)?))
    })?;
    let Some((digest, checkout)) = found else { return Ok(None) };
    Ok(Some((digest, checkout.as_deref().map(checkout_id).transpose()?)))
}

fn store_request(
    session: &Session<'_>,
    key: &IdempotencyKey,
    digest: u64,
    checkout: CheckoutId,
) -> Result<usize, LedgerError> {
    session.run(
        "insert into tidegate_request(key, digest, at, checkout) values (?1, ?2, ?3, ?4) \
         on conflict do nothing",
        params![key.as_str(), digest.cast_signed(), session.now_ms, checkout.to_string()],
    )
}

/// Begins a checkout, unless its key, its payment or its hold has one.
pub(super) fn begin(session: &Session<'_>, new: &NewCheckout) -> Result<BeginOutcome, LedgerError> {
    let (key, digest) = (&new.key.key, new.key.digest);
    let known = request(session, key)?;
    match (judge_key(known.map(|(digest, _)| digest), digest), known) {
        (KeyVerdict::Repeat, Some((_, Some(id)))) => return Ok(BeginOutcome::Known(id)),
        (KeyVerdict::New, _) => {}
        _ => return Ok(BeginOutcome::KeyReused),
    }
    let Some(hold) = holds::find(session, new.hold)? else {
        return Ok(BeginOutcome::UnknownHold);
    };
    let hold_name = new.hold.to_string();
    let sql = "select id, digest from tidegate_checkout \
        where hold = ?1 and phase not in ('declined', 'released')";
    let other = session.find(sql, [&hold_name], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
    })?;
    if let Some((other, other_digest)) = &other
        && !admits_checkout(true)
    {
        let other = checkout_id(other)?;
        if *other_digest != digest {
            return Ok(BeginOutcome::Other(other));
        }
        store_request(session, key, digest, other)?;
        return Ok(BeginOutcome::Known(other));
    }
    match hold.state {
        HoldState::Ended(end) => return Ok(BeginOutcome::HoldEnded(end)),
        HoldState::Active { deadline_ms, .. } if deadline_ms <= session.now_ms => {
            return Ok(BeginOutcome::HoldEnded(HoldEnd::Expired));
        }
        HoldState::Active { .. } => {}
    }
    let sql = "select count(*) from tidegate_checkout where hold = ?1";
    let attempts: Option<u32> = session.find(sql, [&hold_name], |row| row.get(0))?;
    if attempts.unwrap_or_default() >= ATTEMPTS_MAX {
        return Ok(BeginOutcome::TooMany);
    }
    let gift = new.gift.as_ref();
    if let Some(part) = gift
        && let Some(refusal) = gifts::reserve(session, part, new.price.currency, new.id)?
    {
        return Ok(BeginOutcome::Gift(refusal));
    }
    let gift_amount = gift.map_or(0, |part| part.amount);
    let by_provider = new.price.amount - gift_amount;
    let first = CheckoutState::with_gift(by_provider, gift_amount, new.captures_later);
    session.run(
        "insert into tidegate_checkout(id, hold, customer, digest, provider, method, amount, currency, \
           captures_later, due_at, leased_until, created_at, changed_at, operation_amount, phase, gift_card, \
           gift_amount) \
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?10, ?10, ?12, ?13, ?14, ?15)",
        params![
            new.id.to_string(),
            hold_name,
            hold.customer,
            digest.cast_signed(),
            new.provider,
            new.method,
            new.price.amount,
            new.price.currency.to_string(),
            new.captures_later,
            session.now_ms,
            session.now_ms + new.lease_ms,
            first.amount,
            first.phase.word(),
            gift.map(|part| part.code.hash()),
            first.gift,
        ],
    )?;
    store_request(session, key, digest, new.id)?;
    keep_hold(session, &hold_name, new.keep_hold_ms)?;
    let Some(first) = &new.first else { return Ok(BeginOutcome::Begun) };
    match change(session, first)? {
        ChangeOutcome::Recorded { .. } => Ok(BeginOutcome::Begun),
        other => Err(LedgerError::Unreadable(format!("{other:?} for the first change"))),
    }
}

/// Returns the checkout of a hold that was neither declined nor released.
pub(super) fn live_checkout(
    session: &Session<'_>,
    hold: HoldId,
) -> Result<Option<CheckoutRecord>, LedgerError> {
    let sql = format!(
        "select {COLUMNS} from tidegate_checkout where hold = ?1 and phase not in ('declined', 'released')"
    );
    let found = session.find(&sql, [hold.to_string()], stored)?;
    found.map(|found| record(found, session.now_ms)).transpose()
}

fn keep_hold(session: &Session<'_>, hold: &str, keep_ms: i64) -> Result<(), LedgerError> {
    session.run(
        "update tidegate_hold set expires_at = max(expires_at, ?2 + ?3) \
         where id = ?1 and state = 'active' and expires_at > ?2 and ?3 > 0",
        params![hold, session.now_ms, keep_ms],
    )?;
    Ok(())
}

/// Records changes of a checkout, all or none.
pub(super) fn change(
    session: &Session<'_>,
    change: &CheckoutChange,
) -> Result<ChangeOutcome, LedgerError> {
    let Some(kept) = find(session, change.id)? else {
        return Ok(ChangeOutcome::Stale);
    };
    if !may_record(change.version, kept.version) {
        return Ok(ChangeOutcome::Stale);
    }
    if let Some(key) = &change.request
        && store_request(session, &key.key, key.digest, change.id)? == 0
    {
        return Ok(ChangeOutcome::KeyKnown);
    }
    if change.places_order {
        let end = EndHold { hold: kept.hold, end: HoldEnd::Confirmed, key: None };
        if !matches!(holds::end(session, &end)?, Outcome::Done(_)) {
            return Ok(ChangeOutcome::HoldEnded);
        }
    }
    let hold = kept.hold.to_string();
    if change.restocks {
        restock(session, &hold, change.id)?;
    }
    keep_hold(session, &hold, change.keep_hold_ms)?;
    if let Some(card) = &kept.gift_card {
        for gift_move in gift_moves(&kept.state, &change.state) {
            gifts::record(session, card, gift_move, change.id)?;
        }
    }
    store(session, change, &kept)?;
    record_history(session, change)?;
    Ok(ChangeOutcome::Recorded { ordered_at_ms: change.places_order.then_some(session.now_ms) })
}

fn restock(session: &Session<'_>, hold: &str, order: CheckoutId) -> Result<(), LedgerError> {
    let reason = format!("order {order} cancelled");
    session.run(
        "insert into tidegate_movement(at, kind, sku, location, on_hand, held, sold, reason) \
         select ?2, 'adjust', sku, location, held, 0, 0, ?3 from tidegate_movement \
         where hold = ?1 and kind = 'hold'",
        params![hold, session.now_ms, reason],
    )?;
    session.run(
        "update tidegate_stock set on_hand = tidegate_stock.on_hand + m.held from tidegate_movement m \
         where m.hold = ?1 and m.kind = 'hold' and tidegate_stock.sku = m.sku \
           and tidegate_stock.location = m.location",
        [hold],
    )?;
    Ok(())
}

fn store(
    session: &Session<'_>,
    change: &CheckoutChange,
    kept: &CheckoutRecord,
) -> Result<(), LedgerError> {
    let (state, now) = (&change.state, session.now_ms);
    let lease = (change.lease_ms > 0).then_some(now + change.lease_ms);
    session.run(
        "update tidegate_checkout set phase = ?2, sent = ?3, ordered = ?4, cancelling = ?5, number = ?6, \
           operation_amount = ?7, captured = ?8, refunded = ?9, reference = coalesce(?10, reference), \
           reason = ?11, version = ?12, tries = case when ?17 then 0 else tries end, \
           due_at = ?13, leased_until = ?14, changed_at = ?15, ordered_at = coalesce(ordered_at, ?16), \
           gift_returned = ?18 \
         where id = ?1",
        params![
            change.id.to_string(),
            state.phase.word(),
            state.sent,
            state.ordered,
            state.cancelling,
            state.number,
            state.amount,
            state.captured,
            state.refunded,
            change.reference,
            change.reason,
            kept.version + 1,
            change.due_in_ms.map(|due_in_ms| now + due_in_ms),
            lease,
            now,
            change.places_order.then_some(now),
            change.path.len() > 1,
            state.gift_returned,
        ],
    )?;
    Ok(())
}

fn record_history(session: &Session<'_>, change: &CheckoutChange) -> Result<(), LedgerError> {
    let (id, now) = (change.id.to_string(), session.now_ms);
    for (number, step) in (1_u32..).zip(change.path.windows(2)) {
        session.run(
            "insert into tidegate_checkout_step(checkout, version, number, before, after, at) \
             values (?1, ?2, ?3, ?4, ?5, ?6)",
            params![id, change.version + 1, number, step[0].word(), step[1].word(), now],
        )?;
    }
    for attempt in &change.attempts {
        session.run(
            "insert into tidegate_payment_attempt(key, checkout, operation, amount, outcome, at, ended_at) \
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             on conflict (key) do update set outcome = ?5, ended_at = ?7",
            params![
                attempt.key,
                id,
                attempt.operation.word(),
                attempt.amount,
                attempt.outcome,
                now,
                (attempt.outcome != "sent").then_some(now),
            ],
        )?;
    }
    for (kind, body) in &change.events {
        session.run(
            "insert into tidegate_outbox(checkout, number, kind, body, at) select ?1, \
             (select count(*) + 1 from tidegate_outbox where checkout = ?1), ?2, ?3, ?4",
            params![id, kind, body, now],
        )?;
    }
    Ok(())
}
