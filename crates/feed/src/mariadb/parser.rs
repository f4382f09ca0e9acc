//! Parser of the binary log's events, as far as they are needed.
//!
//! Sources: MariaDB's knowledge base, "Replication protocol: events" (one page for each kind), and
//! `sql/log_event.h` of the server.

/// An undecoded event.
#[derive(Clone, Debug, Default)]
pub(super) struct RawEvent {
    pub(super) kind: u8,
    pub(super) flags: u16,
    /// The start of its statement, in seconds since 1970.
    pub(super) timestamp: u32,
    /// The offset of its end in its file. Zero where the server does not tell: for events that it generates, and since
    /// MariaDB 11.4 for those between the begin and the end of a transaction.
    pub(super) end: u32,
    pub(super) data: Vec<u8>,
}

impl RawEvent {
    /// Whether it is part of the log; the server generates other events for its reader.
    pub(super) fn is_in_log(&self) -> bool {
        const ARTIFICIAL: u16 = 0x20;
        self.flags & ARTIFICIAL == 0
    }
}

/// A parsed event.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// The log continues in this file.
    Rotate { file: &'a str },
    /// Every event before its end has been sent.
    Heartbeat { file: &'a str },
    /// A group of events begins; one without a transaction ends with its statement.
    Begin { standalone: bool },
    /// A statement.
    Query { database: &'a str, text: &'a str },
    /// The columns of the table that the next rows are of.
    Table { id: u64, table: TableMap },
    /// Changed rows.
    Rows(Rows<'a>),
    /// The group ends with a commit.
    Commit,
    /// The group ends as a prepared transaction.
    Prepared,
    /// A change without rows: the server reports lost events, or logged a statement.
    Unknown,
    /// Without effect.
    Other,
}

/// A table as the log describes it.
#[derive(Debug)]
pub(super) struct TableMap {
    pub(super) database: String,
    pub(super) table: String,
    pub(super) columns: Vec<Column>,
}

/// A column as the log describes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    /// `None` with `binlog_row_metadata` other than `FULL`.
    pub(super) name: Option<String>,
    pub(super) kind: u8,
    pub(super) meta: u16,
    pub(super) unsigned: bool,
    /// The values of an `enum` or `set`, in the order of their numbers.
    pub(super) labels: Vec<String>,
}

impl Column {
    /// The type: the log gives an `enum` and a `set` the type of a `char`, and their own in the metadata.
    pub(super) fn real_kind(&self) -> u8 {
        match (self.kind, (self.meta >> 8) as u8) {
            (kind::STRING, real @ (kind::ENUM | kind::SET)) => real,
            (kind, _) => kind,
        }
    }
}

/// Rows of one table with one kind of change.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    pub(super) table: u64,
    pub(super) op: contract::Op,
    pub(super) columns: usize,
    /// A bit for each column that is present, before the change (or, for an insert, after it).
    pub(super) first: &'a [u8],
    /// The same, after an update.
    pub(super) second: &'a [u8],
    pub(super) data: Bytes<'a>,
}

pub(super) const QUERY: u8 = 2;
const STOP: u8 = 3;
const ROTATE: u8 = 4;
const INTVAR: u8 = 5;
const APPEND_BLOCK: u8 = 9;
const DELETE_FILE: u8 = 11;
const RAND: u8 = 13;
const USER_VAR: u8 = 14;
const FORMAT_DESCRIPTION: u8 = 15;
const XID: u8 = 16;
const BEGIN_LOAD: u8 = 17;
const TABLE_MAP: u8 = 19;
const HEARTBEAT: u8 = 27;
const XA_PREPARE: u8 = 38;
const ANNOTATE_ROWS: u8 = 160;
const CHECKPOINT: u8 = 161;
const GTID: u8 = 162;
const GTID_LIST: u8 = 163;
const START_ENCRYPTION: u8 = 164;

