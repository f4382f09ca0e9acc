//! Carts.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::client::unreadable;
use super::ledger::PostgresLedger;
use super::uuid::Uuid;
use crate::cart_columns::{content, parse_refusal, parse_stage, version_to_column};
use crate::checkout_columns::checkout_id;
use crate::checkout_id::CheckoutId;
use crate::ledger::{CartLedger, CartRecord, CartRefused, LedgerError, LinkHold, LinkOutcome};
use crate::request::{CartContent, CartId};
use crate::rules::{CartState, CartVersion};

const WRITE: &str = "select * from tidegate.write_cart($1, $2, $3, $4, $5)";
const FIND: &str = "select c.version, c.customer, c.lines, c.hold, c.holds, s.stage, s.checkout, \
      (select tidegate.ms(h.expires_at) from tidegate.hold h where h.id = c.hold) as deadline \
    from tidegate.cart c cross join lateral tidegate.cart_stage(c.hold) s \
    where c.id = $1 and not c.is_deleted";
const LINK: &str = "select tidegate.link_cart_hold($1, $2, $3, $4)";

/// Returns the refusal; `None`: the outcome is none.
pub(super) fn refused(row: &Row) -> Result<Option<CartRefused>, LedgerError> {
    let word: &str = row.try_get("outcome").map_err(unreadable)?;
    let version = row.try_get("version").map_err(unreadable)?;
    Ok(parse_refusal(word, version, optional_checkout(row)?))
}

fn optional_checkout(row: &Row) -> Result<Option<CheckoutId>, LedgerError> {
    let checkout: Option<&str> = row.try_get("checkout").map_err(unreadable)?;
    checkout.map(checkout_id).transpose()
}

fn record(row: &Row) -> Result<CartRecord, LedgerError> {
    let customer = row.try_get("customer").map_err(unreadable)?;
    let hold: Option<Uuid> = row.try_get("hold").map_err(unreadable)?;
    let state = CartState {
        version: row.try_get("version").map_err(unreadable)?,
        is_deleted: false,
        stage: parse_stage(row.try_get("stage").map_err(unreadable)?)?,
    };
    Ok(CartRecord {
        state,
        content: content(customer, row.try_get("lines").map_err(unreadable)?)?,
        hold: hold.map(|Uuid(hold)| hold),
        holds: row.try_get("holds").map_err(unreadable)?,
        deadline_ms: row.try_get("deadline").map_err(unreadable)?,
        checkout: optional_checkout(row)?,
    })
}

#[async_trait]
impl CartLedger for PostgresLedger {
    async fn write_cart(
        &self,
        cart: &CartId,
        wanted: CartVersion,
        content: Option<&CartContent>,
    ) -> Result<Result<i64, CartRefused>, LedgerError> {
        let customer = content.map_or("", CartContent::customer);
        let lines = content.map_or_else(|| "[]".to_owned(), CartContent::stored_lines);
        let wanted = version_to_column(wanted);
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&cart.as_str(), &wanted, &customer, &lines, &content.is_none()];
        let row = self.client.row("writing a cart", WRITE, &parameters).await?;
        match refused(&row)? {
            Some(refused) => Ok(Err(refused)),
            None => row.try_get("version").map(Ok).map_err(unreadable),
        }
    }

    async fn find_cart(&self, cart: &CartId) -> Result<Option<CartRecord>, LedgerError> {
        let rows = self.client.rows("reading a cart", FIND, &[&cart.as_str()]).await?;
        rows.first().map(record).transpose()
    }

    async fn link_cart_hold(&self, link: &LinkHold) -> Result<LinkOutcome, LedgerError> {
        let LinkHold { cart, version, number, hold } = link;
        let parameters: [&(dyn ToSql + Sync); 4] = [&cart.as_str(), version, number, &Uuid(*hold)];
        let row = self.client.row("linking a hold to its cart", LINK, &parameters).await?;
        match row.try_get(0).map_err(unreadable)? {
            "linked" => Ok(LinkOutcome::Linked),
            "changed" => Ok(LinkOutcome::Changed),
            "superseded" => Ok(LinkOutcome::Superseded),
            other => Err(LedgerError::Unreadable(format!("the outcome {other:?}"))),
        }
    }
}
