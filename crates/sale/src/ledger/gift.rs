//! The port of gift cards: their balances are kept beside the checkouts that reserve and spend them.

use async_trait::async_trait;

use super::error::LedgerError;
use super::outcome::Outcome;
use crate::request::{GiftCode, IssueGift, RequestKey};
use crate::rules::{Currency, GiftBalance};

/// A gift card.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GiftCard {
    /// The currency of its amounts.
    pub currency: Currency,
    /// Its balance.
    pub balance: GiftBalance,
}

/// Why a gift card was not issued, or does not pay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GiftRefusal {
    /// There is no card with this code.
    Unknown,
    /// A card has this code already.
    Exists,
    /// The card has another currency.
    Currency,
    /// The card has less than the wanted amount.
    Short {
        /// The amount that may be reserved.
        available: i64,
    },
}

/// Gift cards in the ledger's database. As with [`Ledger`](super::Ledger), every call is one transaction.
#[async_trait]
pub trait GiftLedger: Send + Sync + 'static {
    /// Issues a gift card.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn issue_gift(
        &self,
        gift: &IssueGift,
        key: &RequestKey,
    ) -> Result<Outcome<(), GiftRefusal>, LedgerError>;

    /// Returns a gift card; `None`: there is none with this code.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn find_gift(&self, code: &GiftCode) -> Result<Option<GiftCard>, LedgerError>;
}
