//! Gift cards.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::client::unreadable;
use super::ledger::PostgresLedger;
use crate::checkout_columns::parse_price;
use crate::ledger::{GiftCard, GiftLedger, GiftRefusal, LedgerError, Outcome};
use crate::request::{GiftCode, IssueGift, RequestKey};
use crate::rules::GiftBalance;

const ISSUE: &str = "select tidegate.issue_gift($1, $2, $3, $4, $5)";
const FIND: &str =
    "select currency, issued, reserved, spent from tidegate.gift_card where code_hash = $1";

fn card(row: &Row) -> Result<GiftCard, LedgerError> {
    let number = |name| row.try_get::<_, i64>(name).map_err(unreadable);
    let balance = GiftBalance {
        issued: number("issued")?,
        reserved: number("reserved")?,
        spent: number("spent")?,
    };
    let price = parse_price(balance.issued, row.try_get("currency").map_err(unreadable)?)?;
    Ok(GiftCard { currency: price.currency, balance })
}

#[async_trait]
impl GiftLedger for PostgresLedger {
    async fn issue_gift(
        &self,
        gift: &IssueGift,
        key: &RequestKey,
    ) -> Result<Outcome<(), GiftRefusal>, LedgerError> {
        let (text, digest) = (key.key.as_str(), key.digest.cast_signed());
        let (hash, currency) = (gift.code.hash(), gift.value.currency.to_string());
        let row = self
            .client
            .row(
                "issuing a gift card",
                ISSUE,
                &[&text, &digest, &hash, &gift.value.amount, &currency],
            )
            .await?;
        match row.try_get(0).map_err(unreadable)? {
            "done" => Ok(Outcome::Done(())),
            "repeated" => Ok(Outcome::Repeated(())),
            "exists" => Ok(Outcome::Refused(GiftRefusal::Exists)),
            "reused" => Ok(Outcome::KeyReused),
            "in-flight" => Ok(Outcome::KeyInFlight),
            other => Err(LedgerError::Unreadable(format!("the outcome {other:?}"))),
        }
    }

    async fn find_gift(&self, code: &GiftCode) -> Result<Option<GiftCard>, LedgerError> {
        let rows = self.client.rows("reading a gift card", FIND, &[&code.hash()]).await?;
        rows.first().map(card).transpose()
    }
}
