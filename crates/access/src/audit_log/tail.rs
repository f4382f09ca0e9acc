//! The end of a log's file: its last record, and the rest of one that a crash has cut.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::record::{Anchor, Hash, check_line};

/// The number of bytes that are read at once, from the end of the file.
const CHUNK_BYTES: u64 = 64 << 10;

/// The number of characters of a cut record that its repair shows.
const SHOWN_CHARS: usize = 200;

/// The end of a file.
#[derive(Debug)]
pub(super) struct Tail {
    /// The last record; `None`: the file has none.
    pub(super) last: Option<Anchor>,
    /// The end of the last complete line, in bytes.
    pub(super) end: u64,
    /// The bytes after it.
    pub(super) cut: Option<CutRecord>,
}

/// A record of which a crash has left a part. It was never acknowledged, so its action was not begun.
#[derive(Debug)]
pub(super) struct CutRecord {
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// The beginning, for people.
    pub(super) text: String,
}

/// Why the end can't be used.
#[derive(Debug)]
pub(super) enum TailError {
    Io(io::Error),
    /// The last complete line is not the record that was written.
    Damaged(String),
}

impl From<io::Error> for TailError {
    fn from(err: io::Error) -> Self {
        Self::Io(err)
    }
}

/// Reads the end of a file of `len` bytes.
pub(super) fn read_tail(file: &File, len: u64) -> Result<Tail, TailError> {
    let end = line_end_before(file, len)?;
    let cut = match read(file, end, len)? {
        bytes if bytes.is_empty() => None,
        bytes => Some(CutRecord {
            bytes: len - end,
            sha256: Hash::of(&bytes).to_string(),
            text: String::from_utf8_lossy(&bytes).chars().take(SHOWN_CHARS).collect(),
        }),
    };
    if end == 0 {
        return Ok(Tail { last: None, end, cut });
    }
    let start = line_end_before(file, end - 1)?;
    let record = check_line(&read(file, start, end - 1)?).map_err(TailError::Damaged)?;
    Ok(Tail { last: Some(record.anchor), end, cut })
}

/// Returns the position after the last line end before `before`; 0 without one.
fn line_end_before(file: &File, before: u64) -> io::Result<u64> {
    let mut to = before;
    while to > 0 {
        let from = to.saturating_sub(CHUNK_BYTES);
        if let Some(at) = read(file, from, to)?.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        to = from;
    }
    Ok(0)
}

fn read(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(to - from).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}
