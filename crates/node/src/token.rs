//! Causal tokens for applications, from the end of the log.

use std::sync::Arc;
use std::time::Duration;

use cache::Engine;
use coherence::{CausalToken, CausalTokens, Lsn};
use feed::Source;
use futures_util::future::join_all;
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

/// Issues causal tokens for the logs of all sources.
pub struct TokenIssuers(Vec<(Arc<str>, TokenIssuer)>);

impl TokenIssuers {
    /// Creates the issuers of a node by the names of their sources, the main source first.
    #[must_use]
    pub fn new(sources: Vec<(Arc<str>, TokenIssuer)>) -> Self {
        Self(sources)
    }

    /// Returns a token that covers every commit before the call, in the databases of all sources, or of `source` alone;
    /// and the position in each log.
    ///
    /// # Errors
    /// As [`TokenIssuer::issue`], for any of the sources; there is no source of that name.
    pub async fn issue(
        &self,
        source: Option<&str>,
    ) -> Result<(CausalTokens, Vec<(Arc<str>, Lsn)>), TokenError> {
        let named = |name: &str| source.is_none_or(|source| source == name);
        let issuers = self.0.iter().filter(|(name, _)| named(name));
        let issued = join_all(issuers.map(|(name, issuer)| async move {
            let issued = issuer.issue().await;
            issued.map(|issued| (name, issued)).map_err(|err| self.of(name, err))
        }));
        let issued = issued.await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let tokens = issued.iter().map(|(_, issued)| issued.token).collect();
        let positions = issued.iter().map(|(name, issued)| (Arc::clone(name), issued.position));
        match CausalTokens::new(tokens) {
            Some(tokens) => Ok((tokens, positions.collect())),
            None => {
                let names: Vec<&str> = self.0.iter().map(|(name, _)| &**name).collect();
                let source = source.unwrap_or_default();
                let names = names.join(", ");
                Err(TokenError(format!("there is no source {source:?}; the sources are: {names}")))
            }
        }
    }

    /// Names the source in an error, where there are several.
    fn of(&self, name: &str, err: TokenError) -> TokenError {
        if self.0.len() > 1 { TokenError(format!("[source.{name}] {}", err.0)) } else { err }
    }
}
