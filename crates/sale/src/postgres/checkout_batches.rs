//! Batches of checkouts. One statement records those for which all is in order; a statement for each decides about the
//! others.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::carts;
use super::client::{Client, unreadable};
use super::uuid::Uuid;
use crate::cart_columns::version_to_column;
use crate::checkout_columns::checkout_id;
use crate::checkout_id::CheckoutId;
use crate::ledger::{
    ATTEMPTS_MAX, BeginOutcome, ChangeOutcome, CheckoutChange, GiftRefusal, LedgerError,
    NewCheckout, PaymentAttempt,
};
use crate::rules::{CheckoutState, HoldEnd, Phase};

const BEGIN: &str = "select tidegate.begin_checkouts($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, \
    $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";
const BEGIN_ONE: &str =
    "select * from tidegate.begin_checkout($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const BEGIN_WITH_GIFT: &str = "select * from tidegate.begin_gift_checkout($1, $2, $3, $4, $5, $6, $7, $8, $9, \
    $10, $11, $12, $13, $14)";
const BEGIN_OF_CART: &str = "select * from tidegate.begin_cart_checkout($15, $16, $1, $2, $3, $4, $5, $6, $7, $8, \
    $9, $10, $11, $12, $13, $14)";
const CHANGE: &str = "select * from tidegate.change_checkouts($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, \
    $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)";
const CHANGE_ONE: &str = "select tidegate.change_checkout($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
    $13, $14, $15, $16, $17, $18)";
const CHANGE_WITH_GIFT: &str = "select tidegate.change_gift_checkout($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, \
    $11, $12, $13, $14, $15, $16, $17, $18)";
const ORDERED_AT: &str = "select tidegate.ms(ordered_at) from tidegate.checkout where id = $1";

/// Calls to providers, with the numbers of their checkouts in the batch.
#[derive(Default)]
struct AttemptArrays<'b> {
    of: Vec<i32>,
    keys: Vec<&'b str>,
    operations: Vec<&'static str>,
    amounts: Vec<i64>,
    outcomes: Vec<&'static str>,
}

impl<'b> AttemptArrays<'b> {
    fn add(&mut self, number: i32, attempts: &'b [PaymentAttempt]) {
        for attempt in attempts {
            self.of.push(number);
            self.keys.push(&attempt.key);
            self.operations.push(attempt.operation.word());
            self.amounts.push(attempt.amount);
            self.outcomes.push(attempt.outcome);
        }
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 5] {
        [&self.of, &self.keys, &self.operations, &self.amounts, &self.outcomes]
    }
}

/// Returns phases as one text.
fn joined(path: &[Phase]) -> String {
    path.iter().copied().map(Phase::word).collect::<Vec<_>>().join(" ")
}

/// Collects a column of a batch.
fn column<'b, T, V>(batch: &'b [T], value: impl FnMut(&'b T) -> V) -> Vec<V> {
    batch.iter().map(value).collect()
}

/// Returns for each request of a batch whether its number, from 1, is among `numbers`.
fn marked(count: usize, numbers: &[i32]) -> Vec<bool> {
    let mut marks = vec![false; count];
    for number in numbers {
        let at = usize::try_from(*number).unwrap_or_default().wrapping_sub(1);
        if let Some(mark) = marks.get_mut(at) {
            *mark = true;
        }
    }
    marks
}

/// Begins each checkout of a batch, unless its key, its payment or its hold has one.
pub(super) async fn begin(
    client: &Client,
    batch: &[NewCheckout],
) -> Result<Vec<BeginOutcome>, LedgerError> {
    let together: Vec<_> = batch.iter().filter(|new| new.needs_hold_alone()).collect();
    let numbers = begin_together(client, &together).await?;
    let mut begun = marked(together.len(), &numbers).into_iter();
    let mut outcomes = Vec::with_capacity(batch.len());
    for new in batch {
        let is_begun = new.needs_hold_alone() && begun.next() == Some(true);
        outcomes.push(if is_begun { BeginOutcome::Begun } else { begin_one(client, new).await? });
    }
    Ok(outcomes)
}

