//! Holds and their ends.

use rusqlite::params;

use super::transaction::{Session, StoredRequest};
use crate::hold_id::HoldId;
use crate::ledger::{
    EndHold, EndOutcome, EndRefusal, ExtendOutcome, Granted, HoldOutcome, HoldView, LedgerError,
    NewHold, Outcome,
};
use crate::policy_columns::policy_from_columns;
use crate::request::{ExtendRequest, HoldRequest, RequestKey};
use crate::rules::{
    Cell, Demand, Effect, HoldEnd, HoldInput, HoldState, KeyVerdict, Shelf, Stock, step,
};

/// Grants or refuses each hold of a batch.
pub(super) fn hold_batch(
    session: &Session<'_>,
    batch: &[NewHold],
) -> Result<Vec<HoldOutcome>, LedgerError> {
    let mut shelf = Shelf::default();
    for hold in batch {
        load(session, &mut shelf, &hold.request)?;
    }
    batch.iter().map(|hold| grant(session, &mut shelf, hold)).collect()
}

/// Puts the stock that a request needs on the shelf, if it is not there.
fn load(
    session: &Session<'_>,
    shelf: &mut Shelf,
    request: &HoldRequest,
) -> Result<(), LedgerError> {
    for Demand { cell, .. } in request.lines() {
        if !shelf.cells.contains_key(cell) {
            let sql = "select s.policy, s.oversell, s.customer_limit, t.on_hand, t.held, t.sold \
                from tidegate_stock t join tidegate_sku s on s.sku = t.sku \
                where t.sku = ?1 and t.location = ?2";
            let found = session.find(sql, [&cell.sku, &cell.location], |row| {
                let stock = Stock { on_hand: row.get(3)?, held: row.get(4)?, sold: row.get(5)? };
                let policy: (String, i64) = (row.get(0)?, row.get(1)?);
                Ok((policy, row.get::<_, Option<i64>>(2)?, stock))
            })?;
            let Some(((word, oversell), limit, stock)) = found else { continue };
            shelf.cells.insert(cell.clone(), (stock, policy_from_columns(&word, oversell)?));
            if let Some(limit) = limit {
                shelf.limits.insert(cell.sku.clone(), limit);
            }
        }
        let taker = (cell.sku.clone(), request.customer().to_owned());
        if shelf.limits.contains_key(&cell.sku) && !shelf.taken.contains_key(&taker) {
            let sql = "select units from tidegate_customer_units where sku = ?1 and customer = ?2";
            let units = session.find(sql, [&taker.0, &taker.1], |row| row.get(0))?;
            shelf.taken.insert(taker, units.unwrap_or_default());
        }
    }
    Ok(())
}

fn grant(
    session: &Session<'_>,
    shelf: &mut Shelf,
    hold: &NewHold,
) -> Result<HoldOutcome, LedgerError> {
    let NewHold { id, key, request } = hold;
    if let Some(before) = granted_before(session, key)? {
        return Ok(before);
    }
    if let Err(refusal) = shelf.grant(request.customer(), request.lines()) {
        return Ok(Outcome::Refused(refusal));
    }
    let (name, now_ms) = (id.to_string(), session.now_ms);
    session.run(
        "insert into tidegate_hold(id, customer, state, created_at, expires_at) \
         values (?1, ?2, 'active', ?3, ?4)",
        params![name, request.customer(), now_ms, now_ms + request.ttl_ms()],
    )?;
    for Demand { cell, quantity } in request.lines() {
        let units = Stock { on_hand: 0, held: *quantity, sold: 0 };
        moved(session, "hold", cell, units, &name, Some(key))?;
        if shelf.limits.contains_key(&cell.sku) {
            session.run(
                "insert into tidegate_customer_units(sku, customer, units) values (?1, ?2, ?3) \
                 on conflict (sku, customer) do update set units = units + excluded.units",
                params![cell.sku, request.customer(), quantity],
            )?;
        }
    }
    session.store(key, Some(&name), None, None)?;
    Ok(Outcome::Done(Granted { hold: *id, at_ms: now_ms }))
}

/// Returns the outcome of a request whose key is known.
pub(super) fn granted_before(
    session: &Session<'_>,
    key: &RequestKey,
) -> Result<Option<HoldOutcome>, LedgerError> {
    match session.judge(key)? {
        (KeyVerdict::Reused, _) => Ok(Some(Outcome::KeyReused)),
        (KeyVerdict::Repeat, Some(StoredRequest { hold: Some(hold), at_ms, .. })) => {
            let unreadable = || LedgerError::Unreadable(format!("the hold {hold:?}"));
            let hold = hold.parse().map_err(|_| unreadable())?;
            Ok(Some(Outcome::Repeated(Granted { hold, at_ms })))
        }
        _ => Ok(None),
    }
}

