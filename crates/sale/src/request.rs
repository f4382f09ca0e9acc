//! Requests, checked so that a ledger can execute them.

mod cart;
mod checkout;
mod gift;

use std::collections::BTreeMap;

use contract::fnv1a;
use thiserror::Error;

pub use self::cart::{CartCheckout, CartContent, CartId};
pub(crate) use self::cart::{NAME_BYTES_MAX as CART_BYTES_MAX, cart_hold_key, cart_of_key};
pub(crate) use self::checkout::METHOD_BYTES_MAX;
pub use self::checkout::{
    AMOUNT_MAX, CheckoutRequest, OrderChange, OrderRequest, PaymentRequest, price,
};
pub(crate) use self::gift::gift_name;
pub use self::gift::{GiftCode, GiftPart, IssueGift};
use crate::hold_id::HoldId;
use crate::lane::Lane;
use crate::rules::{Cell, Demand, Policy, Price};

/// The greatest number of units in a line, and of units on hand.
pub const UNITS_MAX: i64 = 1_000_000_000;
/// The greatest number of lines of a hold.
pub const LINES_MAX: usize = 100;
/// The longest time that a hold, or its extension, may ask for, in seconds: a day.
pub const TTL_SECONDS_MAX: u64 = 86_400;
/// The time of a hold that asks for none, in seconds.
pub const TTL_SECONDS_DEFAULT: u64 = 600;
/// The location of lines and stock that name none.
pub const LOCATION_DEFAULT: &str = "main";

pub(crate) const TEXT_BYTES_MAX: usize = 128;
pub(crate) const KEY_BYTES_MAX: usize = 255;
pub(crate) const REASON_BYTES_MAX: usize = 500;

/// A value that can't be accepted.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{field}: {problem}")]
pub struct InvalidRequest {
    /// The field, such as `lines[0].quantity`.
    pub field: String,
    /// The problem, and the values that are accepted.
    pub problem: String,
}

impl InvalidRequest {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// The idempotency key of a request: printable ASCII, at most 255 characters.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Checks a key.
    ///
    /// # Errors
    /// It is empty, longer, or has other characters.
    pub fn new(text: &str) -> Result<Self, InvalidRequest> {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if text.is_empty() || text.len() > KEY_BYTES_MAX || !printable {
            let problem = "write 1 to 255 printable ASCII characters, such as a UUID";
            return Err(InvalidRequest::new("Idempotency-Key", problem));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key and the digest of the request that it stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestKey {
    /// The key.
    pub key: IdempotencyKey,
    /// Differs for requests that ask for something else.
    pub digest: u64,
}

/// A request for a hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HoldRequest {
    customer: String,
    lines: Vec<Demand>,
    ttl_ms: i64,
}

impl HoldRequest {
    /// Checks a request, and merges lines of the same SKU and location, so that their sum has to fit.
    ///
    /// # Errors
    /// The first value that can't be accepted.
    pub fn new(
        customer: &str,
        lines: impl IntoIterator<Item = (String, Option<String>, i64)>,
        ttl_seconds: Option<u64>,
    ) -> Result<Self, InvalidRequest> {
        text("customer", customer)?;
        let mut merged = BTreeMap::<Cell, i64>::new();
        let mut count = 0;
        for (at, (sku, location, quantity)) in lines.into_iter().enumerate() {
            let field = |name: &str| format!("lines[{at}].{name}");
            let cell = cell(&field("sku"), &sku, &field("location"), location.as_deref())?;
            if !(1..=UNITS_MAX).contains(&quantity) {
                return Err(InvalidRequest::new(
                    field("quantity"),
                    format!("{quantity} is not 1 to {UNITS_MAX}"),
                ));
            }
            *merged.entry(cell).or_default() += quantity;
            count += 1;
        }
        if !(1..=LINES_MAX).contains(&count) {
            let problem = format!("there are {count} lines, not 1 to {LINES_MAX}");
            return Err(InvalidRequest::new("lines", problem));
        }
        let ttl_ms = ttl_ms(ttl_seconds.unwrap_or(TTL_SECONDS_DEFAULT))?;
        let lines = merged.into_iter().map(|(cell, quantity)| Demand { cell, quantity });
        Ok(Self { customer: customer.to_owned(), lines: lines.collect(), ttl_ms })
    }

    /// Returns the customer.
    #[must_use]
    pub fn customer(&self) -> &str {
        &self.customer
    }

    /// Returns the lines: each cell once, in ascending order.
    #[must_use]
    pub fn lines(&self) -> &[Demand] {
        &self.lines
    }

    /// Returns the time until the deadline, in ms.
    #[must_use]
    pub fn ttl_ms(&self) -> i64 {
        self.ttl_ms
    }

    /// Returns the lane: requests for the same SKUs have the same.
    pub(crate) fn lane(&self) -> Lane {
        Lane::of_skus(self.lines.iter().map(|line| line.cell.sku.as_str()))
    }

    pub(crate) fn digest(&self) -> u64 {
        let Self { customer, lines, ttl_ms } = self;
        let lines = lines.iter().map(|Demand { cell, quantity }| {
            format!("\n{}\n{}\n{quantity}", cell.sku, cell.location)
        });
        digest(&["hold", customer, &ttl_ms.to_string(), &lines.collect::<String>()])
    }
}

/// A request to move the deadline of a hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExtendRequest {
    /// The hold.
    pub hold: HoldId,
    /// The time that is added.
    by_ms: i64,
}

impl ExtendRequest {
    /// Checks a request.
    ///
    /// # Errors
    /// The time can't be accepted.
    pub fn new(hold: HoldId, ttl_seconds: Option<u64>) -> Result<Self, InvalidRequest> {
        Ok(Self { hold, by_ms: ttl_ms(ttl_seconds.unwrap_or(TTL_SECONDS_DEFAULT))? })
    }

