//! Parser of rows in the binary log, and the text forms of their values.

use std::sync::Arc;

use contract::{Cell, JsonForm, Row};

use super::parser::{Bytes, Column, kind};

/// Parses one row of the `columns` whose bit is set in `present`. The result has each column under each of its
/// `names`. Returns `None` if the row is malformed.
pub(super) fn parse(
    columns: &[Column],
    names: &[Vec<Arc<str>>],
    present: &[u8],
    data: &mut Bytes<'_>,
) -> Option<Row> {
    let mut present_count = 0;
    for at in 0..columns.len() {
        present_count += usize::from(bit(present, at)?);
    }
    let nulls = data.take(present_count.div_ceil(8))?;
    let (mut row, mut seen) = (Row::new(), 0);
    for (at, column) in columns.iter().enumerate() {
        if !bit(present, at)? {
            continue;
        }
        let null = bit(nulls, seen)?;
        seen += 1;
        let raw = if null { None } else { Some(value(column, data)?) };
        let Some((first, others)) = names.get(at)?.split_first() else { continue };
        let cell = match raw {
            None => Cell::Null,
            Some(raw) => Cell::Text(text(column, raw)?),
        };
        for name in others {
            row.push(Arc::clone(name), cell.clone());
        }
        row.push(Arc::clone(first), cell);
    }
    Some(row)
}

/// Returns a bit of a bitmap, or `None` beyond its end.
pub(super) fn bit(bits: &[u8], at: usize) -> Option<bool> {
    bits.get(at / 8).map(|byte| byte >> (at % 8) & 1 == 1)
}

/// Takes the bytes of one value, without a length prefix.
fn value<'a>(column: &Column, data: &mut Bytes<'a>) -> Option<&'a [u8]> {
    use kind::*;
    let meta = usize::from(column.meta);
    let (high, low) = (meta >> 8, meta & 0xff);
    let prefix = |longest: usize| if longest > 255 { 2 } else { 1 };
    let fraction = meta.div_ceil(2);
    let length = match column.kind {
        TINY | YEAR => 1,
        SHORT => 2,
        INT24 | DATE | NEWDATE | TIME => 3,
        LONG | FLOAT | TIMESTAMP => 4,
        LONGLONG | DOUBLE | DATETIME => 8,
        TIMESTAMP2 => 4 + fraction,
        DATETIME2 => 5 + fraction,
        TIME2 => 3 + fraction,
        BIT => high + usize::from(low > 0),
        NEWDECIMAL => decimal_bytes(high, low)?,
        VARCHAR | VAR_STRING | VARCHAR_COMPRESSED => data.number(prefix(meta))? as usize,
        BLOB | GEOMETRY | BLOB_COMPRESSED => {
            (1..=4).contains(&meta).then_some(())?;
            data.number(meta)? as usize
        }
        ENUM | SET => low,
        STRING if column.real_kind() != STRING => low,
        // The type of a `char` contains two bits of its length.
        STRING => data.number(prefix(low | ((high & 0x30) ^ 0x30) << 4))? as usize,
        _ => return None,
    };
    data.take(length)
}

/// Returns the database's own text form if the type and bytes determine it (numbers, texts, dates, labels);
/// else hexadecimal digits, which still distinguish values.
fn text(column: &Column, raw: &[u8]) -> Option<String> {
    use kind::*;
    let meta = usize::from(column.meta);
    Some(match column.real_kind() {
        TINY | SHORT | INT24 | LONG | LONGLONG => integer(raw, column.unsigned)?,
        NEWDECIMAL => decimal(raw, meta >> 8, meta & 0xff)?,
        DATE | NEWDATE => {
            let packed = Bytes(raw).number(3)?;
            format!("{:04}-{:02}-{:02}", packed >> 9, packed >> 5 & 15, packed & 31)
        }
        YEAR if raw == [0] => "0000".to_owned(),
        YEAR => (1900 + Bytes(raw).number(1)?).to_string(),
        ENUM => match usize::try_from(Bytes(raw).number(raw.len())?).ok()?.checked_sub(1) {
            Some(index) => column.labels.get(index)?.clone(),
            // The server's mark of an invalid value.
            None => String::new(),
        },
        SET => {
            let bits = Bytes(raw).number(raw.len())?;
            let labels = column.labels.iter().take(64).enumerate();
            let chosen = labels.filter(|(at, _)| bits >> at & 1 == 1).map(|(_, label)| &**label);
            chosen.collect::<Vec<_>>().join(",")
        }
        VARCHAR | VAR_STRING | STRING | BLOB => match std::str::from_utf8(raw) {
            Ok(text) => text.to_owned(),
            Err(_) => hexadecimal(raw),
        },
        _ => hexadecimal(raw),
    })
}

/// Returns how JSON of the database contains the column's [`text`], or `None` if that is not the database's own. The
/// catalogue says more: the log does not mark `zerofill` and other character sets.
pub(super) fn json_form(column: &Column) -> Option<JsonForm> {
    use kind::*;
    match column.real_kind() {
        TINY | SHORT | INT24 | LONG | LONGLONG | NEWDECIMAL | YEAR => Some(JsonForm::FixedNumber),
        DATE | NEWDATE | ENUM | SET | VARCHAR | VAR_STRING | STRING | BLOB => Some(JsonForm::Text),
        _ => None,
    }
}

fn hexadecimal(raw: &[u8]) -> String {
    raw.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02X}"))
}

fn integer(raw: &[u8], unsigned: bool) -> Option<String> {
    let number = Bytes(raw).number(raw.len())?;
    if unsigned {
        return Some(number.to_string());
    }
    let unused = 64 - 8 * u32::try_from(raw.len()).ok()?;
    Some(((number << unused).cast_signed() >> unused).to_string())
}

/// The number of bytes for zero to nine decimal digits.
const DIGIT_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

fn decimal_bytes(precision: usize, scale: usize) -> Option<usize> {
    let bytes = |digits: usize| digits / 9 * 4 + DIGIT_BYTES[digits % 9];
    Some(bytes(precision.checked_sub(scale)?) + bytes(scale))
}

/// Parses groups of nine digits, the first and the last one shorter; big-endian, all bits inverted
/// for negative numbers, and the first bit inverted (`strings/decimal.c`, `decimal2bin`).
fn decimal(raw: &[u8], precision: usize, scale: usize) -> Option<String> {
    let whole = precision.checked_sub(scale)?;
    let negative = raw.first()? & 0x80 == 0;
    let mut bytes = raw.to_vec();
    bytes[0] ^= 0x80;
    if negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let mut rest = Bytes(&bytes);
    let mut group = |digits: usize| -> Option<String> {
        if digits == 0 {
            return Some(String::new());
        }
        let bytes = rest.take(DIGIT_BYTES[digits])?;
        let number = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        Some(format!("{number:0digits$}"))
    };
    let mut before = group(whole % 9)?;
    for _ in 0..whole / 9 {
        before += &group(9)?;
    }
    let mut after = String::new();
    for _ in 0..scale / 9 {
        after += &group(9)?;
    }
    after += &group(scale % 9)?;
    let before = before.trim_start_matches('0');
    let sign = if negative { "-" } else { "" };
    let before = if before.is_empty() { "0" } else { before };
    let point = if after.is_empty() { "" } else { "." };
    Some(format!("{sign}{before}{point}{after}"))
}
