//! The providers of a node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coherence::Clock;

use crate::payment::{GuardedProvider, PaymentOptions};
use crate::request::{InvalidRequest, PaymentRequest};

/// The provider of checkouts that a gift card pays alone. No configured one can have this name: it has a space.
const GIFT_CARD: &str = "gift card";

/// The providers by name. Clones share them.
#[derive(Clone, Default)]
pub struct Payments {
    providers: Arc<BTreeMap<String, Arc<GuardedProvider>>>,
    patience: Duration,
}

impl Payments {
    /// Creates the providers. `patience`: a payment that is not authorised for this long is given up.
    #[must_use]
    pub fn new(
        options: &BTreeMap<String, PaymentOptions>,
        patience: Duration,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let provider = |(name, options): (&String, _)| {
            (name.clone(), Arc::new(GuardedProvider::new(options, Arc::clone(clock))))
        };
        Self { providers: Arc::new(options.iter().map(provider).collect()), patience }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<GuardedProvider>> {
        self.providers.get(name)
    }

    /// Returns all providers with their names.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Arc<GuardedProvider>)> {
        self.providers.iter().map(|(name, provider)| (name.as_str(), provider))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    pub(super) fn patience_ms(&self) -> i64 {
        i64::try_from(self.patience.as_millis()).unwrap_or(i64::MAX)
    }

    /// Returns the time for which a node keeps a checkout without recording a change: between two changes lie at
    /// most a look-up and an operation.
    pub(super) fn lease_ms(&self) -> i64 {
        let longest = self.providers.values().map(|provider| provider.timeout()).max();
        let longest = longest.unwrap_or_default().as_millis();
        i64::try_from(longest).unwrap_or_default() * 2 + 5_000
    }

    /// Returns the name of the provider of a payment; that of a gift card is none of the configured ones.
    ///
    /// # Errors
    /// There is none, or it is not clear which.
    pub(super) fn choose_for(&self, payment: &PaymentRequest) -> Result<String, InvalidRequest> {
        if payment.is_paid_by_gift() && !self.is_empty() {
            return Ok(GIFT_CARD.to_owned());
        }
        self.choose(payment.provider())
    }

    /// Returns the name of the provider that a request names, or of the only one.
    ///
    /// # Errors
    /// There is none, or more than one.
    fn choose(&self, named: Option<&str>) -> Result<String, InvalidRequest> {
        let names = || self.providers.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let wrong = |problem: String| Err(InvalidRequest::new("payment.provider", problem));
        match (named, self.providers.len()) {
            (_, 0) => wrong("no provider is configured; add [sale.payment.NAME]".to_owned()),
            (Some(name), _) if self.providers.contains_key(name) => Ok(name.to_owned()),
            (None, 1) => Ok(names()),
            _ => wrong(format!("name one of the configured providers: {}", names())),
        }
    }
}