    /// Returns the time that is added, in ms.
    #[must_use]
    pub fn by_ms(&self) -> i64 {
        self.by_ms
    }

    pub(crate) fn digest(&self) -> u64 {
        digest(&["extend", &self.hold.to_string(), &self.by_ms.to_string()])
    }
}

/// A request to sell the units of a hold.
pub(crate) fn confirm_digest(hold: HoldId) -> u64 {
    digest(&["confirm", &hold.to_string()])
}

/// A request to set a cell's stock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SetStock {
    /// The cell.
    pub cell: Cell,
    /// All units that were put in stock, also those sold since.
    pub on_hand: i64,
    /// The SKU's policy; `None`: unchanged, or strict.
    pub policy: Option<Policy>,
    /// The SKU's limit for each customer; `None`: unchanged, `Some(None)`: none.
    pub customer_limit: Option<Option<i64>>,
    /// The price of a unit, for holds from now on; `None`: unchanged.
    pub price: Option<Price>,
}

impl SetStock {
    /// Checks a request.
    ///
    /// # Errors
    /// The first value that can't be accepted.
    pub fn new(
        sku: &str,
        location: Option<&str>,
        on_hand: i64,
        policy: Option<Policy>,
        customer_limit: Option<Option<i64>>,
    ) -> Result<Self, InvalidRequest> {
        let cell = cell("sku", sku, "location", location)?;
        units("on_hand", on_hand, 0)?;
        if let Some(Some(limit)) = customer_limit {
            units("customer_limit", limit, 1)?;
        }
        Ok(Self { cell, on_hand, policy, customer_limit, price: None })
    }

    /// Returns the request with the price of a unit.
    #[must_use]
    pub fn with_price(self, price: Option<Price>) -> Self {
        Self { price, ..self }
    }
}

/// A request to change a cell's units on hand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdjustStock {
    /// The cell.
    pub cell: Cell,
    /// The change, not 0.
    pub by: i64,
    /// The cause, for the ledger.
    pub reason: String,
}

impl AdjustStock {
    /// Checks a request.
    ///
    /// # Errors
    /// The first value that can't be accepted.
    pub fn new(
        sku: &str,
        location: Option<&str>,
        by: i64,
        reason: &str,
    ) -> Result<Self, InvalidRequest> {
        let cell = cell("sku", sku, "location", location)?;
        if by == 0 || by.unsigned_abs() > UNITS_MAX.unsigned_abs() {
            let problem = format!("{by} is not -{UNITS_MAX} to {UNITS_MAX} without 0");
            return Err(InvalidRequest::new("by", problem));
        }
        bounded_text("reason", reason, REASON_BYTES_MAX)?;
        Ok(Self { cell, by, reason: reason.to_owned() })
    }

