//! The keys of MACs, and the MACs: HMAC-SHA-256.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use thiserror::Error;

use crate::config::ValueError;

/// Shorter keys can be guessed.
const SHORTEST: usize = 32;

/// The most keys at the same time: a rotation needs two.
const KEYS_MAX: usize = 8;

/// The first bytes of a key's MAC of a fixed text. They identify the key and say nothing else of it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A MAC with the key that made it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mac {
    /// The key.
    pub key: KeyId,
    /// The whole MAC. A store may keep its beginning only.
    pub code: [u8; 32],
}

/// Why a MAC was not accepted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum MacError {
    /// No key has this id.
    #[error("it is signed with the key {0}, which is not among the keys of this node")]
    UnknownKey(KeyId),
    /// The text is another one than that which was signed.
    #[error("its signature does not match: it was altered, moved or planted")]
    Mismatch,
}

#[derive(Clone)]
struct SigningKey {
    id: KeyId,
    /// The state after the key, so that a MAC begins with the text.
    keyed: Hmac<Sha256>,
}

/// Secret keys in the order of the configuration: the first one signs, and all of them verify, so that keys are
/// rotated node by node. Never printed. Clones share the keys.
#[derive(Clone)]
pub struct SigningKeys(Arc<[SigningKey]>);

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| key.id)).finish()
    }
}

impl SigningKeys {
    /// The form of a key, for error messages.
    pub const FORM: &str = "write 32 characters or more, such as `openssl rand -hex 32` prints";

    /// Checks one key, of which an error shows nothing.
    ///
    /// # Errors
    /// It is too short, or has a space or another character than printable ASCII.
    pub fn check(text: &str) -> Result<String, ValueError> {
        if text.len() < SHORTEST {
            let message = format!("has {} characters", text.len());
            return Err(ValueError::wrong_value(message, Self::FORM));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ValueError::wrong_value("has a space or a special character", Self::FORM));
        }
        Ok(text.to_owned())
    }

    /// Creates them from the texts of checked keys, the signing one first.
    ///
    /// # Errors
    /// There is none, there are too many, or one is not accepted.
    pub fn new(texts: &[String]) -> Result<Self, ValueError> {
        if texts.is_empty() || texts.len() > KEYS_MAX {
            let message = format!("has {} keys", texts.len());
            return Err(ValueError::wrong_value(message, format!("write 1 to {KEYS_MAX} keys")));
        }
        let key = |text: &String| Ok(SigningKey::new(&Self::check(text)?));
        texts.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Parses the content of a file: a key per line. Empty lines and those that begin with `#` are skipped.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn parse_lines(content: &str) -> Result<Self, ValueError> {
        let lines = content.lines().map(str::trim);
        let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self::new(&keys.map(str::to_owned).collect::<Vec<_>>())
    }

    /// Returns the id of the key that signs.
    #[must_use]
    pub fn signing(&self) -> KeyId {
        self.0[0].id
    }

    /// Signs the text that the parts are.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> Mac {
        let key = &self.0[0];
        Mac { key: key.id, code: key.begin(parts).finalize().into_bytes().into() }
    }

    /// Checks a MAC, or its beginning of 16 bytes or more, in constant time.
    ///
    /// # Errors
    /// [`MacError`].
    pub fn verify(&self, id: KeyId, parts: &[&[u8]], code: &[u8]) -> Result<(), MacError> {
        let key = self.0.iter().find(|key| key.id == id).ok_or(MacError::UnknownKey(id))?;
        if code.len() < 16 {
            return Err(MacError::Mismatch);
        }
        key.begin(parts).verify_truncated_left(code).map_err(|_| MacError::Mismatch)
    }

    /// Checks a whole MAC that does not name its key.
    ///
    /// # Errors
    /// [`MacError::Mismatch`]: none of the keys has made it.
    pub fn verify_with_any(&self, parts: &[&[u8]], code: &[u8]) -> Result<(), MacError> {
        let mut verdicts = self.0.iter().map(|key| key.begin(parts).verify_slice(code));
        if verdicts.any(|verdict| verdict.is_ok()) { Ok(()) } else { Err(MacError::Mismatch) }
    }
}

impl SigningKey {
    fn new(text: &str) -> Self {
        let keyed =
            Hmac::<Sha256>::new_from_slice(text.as_bytes()).expect("HMAC takes keys of any length");
        let mut key = Self { id: KeyId([0; 4]), keyed };
        let id: [u8; 32] = key.begin(&[b"tidegate key id"]).finalize().into_bytes().into();
        key.id.0.copy_from_slice(&id[..4]);
        key
    }

    fn begin(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(texts: &[&str]) -> SigningKeys {
        SigningKeys::new(&texts.iter().map(|text| text.repeat(32)).collect::<Vec<_>>())
            .expect("keys")
    }

    #[test]
    fn rotation_accepts_both_keys() {
        let (old, both, new) = (keys(&["a"]), keys(&["b", "a"]), keys(&["b"]));
        let parts: [&[u8]; 2] = [b"x", b"y"];
        for (signer, verifiers) in [(&old, [&old, &both]), (&both, [&both, &new])] {
            let Mac { key, code } = signer.sign(&parts);
            for verifier in verifiers {
                assert_eq!(verifier.verify(key, &[b"xy"], &code[..16]), Ok(()));
                assert_eq!(verifier.verify(key, &[b"xz"], &code), Err(MacError::Mismatch));
            }
        }
        let Mac { key, code } = new.sign(&parts);
        assert_eq!(old.verify(key, &parts, &code), Err(MacError::UnknownKey(key)));
        assert_eq!(both.verify_with_any(&parts, &old.sign(&parts).code), Ok(()));
        assert_eq!(new.verify_with_any(&parts, &old.sign(&parts).code), Err(MacError::Mismatch));
        assert_eq!(new.verify(key, &parts, &code[..15]), Err(MacError::Mismatch), "too short");
    }

    /// The MAC that `pgcrypto`'s `hmac(text, key, 'sha256')` makes: RFC 4231 with a text as its key.
    #[test]
    fn code_is_plain_hmac() {
        let key = "k".repeat(32);
        let keys = SigningKeys::new(&[key]).expect("a key");
        let shown: String =
            keys.sign(&[b"text"]).code.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(shown, "8d3a9f54db4f3f1e3addef3fc62a0359d0d9d2a87c07cf465284062fded2baa2");
    }

    #[test]
    fn unusable_keys_refused_and_never_shown() {
        for text in ["secret", "secret with spaces, and longer than thirty-two", ""] {
            let err = SigningKeys::new(&[text.to_owned()]).expect_err("refused").to_string();
            assert!(!err.contains("secret") && err.contains("openssl"), "{err}");
        }
        assert!(SigningKeys::new(&[]).is_err());
        let lines = format!("# new\n{}\r\n\n{}\n", "a".repeat(32), "b".repeat(32));
        let read = SigningKeys::parse_lines(&lines).expect("keys");
        assert_eq!(read.signing(), keys(&["a"]).signing());
        assert!(!format!("{read:?}").contains("aaaa"));
    }
}
