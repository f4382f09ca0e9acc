//! Requests for gift cards. The code of a card is known to its owner alone: it is hashed here, and no error shows it.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{InvalidRequest, digest};
use crate::rules::Price;

/// A code has so many letters and digits.
const CODE_LETTERS: std::ops::RangeInclusive<usize> = 16..=64;

/// The digest of a gift card's code. It names the card in the ledger.
#[derive(Clone, Eq, PartialEq)]
pub struct GiftCode(String);

impl GiftCode {
    /// Checks and hashes a code. Capitals, hyphens and spaces make no difference.
    ///
    /// # Errors
    /// It has fewer than 16 letters and digits, so that it could be guessed, or other characters.
    pub fn new(field: &str, code: &str) -> Result<Self, InvalidRequest> {
        let is_filler = |letter: char| letter == '-' || letter == ' ';
        let letters: String = code.chars().filter(|letter| !is_filler(*letter)).collect();
        let is_code = letters.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_code || !CODE_LETTERS.contains(&letters.len()) {
            // The code is not shown.
            let problem = "a code has 16 to 64 letters and digits, and hyphens between them";
            return Err(InvalidRequest::new(field, problem));
        }
        let hash = Sha256::new()
            .chain_update(b"tidegate gift card\0")
            .chain_update(letters.to_ascii_uppercase())
            .finalize();
        Ok(Self(hash.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Returns the public name of the card: the first 16 digits of the digest.
    #[must_use]
    pub fn name(&self) -> &str {
        gift_name(&self.0)
    }

    /// Returns the digest.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for GiftCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GiftCode")
    }
}

/// Returns the public name of a card with this digest.
pub(crate) fn gift_name(hash: &str) -> &str {
    hash.get(..16).unwrap_or(hash)
}

/// The part of a payment that a gift card pays.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GiftPart {
    /// The card.
    pub code: GiftCode,
    /// The amount, at least 1.
    pub amount: i64,
}

/// A gift card to be issued.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssueGift {
    /// Its code.
    pub code: GiftCode,
    /// Its value.
    pub value: Price,
}

impl IssueGift {
    pub(crate) fn digest(&self) -> u64 {
        digest(&["gift", self.code.hash(), &self.value.to_string()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_hashed_and_not_shown() {
        let code = |text| GiftCode::new("code", text);
        let one = code("ABCD-EFGH-2345-6789").expect("valid");
        assert_eq!(code("abcdefgh 23456789").expect("valid"), one);
        assert_ne!(code("ABCD-EFGH-2345-6780").expect("valid"), one);
        assert!(!format!("{one:?} {}", one.hash()).contains("ABCD"));
        for text in ["", "ABCDEFGH2345678", "ABCD-EFGH-2345-678é", &"A".repeat(65)] {
            let refused = code(text).expect_err(text).to_string();
            assert!(text.is_empty() || !refused.contains(text), "{refused}");
        }
    }
}
