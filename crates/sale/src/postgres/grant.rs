//! The statement that grants a batch.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::batches::HoldArrays;
use super::client::Client;
use super::uuid::Uuid;
use crate::ledger::{LedgerError, NewHold};

const OPERATION: &str = "holding stock";

const ONE: &str = "select * from tidegate.grant_one($1, $2, $3, $4, $5, $6, $7, $8)";
const OF_ONE_LINE: &str =
    "select * from tidegate.grant_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
const BASKETS: &str =
    "select * from tidegate.hold_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// Returns a row for each hold, or one row for all.
pub(super) async fn rows(client: &Client, batch: &[NewHold]) -> Result<Vec<Row>, LedgerError> {
    if let [hold] = batch
        && let [line] = hold.request.lines()
    {
        let NewHold { id, key, request } = hold;
        let (id, digest, ttl_ms) = (Uuid(*id), key.digest.cast_signed(), request.ttl_ms());
        let (customer, key) = (request.customer(), key.key.as_str());
        let (cell, quantity) = (&line.cell, &line.quantity);
        let parameters: [&(dyn ToSql + Sync); 8] =
            [&cell.sku, &cell.location, quantity, &id, &customer, &key, &digest, &ttl_ms];
        return client.rows(OPERATION, ONE, &parameters).await;
    }
    let a = HoldArrays::new(batch);
    let cells: [&(dyn ToSql + Sync); 2] = [&a.cell_sku, &a.cell_location];
    let units: [&(dyn ToSql + Sync); 1] = [&a.cell_units];
    let holds: [&(dyn ToSql + Sync); 5] = [&a.ids, &a.customers, &a.keys, &a.digests, &a.ttls_ms];
    let starts: [&(dyn ToSql + Sync); 2] = [&a.first_line, &a.line_hold];
    let lines: [&(dyn ToSql + Sync); 2] = [&a.line_cell, &a.line_quantity];
    let (sql, parameters) = if a.are_of_one_line() {
        (OF_ONE_LINE, [&cells[..], &units, &holds, &lines].concat())
    } else {
        (BASKETS, [&cells[..], &holds, &starts, &lines].concat())
    };
    client.rows(OPERATION, sql, &parameters).await
}
