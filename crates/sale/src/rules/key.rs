//! Idempotency keys.

use super::rule::{Rule, on};

/// The meaning of a request's key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyVerdict {
    /// The key is not known: execute the request.
    New,
    /// The request was executed: return the stored answer.
    Repeat,
    /// Another request was executed under this key.
    Reused,
}

/// Judges a key by the digest of the request that was executed under it, if there was one.
///
/// Only requests with an effect are stored. A refusal changes nothing, so a repeat of it is judged by the state
/// at that time.
#[must_use]
pub fn judge_key(stored: Option<u64>, digest: u64) -> KeyVerdict {
    match stored {
        Some(stored) if stored != digest && on(Rule::OneRequestPerKey) => KeyVerdict::Reused,
        Some(_) if on(Rule::OneEffectPerKey) => KeyVerdict::Repeat,
        _ => KeyVerdict::New,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_stands_for_one_request() {
        assert_eq!(judge_key(None, 1), KeyVerdict::New);
        assert_eq!(judge_key(Some(1), 1), KeyVerdict::Repeat);
        assert_eq!(judge_key(Some(2), 1), KeyVerdict::Reused);
    }
}
