//! Checkouts.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::carts;
use super::checkout_changes;
use super::checkout_rows::{COLUMNS, find, lease, record, stored};
use super::ledger::SqliteLedger;
use super::transaction::Session;
use crate::checkout_columns::checkout_id;
use crate::checkout_id::CheckoutId;
use crate::hold_id::HoldId;
use crate::ledger::{
    BeginOutcome, ChangeOutcome, CheckoutChange, CheckoutLedger, CheckoutRecord, LedgerError,
    NewCheckout, OrderEvent, PricedHold,
};
use crate::request::IdempotencyKey;
use crate::rules::Price;

#[async_trait]
impl CheckoutLedger for SqliteLedger {
    async fn set_price(&self, sku: &str, price: Price) -> Result<bool, LedgerError> {
        let sku = sku.to_owned();
        self.write(move |session| checkout_changes::set_price(session, &sku, price)).await
    }

    async fn price(&self, sku: &str) -> Result<Option<Price>, LedgerError> {
        let sku = sku.to_owned();
        let read = move |connection: &Connection| {
            checkout_changes::price(&Session::snapshot(connection)?, &sku, i64::MAX)
        };
        self.run(read).await
    }

    async fn priced_holds(
        &self,
        holds: Arc<[HoldId]>,
    ) -> Result<Vec<Option<PricedHold>>, LedgerError> {
        let read = move |connection: &Connection| {
            let session = Session::snapshot(connection)?;
            holds.iter().map(|hold| checkout_changes::priced_hold(&session, *hold)).collect()
        };
        self.run(read).await
    }

    async fn begin_checkouts(
        &self,
        batch: Arc<[NewCheckout]>,
    ) -> Result<Vec<BeginOutcome>, LedgerError> {
        self.write(move |session| {
            batch.iter().map(|checkout| carts::begin(session, checkout)).collect()
        })
        .await
    }

    async fn find_checkout(&self, id: CheckoutId) -> Result<Option<CheckoutRecord>, LedgerError> {
        self.run(move |connection| find(&Session::snapshot(connection)?, id)).await
    }

    async fn find_request(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<(u64, Option<CheckoutId>)>, LedgerError> {
        let key = key.clone();
        self.run(move |connection| checkout_changes::request(&Session::snapshot(connection)?, &key))
            .await
    }

    async fn lease_due(
        &self,
        limit: u32,
        lease_ms: i64,
    ) -> Result<Vec<CheckoutRecord>, LedgerError> {
        // The parameter 3 is not used here; SQLite counts it by its number.
        let which = "due_at <= ?1 and ?3 is null";
        self.write(move |session| lease(session, which, None, limit, lease_ms)).await
    }

    async fn lease_checkout(
        &self,
        id: CheckoutId,
        lease_ms: i64,
    ) -> Result<Option<CheckoutRecord>, LedgerError> {
        let leased =
            self.write(move |session| lease(session, "id = ?3", Some(id), 1, lease_ms)).await?;
        Ok(leased.into_iter().next())
    }

    async fn change_checkouts(
        &self,
        batch: Arc<[CheckoutChange]>,
    ) -> Result<Vec<ChangeOutcome>, LedgerError> {
        self.write(move |session| {
            batch.iter().map(|change| checkout_changes::change(session, change)).collect()
        })
        .await
    }

    async fn note_webhook(
        &self,
        provider: &str,
        event: &str,
        reference: &str,
    ) -> Result<bool, LedgerError> {
        let values = [provider, event, reference].map(str::to_owned);
        self.write(move |session| {
            let [provider, event, reference] = &values;
            let noted = session.run(
                "insert into tidegate_webhook(provider, event, at) values (?1, ?2, ?3) on conflict do nothing",
                params![provider, event, session.now_ms],
            )?;
            session.run(
                "update tidegate_checkout set due_at = min(due_at, ?3) \
                 where reference = ?1 and provider = ?2 and due_at is not null and ?4",
                params![reference, provider, session.now_ms, noted > 0],
            )?;
            Ok(noted > 0)
        })
        .await
    }

    async fn order_events(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<OrderEvent>, LedgerError> {
        let after: i64 = after.unwrap_or("0").parse().map_err(|_| LedgerError::UnknownCursor)?;
        let read = move |connection: &Connection| {
            let session = Session::snapshot(connection)?;
            let sql = "select id, checkout, number, kind, body from tidegate_outbox where id > ?1 \
                order by id limit ?2";
            let events = session.list(sql, params![after, limit], |row| {
                let order: String = row.get(1)?;
                Ok((row.get::<_, i64>(0)?, order, row.get(2)?, row.get(3)?, row.get(4)?))
            })?;
            let event = |(cursor, order, number, kind, body): (i64, String, _, _, _)| {
                let (cursor, order) = (cursor.to_string(), checkout_id(&order)?);
                Ok(OrderEvent { cursor, order, number, kind, body })
            };
            events.into_iter().map(event).collect()
        };
        self.run(read).await
    }

    async fn recent_checkouts(&self, within_ms: i64) -> Result<Vec<CheckoutRecord>, LedgerError> {
        let read = move |connection: &Connection| {
            let session = Session::snapshot(connection)?;
            let sql = format!(
                "select {COLUMNS} from tidegate_checkout where due_at is not null or changed_at > ?1 \
                 order by id"
            );
            let found = session.list(&sql, [session.now_ms - within_ms], stored)?;
            found.into_iter().map(|found| record(found, session.now_ms)).collect()
        };
        self.run(read).await
    }
}
