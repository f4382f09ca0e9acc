//! Batches as arrays, and their outcomes.

use std::collections::BTreeMap;

use tokio_postgres::Row;

use super::client::unreadable;
use super::uuid::Uuid;
use crate::ledger::{
    EndHold, EndOutcome, EndRefusal, Granted, HoldOutcome, LedgerError, NewHold, Outcome,
};
use crate::rules::{
    Cell, Demand, GrantRefusal, HoldEnd, HoldRefusal, KeyVerdict, Shortage, judge_key,
};

/// The parameters of `tidegate.grant_batch` and `tidegate.hold_batch`.
#[derive(Default)]
pub(super) struct HoldArrays<'b> {
    pub(super) cell_sku: Vec<&'b str>,
    pub(super) cell_location: Vec<&'b str>,
    pub(super) cell_units: Vec<i64>,
    pub(super) ids: Vec<Uuid>,
    pub(super) customers: Vec<&'b str>,
    pub(super) keys: Vec<&'b str>,
    pub(super) digests: Vec<i64>,
    pub(super) ttls_ms: Vec<i64>,
    pub(super) first_line: Vec<i32>,
    pub(super) line_hold: Vec<i32>,
    pub(super) line_cell: Vec<i32>,
    pub(super) line_quantity: Vec<i64>,
}

impl<'b> HoldArrays<'b> {
    pub(super) fn new(batch: &'b [NewHold]) -> Self {
        let mut cells = BTreeMap::<&Cell, i32>::new();
        for line in batch.iter().flat_map(|hold| hold.request.lines()) {
            cells.insert(&line.cell, 0);
        }
        let mut arrays = Self::default();
        for (number, (cell, at)) in (1..).zip(&mut cells) {
            *at = number;
            arrays.cell_sku.push(&cell.sku);
            arrays.cell_location.push(&cell.location);
        }
        arrays.cell_units.resize(cells.len(), 0);
        for (number, hold) in (1..).zip(batch) {
            arrays.ids.push(Uuid(hold.id));
            arrays.customers.push(hold.request.customer());
            arrays.keys.push(hold.key.key.as_str());
            arrays.digests.push(hold.key.digest.cast_signed());
            arrays.ttls_ms.push(hold.request.ttl_ms());
            arrays.first_line.push(arrays.line_cell.len() as i32 + 1);
            for Demand { cell, quantity } in hold.request.lines() {
                arrays.line_hold.push(number);
                arrays.line_cell.push(cells[cell]);
                // Lines are below a billion each, and few.
                arrays.cell_units[cells[cell] as usize - 1] += quantity;
                arrays.line_quantity.push(*quantity);
            }
        }
        arrays
    }

    /// Whether each hold has one line.
    pub(super) fn are_of_one_line(&self) -> bool {
        self.ids.len() == self.line_cell.len()
    }
}

/// The parameters of `tidegate.finish_batch`.
pub(super) struct EndArrays<'b> {
    pub(super) ids: Vec<Uuid>,
    pub(super) ends: Vec<&'static str>,
    pub(super) keys: Vec<Option<&'b str>>,
    pub(super) digests: Vec<Option<i64>>,
}

impl<'b> EndArrays<'b> {
    pub(super) fn new(batch: &'b [EndHold]) -> Self {
        let keys = || batch.iter().map(|end| end.key.as_ref());
        Self {
            ids: batch.iter().map(|end| Uuid(end.hold)).collect(),
            ends: batch.iter().map(|end| end.end.word()).collect(),
            keys: keys().map(|key| Some(key?.key.as_str())).collect(),
            digests: keys().map(|key| Some(key?.digest.cast_signed())).collect(),
        }
    }
}

/// Returns the time at which all requests of a batch were executed as asked, if they were.
///
/// # Errors
/// [`LedgerError::Unreadable`].
pub(super) fn all_done(rows: &[Row]) -> Result<Option<i64>, LedgerError> {
    let [row] = rows else { return Ok(None) };
    match row.try_get("outcome").map_err(unreadable)? {
        "all" => row.try_get("at_ms").map(Some).map_err(unreadable),
        _ => Ok(None),
    }
}

