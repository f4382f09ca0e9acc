//! Requests for carts.

use std::fmt;

use serde_json::{Value, json};

use super::checkout::PaymentRequest;
use super::{HoldRequest, IdempotencyKey, InvalidRequest, digest};
use crate::rules::{CartVersion, Cell, Demand};

/// A cart's name has so many bytes at most.
pub(crate) const NAME_BYTES_MAX: usize = 64;

/// The name of a cart, which the shop chooses: a UUID or a session's number, for example.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CartId(String);

impl CartId {
    /// Checks a name.
    ///
    /// # Errors
    /// It is empty, longer than 64 characters, or has others than letters, digits, `-`, `_`, `.` and `:`.
    pub fn new(text: &str) -> Result<Self, InvalidRequest> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(is_name) {
            let problem =
                format!("write 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_`, `.` or `:`");
            return Err(InvalidRequest::new("cart", problem));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The content of a cart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CartContent {
    customer: String,
    lines: Vec<Demand>,
}

impl CartContent {
    /// Checks a content, by the rules of a hold. A cart may be empty.
    ///
    /// # Errors
    /// The first value that can't be accepted.
    pub fn new(
        customer: &str,
        lines: Vec<(String, Option<String>, i64)>,
    ) -> Result<Self, InvalidRequest> {
        if lines.is_empty() {
            super::text("customer", customer)?;
            return Ok(Self { customer: customer.to_owned(), lines: Vec::new() });
        }
        let hold = HoldRequest::new(customer, lines, None)?;
        Ok(Self { customer: customer.to_owned(), lines: hold.lines().to_vec() })
    }

    /// Returns the customer whose limits count: a guest's session, or an account.
    #[must_use]
    pub fn customer(&self) -> &str {
        &self.customer
    }

    /// Returns the lines: each cell once, in ascending order.
    #[must_use]
    pub fn lines(&self) -> &[Demand] {
        &self.lines
    }

    /// Returns the request for a hold of all lines.
    ///
    /// # Errors
    /// There are none.
    pub fn to_hold(&self) -> Result<HoldRequest, InvalidRequest> {
        let line = |Demand { cell, quantity }: &Demand| {
            (cell.sku.clone(), Some(cell.location.clone()), *quantity)
        };
        HoldRequest::new(&self.customer, self.lines.iter().map(line), None)
    }

    /// Returns the lines as the ledgers store them: equal lines have equal texts.
    pub(crate) fn stored_lines(&self) -> String {
        let line = |Demand { cell, quantity }: &Demand| json!([cell.sku, cell.location, quantity]);
        self.lines.iter().map(line).collect::<Value>().to_string()
    }

    /// Reads a stored content; `None`: it has another form.
    pub(crate) fn from_stored(customer: String, lines: &str) -> Option<Self> {
        let lines: Vec<(String, String, i64)> = serde_json::from_str(lines).ok()?;
        let line = |(sku, location, quantity)| Demand { cell: Cell { sku, location }, quantity };
        Some(Self { customer, lines: lines.into_iter().map(line).collect() })
    }
}

/// A request to hold the lines of a cart and to pay for them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CartCheckout {
    /// The cart.
    pub cart: CartId,
    /// The version that the customer was shown.
    pub version: CartVersion,
    /// The payment.
    pub payment: PaymentRequest,
}

impl CartCheckout {
    /// The same in all tabs that show one version and pay alike, whichever hold is paid.
    pub(crate) fn digest(&self, provider: &str) -> u64 {
        let version = match self.version {
            CartVersion::Exactly(version) => version.to_string(),
            CartVersion::Any => "any".to_owned(),
            CartVersion::Absent => "none".to_owned(),
        };
        let payment = self.payment.digest(provider).to_string();
        digest(&["cart", self.cart.as_str(), &version, &payment])
    }
}

/// Returns the key of a hold of a cart. A client can't send it: it has a control character.
pub(crate) fn cart_hold_key(cart: &CartId, version: i64, number: i64) -> IdempotencyKey {
    IdempotencyKey(format!("cart\t{cart}\t{version}\t{number}"))
}

/// Returns the name of the cart whose hold was taken under this key; `None`: a client has sent the key.
pub(crate) fn cart_of_key(key: &str) -> Option<&str> {
    key.strip_prefix("cart\t")?.split('\t').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_contents_are_stored_alike() {
        let line = |sku: &str, quantity| (sku.to_owned(), None, quantity);
        let one = CartContent::new("c", vec![line("B\"", 1), line("A", 2)]).expect("valid");
        let other =
            CartContent::new("c", vec![line("A", 1), line("B\"", 1), line("A", 1)]).expect("valid");
        assert_eq!(one.stored_lines(), other.stored_lines());
        let read = CartContent::from_stored("c".to_owned(), &one.stored_lines());
        assert_eq!(read, Some(one));
        assert_eq!(CartContent::from_stored("c".to_owned(), "[[1]]"), None);
        let empty = CartContent::new("c", Vec::new()).expect("valid");
        assert!(empty.stored_lines() == "[]" && empty.to_hold().is_err());
        assert!(CartContent::new("", Vec::new()).is_err());
    }

    #[test]
    fn names_fit_into_paths_and_keys() {
        let uuid = "3c9f2d1e-8a51-4b7e-9a45-0c1d2e3f4a5b";
        assert!(CartId::new(uuid).is_ok() && CartId::new("session:17").is_ok());
        for name in ["", "a/b", "a b", "a\tb", "é", &"a".repeat(65)] {
            assert!(CartId::new(name).is_err(), "{name:?}");
        }
        let cart = CartId::new(uuid).expect("a name");
        let key = cart_hold_key(&cart, 1, 2);
        assert!(IdempotencyKey::new(key.as_str()).is_err(), "no client can use it");
        assert_eq!(cart_of_key(key.as_str()), Some(uuid));
        assert_eq!(cart_of_key("cart 1"), None);
    }
}
