//! The port of payment providers.

use async_trait::async_trait;
use axum::http::HeaderMap;
use thiserror::Error;

use crate::rules::{Operation, PaymentFacts, Price};

/// A payment, and the key of an operation on it.
#[derive(Clone, Debug)]
pub struct Payment<'c> {
    /// The name of the checkout, which the provider keeps with the payment.
    pub checkout: &'c str,
    /// The provider's name of the payment; empty before it is prepared.
    pub reference: &'c str,
    /// The provider's name of the customer's payment method.
    pub method: &'c str,
    /// The price of the order.
    pub price: Price,
    /// The amount of the operation.
    pub amount: i64,
    /// The operation's key: a repeat with it has no second effect.
    pub key: &'c str,
}

/// How a call ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ProviderOutcome {
    /// It was executed. The text is the provider's name of the payment.
    Done(String),
    /// It was not executed, and this key will not execute it.
    Declined {
        /// Whether a new attempt may succeed.
        retryable: bool,
        /// The provider's word for the reason.
        reason: String,
    },
    /// It may have been executed, or may be yet.
    Unknown(Unknown),
}

/// Why an outcome is not known.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0}")]
pub struct Unknown(pub String);

/// A payment in the provider's records.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProviderPayment {
    /// The provider's name of it.
    pub reference: String,
    /// The name of the checkout that it was made for.
    pub checkout: String,
    /// The price.
    pub price: Price,
    /// Its state.
    pub facts: PaymentFacts,
}

/// An event that a provider reports. Its content is not used: it says which payment to look at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebhookEvent {
    /// The provider's name of the event, the same in repeats.
    pub id: String,
    /// The provider's name of the payment; empty: it is about something else.
    pub reference: String,
}

/// Why an event was refused.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum WebhookRefusal {
    /// There is no secret to check it with.
    #[error("no webhook_secret_file is configured for this provider")]
    NoSecret,
    /// The secret could not be read.
    #[error("the secret of this provider's webhooks can't be read")]
    SecretUnreadable,
    /// The signature is missing, or of another secret or body.
    #[error("the signature is missing or does not fit")]
    Signature,
    /// The signature is too old or too new.
    #[error("the signature's time is more than five minutes from this machine's")]
    Time,
    /// The body is no event.
    #[error("the body is no event")]
    Body,
}

/// A payment provider.
#[async_trait]
pub trait PaymentProvider: Send + Sync + 'static {
    /// Returns the name of a payment that needs no call to be registered.
    fn name_without_call(&self, _checkout: &str) -> Option<String> {
        None
    }

    /// Executes an operation.
    async fn execute(&self, operation: Operation, payment: &Payment<'_>) -> ProviderOutcome;

    /// Reads the provider's record of a payment.
    ///
    /// # Errors
    /// The provider gave no answer, or one that can't be read.
    async fn look_up(&self, reference: &str) -> Result<PaymentFacts, Unknown>;

    /// Returns the payments that the provider has recorded since a time, in seconds since 1970.
    ///
    /// # Errors
    /// The provider gave no answer, or one that can't be read. No part of the list is returned.
    async fn list(&self, since_seconds: u64) -> Result<Vec<ProviderPayment>, Unknown>;

    /// Checks an event. `now_seconds`: wall time since 1970.
    ///
    /// # Errors
    /// [`WebhookRefusal`].
    async fn check_webhook(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now_seconds: u64,
    ) -> Result<WebhookEvent, WebhookRefusal>;
}
