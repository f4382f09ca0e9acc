//! Parser of `pgoutput` messages, protocol version 1.
//!
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>. Begin, commit and logical
//! messages are parsed in [`log_message`](super::log_message).

use thiserror::Error;

/// One message, borrowing from its bytes.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Message<'a> {
    /// Describes a table; sent before its first change, and again after it was altered.
    Relation(Relation<'a>),
    /// A new row.
    Insert { relation: u32, new: Tuple<'a> },
    /// A changed row; the old one as far as the replica identity requires.
    Update { relation: u32, old: Option<OldTuple<'a>>, new: Tuple<'a> },
    /// A deleted row.
    Delete { relation: u32, old: OldTuple<'a> },
    /// Truncated tables, also those reached by `cascade`.
    Truncate { relations: Vec<u32> },
    /// Types, origins and rollbacks, which are not needed.
    Other,
}

/// A table as described in the log.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Relation<'a> {
    pub(super) id: u32,
    pub(super) schema: &'a str,
    pub(super) name: &'a str,
    pub(super) columns: Vec<Column<'a>>,
}

/// A column of a relation.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Column<'a> {
    /// Part of the replica identity.
    pub(super) key: bool,
    pub(super) name: &'a str,
    /// Its type, as in `pg_type.oid`.
    pub(super) type_oid: u32,
}

/// A row before the change.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum OldTuple<'a> {
    /// Only the columns of the replica identity are valid; the others are sent as null.
    Key(Tuple<'a>),
    /// All columns (`replica identity full`).
    Full(Tuple<'a>),
}

/// A row's fields in the order of the relation's columns.
pub(super) type Tuple<'a> = Vec<Field<'a>>;

/// The value of a column.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Field<'a> {
    Null,
    /// Stored out of line and unchanged, so not sent.
    Unchanged,
    Text(&'a [u8]),
}

/// The bytes are not a valid message.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a message of type {kind:?} is malformed at {location}")]
pub(super) struct Malformed {
    kind: char,
    location: &'static str,
}

/// Parses one message. Any input results in a message or an error, and allocates memory at most in
/// proportion to its size.
pub(super) fn parse(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let kind = bytes.first().map_or('\0', |kind| char::from(*kind));
    let mut cursor = Cursor { bytes: bytes.get(1..).unwrap_or_default() };
    message(kind, &mut cursor).map_err(|location| Malformed { kind, location })
}

fn message<'a>(kind: char, from: &mut Cursor<'a>) -> Result<Message<'a>, &'static str> {
    let message = match kind {
        'R' => Message::Relation(relation(from)?),
        'I' => {
            let relation = from.u32()?;
            from.expect(b'N')?;
            Message::Insert { relation, new: tuple(from)? }
        }
        'U' => {
            let relation = from.u32()?;
            let old = match from.u8()? {
                b'K' => Some(OldTuple::Key(tuple(from)?)),
                b'O' => Some(OldTuple::Full(tuple(from)?)),
                b'N' => return Ok(Message::Update { relation, old: None, new: tuple(from)? }),
                _ => return Err("the kind of a row"),
            };
            from.expect(b'N')?;
            Message::Update { relation, old, new: tuple(from)? }
        }
        'D' => {
            let relation = from.u32()?;
            let old = match from.u8()? {
                b'K' => OldTuple::Key(tuple(from)?),
                b'O' => OldTuple::Full(tuple(from)?),
                _ => return Err("the kind of a row"),
            };
            Message::Delete { relation, old }
        }
        'T' => {
            let count = from.u32()?;
            // The options cascade and restart identity make no difference to a cache.
            from.u8()?;
            let relations = (0..count).map(|_| from.u32()).collect::<Result<_, _>>()?;
            Message::Truncate { relations }
        }
        'Y' | 'O' => Message::Other,
        // Releases of PostgreSQL 18 were reported to announce rollbacks of large transactions in this way, also to
        // clients that have asked for no transactions in progress. Nothing of these was sent.
        'A' => Message::Other,
        _ => return Err("its type"),
    };
    Ok(message)
}

fn relation<'a>(from: &mut Cursor<'a>) -> Result<Relation<'a>, &'static str> {
    let (id, schema, name) = (from.u32()?, from.text()?, from.text()?);
    let _replica_identity = from.u8()?;
    let count = from.u16()?;
    let columns = (0..count)
        .map(|_| {
            let key = from.u8()? & 1 == 1;
            let name = from.text()?;
            let (type_oid, _modifier) = (from.u32()?, from.u32()?);
            Ok(Column { key, name, type_oid })
        })
        .collect::<Result<_, &'static str>>()?;
    // The schema pg_catalog is sent as the empty string.
    let schema = if schema.is_empty() { "pg_catalog" } else { schema };
    Ok(Relation { id, schema, name, columns })
}

fn tuple<'a>(from: &mut Cursor<'a>) -> Result<Tuple<'a>, &'static str> {
    let count = from.u16()?;
    (0..count)
        .map(|_| match from.u8()? {
            b'n' => Ok(Field::Null),
            b'u' => Ok(Field::Unchanged),
            b't' => {
                let length = from.u32()? as usize;
                from.take(length).map(Field::Text)
            }
            _ => Err("the kind of a value"),
        })
        .collect()
}

/// Takes bytes from the front and never past the end.
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or("its end")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or("its end")?;
        self.bytes = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, &'static str> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, &'static str> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_be_bytes)
    }

    fn expect(&mut self, byte: u8) -> Result<(), &'static str> {
        if self.u8()? == byte { Ok(()) } else { Err("the kind of a row") }
    }

    /// Takes a text up to a zero byte.
    pub(super) fn text(&mut self) -> Result<&'a str, &'static str> {
        let end = self.bytes.iter().position(|byte| *byte == 0).ok_or("the end of a name")?;
        let text = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(text).map_err(|_| "the encoding of a name")
    }
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