/// Records a movement of a hold's line, and counts it.
fn moved(
    session: &Session<'_>,
    kind: &str,
    Cell { sku, location }: &Cell,
    units: Stock,
    hold: &str,
    key: Option<&RequestKey>,
) -> Result<(), LedgerError> {
    let key = key.map(|key| key.key.as_str());
    session.run(
        "insert into tidegate_movement(at, kind, sku, location, on_hand, held, sold, hold, key) \
         values (?1, ?2, ?3, ?4, 0, ?5, ?6, ?7, ?8)",
        params![session.now_ms, kind, sku, location, units.held, units.sold, hold, key],
    )?;
    session.run(
        "update tidegate_stock set held = held + ?3, sold = sold + ?4 \
         where sku = ?1 and location = ?2",
        params![sku, location, units.held, units.sold],
    )?;
    Ok(())
}

/// Ends a hold.
pub(super) fn end(session: &Session<'_>, wanted: &EndHold) -> Result<EndOutcome, LedgerError> {
    if let Some(key) = &wanted.key {
        match session.judge(key)? {
            (KeyVerdict::Reused, _) => return Ok(Outcome::KeyReused),
            (KeyVerdict::Repeat, Some(stored)) => return Ok(Outcome::Repeated(stored.at_ms)),
            _ => {}
        }
    }
    let Some(hold) = find(session, wanted.hold)? else {
        return Ok(Outcome::Refused(EndRefusal::Unknown));
    };
    let input = match wanted.end {
        HoldEnd::Confirmed => HoldInput::Confirm,
        HoldEnd::Cancelled => HoldInput::Cancel,
        HoldEnd::Expired => HoldInput::Expire,
    };
    let effect = match step(hold.state, input, session.now_ms) {
        Ok((_, effect)) => effect,
        Err(refusal) => return Ok(Outcome::Refused(EndRefusal::Hold(refusal))),
    };
    let (name, kind) = (wanted.hold.to_string(), wanted.end.word());
    session.run(
        "update tidegate_hold set state = ?2, ended_at = ?3 where id = ?1",
        params![name, kind, session.now_ms],
    )?;
    for Demand { cell, quantity } in &hold.lines {
        let sold = if effect == Effect::Sell { *quantity } else { 0 };
        let units = Stock { on_hand: 0, held: -quantity, sold };
        moved(session, kind, cell, units, &name, wanted.key.as_ref())?;
        if effect == Effect::Free {
            session.run(
                "update tidegate_customer_units set units = units - ?3 \
                 where sku = ?1 and customer = ?2 and exists (select 1 from tidegate_sku s \
                   where s.sku = ?1 and s.customer_limit is not null)",
                params![cell.sku, hold.customer, quantity],
            )?;
        }
    }
    if let Some(key) = &wanted.key {
        session.store(key, Some(&name), None, None)?;
    }
    Ok(Outcome::Done(session.now_ms))
}

/// Moves the deadline of a hold.
pub(super) fn extend(
    session: &Session<'_>,
    request: &ExtendRequest,
    key: &RequestKey,
) -> Result<ExtendOutcome, LedgerError> {
    match session.judge(key)? {
        (KeyVerdict::Reused, _) => return Ok(Outcome::KeyReused),
        (KeyVerdict::Repeat, Some(StoredRequest { result: Some(deadline_ms), .. })) => {
            return Ok(Outcome::Repeated(deadline_ms));
        }
        _ => {}
    }
    let Some(hold) = find(session, request.hold)? else {
        return Ok(Outcome::Refused(EndRefusal::Unknown));
    };
    let input = HoldInput::Extend { by_ms: request.by_ms() };
    let (HoldState::Active { deadline_ms, .. }, _) = (match step(hold.state, input, session.now_ms)
    {
        Ok(next) => next,
        Err(refusal) => return Ok(Outcome::Refused(EndRefusal::Hold(refusal))),
    }) else {
        return Err(LedgerError::Unreadable("an extension ended its hold".to_owned()));
    };
    let name = request.hold.to_string();
    session.run(
        "update tidegate_hold set expires_at = ?2, extended = 1 where id = ?1",
        params![name, deadline_ms],
    )?;
    session.store(key, Some(&name), Some(deadline_ms), None)?;
    Ok(Outcome::Done(deadline_ms))
}

/// Returns a hold with its recorded state: past its deadline it is active until its end is recorded.
pub(super) fn find(session: &Session<'_>, id: HoldId) -> Result<Option<HoldView>, LedgerError> {
    let name = id.to_string();
    let sql = "select customer, state, extended, expires_at from tidegate_hold where id = ?1";
    let found = session.find(sql, [&name], |row| {
        Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?))
    })?;
    let Some((customer, word, extended, deadline_ms)) = found else { return Ok(None) };
    let state = match HoldEnd::parse(&word) {
        Some(end) => HoldState::Ended(end),
        None => HoldState::Active { deadline_ms, extended },
    };
    let sql = "select sku, location, held from tidegate_movement \
        where hold = ?1 and kind = 'hold' order by sku, location";
    let lines = session.list(sql, [&name], |row| {
        let cell = Cell { sku: row.get(0)?, location: row.get(1)? };
        Ok(Demand { cell, quantity: row.get(2)? })
    })?;
    Ok(Some(HoldView { id, customer, state, deadline_ms, lines }))
}
