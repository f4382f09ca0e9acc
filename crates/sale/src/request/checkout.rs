//! Requests for checkouts and changes of orders.

use super::{InvalidRequest, digest};
use crate::checkout_id::CheckoutId;
use crate::hold_id::HoldId;
use crate::rules::Price;

/// The greatest amount, in minor units.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000;

/// The longest name of a payment method, in bytes.
pub(crate) const METHOD_BYTES_MAX: usize = 255;

/// Checks a price.
///
/// # Errors
/// The amount or the currency can't be accepted.
pub fn price(field: &str, amount: i64, currency: &str) -> Result<Price, InvalidRequest> {
    if !(1..=AMOUNT_MAX).contains(&amount) {
        let problem = format!("{amount} is not 1 to {AMOUNT_MAX} minor units");
        return Err(InvalidRequest::new(format!("{field}.amount"), problem));
    }
    let invalid = |()| {
        let problem = "write three capital letters of ISO 4217, such as EUR";
        InvalidRequest::new(format!("{field}.currency"), problem)
    };
    Ok(Price { amount, currency: currency.parse().map_err(invalid)? })
}

/// A request to pay for a hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckoutRequest {
    /// The hold.
    pub hold: HoldId,
    provider: Option<String>,
    method: String,
    /// The amount that the customer was shown.
    pub price: Price,
    /// The amount is taken when the shop asks for it.
    pub captures_later: bool,
}

impl CheckoutRequest {
    /// Checks a request. `method`: the provider's name of the customer's payment method.
    ///
    /// # Errors
    /// The method has other characters than printable ASCII, or may be a card number.
    pub fn new(
        hold: HoldId,
        provider: Option<String>,
        method: &str,
        price: Price,
        captures_later: bool,
    ) -> Result<Self, InvalidRequest> {
        let is_name = !method.is_empty()
            && method.len() <= METHOD_BYTES_MAX
            && method.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_name || is_card_number(method) {
            // The text is not shown: it may be a card number.
            let problem = "write the provider's name of a payment method, such as pm_1N3T00, and never a card number";
            return Err(InvalidRequest::new("payment.method", problem));
        }
        Ok(Self { hold, provider, method: method.to_owned(), price, captures_later })
    }

    pub(crate) fn provider(&self) -> Option<&str> {
        self.provider.as_deref()
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn digest(&self, provider: &str) -> u64 {
        let later = if self.captures_later { "later" } else { "now" };
        let (hold, price) = (self.hold.to_string(), self.price.to_string());
        digest(&["checkout", &hold, provider, &self.method, &price, later])
    }
}

/// Returns whether a text has the digits of a card number: 12 to 19, with a valid check digit.
fn is_card_number(text: &str) -> bool {
    let is_only_digits = text.bytes().all(|byte| byte.is_ascii_digit() || b"-._/".contains(&byte));
    let digits: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(10)).collect();
    let weighted = digits.iter().rev().enumerate().map(|(at, digit)| match at % 2 {
        0 => *digit,
        _ => digit * 2 / 10 + digit * 2 % 10,
    });
    is_only_digits && (12..=19).contains(&digits.len()) && weighted.sum::<u32>() % 10 == 0
}

/// A change of an order. An amount that is absent is all that is left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OrderChange {
    /// Take an amount, and give up the rest.
    Capture(Option<i64>),
    /// Give an amount back.
    Refund(Option<i64>),
    /// Cancel the order.
    Cancel,
}

/// A request to change an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OrderRequest {
    /// The order.
    pub order: CheckoutId,
    /// The change.
    pub change: OrderChange,
}

impl OrderRequest {
    pub(crate) fn digest(&self) -> u64 {
        let amount =
            |amount: Option<i64>| amount.map_or_else(|| "all".to_owned(), |n| n.to_string());
        let (word, amount) = match self.change {
            OrderChange::Capture(part) => ("capture", amount(part)),
            OrderChange::Refund(part) => ("refund", amount(part)),
            OrderChange::Cancel => ("cancel", String::new()),
        };
        digest(&["order", &self.order.to_string(), word, &amount])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_number_refused_and_not_shown() {
        let hold = HoldId::new(1, crate::lane::Lane::from_number(2), 3);
        let price = price("payment", 5, "EUR").expect("valid");
        let new = |method: &str| CheckoutRequest::new(hold, None, method, price, false);
        for method in ["4242424242424242", "4242-4242-4242-4242", "", "pm 1", "pm\n", "é"] {
            let refused = new(method).expect_err(method).to_string();
            assert!(method.is_empty() || !refused.contains(method), "{refused}");
        }
        for method in ["pm_card_visa", "4242424242424241", "123"] {
            assert!(new(method).is_ok(), "{method}");
        }
    }

    #[test]
    fn prices_are_positive_in_a_currency() {
        for (amount, currency) in [(0, "EUR"), (-1, "EUR"), (AMOUNT_MAX + 1, "EUR"), (1, "euro")] {
            assert!(price("p", amount, currency).is_err(), "{amount} {currency}");
        }
    }
}