async fn begin_together(client: &Client, batch: &[&NewCheckout]) -> Result<Vec<i32>, LedgerError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let state = |new: &&NewCheckout| {
        let state = || CheckoutState::new(new.price.amount, new.captures_later);
        new.first.as_ref().map_or_else(state, |first| first.state)
    };
    let path = |new: &&NewCheckout| {
        new.first.as_ref().map_or_else(|| joined(&[Phase::Preparing]), |first| joined(&first.path))
    };
    let mut attempts = AttemptArrays::default();
    for (number, new) in (1..).zip(batch) {
        attempts.add(number, new.first.as_ref().map_or(&[][..], |first| &first.attempts));
    }
    let ids = column(batch, |new| new.id.to_string());
    let currencies = column(batch, |new| new.price.currency.to_string());
    let request: [&(dyn ToSql + Sync); 4] = [
        &column(batch, |new| new.key.key.as_str()),
        &column(batch, |new| new.key.digest.cast_signed()),
        &ids,
        &column(batch, |new| Uuid(new.hold)),
    ];
    let payment: [&(dyn ToSql + Sync); 5] = [
        &column(batch, |new| new.provider.as_str()),
        &column(batch, |new| new.method.as_str()),
        &column(batch, |new| new.price.amount),
        &currencies,
        &column(batch, |new| new.captures_later),
    ];
    let first: [&(dyn ToSql + Sync); 6] = [
        &column(batch, |new| new.first.as_ref().and_then(|first| first.reference.as_deref())),
        &column(batch, path),
        &column(batch, |new| state(new).sent),
        &column(batch, |new| i64::from(state(new).number)),
        &column(batch, |new| new.lease_ms),
        &column(batch, |new| new.keep_hold_ms),
    ];
    let parameters = [&request[..], &payment, &first, &attempts.parameters()].concat();
    let row = client.row("beginning checkouts", BEGIN, &parameters).await?;
    row.try_get(0).map_err(unreadable)
}

/// Begins one checkout, and then records its first change. After a crash in between, it is taken up like any other.
async fn begin_one(client: &Client, new: &NewCheckout) -> Result<BeginOutcome, LedgerError> {
    let (key, digest) = (new.key.key.as_str(), new.key.digest.cast_signed());
    let (id, currency) = (new.id.to_string(), new.price.currency.to_string());
    let hold = Uuid(new.hold);
    let plain: [&(dyn ToSql + Sync); 12] = [
        &key,
        &digest,
        &id,
        &hold,
        &new.provider,
        &new.method,
        &new.price.amount,
        &currency,
        &new.captures_later,
        &new.lease_ms,
        &new.keep_hold_ms,
        &i64::from(ATTEMPTS_MAX),
    ];
    let (gift, cart) = (new.gift.as_ref(), new.cart.as_ref());
    let part: [&(dyn ToSql + Sync); 2] =
        [&gift.map(|part| part.code.hash()), &gift.map(|part| part.amount)];
    let shown: [&(dyn ToSql + Sync); 2] = [
        &cart.map(|shown| shown.cart.as_str()),
        &cart.map(|shown| version_to_column(shown.version)),
    ];
    let (sql, parameters) = match (gift, cart) {
        (None, None) => (BEGIN_ONE, plain.to_vec()),
        (Some(_), None) => (BEGIN_WITH_GIFT, [&plain[..], &part].concat()),
        (_, Some(_)) => (BEGIN_OF_CART, [&plain[..], &part, &shown].concat()),
    };
    let row = client.row("beginning a checkout", sql, &parameters).await?;
    let refused = cart.map(|_| carts::refused(&row)).transpose()?.flatten();
    if let Some((shown, refused)) = cart.zip(refused) {
        return Ok(BeginOutcome::Cart(shown.cart.clone(), refused));
    }
    let outcome = begin_outcome(&row)?;
    if let (BeginOutcome::Begun, Some(first)) = (&outcome, &new.first) {
        match change_one(client, first).await? {
            ChangeOutcome::Recorded { .. } => {}
            // Another node has taken it up, which takes longer than the lease: this one has nothing to do.
            _ => return Ok(BeginOutcome::Known(new.id)),
        }
    }
    Ok(outcome)
}

