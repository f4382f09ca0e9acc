//! Gift cards.

use crate::ledger::{GiftCard, GiftRefusal, Outcome};
use crate::request::{GiftCode, IdempotencyKey, IssueGift, RequestKey};
use crate::service::error::SaleError;
use crate::service::sale::Sale;

impl Sale {
    /// Issues a gift card. The code is not kept.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn issue_gift(
        &self,
        gift: &IssueGift,
        key: &IdempotencyKey,
    ) -> Result<(), SaleError> {
        let _guard = self.enter(key)?;
        let key = RequestKey { key: key.clone(), digest: gift.digest() };
        match self.ledger().issue_gift(gift, &key).await? {
            Outcome::Done(()) | Outcome::Repeated(()) => Ok(()),
            Outcome::Refused(refusal) => Err(SaleError::Gift(refusal)),
            Outcome::KeyReused => Err(SaleError::KeyReused),
            Outcome::KeyInFlight => Err(SaleError::KeyInFlight),
        }
    }

    /// Returns a gift card with its balance.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn find_gift(&self, code: &GiftCode) -> Result<GiftCard, SaleError> {
        let found = self.ledger().find_gift(code).await?;
        found.ok_or(SaleError::Gift(GiftRefusal::Unknown))
    }
}
