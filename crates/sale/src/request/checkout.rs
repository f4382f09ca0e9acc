//! Requests for checkouts and changes of orders.

use super::gift::GiftPart;
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

/// A payment that a customer has chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PaymentRequest {
    provider: Option<String>,
    method: String,
    /// The amount that the customer was shown.
    pub price: Price,
    /// The part of the amount that a gift card pays.
    pub gift: Option<GiftPart>,
    /// The amount is taken when the shop asks for it.
    pub captures_later: bool,
}

impl PaymentRequest {
    /// Checks a payment. `method`: the provider's name of the customer's payment method, absent where a gift card pays all.
    ///
    /// # Errors
    /// The method has other characters than printable ASCII, or may be a card number, or a part is out of range.
    pub fn new(
        provider: Option<String>,
        method: Option<&str>,
        price: Price,
        gift: Option<GiftPart>,
        captures_later: bool,
    ) -> Result<Self, InvalidRequest> {
        let gift_amount = gift.as_ref().map_or(0, |gift| gift.amount);
        if gift.is_some() && !(1..=price.amount).contains(&gift_amount) {
            let problem = format!("{gift_amount} is not 1 to the amount, {}", price.amount);
            return Err(InvalidRequest::new("payment.gift_card.amount", problem));
        }
        let method = method.unwrap_or_default();
        let is_paid_by_gift = gift_amount == price.amount;
        if is_paid_by_gift && !(method.is_empty() && provider.is_none()) {
            let problem = "the gift card pays all: leave `method` and `provider` out";
            return Err(InvalidRequest::new("payment.method", problem));
        }
        let is_name = !method.is_empty()
            && method.len() <= METHOD_BYTES_MAX
            && method.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_paid_by_gift && (!is_name || is_card_number(method)) {
            // The text is not shown: it may be a card number.
            let problem = "write the provider's name of a payment method, such as pm_1N3T00, and never a card number";
            return Err(InvalidRequest::new("payment.method", problem));
        }
        Ok(Self { provider, method: method.to_owned(), price, gift, captures_later })
    }

    /// Returns whether a gift card pays all.
    pub(crate) fn is_paid_by_gift(&self) -> bool {
        self.gift.as_ref().is_some_and(|gift| gift.amount == self.price.amount)
    }

    pub(crate) fn provider(&self) -> Option<&str> {
        self.provider.as_deref()
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn digest(&self, provider: &str) -> u64 {
        let later = if self.captures_later { "later" } else { "now" };
        let price = self.price.to_string();
        self.with_gift(digest(&["payment", provider, &self.method, &price, later]))
    }

    /// A payment without a gift card has the digest that it had before there were any.
    fn with_gift(&self, of_others: u64) -> u64 {
        self.gift.as_ref().map_or(of_others, |gift| {
            let (others, amount) = (of_others.to_string(), gift.amount.to_string());
            digest(&["gift", &others, gift.code.hash(), &amount])
        })
    }
}

/// A request to pay for a hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckoutRequest {
    /// The hold.
    pub hold: HoldId,
    /// The payment.
    pub payment: PaymentRequest,
}

impl CheckoutRequest {
    pub(crate) fn digest(&self, provider: &str) -> u64 {
        let payment = &self.payment;
        let later = if payment.captures_later { "later" } else { "now" };
        let (hold, price) = (self.hold.to_string(), payment.price.to_string());
        payment.with_gift(digest(&["checkout", &hold, provider, &payment.method, &price, later]))
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
    use super::super::gift::GiftCode;
    use super::*;

    #[test]
    fn card_number_refused_and_not_shown() {
        let price = price("payment", 5, "EUR").expect("valid");
        let new = |method: &str| PaymentRequest::new(None, Some(method), price, None, false);
        for method in ["4242424242424242", "4242-4242-4242-4242", "", "pm 1", "pm\n", "é"] {
            let refused = new(method).expect_err(method).to_string();
            assert!(method.is_empty() || !refused.contains(method), "{refused}");
        }
        for method in ["pm_card_visa", "4242424242424241", "123"] {
            assert!(new(method).is_ok(), "{method}");
        }
    }

    #[test]
    fn parts_of_a_payment_are_its_amount() {
        let price = price("payment", 5, "EUR").expect("valid");
        let new = |method, amount| {
            let code = GiftCode::new("code", "ABCD-EFGH-2345-6789").expect("valid");
            PaymentRequest::new(None, method, price, Some(GiftPart { code, amount }), false)
        };
        for (method, amount) in
            [(Some("pm"), 0), (Some("pm"), -1), (Some("pm"), 6), (Some("pm"), 5), (None, 4)]
        {
            assert!(new(method, amount).is_err(), "{method:?} {amount}");
        }
        let split = new(Some("pm"), 4).expect("valid");
        let whole = new(None, 5).expect("valid");
        assert!(whole.is_paid_by_gift() && !split.is_paid_by_gift());
        assert_ne!(split.digest("card"), new(Some("pm"), 3).expect("valid").digest("card"));
    }

    #[test]
    fn prices_are_positive_in_a_currency() {
        for (amount, currency) in [(0, "EUR"), (-1, "EUR"), (AMOUNT_MAX + 1, "EUR"), (1, "euro")] {
            assert!(price("p", amount, currency).is_err(), "{amount} {currency}");
        }
    }
}
