//! The entry point of fuzz tests: the parsers of the binary log.

use std::sync::Arc;

use coherence::{Clock, Lsn};

use super::assembler::CommitAssembler;
use super::options::MariaDbOptions;
use super::parser::{RawEvent, parse};
use crate::table::TrackedTable;

/// Handles events, each after a byte with its kind and a byte with its length.
pub fn events(bytes: &[u8], clock: Arc<dyn Clock>) {
    let Ok(url) = "mysql://h/shop".parse() else { return };
    let tracked = TrackedTable {
        table: "products".into(),
        columns: ["id", "name", "price"].map(str::to_owned).to_vec(),
        key_columns: vec![],
        old_columns: vec![],
        every_column: false,
    };
    let mut assembler =
        CommitAssembler::new(&MariaDbOptions::new("shop", url, vec![tracked], clock), "shop");
    let mut rest = bytes;
    while let [kind, size, after @ ..] = rest {
        let (data, next) = after.split_at(after.len().min(usize::from(*size)));
        let event = RawEvent { kind: *kind, end: 1, data: data.to_vec(), ..RawEvent::default() };
        assembler.handle(&event, parse(&event), Lsn(1));
        rest = next;
    }
}
