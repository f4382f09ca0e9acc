//! Checkouts.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::checkout_batches;
use super::client::unreadable;
use super::ledger::PostgresLedger;
use super::uuid::Uuid;
use crate::checkout_columns::{checkout_id, parse_phase, parse_price};
use crate::checkout_id::CheckoutId;
use crate::hold_id::HoldId;
use crate::ledger::{
    BeginOutcome, ChangeOutcome, CheckoutChange, CheckoutLedger, CheckoutRecord, LedgerError,
    NewCheckout, OrderEvent, PricedHold,
};
use crate::request::IdempotencyKey;
use crate::rules::{Cell, CheckoutState, Demand, Price, PricedLine};

const COLUMNS: &str = "c.id, c.hold, c.customer, c.provider, c.method, c.amount, c.currency, c.captures_later, \
    c.reference, c.phase, c.sent, c.number, c.operation_amount, c.captured, c.refunded, c.ordered, c.cancelling, \
    c.reason, c.version, c.tries, c.gift_card, c.gift_amount, c.gift_returned, tidegate.ms(c.ordered_at) as ordered_at, \
    ceil(extract(epoch from c.due_at - clock_timestamp()) * 1000)::bigint as due_in_ms, \
    floor(extract(epoch from clock_timestamp() - c.created_at) * 1000)::bigint as age_ms";

/// A join with the view `movement` would read all holds.
const HOLDS: &str = "select u.n, h.customer, l.sku, l.location, l.units, p.amount, p.currency \
    from unnest($1::uuid[]) with ordinality u(id, n) join tidegate.hold h on h.id = u.id and h.id = any($1) \
    cross join lateral (select h.sku, h.location, h.units where h.sku is not null union all \
      select m.sku, m.location, m.held from tidegate.movement_row m \
      where m.hold = h.id and m.kind = 'hold' and h.sku is null) l \
    left join lateral (select p.amount, p.currency from tidegate.price p \
      where p.sku = l.sku and p.since <= h.created_at order by p.since desc limit 1) p on true \
    order by u.n, l.sku, l.location";
const PRICE: &str =
    "select amount, currency from tidegate.price where sku = $1 order by since desc limit 1";
const SET_PRICE: &str = "select tidegate.set_price($1, $2, $3)";
const REQUEST: &str = "select digest, checkout from tidegate.request where key = $1";
const WEBHOOK: &str = "select tidegate.note_webhook($1, $2, $3)";
const EVENTS: &str = "select o.transaction::text || '-' || o.id as cursor, o.checkout, o.number::bigint, \
      o.kind, o.body from tidegate.outbox o \
    where o.transaction < pg_snapshot_xmin(pg_current_snapshot()) \
      and (o.transaction, o.id) > ($1::text::xid8, $2) order by o.transaction, o.id limit $3";

/// Returns the statement that leases the checkouts that `which` selects as `due`.
fn lease(which: &str) -> String {
    format!(
        "with due as (select k.id from tidegate.checkout k where {which} \
           and coalesce(k.leased_until, '-infinity') <= statement_timestamp() \
           order by k.due_at limit $1 for no key update skip locked) \
         update tidegate.checkout c set version = c.version + 1, tries = c.tries + 1, \
           leased_until = statement_timestamp() + $2 * interval '1 millisecond' \
         from due where c.id = due.id returning {COLUMNS}"
    )
}

fn record(row: &Row) -> Result<CheckoutRecord, LedgerError> {
    let number = |name| row.try_get::<_, i64>(name).map_err(unreadable);
    let flag = |name| row.try_get::<_, bool>(name).map_err(unreadable);
    let text = |name| row.try_get::<_, &str>(name).map_err(unreadable);
    let optional = |name| row.try_get::<_, Option<i64>>(name).map_err(unreadable);
    let Uuid(hold) = row.try_get("hold").map_err(unreadable)?;
    let state = CheckoutState {
        phase: parse_phase(text("phase")?)?,
        sent: flag("sent")?,
        number: row.try_get::<_, i32>("number").map_err(unreadable)?.cast_unsigned(),
        total: number("amount")? - number("gift_amount")?,
        amount: number("operation_amount")?,
        captured: number("captured")?,
        refunded: number("refunded")?,
        ordered: flag("ordered")?,
        cancelling: flag("cancelling")?,
        captures_later: flag("captures_later")?,
        gift: number("gift_amount")?,
        gift_returned: number("gift_returned")?,
    };
    Ok(CheckoutRecord {
        id: checkout_id(text("id")?)?,
        hold,
        customer: text("customer")?.to_owned(),
        provider: text("provider")?.to_owned(),
        method: text("method")?.to_owned(),
        price: parse_price(number("amount")?, text("currency")?)?,
        gift_card: row.try_get("gift_card").map_err(unreadable)?,
        reference: row.try_get("reference").map_err(unreadable)?,
        state,
        version: number("version")?,
        tries: number("tries")?,
        reason: row.try_get("reason").map_err(unreadable)?,
        due_in_ms: optional("due_in_ms")?,
        age_ms: number("age_ms")?,
        ordered_at_ms: optional("ordered_at")?,
    })
}

/// Returns a line of a hold with its price.
fn priced_line(row: &Row) -> Result<PricedLine, LedgerError> {
    let cell = Cell {
        sku: row.try_get("sku").map_err(unreadable)?,
        location: row.try_get("location").map_err(unreadable)?,
    };
    let demand = Demand { cell, quantity: row.try_get("units").map_err(unreadable)? };
    let amount: Option<i64> = row.try_get("amount").map_err(unreadable)?;
    let price =
        amount.map(|amount| parse_price(amount, row.try_get("currency").map_err(unreadable)?));
    Ok(PricedLine { demand, price: price.transpose()? })
}