/// Parses an event; returns `None` if it is malformed.
pub(super) fn parse(raw: &RawEvent) -> Option<Event<'_>> {
    let mut data = Bytes(&raw.data);
    match raw.kind {
        ROTATE => {
            data.take(8)?;
            Some(Event::Rotate { file: data.rest_text()? })
        }
        HEARTBEAT => Some(Event::Heartbeat { file: data.rest_text()? }),
        GTID => {
            const STANDALONE: u64 = 1;
            data.take(12)?;
            Some(Event::Begin { standalone: data.number(1)? & STANDALONE != 0 })
        }
        QUERY => query(data),
        XID => Some(Event::Commit),
        XA_PREPARE => Some(if data.number(1)? == 0 { Event::Prepared } else { Event::Commit }),
        TABLE_MAP => table(data),
        23 | 30 => rows(data, contract::Op::Insert, raw.kind == 30),
        24 | 31 => rows(data, contract::Op::Update, raw.kind == 31),
        25 | 32 => rows(data, contract::Op::Delete, raw.kind == 32),
        STOP | INTVAR | APPEND_BLOCK | DELETE_FILE | RAND | USER_VAR | FORMAT_DESCRIPTION
        | BEGIN_LOAD | ANNOTATE_ROWS | CHECKPOINT | GTID_LIST | START_ENCRYPTION => {
            Some(Event::Other)
        }
        // Among them: an incident (the server lost events), `load data` as a statement, and compressed
        // events.
        _ => Some(Event::Unknown),
    }
}