    pub(crate) fn digest(&self) -> u64 {
        let Self { cell, by, reason } = self;
        digest(&["adjust", &cell.sku, &cell.location, &by.to_string(), reason])
    }
}

/// Checks the name of a SKU.
///
/// # Errors
/// It is empty, too long, or has control characters.
pub fn check_sku(sku: &str) -> Result<(), InvalidRequest> {
    text("sku", sku)
}

fn cell(
    sku_field: &str,
    sku: &str,
    location_field: &str,
    location: Option<&str>,
) -> Result<Cell, InvalidRequest> {
    let location = location.unwrap_or(LOCATION_DEFAULT);
    text(sku_field, sku)?;
    text(location_field, location)?;
    Ok(Cell { sku: sku.to_owned(), location: location.to_owned() })
}

fn text(field: &str, text: &str) -> Result<(), InvalidRequest> {
    bounded_text(field, text, TEXT_BYTES_MAX)
}

fn bounded_text(field: &str, text: &str, bytes_max: usize) -> Result<(), InvalidRequest> {
    if text.trim().is_empty() || text.len() > bytes_max || text.chars().any(char::is_control) {
        let problem = format!("write 1 to {bytes_max} bytes of text without control characters");
        return Err(InvalidRequest::new(field, problem));
    }
    Ok(())
}

fn units(field: &str, units: i64, min: i64) -> Result<(), InvalidRequest> {
    if !(min..=UNITS_MAX).contains(&units) {
        return Err(InvalidRequest::new(field, format!("{units} is not {min} to {UNITS_MAX}")));
    }
    Ok(())
}

fn ttl_ms(seconds: u64) -> Result<i64, InvalidRequest> {
    if !(1..=TTL_SECONDS_MAX).contains(&seconds) {
        let problem = format!("{seconds} is not 1 to {TTL_SECONDS_MAX}");
        return Err(InvalidRequest::new("ttl_seconds", problem));
    }
    Ok(seconds as i64 * 1_000)
}

/// The parts have no control characters of their own, apart from those that separate them.
pub(crate) fn digest(parts: &[&str]) -> u64 {
    fnv1a(parts.join("\u{0}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[(&str, i64)]) -> Result<HoldRequest, InvalidRequest> {
        let lines = lines.iter().map(|(sku, quantity)| ((*sku).to_owned(), None, *quantity));
        HoldRequest::new("c1", lines, None)
    }

    #[test]
    fn lines_of_one_sku_are_merged() {
        let merged = request(&[("B", 1), ("A", 2), ("B", 3)]).expect("valid");
        let lines: Vec<_> =
            merged.lines().iter().map(|line| (&*line.cell.sku, line.quantity)).collect();
        assert_eq!(lines, [("A", 2), ("B", 4)]);
        assert_eq!(merged.digest(), request(&[("A", 2), ("B", 4)]).expect("valid").digest());
        assert_ne!(merged.digest(), request(&[("A", 3), ("B", 4)]).expect("valid").digest());
    }

    #[test]
    fn unacceptable_values_name_their_field() {
        for (lines, field) in [
            (&[][..], "lines"),
            (&[("A", 0)], "lines[0].quantity"),
            (&[("A", 1), ("B", -1)], "lines[1].quantity"),
            (&[("A\0", 1)], "lines[0].sku"),
            (&[(" ", 1)], "lines[0].sku"),
        ] {
            assert_eq!(request(lines).expect_err(field).field, field);
        }
        let many = vec![("A", 1); LINES_MAX + 1];
        assert_eq!(request(&many).expect_err("many").field, "lines");
        for seconds in [0, TTL_SECONDS_MAX + 1, u64::MAX] {
            let lines = [("A".to_owned(), None, 1)];
            assert!(HoldRequest::new("c", lines, Some(seconds)).is_err());
        }
        for key in ["", "a\nb", "é", &"k".repeat(256)] {
            assert!(IdempotencyKey::new(key).is_err(), "{key}");
        }
    }
}
