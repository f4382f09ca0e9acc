//! Read-your-writes over several logs: one token of each database that was written to.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::causal_token::{CausalToken, ParseCausalTokenError, Reached};
use crate::position::Epoch;

/// The tokens of a reader, at least one and at most one for each log.
///
/// As text: the tokens, separated by `~`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CausalTokens(Arc<[CausalToken]>);

impl CausalTokens {
    /// The most tokens, and so the most sources of one configuration.
    pub const MOST: usize = 8;

    /// Returns the tokens; `None`: there are none.
    #[must_use]
    pub fn new(tokens: Vec<CausalToken>) -> Option<Self> {
        (!tokens.is_empty()).then(|| Self(tokens.into()))
    }

    /// Returns the token that a read of the log of `epoch` has to satisfy. `others`: the epochs of the node's other
    /// logs. A token of none of these logs counts for each of them: it may be of an earlier history, and then only
    /// the origin satisfies it.
    #[must_use]
    pub fn of(
        &self,
        epoch: Option<Epoch>,
        others: impl Iterator<Item = Epoch> + Clone,
    ) -> Option<CausalToken> {
        let is_of = |token: &CausalToken, epoch| {
            token.reached(Some(epoch), crate::Lsn::MAX) != Reached::Never
        };
        let is_own = |token: &CausalToken| epoch.is_some_and(|epoch| is_of(token, epoch));
        let is_other = |token: &CausalToken| others.clone().any(|epoch| is_of(token, epoch));
        let mut concerned = self.0.iter().filter(|token| is_own(token) || !is_other(token));
        let first = *concerned.next()?;
        Some(concerned.fold(first, |strictest, token| strictest.stricter(*token, epoch)))
    }
}

impl From<CausalToken> for CausalTokens {
    fn from(token: CausalToken) -> Self {
        Self(Arc::new([token]))
    }
}

impl fmt::Display for CausalTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, token) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("~")?;
            }
            token.fmt(f)?;
        }
        Ok(())
    }
}

impl FromStr for CausalTokens {
    type Err = ParseCausalTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.split('~').count() > Self::MOST {
            return Err(ParseCausalTokenError::of(text));
        }
        let tokens = text.split('~').map(CausalToken::from_str).collect::<Result<Vec<_>, _>>()?;
        Self::new(tokens).ok_or_else(|| ParseCausalTokenError::of(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Lsn;

    fn epoch(system: u64) -> Epoch {
        Epoch { system, timeline: 1, server: 1, incarnation: 1 }
    }

    fn token(system: u64, position: u64) -> CausalToken {
        CausalToken::new(Some(epoch(system).log()), Lsn(position))
    }

    fn tokens(all: &[CausalToken]) -> CausalTokens {
        CausalTokens::new(all.to_vec()).expect("there are tokens")
    }

    #[test]
    fn each_log_has_its_token() {
        let both = tokens(&[token(1, 10), token(2, 20)]);
        assert_eq!(both.of(Some(epoch(1)), [epoch(2)].into_iter()), Some(token(1, 10)));
        assert_eq!(both.of(Some(epoch(2)), [epoch(1)].into_iter()), Some(token(2, 20)));
        let one = tokens(&[token(2, 20)]);
        assert_eq!(one.of(Some(epoch(1)), [epoch(2)].into_iter()), None);
    }

    #[test]
    fn token_of_unknown_log_counts_for_each() {
        let old = tokens(&[token(1, 10), token(9, 5)]);
        for (own, other) in [(1, 2), (2, 1)] {
            let found = old.of(Some(epoch(own)), [epoch(other)].into_iter());
            let reached = found.expect("a token").reached(Some(epoch(own)), Lsn::MAX);
            assert_eq!(reached, Reached::Never);
        }
        // A tier without an epoch may be that of the token.
        assert_eq!(tokens(&[token(9, 5)]).of(None, [epoch(1)].into_iter()), Some(token(9, 5)));
        assert_eq!(tokens(&[token(1, 5)]).of(None, [epoch(1)].into_iter()), None);
    }

    #[test]
    fn latest_of_one_log_counts() {
        let later = tokens(&[token(1, 10), token(1, 30), token(1, 20)]);
        assert_eq!(later.of(Some(epoch(1)), std::iter::empty()), Some(token(1, 30)));
    }

    #[test]
    fn text_parses_back() {
        for all in [&[token(1, 10)][..], &[token(1, 10), token(2, 0xab)]] {
            let all = tokens(all);
            assert_eq!(all.to_string().parse(), Ok(all));
        }
        let single: CausalTokens = "lsn=16/B374D848".parse().expect("a token");
        assert_eq!(single.to_string(), "lsn=16/B374D848");
        for text in ["", "~", "lsn=0/1~", &["lsn=0/1"; 9].join("~")] {
            assert!(text.parse::<CausalTokens>().is_err(), "{text:?}");
        }
    }
}