fn query(mut data: Bytes<'_>) -> Option<Event<'_>> {
    data.take(8)?;
    let database = data.number(1)? as usize;
    data.take(2)?;
    let variables = data.number(2)? as usize;
    data.take(variables)?;
    let database = std::str::from_utf8(data.take(database)?).ok()?;
    data.take(1)?;
    Some(Event::Query { database, text: data.rest_text()? })
}

fn table(mut data: Bytes<'_>) -> Option<Event<'_>> {
    let id = data.number(6)?;
    data.take(2)?;
    let mut name = || {
        let length = data.number(1)? as usize;
        let name = std::str::from_utf8(data.take(length)?).ok()?.to_owned();
        data.take(1)?;
        Some(name)
    };
    let (database, table) = (name()?, name()?);
    let count = data.length()?;
    let kinds = data.take(count)?;
    let length = data.length()?;
    let mut metas = Bytes(data.take(length)?);
    let mut columns = Vec::with_capacity(count);
    for &kind in kinds {
        columns.push(Column { kind, meta: meta(kind, &mut metas)?, ..Column::default() });
    }
    data.take(count.div_ceil(8))?; // which may be null
    while !data.0.is_empty() {
        const SIGNEDNESS: u64 = 1;
        const NAMES: u64 = 4;
        const SET_LABELS: u64 = 5;
        const ENUM_LABELS: u64 = 6;
        let field = data.number(1)?;
        let length = data.length()?;
        let mut value = Bytes(data.take(length)?);
        match field {
            SIGNEDNESS => {
                let numbers = columns.iter_mut().filter(|column| is_number(column.kind));
                for (at, column) in numbers.enumerate() {
                    column.unsigned = value.0.get(at / 8)? & (0x80 >> (at % 8)) != 0;
                }
            }
            NAMES => {
                for column in &mut columns {
                    let length = value.length()?;
                    let name = std::str::from_utf8(value.take(length)?).ok()?;
                    column.name = Some(name.to_owned());
                }
            }
            SET_LABELS => labels(&mut columns, kind::SET, value)?,
            ENUM_LABELS => labels(&mut columns, kind::ENUM, value)?,
            _ => {}
        }
    }
    Some(Event::Table { id, table: TableMap { database, table, columns } })
}

/// Reads the values of each `enum` or each `set`.
fn labels(columns: &mut [Column], kind: u8, mut value: Bytes<'_>) -> Option<()> {
    for column in columns.iter_mut().filter(|column| column.real_kind() == kind) {
        for _ in 0..value.length()? {
            let length = value.length()?;
            // Needed columns are in UTF-8; others may have any encoding.
            column.labels.push(String::from_utf8_lossy(value.take(length)?).into_owned());
        }
    }
    Some(())
}

fn rows(mut data: Bytes<'_>, op: contract::Op, second_version: bool) -> Option<Event<'_>> {
    let table = data.number(6)?;
    data.take(2)?;
    if second_version {
        let extra = data.number(2)? as usize;
        data.take(extra.checked_sub(2)?)?;
    }
    let columns = data.length()?;
    let first = data.take(columns.div_ceil(8))?;
    let second = match op {
        contract::Op::Update => data.take(columns.div_ceil(8))?,
        _ => &[],
    };
    Some(Event::Rows(Rows { table, op, columns, first, second, data }))
}

/// Column types by number, `enum_field_types` of the server.
pub(super) mod kind {
    pub(crate) const TINY: u8 = 1;
    pub(crate) const SHORT: u8 = 2;
    pub(crate) const LONG: u8 = 3;
    pub(crate) const FLOAT: u8 = 4;
    pub(crate) const DOUBLE: u8 = 5;
    pub(crate) const TIMESTAMP: u8 = 7;
    pub(crate) const LONGLONG: u8 = 8;
    pub(crate) const INT24: u8 = 9;
    pub(crate) const DATE: u8 = 10;
    pub(crate) const TIME: u8 = 11;
    pub(crate) const DATETIME: u8 = 12;
    pub(crate) const YEAR: u8 = 13;
    pub(crate) const NEWDATE: u8 = 14;
    pub(crate) const VARCHAR: u8 = 15;
    pub(crate) const BIT: u8 = 16;
    pub(crate) const TIMESTAMP2: u8 = 17;
    pub(crate) const DATETIME2: u8 = 18;
    pub(crate) const TIME2: u8 = 19;
    pub(crate) const BLOB_COMPRESSED: u8 = 140;
    pub(crate) const VARCHAR_COMPRESSED: u8 = 141;
    pub(crate) const NEWDECIMAL: u8 = 246;
    pub(crate) const ENUM: u8 = 247;
    pub(crate) const SET: u8 = 248;
    pub(crate) const BLOB: u8 = 252;
    pub(crate) const VAR_STRING: u8 = 253;
    pub(crate) const STRING: u8 = 254;
    pub(crate) const GEOMETRY: u8 = 255;
}

/// Whether the log contains a signedness bit for the type.
fn is_number(column: u8) -> bool {
    use kind::{DOUBLE, FLOAT, INT24, LONG, LONGLONG, NEWDECIMAL, SHORT, TINY, YEAR};
    [TINY, SHORT, INT24, LONG, LONGLONG, FLOAT, DOUBLE, NEWDECIMAL, YEAR].contains(&column)
}

/// Parses a column's metadata. Returns `None` for unknown types.
fn meta(column: u8, metas: &mut Bytes<'_>) -> Option<u16> {
    use kind::*;
    let meta = match column {
        TINY | SHORT | LONG | TIMESTAMP | LONGLONG | INT24 | DATE | TIME | DATETIME | YEAR
        | NEWDATE => 0,
        FLOAT | DOUBLE | BLOB | GEOMETRY | BLOB_COMPRESSED | TIMESTAMP2 | DATETIME2 | TIME2 => {
            metas.number(1)?
        }
        VARCHAR | VAR_STRING | VARCHAR_COMPRESSED | BIT => metas.number(2)?,
        // Big-endian.
        NEWDECIMAL | STRING | ENUM | SET => metas.number(1)? << 8 | metas.number(1)?,
        _ => return None,
    };
    u16::try_from(meta).ok()
}

/// The bytes left to parse.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Takes a little-endian number of at most eight bytes.
    pub(super) fn number(&mut self, bytes: usize) -> Option<u64> {
        let bytes = self.take(bytes)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Takes a "length-encoded integer".
    pub(super) fn length(&mut self) -> Option<usize> {
        let length = match self.number(1)? {
            0xfc => self.number(2)?,
            0xfd => self.number(3)?,
            0xfe => self.number(8)?,
            0xfb | 0xff => return None,
            small => small,
        };
        usize::try_from(length).ok()
    }

    fn rest_text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MariaDB 11.4 and later number only the begin and the end of a transaction (go-mysql#893).
    #[test]
    fn event_without_offset_is_in_log() {
        let event = |flags, end| RawEvent { flags, end, ..RawEvent::default() };
        assert!(event(0, 400).is_in_log() && event(0, 0).is_in_log());
        assert!(!event(0x20, 0).is_in_log(), "generated for the reader");
    }
}
