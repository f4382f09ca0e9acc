//! The secret of an access token, and its hash.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contract::config::ValueError;
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// The text before the secret, by which scanners of source code recognise a token.
const PREFIX: &str = "tgt_";

/// The size of the secret, in bytes.
const SECRET_BYTES: usize = 32;

/// An access token: `tgt_` and 256 random bits in base64url. Never printed by `Debug`.
#[derive(Clone)]
pub struct AccessToken(String);

impl AccessToken {
    /// Makes a token from the system's randomness.
    ///
    /// # Errors
    /// The system has none.
    pub fn generate() -> std::io::Result<Self> {
        let mut secret = [0; SECRET_BYTES];
        SysRng.try_fill_bytes(&mut secret).map_err(std::io::Error::other)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret))))
    }

    /// Returns the text that its holder sends.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub(super) fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl FromStr for AccessToken {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let secret = text.strip_prefix(PREFIX).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        match secret {
            Some(secret) if secret.len() == SECRET_BYTES => Ok(Self(text.to_owned())),
            _ => Err(ValueError::wrong_value(
                "is not an access token",
                "use the text that `tidegate token create` has printed: `tgt_` and 43 characters",
            )),
        }
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The SHA-256 of a token. The token has 256 random bits, which no search finds from the hash, so that a slow
/// hash for passwords would only make each request slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenHash([u8; 32]);

impl TokenHash {
    /// Compares in a time that does not depend on the hashes.
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for TokenHash {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut hash = [0; 32];
        let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        for (at, byte) in hash.iter_mut().enumerate().filter(|_| is_hex) {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap_or_default();
        }
        if is_hex {
            return Ok(Self(hash));
        }
        Err(ValueError::wrong_value(
            "is not a SHA-256",
            "write 64 hexadecimal digits, as `tidegate token create` does",
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn token_parsed_and_never_printed() {
        let token = AccessToken::generate().expect("randomness");
        let same: AccessToken = token.expose().parse().expect("a token");
        assert!(same.hash().equals(&token.hash()));
        let other = AccessToken::generate().expect("randomness");
        assert!(!other.hash().equals(&token.hash()));
        assert_eq!(format!("{token:?}"), "***");
        let hash: TokenHash = token.hash().to_string().parse().expect("a hash");
        assert!(hash.equals(&token.hash()));
    }

    #[test]
    fn other_text_rejected_without_echo() {
        for text in ["", "tgt_", "tgt_short", "whsec_x", " tgt_", "tgt_äöü"] {
            let err = text.parse::<AccessToken>().expect_err(text);
            assert!(err.to_string().contains("token create"), "{err}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parsed_without_panic(text in ".{0,80}") {
            let _ = text.parse::<AccessToken>();
            let _ = text.parse::<TokenHash>();
        }
    }
}
