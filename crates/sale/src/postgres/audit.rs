//! The invariants, and counts.

use super::client::{Client, unreadable};
use super::migrate;
use crate::history_query;
use crate::invariants::{self, Dialect};
use crate::ledger::{Finding, History, LedgerError, LedgerStatus};

const DIALECT: Dialect = Dialect {
    prefix: "tidegate.",
    minute_ago: "clock_timestamp() - interval '1 minute'",
    ms: "tidegate.ms",
    day_ago: "clock_timestamp() - interval '1 day'",
};

pub(super) async fn findings(client: &Client) -> Result<Vec<Finding>, LedgerError> {
    let rows = client.rows("auditing", &invariants::statement(&DIALECT), &[]).await?;
    let finding = |row: &tokio_postgres::Row| {
        let text = |at: usize| row.try_get::<_, String>(at).map_err(unreadable);
        invariants::finding(&text(0)?, text(1)?, text(2)?).map_err(LedgerError::Unreadable)
    };
    rows.iter().map(finding).collect()
}

pub(super) async fn history(client: &Client) -> Result<History, LedgerError> {
    let rows = client.rows("reading the history", &history_query::statement(&DIALECT), &[]).await?;
    let read = |row: &tokio_postgres::Row| {
        let mut texts = history_query::Row::default();
        for (at, text) in texts.iter_mut().enumerate() {
            *text = row.try_get(at).map_err(unreadable)?;
        }
        Ok(texts)
    };
    let rows: Vec<_> = rows.iter().map(read).collect::<Result<_, LedgerError>>()?;
    history_query::collect(rows).map_err(LedgerError::Unreadable)
}

const STATUS: &str = "select \
    (select count(*) from tidegate.sku) as skus, \
    (select coalesce(sum(on_hand), 0)::bigint from tidegate.stock) as on_hand, \
    (select coalesce(sum(held), 0)::bigint from tidegate.stock) as held, \
    (select coalesce(sum(sold), 0)::bigint from tidegate.stock) as sold, \
    (select count(*) from tidegate.hold where state = 'active') as active, \
    (select count(*) from tidegate.hold where state = 'active' and expires_at <= clock_timestamp()) as due, \
    (select coalesce(extract(epoch from clock_timestamp() - min(expires_at)) * 1000, 0)::bigint \
      from tidegate.hold where state = 'active' and expires_at <= clock_timestamp()) as oldest_due, \
    (select count(*) from tidegate.request) as keys, \
    (select count(*) from tidegate.checkout where due_at is not null) as open_checkouts, \
    (select coalesce(extract(epoch from clock_timestamp() - min(created_at)) * 1000, 0)::bigint \
      from tidegate.checkout where due_at is not null) as oldest_checkout, \
    (select count(*) from tidegate.checkout where ordered) as orders";

pub(super) async fn status(client: &Client) -> Result<LedgerStatus, LedgerError> {
    let schema = migrate::version(client).await?;
    let row = client.row("counting", STATUS, &[]).await?;
    let count = |name| row.try_get::<_, i64>(name).map_err(unreadable);
    Ok(LedgerStatus {
        schema,
        skus: count("skus")?,
        on_hand: count("on_hand")?,
        held: count("held")?,
        sold: count("sold")?,
        active_holds: count("active")?,
        due_holds: count("due")?,
        oldest_due_ms: count("oldest_due")?.max(0),
        keys: count("keys")?,
        open_checkouts: count("open_checkouts")?,
        oldest_checkout_ms: count("oldest_checkout")?.max(0),
        orders: count("orders")?,
    })
}
