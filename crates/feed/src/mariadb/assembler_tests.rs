use std::sync::Arc;

use coherence::{Clock, Mono, Subject};
use proptest::prelude::*;

use super::*;
use crate::mariadb::parser::parse;
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

impl CommitAssembler {
    fn parse_and_handle(&mut self, raw: &RawEvent, end: Lsn) -> GroupState {
        self.handle(raw, parse(raw), end)
    }
}

fn assembler() -> CommitAssembler {
    renewing(&[])
}

/// An assembler that also delivers these columns.
fn renewing(renewed: &[&str]) -> CommitAssembler {
    let columns = ["id", "name", "price"].map(str::to_owned).to_vec();
    let tracked = TrackedTable {
        table: "products".into(),
        columns,
        key_columns: vec![],
        old_columns: vec![],
        every_column: false,
    };
    let mut options = MariaDbOptions::new(
        "shop",
        "mysql://h/shop".parse().unwrap(),
        vec![tracked],
        Arc::new(StoppedClock),
    );
    let renewed = renewed.iter().map(|name| (*name).to_owned()).collect();
    options.renewed.insert("products".to_owned(), renewed);
    CommitAssembler::new(&options, "shop")
}

fn raw(kind: u8, data: &[u8]) -> RawEvent {
    RawEvent { kind, end: 1, timestamp: 1_700_000_000, data: data.to_vec(), ..RawEvent::default() }
}

/// `products(id int, name varchar(100), price decimal(5,2))` with number 7.
fn table_map() -> RawEvent {
    let mut data = vec![7, 0, 0, 0, 0, 0, 1, 0, 4];
    data.extend(b"shop\0\x08products\0");
    data.extend([3, 3, 15, 246, 4, 100, 0, 5, 2, 0b110]);
    data.extend([1, 1, 0, 4, 14, 2]);
    data.extend(b"id\x04name\x05price");
    raw(19, &data)
}

/// 42, 'Tea', -12.50 → 42, null, 3.00
fn update() -> RawEvent {
    let mut data = vec![7, 0, 0, 0, 0, 0, 1, 0, 3, 0b111, 0b111];
    data.extend([0, 42, 0, 0, 0, 3]);
    data.extend(b"Tea");
    // decimal(5,2): two bytes before the point, one after it; all inverted.
    data.extend([0x7f, !12, !50]);
    data.extend([0b010, 42, 0, 0, 0, 0x80, 3, 0]);
    raw(24, &data)
}

const BEGIN: [u8; 13] = [0; 13];

fn commit_of(rows: &RawEvent) -> Option<Commit> {
    commit_by(assembler(), rows)
}

fn commit_by(mut assembler: CommitAssembler, rows: &RawEvent) -> Option<Commit> {
    for event in [&raw(162, &BEGIN), &table_map(), rows] {
        assert!(
            matches!(assembler.parse_and_handle(event, Lsn(1)), GroupState::Open),
            "the group continues"
        );
    }
    match assembler.parse_and_handle(&raw(16, &[0; 8]), Lsn(2)) {
        GroupState::Ended(commit) => commit,
        GroupState::Open => panic!("a commit ends a group"),
    }
}

#[test]
fn row_event_parsed() {
    let commit = commit_of(&update()).expect("a commit");
    assert_eq!((commit.lsn, commit.committed_us), (Lsn(2), 1_700_000_000_000_000));
    let [change] = &commit.changes[..] else { panic!("{commit:?}") };
    let texts = |row: &Option<Row>| {
        let row = row.as_ref().expect("an image").iter();
        row.map(|(name, cell)| format!("{name}={}", cell.text().unwrap_or("null")))
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(&change.old), ["id=42", "name=Tea", "price=-12.50"]);
    assert_eq!(texts(&change.new), ["id=42", "name=null", "price=3.00"]);
}

#[test]
fn renewed_columns_optional_and_in_every_spelling() {
    let commit = commit_by(renewing(&["PRICE", "dropped"]), &update()).expect("a commit");
    let [change] = &commit.changes[..] else { panic!("{commit:?}") };
    let new = change.new.as_ref().expect("an image");
    let text = |name: &str| new.get(name).and_then(Cell::text);
    assert_eq!((text("price"), text("PRICE"), text("dropped")), (Some("3.00"), Some("3.00"), None));
    let mut forms = change.forms.to_vec();
    forms.sort_by(|one, other| one.0.cmp(&other.0));
    let number = |name: &str| (name.to_owned(), contract::JsonForm::FixedNumber);
    let text = ("name".to_owned(), contract::JsonForm::Text);
    assert_eq!(forms, [number("PRICE"), number("id"), text, number("price")]);
}

#[test]
fn truncated_row_invalidates_everything() {
    let whole = update();
    for length in 12..whole.data.len() {
        let commit = commit_of(&raw(24, &whole.data[..length])).expect("a commit");
        assert_eq!(commit.changes[0].op, Op::Truncate, "{length}");
        assert_eq!(commit.messages[0].subjects, [Subject::Everything], "{length}");
    }
}

#[test]
fn unknown_event_invalidates_everything() {
    const INCIDENT: u8 = 26;
    let GroupState::Ended(Some(commit)) =
        assembler().parse_and_handle(&raw(INCIDENT, &[1, 0]), Lsn(1))
    else {
        panic!("the commit ends at once");
    };
    assert_eq!(commit.messages[0].subjects, [Subject::Everything]);
    assert!(matches!(
        assembler().parse_and_handle(&raw(161, &[]), Lsn(1)),
        GroupState::Ended(None)
    ));
}

#[test]
fn statement_in_another_encoding_checks_tables_again() {
    // No variables, the database `shop`, and a text in latin1.
    let mut data = vec![0; 8];
    data.extend([4, 0, 0, 0, 0]);
    data.extend(b"shop\0alter table products comment '\xe9'");
    let mut assembler = assembler();
    let GroupState::Ended(Some(commit)) = assembler.parse_and_handle(&raw(2, &data), Lsn(1)) else {
        panic!("the commit ends at once");
    };
    assert_eq!(commit.messages[0].subjects, [Subject::Everything]);
    assert!(assembler.has_altered_table());
}

proptest! {
    #[test]
    fn any_bytes_never_panic(
        kinds in proptest::collection::vec(any::<u8>(), 1..6),
        data in proptest::collection::vec(any::<u8>(), 0..80),
        at in 0_usize..60,
        with in any::<u8>(),
    ) {
        let mut assembler = assembler();
        for mut event in [raw(162, &BEGIN), table_map(), update()] {
            // One byte is replaced.
            if let Some(byte) = event.data.get_mut(at) {
                *byte = with;
            }
            assembler.parse_and_handle(&event, Lsn(1));
        }
        assembler.parse_and_handle(&table_map(), Lsn(1));
        for kind in kinds {
            assembler.parse_and_handle(&raw(kind, &data), Lsn(1));
            // Rows of the described table.
            let mut rows = vec![7, 0, 0, 0, 0, 0, 1, 0, 3, with];
            rows.extend(&data);
            assembler.parse_and_handle(&raw(23 + kind % 3, &rows), Lsn(1));
        }
    }
}
