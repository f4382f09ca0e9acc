//! Ids: one row has one id, so that the invalidation of the row finds its entry.

use serde::Serialize;

use crate::naming::key::KeyError;
use crate::naming::syntax::is_uuid;

/// The form in which a contract's ids are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdKind {
    /// Unknown. An id that a database could read as a number or UUID must be written as the database
    /// writes it; every other id is taken as it is.
    #[default]
    Auto,
    /// A plain integer.
    Integer,
    /// A lower-case UUID with hyphens.
    Uuid,
    /// Text that is compared byte by byte: `0042` and `42` are two ids.
    Text,
}

impl IdKind {
    /// Checks that `id` is in the canonical form of the database.
    ///
    /// A database reads `042`, `+42` and, in newer versions, `0x2a` as the row 42. An entry under
    /// such a name would miss the invalidation of row 42.
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
                "a database can read it as a number in another notation; a text column needs `id = \"text\"`",
            )),
            IdKind::Auto if reads_as_uuid(id) => Err(KeyError::NotCanonical(
                "a database can read it as a UUID in another notation; a text column needs `id = \"text\"`",
            )),
            IdKind::Auto => Ok(()),
        }
    }
}

/// Returns whether PostgreSQL and SQLite write an integer in this form: `0`, `42`, `-7`.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let zero = text == "0";
    zero || (!digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0'))
}

/// Returns whether a database might read the text as a number: PostgreSQL (spaces around, signs, `0x`,
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

/// Returns whether PostgreSQL might read the text as a UUID: any case, braces, hyphens anywhere.
fn reads_as_uuid(text: &str) -> bool {
    let hex = text.trim().trim_start_matches('{').trim_end_matches('}').replace('-', "");
    hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}
