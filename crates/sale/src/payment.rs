//! Payments: the port of providers, and the providers.
//!
//! A call ends in one of three ways: executed, declined, or unknown. An unknown one is settled by the provider's
//! record of the payment, or by a repeat with the same key.

mod connection;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod options;
mod plain;
mod port;
mod secret;
mod signature;
mod stripe;

pub(crate) use self::connection::{Answer, Call, Client};
pub use self::guard::{CallPass, GuardedProvider, NotSent};
pub use self::options::{PaymentOptions, ProviderKind, ProviderUrl};
pub use self::port::{
    Payment, PaymentProvider, ProviderOutcome, ProviderPayment, Unknown, WebhookEvent,
    WebhookRefusal,
};
pub(crate) use self::secret::SecretFile;
pub(crate) use self::signature::sign;
