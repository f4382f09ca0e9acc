//! The port of the ledger: the database in which stock, holds and movements are kept.

mod cart;
mod checkout;
mod error;
mod gift;
mod history;
mod job;
mod outcome;
mod view;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::cart::{CartLedger, CartRecord, CartRefused, LinkHold, LinkOutcome, ShownCart};
pub use self::checkout::{
    ATTEMPTS_MAX, BeginOutcome, ChangeOutcome, CheckoutChange, CheckoutLedger, CheckoutRecord,
    NewCheckout, OrderEvent, PaymentAttempt, PricedHold,
};
pub use self::error::LedgerError;
pub use self::gift::{GiftCard, GiftLedger, GiftRefusal};
pub use self::history::{CheckoutRow, History, HoldRow, MovementRow};
pub use self::job::{
    Claim, DeadJob, EndJob, EndedJob, EnqueueOutcome, JobKind, JobLedger, JobStats, Leased,
    LeasedJob, NewJob, OldestSnapshot, ReadUpTo, Reading,
};
pub use self::outcome::{
    AdjustOutcome, Adjusted, EndHold, EndOutcome, EndRefusal, ExtendOutcome, Granted, HoldOutcome,
    NewHold, Outcome, StockRefusal,
};
pub use self::view::{CellStock, Finding, HoldView, LedgerStatus, SkuStock};
use crate::hold_id::HoldId;
use crate::request::{AdjustStock, ExtendRequest, RequestKey, SetStock};

/// A ledger. Every call is one transaction: all that it answered is durable, and a call that failed may have had
/// its effect or not. A repeat with the same keys has no second effect.
#[async_trait]
pub trait Ledger: CartLedger + CheckoutLedger + GiftLedger + JobLedger {
    /// Grants or refuses each hold of a batch, in this order. Returns an outcome for each.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn hold(&self, batch: Arc<[NewHold]>) -> Result<Vec<HoldOutcome>, LedgerError>;

    /// Returns the outcome of each request for a hold whose key is known; `None`: it is not.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn find_granted(
        &self,
        keys: Arc<[RequestKey]>,
    ) -> Result<Vec<Option<HoldOutcome>>, LedgerError>;

    /// Ends the holds of a batch, which names each hold once. Returns an outcome for each.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn end(&self, batch: Arc<[EndHold]>) -> Result<Vec<EndOutcome>, LedgerError>;

    /// Moves the deadline of a hold.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn extend(
        &self,
        request: &ExtendRequest,
        key: &RequestKey,
    ) -> Result<ExtendOutcome, LedgerError>;

    /// Sets the stock of a cell; creates it if it does not exist.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn set_stock(&self, request: &SetStock) -> Result<Result<(), StockRefusal>, LedgerError>;

    /// Changes the units on hand of a cell.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn adjust(
        &self,
        request: &AdjustStock,
        key: &RequestKey,
    ) -> Result<AdjustOutcome, LedgerError>;

    /// Returns the stock of a SKU, without holds that are past their deadlines; `None`: it is not known.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn stock(&self, sku: &str) -> Result<Option<SkuStock>, LedgerError>;

    /// Returns a hold; `None`: there is none of that name.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn find_hold(&self, hold: HoldId) -> Result<Option<HoldView>, LedgerError>;

    /// Returns active holds that are past their deadlines, at most `limit`, the oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn due(&self, limit: u32) -> Result<Vec<HoldId>, LedgerError>;

    /// Forgets idempotency keys that are older than a day. Returns their number.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn forget_keys(&self) -> Result<u64, LedgerError>;

    /// Returns counts of all SKUs together.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn status(&self) -> Result<LedgerStatus, LedgerError>;

    /// Checks the invariants, all in one snapshot.
    ///
    /// # Errors
    /// [`LedgerError`]: not all could be checked.
    async fn audit(&self) -> Result<Vec<Finding>, LedgerError>;

    /// Returns the whole history, in one snapshot.
    ///
    /// # Errors
    /// [`LedgerError`]: nothing of it is known.
    async fn history(&self) -> Result<History, LedgerError>;
}
