//! Carts: their content, the hold of their lines, and their checkout.

use std::time::Duration;

use crate::checkout_id::CheckoutId;
use crate::hold_id::HoldId;
use crate::ledger::{
    BeginOutcome, CartRecord, CartRefused, CheckoutRecord, LinkHold, LinkOutcome, ShownCart,
};
use crate::request::{
    CartCheckout, CartContent, CartId, IdempotencyKey, RequestKey, cart_hold_key,
};
use crate::rules::{CartRefusal, CartStage, CartVersion};
use crate::service::error::SaleError;
use crate::service::sale::Sale;

/// How often a checkout looks at its cart again: tabs and changes at the same instant decide in turn.
const TURNS_MAX: u32 = 100;

/// The pause before another look, while another tab holds the lines.
const PAUSE: Duration = Duration::from_millis(20);

/// The next step of a cart's checkout.
enum Turn {
    /// Pay for this hold, or join its checkout.
    Pay(HoldId, Option<CheckoutId>),
    /// Look at the cart again.
    Again,
}

impl Sale {
    /// Creates or replaces a cart. A hold of its former lines is cancelled. Returns the new version.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn put_cart(
        &self,
        cart: &CartId,
        wanted: CartVersion,
        content: &CartContent,
    ) -> Result<i64, SaleError> {
        self.write_cart(cart, wanted, Some(content)).await
    }

    /// Deletes a cart, and cancels the hold of its lines. A repeat changes nothing.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn delete_cart(&self, cart: &CartId, wanted: CartVersion) -> Result<(), SaleError> {
        self.write_cart(cart, wanted, None).await.map(drop)
    }

    async fn write_cart(
        &self,
        cart: &CartId,
        wanted: CartVersion,
        content: Option<&CartContent>,
    ) -> Result<i64, SaleError> {
        let held = self.ledger().find_cart(cart).await?.and_then(|kept| kept.hold);
        let written = self.ledger().write_cart(cart, wanted, content).await;
        if let Some(hold) = held {
            self.freed(hold.lane());
        }
        written?.map_err(|refused| cart_refused(cart, refused))
    }

    /// Returns a cart.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn find_cart(&self, cart: &CartId) -> Result<CartRecord, SaleError> {
        let found = self.ledger().find_cart(cart).await?;
        found.ok_or_else(|| SaleError::UnknownCart(cart.clone()))
    }

    /// Holds the lines of a cart, if they are not held, and pays for them: once, by any keys and tabs.
    ///
    /// # Errors
    /// [`SaleError`]. A declined payment is none.
    pub async fn check_out_cart(
        &self,
        request: &CartCheckout,
        key: &IdempotencyKey,
    ) -> Result<CheckoutRecord, SaleError> {
        let guard = self.enter(key)?;
        let provider = self.payments.choose_for(&request.payment)?;
        let digest = request.digest(&provider);
        // The answer of a repeat is that of its checkout, also where a hold would be refused now.
        if let Some((known, checkout)) = self.ledger().find_request(key).await? {
            let id = checkout.filter(|_| known == digest).ok_or(SaleError::KeyReused)?;
            return self.find_checkout(id).await;
        }
        let key = RequestKey { key: key.clone(), digest };
        for _ in 0..TURNS_MAX {
            let (hold, live) = match self.turn(request).await? {
                Turn::Pay(hold, live) => (hold, live),
                Turn::Again => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let shown = ShownCart { cart: request.cart.clone(), version: request.version };
            let begun =
                self.begin(hold, &request.payment, provider.clone(), key.clone(), Some(shown));
            let (outcome, draft) = begun.await.map_err(|err| match (err, live) {
                (SaleError::PriceChanged(_), Some(other)) => SaleError::CheckoutExists(other),
                (err, _) => err,
            })?;
            match &outcome {
                BeginOutcome::HoldEnded(_) => {}
                BeginOutcome::Cart(_, refused) if is_another_hold(request.version, refused) => {}
                _ => return self.go_on(outcome, draft, guard).await,
            }
        }
        Err(SaleError::CheckoutBusy)
    }

    /// Looks at the cart, and holds its lines if they are not.
    async fn turn(&self, request: &CartCheckout) -> Result<Turn, SaleError> {
        let cart = &request.cart;
        let kept = self.find_cart(cart).await?;
        let version = kept.state.version;
        match (kept.state.stage, kept.hold) {
            (CartStage::Paying, Some(hold)) => return Ok(Turn::Pay(hold, kept.checkout)),
            (CartStage::Ordered, Some(hold)) if kept.checkout.is_some() => {
                return Ok(Turn::Pay(hold, kept.checkout));
            }
            (CartStage::Ordered, _) => return Err(SaleError::CartOrdered(None)),
            _ => {}
        }
        if matches!(request.version, CartVersion::Exactly(shown) if shown != version) {
            return Err(SaleError::CartChanged { version });
        }
        if let (CartStage::Held, Some(hold)) = (kept.state.stage, kept.hold) {
            return Ok(Turn::Pay(hold, None));
        }
        if kept.content.lines().is_empty() {
            return Err(SaleError::CartEmpty);
        }
        self.hold_cart(cart, &kept).await
    }

    /// Holds the lines of a cart under a key that all tabs share, and makes the hold the cart's.
    async fn hold_cart(&self, cart: &CartId, kept: &CartRecord) -> Result<Turn, SaleError> {
        let (version, number) = (kept.state.version, kept.holds + 1);
        let key = cart_hold_key(cart, version, number);
        let held = match self.hold(kept.content.to_hold()?, &key).await {
            Ok(held) => held.hold,
            Err(SaleError::KeyInFlight) => return Ok(Turn::Again),
            Err(refused) => return Err(refused),
        };
        let link = LinkHold { cart: cart.clone(), version, number, hold: held };
        match self.ledger().link_cart_hold(&link).await? {
            LinkOutcome::Linked => Ok(Turn::Pay(held, None)),
            LinkOutcome::Superseded => Ok(Turn::Again),
            LinkOutcome::Changed => {
                // Its units are free at once. If this fails, the hold expires.
                self.cancel(held).await?;
                Ok(Turn::Again)
            }
        }
    }
}

/// Whether a checkout was of a hold that is no more the cart's although the shown version may be the present one.
fn is_another_hold(shown: CartVersion, refused: &CartRefused) -> bool {
    match (refused.refusal, shown) {
        (CartRefusal::Changed(version), CartVersion::Exactly(shown)) => version == shown,
        (CartRefusal::Changed(_), _) => true,
        _ => false,
    }
}

/// Returns the error of a refused cart.
pub(super) fn cart_refused(cart: &CartId, refused: CartRefused) -> SaleError {
    match (refused.refusal, refused.checkout) {
        (CartRefusal::Unknown, _) => SaleError::UnknownCart(cart.clone()),
        (CartRefusal::Changed(version), _) => SaleError::CartChanged { version },
        (CartRefusal::Paying, Some(checkout)) => SaleError::CartInCheckout(checkout),
        (CartRefusal::Paying, None) => SaleError::CheckoutBusy,
        (CartRefusal::Ordered, order) => SaleError::CartOrdered(order),
    }
}