fn begin_outcome(row: &Row) -> Result<BeginOutcome, LedgerError> {
    let id = || checkout_id(row.try_get("checkout").map_err(unreadable)?);
    match row.try_get("outcome").map_err(unreadable)? {
        "begun" => Ok(BeginOutcome::Begun),
        "known" => Ok(BeginOutcome::Known(id()?)),
        "other" => Ok(BeginOutcome::Other(id()?)),
        "too-many" => Ok(BeginOutcome::TooMany),
        "unknown" => Ok(BeginOutcome::UnknownHold),
        "reused" => Ok(BeginOutcome::KeyReused),
        "in-flight" => Ok(BeginOutcome::KeyInFlight),
        "gift-unknown" => Ok(BeginOutcome::Gift(GiftRefusal::Unknown)),
        "gift-currency" => Ok(BeginOutcome::Gift(GiftRefusal::Currency)),
        "gift-short" => {
            let available = row.try_get("available").map_err(unreadable)?;
            Ok(BeginOutcome::Gift(GiftRefusal::Short { available }))
        }
        "ended" => {
            let word: &str = row.try_get("state").map_err(unreadable)?;
            let other = || LedgerError::Unreadable(format!("the state {word:?}"));
            Ok(BeginOutcome::HoldEnded(HoldEnd::parse(word).ok_or_else(other)?))
        }
        other => Err(LedgerError::Unreadable(format!("the outcome {other:?}"))),
    }
}

/// Whether the statement for batches records all that belongs to a change. It confirms holds of one line, and locks no
/// gift card.
fn is_of_batches(change: &CheckoutChange) -> bool {
    let CheckoutId(name) = change.id;
    let places_basket = change.places_order && !name.lane().is_of_one_sku();
    !places_basket && !change.restocks && change.request.is_none() && change.state.gift == 0
}

/// Records each change of a batch, all of it or nothing.
pub(super) async fn change(
    client: &Client,
    batch: &[CheckoutChange],
) -> Result<Vec<ChangeOutcome>, LedgerError> {
    let together: Vec<_> = batch.iter().filter(|change| is_of_batches(change)).collect();
    let (numbers, at_ms) = change_together(client, &together).await?;
    let mut recorded = marked(together.len(), &numbers).into_iter();
    let mut outcomes = Vec::with_capacity(batch.len());
    for change in batch {
        let is_recorded = is_of_batches(change) && recorded.next() == Some(true);
        outcomes.push(if is_recorded {
            ChangeOutcome::Recorded { ordered_at_ms: change.places_order.then_some(at_ms) }
        } else {
            change_one(client, change).await?
        });
    }
    Ok(outcomes)
}

