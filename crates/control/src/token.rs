//! Read-your-writes tokens for applications.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A token for everything that was committed before it was asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Token {
    /// To be sent along with reads, as `Tidegate-After`.
    pub token: String,
    /// The position that it stands for, `XXXXXXXX/XXXXXXXX`.
    pub position: String,
}

/// No token can be given: it is not known how far the database's log is.
#[derive(Debug, Error)]
#[error("it is not known how far the database's log is: {0}")]
pub struct NoToken(pub String);

/// Gives tokens out; implemented where the parts are put together.
#[async_trait]
pub trait Tokens: Send + Sync + 'static {
    /// A token for everything that was committed before the call.
    async fn now(&self) -> Result<Token, NoToken>;
}
