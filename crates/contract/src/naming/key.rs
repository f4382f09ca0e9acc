//! Keys: the names of entries.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::naming::sensitive_value::SensitiveValue;
use crate::naming::syntax::{is_entity, is_key_part, is_service, is_version};

/// The name of an entry, the same in every tier: `v{n}:{service}:{entity}:{id}[:{variant}…]`.
///
/// A key comes from [`KeyTemplate::key`](crate::KeyTemplate::key), which encodes parameters safely,
/// or from [`Key::parse`], which checks existing text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// A key that can't be made. Never contains the value itself, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The template has a placeholder for which no parameter was given.
    #[error("the key needs a value for `{{{0}}}`")]
    Missing(String),
    /// A variant that the key does not have.
    #[error("there is no `{name}` in the key; its variants are: {known}")]
    UnknownVariant {
        /// The name that was given.
        name: String,
        /// The names of the key's variants.
        known: String,
    },
    /// A variant was given twice.
    #[error("`{0}` is given twice")]
    VariantTwice(String),
    /// The percent-encoding is malformed, or the text is not UTF-8.
    #[error("the percent-encoding is malformed, or the text is not UTF-8")]
    Encoding,
    /// The value is the empty string.
    #[error("the value for `{{{0}}}` is empty")]
    Empty(String),
    /// The value looks like personal data or a secret, which keys must not contain.
    #[error("the value for `{{{placeholder}}}` looks like {kind}; keys must not contain one")]
    Sensitive {
        /// The placeholder of the value.
        placeholder: String,
        /// The kind of data that the value looks like.
        kind: SensitiveValue,
    },
    /// The id is not in the form in which the database writes it, so a change to its row would miss
    /// the entry.
    #[error("the id is not in the form in which the database writes it ({0})")]
    NotCanonical(&'static str),
    /// The key would be longer than [`Key::MAX_BYTES`].
    #[error("the key would have {0} bytes; the maximum is {max}", max = Key::MAX_BYTES)]
    TooLong(usize),
    /// The text is not of the form `v{n}:{service}:{entity}:{id}[:{variant}…]`.
    #[error("the key is not of the form v{{n}}:{{service}}:{{entity}}:{{id}}[:{{variant}}]: {0}")]
    Form(&'static str),
}

impl Key {
    /// The maximum length of a key in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Parses a key.
    ///
    /// Id and variants are visible ASCII except `:`, `{` and `}`: Redis Cluster hashes only the part
    /// between braces, so braces would move the key to another slot.
    ///
    /// # Errors
    /// [`KeyError::TooLong`] or [`KeyError::Form`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.len() > Self::MAX_BYTES {
            return Err(KeyError::TooLong(text.len()));
        }
        let mut parts = text.split(':');
        let mut next = |check: fn(&str) -> bool, problem| match parts.next() {
            Some(part) if check(part) => Ok(()),
            _ => Err(KeyError::Form(problem)),
        };
        next(is_version, "the first part is not a version such as v1")?;
        next(is_service, "the second part is not a service name")?;
        next(is_entity, "the third part is not an entity name")?;
        next(is_key_part, "the id is missing, empty or has a forbidden character")?;
        if parts.all(is_key_part) {
            Ok(Self(text.into()))
        } else {
            Err(KeyError::Form("a variant is empty or has a forbidden character"))
        }
    }

    /// Returns the key of a page, `v1:edge:page:h-` and `digest` in hex. The page's own name may be
    /// long and contain any byte; the key is as collision-resistant as the digest.
    #[must_use]
    pub fn of_page(digest: [u8; 16]) -> Self {
        const PREFIX: &[u8] = b"v1:edge:page:h-";
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; PREFIX.len() + 32];
        text[..PREFIX.len()].copy_from_slice(PREFIX);
        for (pair, byte) in text[PREFIX.len()..].chunks_exact_mut(2).zip(digest) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        Self(str::from_utf8(&text).expect("the prefix and hex digits are ASCII").into())
    }

    /// Makes a key from text whose parts have been checked.
    ///
    /// # Errors
    /// [`KeyError::TooLong`].
    pub(crate) fn from_checked(text: String) -> Result<Self, KeyError> {
        if text.len() > Self::MAX_BYTES {
            return Err(KeyError::TooLong(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// Returns the key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns the part that identifies the kind of data: `v1:catalog:price`.
    pub fn prefix(&self) -> &str {
        let end = self.0.match_indices(':').nth(2).map_or(self.0.len(), |(at, _)| at);
        &self.0[..end]
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0)
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
