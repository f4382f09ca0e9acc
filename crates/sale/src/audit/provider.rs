//! The ledger of a payment provider.

use serde::Deserialize;

/// The payments of a provider, and each operation that it has executed. The ledger of `tidegate sale provider` has this
/// form; other fields are ignored.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct ProviderLedger {
    /// The payments.
    pub payments: Vec<ProviderRecord>,
    /// The operations, in the order of their execution.
    pub executed: Vec<ProviderOperation>,
}

/// A payment.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct ProviderRecord {
    /// The provider's name of it.
    pub id: String,
    /// The checkout that it was made for.
    pub checkout: String,
    /// The price, in minor units.
    pub amount: i64,
    /// The currency, in any case.
    pub currency: String,
    /// Stripe's word: `requires_capture` is an amount that is reserved.
    pub status: String,
    /// The amount taken.
    pub captured: i64,
    /// The amount given back.
    pub refunded: i64,
}

/// An executed operation.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct ProviderOperation {
    /// `authorise`, `capture`, `void` or `refund`.
    pub operation: String,
    /// The payment.
    pub payment: String,
    /// The amount.
    pub amount: i64,
}

impl ProviderLedger {
    /// Reads a ledger.
    ///
    /// # Errors
    /// It has another form; the text says where.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|err| format!("no ledger of a provider: {err}"))
    }
}
