//! Stock.

use rusqlite::params;

use super::transaction::{Session, StoredRequest};
use crate::ledger::{
    AdjustOutcome, Adjusted, CellStock, LedgerError, Outcome, SkuStock, StockRefusal,
};
use crate::policy_columns::{policy_from_columns, policy_to_columns};
use crate::request::{AdjustStock, RequestKey, SetStock};
use crate::rules::{Cell, KeyVerdict, Policy, Stock};

/// Sets the stock of a cell, and its SKU's policy and limit.
pub(super) fn set(
    session: &Session<'_>,
    request: &SetStock,
) -> Result<Result<(), StockRefusal>, LedgerError> {
    let SetStock { cell, on_hand, policy, customer_limit, .. } = request;
    let before = of_sku(session, &cell.sku)?;
    let (old_policy, old_limit, mut cells) = match before {
        Some(SkuStock { policy, customer_limit, locations }) => (policy, customer_limit, locations),
        None => (Policy::Strict, None, Vec::new()),
    };
    let (policy, limit) = (policy.unwrap_or(old_policy), customer_limit.unwrap_or(old_limit));
    if cells.iter().all(|other| other.location != cell.location) {
        cells.push(CellStock { location: cell.location.clone(), stock: Stock::default() });
    }
    let (mut moved, mut free, mut fits) = (0, 0, true);
    for CellStock { location, stock } in cells {
        if location == cell.location {
            (moved, free) = (on_hand - stock.on_hand, stock.uncommitted());
            fits &= stock.with_on_hand(*on_hand, policy).is_some();
        } else {
            fits &= stock.with_on_hand(stock.on_hand, policy).is_some();
        }
    }
    if !fits {
        return Ok(Err(StockRefusal::Committed { free }));
    }
    let (word, oversell) = policy_to_columns(policy);
    session.run(
        "insert into tidegate_sku(sku, policy, oversell, customer_limit) values (?1, ?2, ?3, ?4) \
         on conflict (sku) do update set policy = ?2, oversell = ?3, customer_limit = ?4",
        params![cell.sku, word, oversell, limit],
    )?;
    session.run(
        "insert into tidegate_stock(sku, location, on_hand) values (?1, ?2, ?3) \
         on conflict (sku, location) do update set on_hand = ?3",
        params![cell.sku, cell.location, on_hand],
    )?;
    if moved != 0 {
        record(session, "set", cell, moved, None, None)?;
    }
    if limit.is_some() && old_limit.is_none() {
        count_customers(session, &cell.sku)?;
    }
    if (policy, limit) != (old_policy, old_limit) {
        let reason = format!("{word} {oversell} limit {}", limit.unwrap_or_default());
        record(session, "policy", cell, 0, None, Some(&reason))?;
    }
    Ok(Ok(()))
}

/// Counts the units of each customer, which were not counted while there was no limit.
fn count_customers(session: &Session<'_>, sku: &str) -> Result<(), LedgerError> {
    session.run("delete from tidegate_customer_units where sku = ?1", [sku])?;
    session.run(
        "insert into tidegate_customer_units(sku, customer, units) \
         select m.sku, h.customer, sum(m.held) \
         from tidegate_movement m join tidegate_hold h on h.id = m.hold \
         where m.sku = ?1 and m.kind = 'hold' and h.state in ('active', 'confirmed') \
         group by m.sku, h.customer",
        [sku],
    )?;
    Ok(())
}

/// Changes the units on hand of a cell.
pub(super) fn adjust(
    session: &Session<'_>,
    request: &AdjustStock,
    key: &RequestKey,
) -> Result<AdjustOutcome, LedgerError> {
    match session.judge(key)? {
        (KeyVerdict::Reused, _) => return Ok(Outcome::KeyReused),
        (KeyVerdict::Repeat, Some(StoredRequest { counters: Some(counters), .. })) => {
            let [on_hand, held, sold] = counters;
            return Ok(Outcome::Repeated(Adjusted { on_hand, held, sold }));
        }
        _ => {}
    }
    let AdjustStock { cell, by, reason } = request;
    let sku = of_sku(session, &cell.sku)?;
    let found = sku.and_then(|SkuStock { policy, locations, .. }| {
        let found = locations.into_iter().find(|other| other.location == cell.location)?;
        Some((policy, found.stock))
    });
    let Some((policy, stock)) = found else {
        return Ok(Outcome::Refused(StockRefusal::UnknownCell(cell.clone())));
    };
    let changed = stock.with_on_hand(stock.on_hand + by, policy);
    let Some(Stock { on_hand, held, sold }) = changed else {
        let free = stock.uncommitted();
        return Ok(Outcome::Refused(StockRefusal::Committed { free }));
    };
    session.run(
        "update tidegate_stock set on_hand = ?3 where sku = ?1 and location = ?2",
        params![cell.sku, cell.location, on_hand],
    )?;
    record(session, "adjust", cell, *by, Some(key), Some(reason))?;
    session.store(key, None, None, Some([on_hand, held, sold]))?;
    Ok(Outcome::Done(Adjusted { on_hand, held, sold }))
}

fn record(
    session: &Session<'_>,
    kind: &str,
    Cell { sku, location }: &Cell,
    on_hand: i64,
    key: Option<&RequestKey>,
    reason: Option<&str>,
) -> Result<(), LedgerError> {
    let key = key.map(|key| key.key.as_str());
    session.run(
        "insert into tidegate_movement(at, kind, sku, location, on_hand, held, sold, key, reason) \
         values (?1, ?2, ?3, ?4, ?5, 0, 0, ?6, ?7)",
        params![session.now_ms, kind, sku, location, on_hand, key, reason],
    )?;
    Ok(())
}

/// Returns the counters of a SKU as they are recorded.
pub(super) fn of_sku(session: &Session<'_>, sku: &str) -> Result<Option<SkuStock>, LedgerError> {
    let sql = "select policy, oversell, customer_limit from tidegate_sku where sku = ?1";
    let found = session.find(sql, [sku], |row| {
        Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?))
    })?;
    let Some((word, oversell, customer_limit)) = found else { return Ok(None) };
    let policy = policy_from_columns(&word, oversell)?;
    let sql =
        "select location, on_hand, held, sold from tidegate_stock where sku = ?1 order by location";
    let locations = session.list(sql, [sku], |row| {
        let stock = Stock { on_hand: row.get(1)?, held: row.get(2)?, sold: row.get(3)? };
        Ok(CellStock { location: row.get(0)?, stock })
    })?;
    Ok(Some(SkuStock { policy, customer_limit, locations }))
}

/// Subtracts the holds that are past their deadlines, whose end is not recorded.
pub(super) fn without_due(
    session: &Session<'_>,
    sku: &str,
    stock: &mut SkuStock,
) -> Result<(), LedgerError> {
    let sql = "select m.location, sum(m.held) from tidegate_hold h \
        join tidegate_movement m on m.hold = h.id and m.kind = 'hold' \
        where h.state = 'active' and h.expires_at <= ?2 and m.sku = ?1 group by m.location";
    let due = session.list(sql, params![sku, session.now_ms], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    })?;
    for (location, units) in due {
        let cell = stock.locations.iter_mut().find(|cell| cell.location == location);
        cell.into_iter().for_each(|cell| cell.stock.held -= units);
    }
    Ok(())
}
