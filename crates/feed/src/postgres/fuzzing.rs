//! Entry points of fuzz tests: the parsers of the log, with their invariants.

use std::sync::Arc;

use bytes::Bytes;
use coherence::{Clock, Lsn};

use super::assembler::CommitAssembler;
use super::log_message::StreamMessage;
use super::options::PostgresOptions;
use crate::message::LogMessage;
use crate::table::TrackedTable;

/// Handles the messages of one transaction, each after a byte with its length, and requires a commit or nothing.
///
/// # Panics
/// Where an invariant does not hold.
pub fn transaction(bytes: &[u8], clock: Arc<dyn Clock>) {
    let Ok(url) = "postgres://h/shop".parse() else { return };
    let tracked = TrackedTable {
        table: "products".into(),
        columns: vec!["id".into(), "name".into()],
        key_columns: vec!["id".into()],
        old_columns: vec!["id".into()],
        every_column: false,
    };
    let mut assembler =
        CommitAssembler::new(&PostgresOptions::new("shop", url, vec![tracked], clock));
    assembler.begin(7, 0);
    let mut rest = bytes;
    while let Some((&size, after)) = rest.split_first() {
        let (message, next) = after.split_at(after.len().min(size.into()));
        assembler.change(message);
        assembler.message(message);
        let _ = StreamMessage::parse(&Bytes::copy_from_slice(message));
        rest = next;
    }
    assert!(assembler.is_open(), "only a commit ends a transaction");
    let _ = assembler.commit(Lsn(9));
    assert!(!assembler.is_open());
}

/// Parses a purge request in the log.
///
/// # Panics
/// Where an invariant does not hold.
pub fn purge_request(bytes: &[u8]) {
    if let Ok(message) = LogMessage::from_json(bytes)
        && let Ok(json) = message.to_json()
    {
        let again = LogMessage::from_json(json.as_bytes()).expect("it has its form");
        assert_eq!(again.subjects, message.subjects);
    }
}
