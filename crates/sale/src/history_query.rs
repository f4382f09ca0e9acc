//! The statement that reads the ledger's history, one text for both databases. It is one statement, so that all of it
//! is of one snapshot.

use crate::invariants::Dialect;
use crate::ledger::{CheckoutRow, History, HoldRow, MovementRow};

/// The columns of each row: the kind of the row, and its values as text.
pub(crate) const COLUMNS: usize = 12;

/// A row of the statement.
pub(crate) type Row = [String; COLUMNS];

const QUERY: &str = "select 'hold', replace(cast(h.id as text), '-', ''), h.customer, h.state, \
      cast({ms}(h.created_at) as text), coalesce((select min(m.key) from {t}movement m \
        where m.hold = h.id and m.kind = 'hold'), ''), '', '', '', '', '', '' from {t}hold h \
    union all select 'movement', cast(m.id as text), m.sku, m.location, cast({ms}(m.at) as text), m.kind, \
      cast(m.on_hand as text), cast(m.held as text), cast(m.sold as text), coalesce(m.key, ''), \
      coalesce(replace(cast(m.hold as text), '-', ''), ''), '' from {t}movement m \
    union all select 'checkout', c.id, replace(cast(c.hold as text), '-', ''), c.phase, \
      case when c.due_at is null then '0' else '1' end, case when c.ordered then '1' else '0' end, \
      cast(c.amount as text), c.currency, cast(c.captured as text), cast(c.refunded as text), \
      cast(c.version as text), cast(c.gift_amount as text) from {t}checkout c \
    union all select 'key', r.key, '', '', '', '', '', '', '', '', '', '' from {t}request r";

/// Returns the statement.
pub(crate) fn statement(dialect: &Dialect) -> String {
    QUERY.replace("{t}", dialect.prefix).replace("{ms}", dialect.ms)
}

/// Collects the rows.
///
/// # Errors
/// A row is of another form than the statement's.
pub(crate) fn collect(rows: impl IntoIterator<Item = Row>) -> Result<History, String> {
    let mut history = History::default();
    for row in rows {
        add(&mut history, row)?;
    }
    history.movements.sort_by(|a, b| (&a.sku, a.id).cmp(&(&b.sku, b.id)));
    Ok(history)
}

fn add(history: &mut History, row: Row) -> Result<(), String> {
    let [kind, a, b, c, d, e, f, g, h, i, j, k] = row;
    match kind.as_str() {
        "hold" => {
            let row = HoldRow { customer: b, state: c, at_ms: number(&d)?, key: e };
            history.holds.insert(a, row);
        }
        "movement" => history.movements.push(MovementRow {
            id: number(&a)?,
            sku: b,
            location: c,
            at_ms: number(&d)?,
            kind: e,
            on_hand: number(&f)?,
            held: number(&g)?,
            sold: number(&h)?,
            key: i,
            hold: j,
        }),
        "checkout" => {
            let row = CheckoutRow {
                hold: b,
                phase: c,
                is_open: d == "1",
                ordered: e == "1",
                amount: number(&f)?,
                currency: g,
                captured: number(&h)?,
                refunded: number(&i)?,
                version: number(&j)?,
                gift: number(&k)?,
            };
            history.checkouts.insert(a, row);
        }
        "key" => {
            history.keys.insert(a);
        }
        other => return Err(format!("a row of the kind {other:?}")),
    }
    Ok(())
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("the number {text:?}"))
}
