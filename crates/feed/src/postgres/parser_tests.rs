use proptest::prelude::*;

use super::*;

/// Encodes messages like PostgreSQL.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn new(kind: u8) -> Self {
        Self(vec![kind])
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes()).bytes(&[0])
    }

    fn tuple(mut self, fields: &[Option<&str>]) -> Self {
        self = self.bytes(&(fields.len() as u16).to_be_bytes());
        for field in fields {
            self = match field {
                None => self.bytes(b"n"),
                Some("~") => self.bytes(b"u"),
                Some(text) => self
                    .bytes(b"t")
                    .bytes(&(text.len() as u32).to_be_bytes())
                    .bytes(text.as_bytes()),
            };
        }
        self
    }
}

fn products() -> Vec<u8> {
    Writer::new(b'R')
        .bytes(&7_u32.to_be_bytes())
        .text("public")
        .text("products")
        .bytes(b"d")
        .bytes(&2_u16.to_be_bytes())
        .bytes(&[1])
        .text("id")
        .bytes(&23_u32.to_be_bytes())
        .bytes(&[0xff; 4])
        .bytes(&[0])
        .text("name")
        .bytes(&25_u32.to_be_bytes())
        .bytes(&[0xff; 4])
        .0
}

fn update() -> Vec<u8> {
    let relation = 7_u32.to_be_bytes();
    Writer::new(b'U')
        .bytes(&relation)
        .bytes(b"K")
        .tuple(&[Some("1"), None])
        .bytes(b"N")
        .tuple(&[Some("2"), Some("~")])
        .0
}

#[test]
fn relation_parsed() {
    let columns = vec![
        Column { key: true, name: "id", type_oid: 23 },
        Column { key: false, name: "name", type_oid: 25 },
    ];
    let relation = Relation { id: 7, schema: "public", name: "products", columns };
    assert_eq!(parse(&products()), Ok(Message::Relation(relation)));
}

#[test]
fn key_change_with_unchanged_toast_parsed() {
    let old = Some(OldTuple::Key(vec![Field::Text(b"1"), Field::Null]));
    let new = vec![Field::Text(b"2"), Field::Unchanged];
    assert_eq!(parse(&update()), Ok(Message::Update { relation: 7, old, new }));
}

#[test]
fn truncate_of_two_tables_parsed() {
    let bytes = Writer::new(b'T')
        .bytes(&2_u32.to_be_bytes())
        .bytes(&[1])
        .bytes(&7_u32.to_be_bytes())
        .bytes(&9_u32.to_be_bytes())
        .0;
    assert_eq!(parse(&bytes), Ok(Message::Truncate { relations: vec![7, 9] }));
}

#[test]
fn rollback_of_unsent_transaction_ignored() {
    let abort = Writer::new(b'A').bytes(&751_u32.to_be_bytes()).bytes(&752_u32.to_be_bytes()).0;
    assert_eq!(parse(&abort), Ok(Message::Other));
}

#[test]
fn error_names_type_and_location() {
    let error = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
    assert_eq!(error(b"?"), "a message of type '?' is malformed at its type");
    assert_eq!(
        error(b"I\0\0\0\x07N\0\x01x"),
        "a message of type 'I' is malformed at the kind of a value"
    );
    assert!(error(b"").contains("its type"));
}

#[test]
fn truncated_message_rejected() {
    for whole in [products(), update()] {
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length} of {}", whole.len());
        }
    }
}

#[test]
fn excessive_count_allocates_nothing() {
    let truncate = Writer::new(b'T').bytes(&[0xff; 4]).bytes(&[0]).bytes(&[0; 8]).0;
    assert!(parse(&truncate).is_err());
    let text = Writer::new(b'I').bytes(&[0, 0, 0, 7]).bytes(b"N\0\x01t\xff\xff\xff\xff").0;
    assert!(parse(&text).is_err());
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_bytes_after_type_never_panic(
        kind in prop_oneof![Just(b'R'), Just(b'I'), Just(b'U'), Just(b'D'), Just(b'T')],
        rest in proptest::collection::vec(prop_oneof![0_u8..4, any::<u8>(), Just(b'N'), Just(b't')], 0..100),
    ) {
        let _ = parse(&Writer::new(kind).bytes(&rest).0);
    }

    #[test]
    fn corrupt_message_never_panics(
        which in any::<bool>(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = if which { products() } else { update() };
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = parse(&bytes);
    }
}
