use std::borrow::Borrow;
use std::fmt;
use std::fmt::Write;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::contract::IdKind;
use crate::lookalike::LookAlike;

/// Values up to this many bytes may stand in a key as they are; longer ones are hashed.
pub(crate) const MAX_VERBATIM_BYTES: usize = 64;

/// The name of one entry in every tier: `v{n}:{service}:{entity}:{id}[:{variant}…]`.
///
/// The only ways to get one are [`KeyTemplate::key`](crate::KeyTemplate::key), which writes
/// parameters safely, and [`Key::parse`], which checks a key that was written before.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// Why there is no key. Never contains the value itself, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The template asks for a parameter that was not given.
    #[error("the key needs a value for `{{{0}}}`")]
    Missing(String),
    /// The value is the empty string.
    #[error("the value for `{{{0}}}` is empty")]
    Empty(String),
    /// The value looks like personal data or a secret, which keys must not carry.
    #[error("the value for `{{{placeholder}}}` looks like {kind}; keys must not carry one")]
    LooksLike {
        /// The placeholder it was meant for.
        placeholder: String,
        /// What it looks like.
        kind: LookAlike,
    },
    /// The id is not written the way the database writes it, so that a change to its row would
    /// not find the entry.
    #[error("the id is not written as the database writes it ({0})")]
    NotCanonical(&'static str),
    /// The key would be longer than [`Key::MAX_BYTES`].
    #[error("the key would have {0} bytes, at most {max} are allowed", max = Key::MAX_BYTES)]
    TooLong(usize),
    /// The text is not of the form `v{n}:{service}:{entity}:{id}[:{variant}…]`.
    #[error("not of the form v{{n}}:{{service}}:{{entity}}:{{id}}[:{{variant}}]: {0}")]
    Form(&'static str),
}

impl Key {
    /// The longest key in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Checks a key that was written elsewhere.
    ///
    /// The id and variants may be any visible ASCII but `:`, `{` and `}` (braces would move the key
    /// to another slot of a Redis cluster).
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
        next(is_version, "the first part is no version such as v1")?;
        next(is_service, "the second part is no service name")?;
        next(is_entity, "the third part is no entity name")?;
        next(is_value, "the id is missing, empty or has a forbidden character")?;
        if parts.all(is_value) {
            Ok(Self(text.into()))
        } else {
            Err(KeyError::Form("a variant is empty or has a forbidden character"))
        }
    }

    /// `v1:edge:page:h-` and the digest in hex: the name of a page, whose own name may be long and
    /// hold anything. It is as safe from collisions as the digest is.
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

    /// A key whose parts were checked while it was written.
    pub(crate) fn from_built(text: String) -> Result<Self, KeyError> {
        if text.len() > Self::MAX_BYTES {
            return Err(KeyError::TooLong(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// `v1:catalog:price`, the part that names the kind of data.
    pub fn prefix(&self) -> &str {
        let end = self.0.match_indices(':').nth(2).map_or(self.0.len(), |(at, _)| at);
        &self.0[..end]
    }
}

/// `h-` and the first 128 bits of the value's SHA-256 in hex.
pub(crate) fn hashed(value: &str) -> String {
    let digest = Sha256::digest(value.as_bytes());
    let mut text = String::with_capacity(34);
    text.push_str("h-");
    for byte in &digest[..16] {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// RFC 3986's unreserved characters: safe in a URL, a log line, a Redis key and a shell.
pub(crate) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-')
}

/// `v1` … `v4294967295`, without leading zeros.
pub(crate) fn is_version(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('v') else { return false };
    digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
        && digits.parse::<u32>().is_ok()
}

/// `[a-z][a-z0-9-]*`, at most 64 bytes.
pub(crate) fn is_service(text: &str) -> bool {
    is_name(text, |byte| byte == b'-')
}

/// `[a-z][a-z0-9_-]*`, at most 64 bytes.
pub(crate) fn is_entity(text: &str) -> bool {
    is_name(text, |byte| matches!(byte, b'-' | b'_'))
}

fn is_name(text: &str, also: fn(u8) -> bool) -> bool {
    text.len() <= 64
        && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || also(b))
}

fn is_value(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'{' | b'}'))
}

impl IdKind {
    /// Whether `id` is written the one way the database itself writes it.
    ///
    /// A database reads `042`, `+42` and, in newer versions, `0x2a` as the row 42; an entry under
    /// such a name would never meet the invalidation of row 42.
    ///
    /// # Errors
    /// [`KeyError::NotCanonical`].
    pub fn check(self, id: &str) -> Result<(), KeyError> {
        match self {
            IdKind::Text => Ok(()),
            IdKind::Integer if is_integer(id) => Ok(()),
            IdKind::Integer => {
                Err(KeyError::NotCanonical("a plain integer, without leading zeros"))
            }
            IdKind::Uuid if is_uuid(id) => Ok(()),
            IdKind::Uuid => Err(KeyError::NotCanonical("a lower-case UUID with hyphens")),
            IdKind::Auto if is_integer(id) || is_uuid(id) => Ok(()),
            IdKind::Auto if reads_as_number(id) => Err(KeyError::NotCanonical(
                "it can be read as a number that is written differently; a text column needs `id = \"text\"`",
            )),
            IdKind::Auto if reads_as_uuid(id) => Err(KeyError::NotCanonical(
                "it can be read as a UUID that is written differently; a text column needs `id = \"text\"`",
            )),
            IdKind::Auto => Ok(()),
        }
    }
}

/// What PostgreSQL and SQLite write for an integer: `0`, `42`, `-7`.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let zero = text == "0";
    zero || (!digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0'))
}

/// `8-4-4-4-12` lower-case hex digits.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'),
        })
}

/// Whether a database might read the text as a number: PostgreSQL (spaces around, signs, `0x`,
/// `0o`, `0b`, digit groups `1_000`) or SQLite's numeric affinity (`42.0`, `4.2e1`).
fn reads_as_number(text: &str) -> bool {
    let text = text.trim();
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    let radix = bare.get(..2).map(str::to_ascii_lowercase);
    if matches!(radix.as_deref(), Some("0x" | "0o" | "0b")) {
        return bare[2..].bytes().all(|b| b.is_ascii_hexdigit() || b == b'_');
    }
    bare.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && bare.replace('_', "").parse::<f64>().is_ok()
}

/// Whether PostgreSQL might read the text as a UUID: any case, braces, hyphens anywhere.
fn reads_as_uuid(text: &str) -> bool {
    let hex = text.trim().trim_start_matches('{').trim_end_matches('}').replace('-', "");
    hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
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
