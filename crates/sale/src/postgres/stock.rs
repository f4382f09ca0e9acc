//! Stock, and questions about it.

use tokio_postgres::Row;

use super::client::{Client, unreadable};
use super::uuid::Uuid;
use crate::hold_id::HoldId;
use crate::ledger::{
    AdjustOutcome, Adjusted, CellStock, HoldView, LedgerError, Outcome, SkuStock, StockRefusal,
};
use crate::policy_columns::{policy_from_columns, policy_to_columns};
use crate::request::{AdjustStock, RequestKey, SetStock};
use crate::rules::{Cell, Demand, HoldEnd, HoldState, Stock};

const SET: &str = "select * from tidegate.set_stock($1, $2, $3, $4, $5, $6)";
const ADJUST: &str = "select * from tidegate.adjust_stock($1, $2, $3, $4, $5, $6)";

/// Holds that are past their deadlines no longer count. Their lines are read from the two tables behind the view `movement`,
/// which a join would read as a whole.
const STOCK: &str = "select s.policy, s.oversell, s.customer_limit, t.location, t.on_hand, t.sold, \
      t.held - coalesce((select sum(due.units)::bigint from ( \
        select h.units from tidegate.hold h \
          where h.state = 'active' and h.expires_at <= statement_timestamp() \
          and h.sku = t.sku and h.location = t.location \
        union all select m.held from tidegate.hold h \
          join tidegate.movement_row m on m.hold = h.id and m.kind = 'hold' \
          where h.state = 'active' and h.expires_at <= statement_timestamp() \
          and m.sku = t.sku and m.location = t.location) due(units)), 0) as held \
    from tidegate.sku s join tidegate.stock t on t.sku = s.sku where s.sku = $1 order by t.location";

const HOLD: &str = "select h.customer, h.state, h.extended, tidegate.ms(h.expires_at) as deadline_ms, \
      h.expires_at <= clock_timestamp() as is_due, m.sku, m.location, m.held \
    from tidegate.hold h join tidegate.movement m on m.hold = h.id and m.kind = 'hold' \
    where h.id = $1 order by m.sku, m.location";

pub(super) async fn set(
    client: &Client,
    request: &SetStock,
) -> Result<Result<(), StockRefusal>, LedgerError> {
    let SetStock { cell: Cell { sku, location }, on_hand, policy, customer_limit, .. } = request;
    let policy = policy.map(policy_to_columns);
    let (policy, oversell) = (policy.map(|(word, _)| word), policy.map(|(_, oversell)| oversell));
    let limit = customer_limit.map(|limit| limit.unwrap_or(0));
    let row = client
        .row("setting stock", SET, &[sku, location, on_hand, &policy, &oversell, &limit])
        .await?;
    match row.try_get("outcome").map_err(unreadable)? {
        "done" => Ok(Ok(())),
        "committed" => Ok(Err(committed(&row)?)),
        other => Err(LedgerError::Unreadable(format!("the outcome {other:?}"))),
    }
}

pub(super) async fn adjust(
    client: &Client,
    request: &AdjustStock,
    key: &RequestKey,
) -> Result<AdjustOutcome, LedgerError> {
    let AdjustStock { cell, by, reason } = request;
    let (key, digest) = (key.key.as_str(), key.digest.cast_signed());
    let row = client
        .row("adjusting stock", ADJUST, &[&cell.sku, &cell.location, by, reason, &key, &digest])
        .await?;
    let adjusted = || -> Result<Adjusted, LedgerError> {
        let detail: Option<Vec<i64>> = row.try_get("detail").map_err(unreadable)?;
        match detail.as_deref() {
            Some(&[on_hand, held, sold]) => Ok(Adjusted { on_hand, held, sold }),
            other => Err(LedgerError::Unreadable(format!("the counters {other:?}"))),
        }
    };
    match row.try_get("outcome").map_err(unreadable)? {
        "done" => Ok(Outcome::Done(adjusted()?)),
        "repeated" => Ok(Outcome::Repeated(adjusted()?)),
        "reused" => Ok(Outcome::KeyReused),
        "in-flight" => Ok(Outcome::KeyInFlight),
        "unknown" => Ok(Outcome::Refused(StockRefusal::UnknownCell(cell.clone()))),
        "committed" => Ok(Outcome::Refused(committed(&row)?)),
        other => Err(LedgerError::Unreadable(format!("the outcome {other:?}"))),
    }
}

fn committed(row: &Row) -> Result<StockRefusal, LedgerError> {
    Ok(StockRefusal::Committed { free: row.try_get("free").map_err(unreadable)? })
}

pub(super) async fn of_sku(client: &Client, sku: &str) -> Result<Option<SkuStock>, LedgerError> {
    let rows = client.rows("reading stock", STOCK, &[&sku]).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let policy = policy_from_columns(
        first.try_get("policy").map_err(unreadable)?,
        first.try_get("oversell").map_err(unreadable)?,
    )?;
    let customer_limit = first.try_get("customer_limit").map_err(unreadable)?;
    let locations = rows.iter().map(cell_stock).collect::<Result<_, _>>()?;
    Ok(Some(SkuStock { policy, customer_limit, locations }))
}

fn cell_stock(row: &Row) -> Result<CellStock, LedgerError> {
    let column = |name| row.try_get::<_, i64>(name).map_err(unreadable);
    Ok(CellStock {
        location: row.try_get("location").map_err(unreadable)?,
        stock: Stock { on_hand: column("on_hand")?, held: column("held")?, sold: column("sold")? },
    })
}

pub(super) async fn hold(client: &Client, id: HoldId) -> Result<Option<HoldView>, LedgerError> {
    let rows = client.rows("reading a hold", HOLD, &[&Uuid(id)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let deadline_ms = row.try_get("deadline_ms").map_err(unreadable)?;
    let word: &str = row.try_get("state").map_err(unreadable)?;
    let state = match (word, row.try_get("is_due").map_err(unreadable)?) {
        ("active", true) => HoldState::Ended(HoldEnd::Expired),
        ("active", false) => {
            let extended = row.try_get("extended").map_err(unreadable)?;
            HoldState::Active { deadline_ms, extended }
        }
        (word, _) => {
            let other = || LedgerError::Unreadable(format!("the state {word:?}"));
            HoldState::Ended(HoldEnd::parse(word).ok_or_else(other)?)
        }
    };
    let lines = rows.iter().map(line).collect::<Result<_, _>>()?;
    let customer = row.try_get("customer").map_err(unreadable)?;
    Ok(Some(HoldView { id, customer, state, deadline_ms, lines }))
}

fn line(row: &Row) -> Result<Demand, LedgerError> {
    let cell = Cell {
        sku: row.try_get("sku").map_err(unreadable)?,
        location: row.try_get("location").map_err(unreadable)?,
    };
    Ok(Demand { cell, quantity: row.try_get("held").map_err(unreadable)? })
}
