//! Causal tokens for applications, from the end of the log.

use std::sync::Arc;
use std::time::Duration;

use cache::Engine;
use coherence::{CausalToken, Lsn};
use feed::Source;
use thiserror::Error;

/// The time limit for reading the end of the log.
const LOG_END_TIMEOUT: Duration = Duration::from_secs(5);

/// A causal token and its position.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IssuedToken {
    /// The token.
    pub token: CausalToken,
    /// Every commit up to here is covered.
    pub position: Lsn,
}

/// The end of the database's log is not known, so there is no token; the text says why.
#[derive(Debug, Error)]
#[error("the end of the database's log is not known: {0}")]
pub struct TokenError(String);

/// Issues causal tokens for a source's log.
pub struct TokenIssuer {
    engine: Engine,
    source: Arc<dyn Source>,
}

impl TokenIssuer {
    /// Creates an issuer for the log of `source`, which `engine` follows.
    #[must_use]
    pub fn new(engine: Engine, source: Arc<dyn Source>) -> Self {
        Self { engine, source }
    }

    /// Returns a token that covers every commit before the call.
    ///
    /// # Errors
    /// The database did not answer within five seconds, or this node does not follow its present timeline.
    pub async fn issue(&self) -> Result<IssuedToken, TokenError> {
        let end = match tokio::time::timeout(LOG_END_TIMEOUT, self.source.log_end()).await {
            Ok(end) => end.map_err(|err| TokenError(err.to_string()))?,
            Err(_) => return Err(TokenError(format!("no answer within {LOG_END_TIMEOUT:?}"))),
        };
        let Some(epoch) = self.engine.status().epoch else {
            return Err(TokenError("this node does not follow it yet".into()));
        };
        if (end.system, end.timeline) != (epoch.system, epoch.timeline) {
            return Err(TokenError(
                "the database has failed over, and this node does not follow the new primary yet"
                    .into(),
            ));
        }
        let token = CausalToken::new(Some(epoch.log()), end.lsn);
        Ok(IssuedToken { token, position: end.lsn })
    }
}