/// Reads the row of a hold.
///
/// # Errors
/// [`LedgerError::Unreadable`].
pub(super) fn hold_outcome(row: &Row, hold: &NewHold) -> Result<HoldOutcome, LedgerError> {
    let granted = || -> Result<Granted, LedgerError> {
        let Uuid(hold) = row.try_get("hold").map_err(unreadable)?;
        Ok(Granted { hold, at_ms: row.try_get("at_ms").map_err(unreadable)? })
    };
    let available = || -> Result<Vec<Option<i64>>, LedgerError> {
        row.try_get("available").map_err(unreadable)
    };
    let lines = hold.request.lines();
    Ok(match row.try_get("outcome").map_err(unreadable)? {
        "held" => Outcome::Done(granted()?),
        "repeated" => Outcome::Repeated(granted()?),
        "reused" => Outcome::KeyReused,
        "in-flight" => Outcome::KeyInFlight,
        "unknown" => Outcome::Refused(unknown(lines, &available()?)?),
        "sold-out" => Outcome::Refused(GrantRefusal::SoldOut(short(lines, &available()?))),
        "customer-limit" => {
            let over = over_limit(lines, &available()?);
            Outcome::Refused(GrantRefusal::CustomerLimit(over))
        }
        other => return Err(LedgerError::Unreadable(format!("the outcome {other:?}"))),
    })
}

/// Reads the row of a key: the outcome of a request for a hold, if the key is known.
///
/// # Errors
/// [`LedgerError::Unreadable`].
pub(super) fn granted_before(row: &Row, digest: u64) -> Result<Option<HoldOutcome>, LedgerError> {
    let stored: Option<i64> = row.try_get("digest").map_err(unreadable)?;
    match judge_key(stored.map(i64::cast_unsigned), digest) {
        KeyVerdict::New => Ok(None),
        KeyVerdict::Reused => Ok(Some(Outcome::KeyReused)),
        KeyVerdict::Repeat => {
            let Uuid(hold) = row.try_get("hold").map_err(unreadable)?;
            let at_ms = row.try_get("at_ms").map_err(unreadable)?;
            Ok(Some(Outcome::Repeated(Granted { hold, at_ms })))
        }
    }
}

fn unknown(lines: &[Demand], available: &[Option<i64>]) -> Result<GrantRefusal, LedgerError> {
    let unknown = lines.iter().zip(available).find(|(_, available)| available.is_none());
    let none = || LedgerError::Unreadable("a cell is unknown, and none is named".to_owned());
    unknown.map(|(line, _)| GrantRefusal::UnknownCell(line.cell.clone())).ok_or_else(none)
}

fn short(lines: &[Demand], available: &[Option<i64>]) -> Vec<Shortage> {
    let short = lines.iter().zip(available).filter_map(|(demand, available)| {
        let available = (*available)?;
        (available < demand.quantity).then(|| Shortage { demand: demand.clone(), available })
    });
    short.collect()
}

/// `available`: the units that the customer may still take of each line's SKU.
fn over_limit(lines: &[Demand], available: &[Option<i64>]) -> Vec<Shortage> {
    let wanted = |sku: &str| -> i64 {
        lines.iter().filter(|line| line.cell.sku == sku).map(|line| line.quantity).sum()
    };
    let over = lines.iter().zip(available).filter_map(|(demand, available)| {
        let available = (*available)?;
        let is_over = available < wanted(&demand.cell.sku);
        is_over.then(|| Shortage { demand: demand.clone(), available: available.max(0) })
    });
    over.collect()
}

/// Reads the row of an end, or of an extension.
///
/// # Errors
/// [`LedgerError::Unreadable`].
pub(super) fn end_outcome(row: &Row) -> Result<EndOutcome, LedgerError> {
    let at_ms = || row.try_get("at_ms").map_err(unreadable);
    let refused = |refusal| Ok(Outcome::Refused(EndRefusal::Hold(refusal)));
    match row.try_get("outcome").map_err(unreadable)? {
        "done" => Ok(Outcome::Done(at_ms()?)),
        "repeated" => Ok(Outcome::Repeated(at_ms()?)),
        "reused" => Ok(Outcome::KeyReused),
        "in-flight" => Ok(Outcome::KeyInFlight),
        "unknown" => Ok(Outcome::Refused(EndRefusal::Unknown)),
        "not-due" => refused(HoldRefusal::NotDue),
        "extended-before" => refused(HoldRefusal::ExtendedBefore),
        "ended" => {
            let word: &str = row.try_get("state").map_err(unreadable)?;
            let other = || LedgerError::Unreadable(format!("the state {word:?}"));
            refused(HoldRefusal::Ended(HoldEnd::parse(word).ok_or_else(other)?))
        }
        other => Err(LedgerError::Unreadable(format!("the outcome {other:?}"))),
    }
}