#[async_trait]
impl CheckoutLedger for PostgresLedger {
    async fn set_price(&self, sku: &str, price: Price) -> Result<bool, LedgerError> {
        let currency = price.currency.to_string();
        let row = self
            .client
            .row("setting a price", SET_PRICE, &[&sku, &price.amount, &currency])
            .await?;
        row.try_get(0).map_err(unreadable)
    }

    async fn price(&self, sku: &str) -> Result<Option<Price>, LedgerError> {
        let rows = self.client.rows("reading a price", PRICE, &[&sku]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let amount = row.try_get(0).map_err(unreadable)?;
        parse_price(amount, row.try_get(1).map_err(unreadable)?).map(Some)
    }

    async fn priced_holds(
        &self,
        holds: Arc<[HoldId]>,
    ) -> Result<Vec<Option<PricedHold>>, LedgerError> {
        let ids: Vec<Uuid> = holds.iter().copied().map(Uuid).collect();
        let rows = self.client.rows("reading prices", HOLDS, &[&ids]).await?;
        let mut found: Vec<Option<PricedHold>> = vec![None; holds.len()];
        for row in &rows {
            let number: i64 = row.try_get("n").map_err(unreadable)?;
            let at = usize::try_from(number - 1).ok();
            let other = || LedgerError::Unreadable(format!("a line of the hold {number}"));
            let hold = at.and_then(|at| found.get_mut(at)).ok_or_else(other)?;
            let customer = row.try_get("customer").map_err(unreadable)?;
            let hold = hold.get_or_insert_with(|| PricedHold { customer, lines: Vec::new() });
            hold.lines.push(priced_line(row)?);
        }
        Ok(found)
    }

    async fn begin_checkouts(
        &self,
        batch: Arc<[NewCheckout]>,
    ) -> Result<Vec<BeginOutcome>, LedgerError> {
        checkout_batches::begin(&self.client, &batch).await
    }

    async fn find_checkout(&self, id: CheckoutId) -> Result<Option<CheckoutRecord>, LedgerError> {
        let sql = format!("select {COLUMNS} from tidegate.checkout c where c.id = $1");
        let rows = self.client.rows("reading a checkout", &sql, &[&id.to_string()]).await?;
        rows.first().map(record).transpose()
    }

    async fn find_request(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<(u64, Option<CheckoutId>)>, LedgerError> {
        let rows = self.client.rows("reading a request", REQUEST, &[&key.as_str()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let digest: i64 = row.try_get(0).map_err(unreadable)?;
        let checkout: Option<&str> = row.try_get(1).map_err(unreadable)?;
        Ok(Some((digest.cast_unsigned(), checkout.map(checkout_id).transpose()?)))
    }

    async fn lease_due(
        &self,
        limit: u32,
        lease_ms: i64,
    ) -> Result<Vec<CheckoutRecord>, LedgerError> {
        let sql = lease("k.due_at <= statement_timestamp()");
        let lease_ms = lease_ms as f64;
        let rows =
            self.client.rows("leasing checkouts", &sql, &[&i64::from(limit), &lease_ms]).await?;
        rows.iter().map(record).collect()
    }

    async fn lease_checkout(
        &self,
        id: CheckoutId,
        lease_ms: i64,
    ) -> Result<Option<CheckoutRecord>, LedgerError> {
        let (id, lease_ms) = (id.to_string(), lease_ms as f64);
        let rows = self
            .client
            .rows("leasing a checkout", &lease("k.id = $3"), &[&1_i64, &lease_ms, &id])
            .await?;
        rows.first().map(record).transpose()
    }

    async fn change_checkouts(
        &self,
        batch: Arc<[CheckoutChange]>,
    ) -> Result<Vec<ChangeOutcome>, LedgerError> {
        checkout_batches::change(&self.client, &batch).await
    }

    async fn note_webhook(
        &self,
        provider: &str,
        event: &str,
        reference: &str,
    ) -> Result<bool, LedgerError> {
        let row = self
            .client
            .row("recording a webhook", WEBHOOK, &[&provider, &event, &reference])
            .await?;
        row.try_get(0).map_err(unreadable)
    }

    async fn order_events(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<OrderEvent>, LedgerError> {
        let (transaction, id) =
            after.unwrap_or("0-0").split_once('-').ok_or(LedgerError::UnknownCursor)?;
        let (Ok::<u64, _>(_), Ok::<i64, _>(id)) = (transaction.parse(), id.parse()) else {
            return Err(LedgerError::UnknownCursor);
        };
        let rows = self
            .client
            .rows("reading events", EVENTS, &[&transaction, &id, &i64::from(limit)])
            .await?;
        let event = |row: &Row| {
            Ok(OrderEvent {
                cursor: row.try_get(0).map_err(unreadable)?,
                order: checkout_id(row.try_get(1).map_err(unreadable)?)?,
                number: row.try_get(2).map_err(unreadable)?,
                kind: row.try_get(3).map_err(unreadable)?,
                body: row.try_get(4).map_err(unreadable)?,
            })
        };
        rows.iter().map(event).collect()
    }

    async fn recent_checkouts(&self, within_ms: i64) -> Result<Vec<CheckoutRecord>, LedgerError> {
        let sql = format!(
            "select {COLUMNS} from tidegate.checkout c where c.due_at is not null \
             or c.id in (select s.checkout from tidegate.checkout_step s \
               where s.at > statement_timestamp() - $1 * interval '1 millisecond') order by c.id"
        );
        let rows = self.reports.rows("reading checkouts", &sql, &[&(within_ms as f64)]).await?;
        rows.iter().map(record).collect()
    }
}