/// Returns the numbers of the changes that are recorded, and the time of it.
async fn change_together(
    client: &Client,
    batch: &[&CheckoutChange],
) -> Result<(Vec<i32>, i64), LedgerError> {
    if batch.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let mut attempts = AttemptArrays::default();
    let (mut event_change, mut event_number) = (Vec::<i32>::new(), Vec::<i32>::new());
    let (mut event_kinds, mut event_bodies) = (Vec::<&str>::new(), Vec::<&str>::new());
    for (number, change) in (1..).zip(batch) {
        attempts.add(number, &change.attempts);
        for (within, (kind, body)) in (1..).zip(&change.events) {
            event_change.push(number);
            event_number.push(within);
            event_kinds.push(kind);
            event_bodies.push(body);
        }
    }
    let ids = column(batch, |change| change.id.to_string());
    let read: [&(dyn ToSql + Sync); 2] = [&ids, &column(batch, |change| change.version)];
    let flags: [&(dyn ToSql + Sync); 4] = [
        &column(batch, |change| change.state.sent),
        &column(batch, |change| change.state.ordered),
        &column(batch, |change| change.state.cancelling),
        &column(batch, |change| change.places_order),
    ];
    let numbers: [&(dyn ToSql + Sync); 4] = [
        &column(batch, |change| i64::from(change.state.number)),
        &column(batch, |change| change.state.amount),
        &column(batch, |change| change.state.captured),
        &column(batch, |change| change.state.refunded),
    ];
    let rest: [&(dyn ToSql + Sync); 6] = [
        &column(batch, |change| joined(&change.path)),
        &column(batch, |change| change.reference.as_deref()),
        &column(batch, |change| change.reason.as_deref()),
        &column(batch, |change| change.due_in_ms),
        &column(batch, |change| change.lease_ms),
        &column(batch, |change| change.keep_hold_ms),
    ];
    let events: [&(dyn ToSql + Sync); 4] =
        [&event_change, &event_number, &event_kinds, &event_bodies];
    let parameters = [&read[..], &flags, &numbers, &rest, &attempts.parameters(), &events].concat();
    let row = client.row("changing checkouts", CHANGE, &parameters).await?;
    Ok((row.try_get(0).map_err(unreadable)?, row.try_get(1).map_err(unreadable)?))
}

async fn change_one(
    client: &Client,
    change: &CheckoutChange,
) -> Result<ChangeOutcome, LedgerError> {
    let state = &change.state;
    let flags = [state.sent, state.ordered, state.cancelling, change.places_order, change.restocks];
    let numbers = [
        i64::from(state.number),
        state.amount,
        state.captured,
        state.refunded,
        state.gift_returned,
    ];
    let sql = if state.gift > 0 { CHANGE_WITH_GIFT } else { CHANGE_ONE };
    let path: Vec<&str> = change.path.iter().copied().map(Phase::word).collect();
    let mut attempts = AttemptArrays::default();
    attempts.add(1, &change.attempts);
    let [_, attempts @ ..] = attempts.parameters();
    let (kinds, bodies): (Vec<&str>, Vec<&str>) =
        change.events.iter().map(|(kind, body)| (*kind, body.as_str())).unzip();
    let request = change.request.as_ref();
    let id = change.id.to_string();
    let state: [&(dyn ToSql + Sync); 5] =
        [&id, &change.version, &flags.as_slice(), &numbers.as_slice(), &path];
    let rest: [&(dyn ToSql + Sync); 5] = [
        &change.reference,
        &change.reason,
        &change.due_in_ms,
        &change.lease_ms,
        &change.keep_hold_ms,
    ];
    let events: [&(dyn ToSql + Sync); 4] = [
        &kinds,
        &bodies,
        &request.map(|request| request.key.as_str()),
        &request.map(|request| request.digest.cast_signed()),
    ];
    let parameters = [&state[..], &rest, &attempts, &events].concat();
    let row = client.row("changing a checkout", sql, &parameters).await?;
    match row.try_get(0).map_err(unreadable)? {
        "recorded" if change.places_order => {
            let row = client.row("reading an order", ORDERED_AT, &[&id]).await?;
            Ok(ChangeOutcome::Recorded { ordered_at_ms: row.try_get(0).map_err(unreadable)? })
        }
        "recorded" => Ok(ChangeOutcome::Recorded { ordered_at_ms: None }),
        "stale" => Ok(ChangeOutcome::Stale),
        "hold-ended" => Ok(ChangeOutcome::HoldEnded),
        "key" => Ok(ChangeOutcome::KeyKnown),
        other => Err(LedgerError::Unreadable(format!("the outcome {other:?}"))),
    }
}
