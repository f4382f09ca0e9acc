//! Gift cards.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::ledger::SqliteLedger;
use super::transaction::Session;
use crate::checkout_columns::parse_price;
use crate::checkout_id::CheckoutId;
use crate::ledger::{GiftCard, GiftLedger, GiftRefusal, LedgerError, Outcome};
use crate::request::{GiftCode, GiftPart, IssueGift, RequestKey};
use crate::rules::{Currency, GiftBalance, GiftMove, KeyVerdict};

fn find(session: &Session<'_>, hash: &str) -> Result<Option<GiftCard>, LedgerError> {
    let sql =
        "select currency, issued, reserved, spent from tidegate_gift_card where code_hash = ?1";
    let found = session.find(sql, [hash], |row| {
        let balance =
            GiftBalance { issued: row.get(1)?, reserved: row.get(2)?, spent: row.get(3)? };
        Ok((row.get::<_, String>(0)?, balance))
    })?;
    let Some((currency, balance)) = found else { return Ok(None) };
    let price = parse_price(balance.issued, &currency)?;
    Ok(Some(GiftCard { currency: price.currency, balance }))
}

fn issue(
    session: &Session<'_>,
    gift: &IssueGift,
    key: &RequestKey,
) -> Result<Outcome<(), GiftRefusal>, LedgerError> {
    match session.judge(key)? {
        (KeyVerdict::Reused, _) => return Ok(Outcome::KeyReused),
        (KeyVerdict::Repeat, _) => return Ok(Outcome::Repeated(())),
        (KeyVerdict::New, _) => {}
    }
    let (hash, amount) = (gift.code.hash(), gift.value.amount);
    if find(session, hash)?.is_some() {
        return Ok(Outcome::Refused(GiftRefusal::Exists));
    }
    session.run(
        "insert into tidegate_gift_card(code_hash, currency, issued, created_at) values (?1, ?2, ?3, ?4)",
        params![hash, gift.value.currency.to_string(), amount, session.now_ms],
    )?;
    session.run(
        "insert into tidegate_gift_movement(at, card, kind, issued, reserved, spent, key) \
         values (?1, ?2, 'issue', ?3, 0, 0, ?4)",
        params![session.now_ms, hash, amount, key.key.as_str()],
    )?;
    session.store(key, None, None, None)?;
    Ok(Outcome::Done(()))
}

/// Reserves the part of a checkout. Returns the refusal, with which nothing has changed.
pub(super) fn reserve(
    session: &Session<'_>,
    part: &GiftPart,
    currency: Currency,
    checkout: CheckoutId,
) -> Result<Option<GiftRefusal>, LedgerError> {
    let Some(card) = find(session, part.code.hash())? else {
        return Ok(Some(GiftRefusal::Unknown));
    };
    if card.currency != currency {
        return Ok(Some(GiftRefusal::Currency));
    }
    if let Err(available) = card.balance.reserve(part.amount) {
        return Ok(Some(GiftRefusal::Short { available }));
    }
    record(session, part.code.hash(), GiftMove::Reserve(part.amount), checkout)?;
    Ok(None)
}

/// Records a move and changes the balance.
pub(super) fn record(
    session: &Session<'_>,
    hash: &str,
    gift_move: GiftMove,
    checkout: CheckoutId,
) -> Result<(), LedgerError> {
    let (reserved, spent) = gift_move.changes();
    let changed = session.run(
        "update tidegate_gift_card set reserved = reserved + ?2, spent = spent + ?3 where code_hash = ?1",
        params![hash, reserved, spent],
    )?;
    if changed == 0 {
        let problem = format!("the gift card of the checkout {checkout} is missing");
        return Err(LedgerError::Unreadable(problem));
    }
    session.run(
        "insert into tidegate_gift_movement(at, card, kind, issued, reserved, spent, checkout) \
         values (?1, ?2, ?3, 0, ?4, ?5, ?6)",
        params![session.now_ms, hash, gift_move.word(), reserved, spent, checkout.to_string()],
    )?;
    Ok(())
}

#[async_trait]
impl GiftLedger for SqliteLedger {
    async fn issue_gift(
        &self,
        gift: &IssueGift,
        key: &RequestKey,
    ) -> Result<Outcome<(), GiftRefusal>, LedgerError> {
        let (gift, key) = (gift.clone(), key.clone());
        self.write(move |session| issue(session, &gift, &key)).await
    }

    async fn find_gift(&self, code: &GiftCode) -> Result<Option<GiftCard>, LedgerError> {
        let code = code.clone();
        let read =
            move |connection: &Connection| find(&Session::snapshot(connection)?, code.hash());
        self.run(read).await
    }
}
