use std::sync::Arc;

use coherence::{Clock, Mono, Subject};
use proptest::prelude::*;

use super::*;
use crate::table::TrackedTable;

struct StoppedClock;

impl Clock for StoppedClock {
    fn mono(&self) -> Mono {
        Mono(0)
    }

    fn wall_ms(&self) -> u64 {
        0
    }
}

fn assembler() -> CommitAssembler {
    let tracked = TrackedTable {
        table: "products".into(),
        columns: vec!["id".into()],
        key_columns: vec!["id".into()],
        old_columns: vec!["id".into()],
        every_column: false,
    };
    CommitAssembler::new(&PostgresOptions::new(
        "shop",
        "postgres://h/shop".parse().unwrap(),
        vec![tracked],
        Arc::new(StoppedClock),
    ))
}

#[test]
fn untracked_transaction_yields_no_commit() {
    let mut assembler = assembler();
    assembler.begin(7, 0);
    assert!(assembler.is_open());
    assert_eq!(assembler.commit(Lsn(9)), None);
    assert!(!assembler.is_open());
}

#[test]
fn malformed_change_invalidates_everything() {
    let mut assembler = assembler();
    assembler.begin(7, 0);
    assembler.change(b"I\0\0\0\x01N\0\x01t\0\0\0\x01x");
    let (commit, xid) = assembler.commit(Lsn(9)).unwrap();
    assert_eq!(xid, 7);
    assert_eq!(commit.committed_us, EPOCH_US as u64);
    assert_eq!(commit.changes[0].op, Op::Truncate);
    assert_eq!(commit.messages[0].subjects, [Subject::Everything]);
}

proptest! {
    #[test]
    fn any_message_order_accepted(
        messages in proptest::collection::vec(
            (0_u8..4, proptest::collection::vec(any::<u8>(), 0..60)),
            0..20,
        ),
    ) {
        let mut assembler = assembler();
        for (at, (kind, bytes)) in messages.iter().enumerate() {
            match kind {
                0 => assembler.begin(at as u32, i64::MIN),
                1 => assembler.change(bytes),
                2 => assembler.message(bytes),
                _ => {
                    let _ = assembler.commit(Lsn(at as u64));
                }
            }
        }
    }
}
