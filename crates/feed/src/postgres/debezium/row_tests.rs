use contract::Cell;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn tables() -> Tables {
    let column = |name: &str, kind, identity, in_keys_or_tags| Column {
        name: name.to_owned(),
        kind,
        identity,
        in_keys_or_tags,
    };
    let columns = vec![
        column("id", Some(ValueKind::Integer), true, true),
        column("brand", Some(ValueKind::Text), false, true),
        column("price", Some(ValueKind::Numeric), false, false),
        column("seen", None, false, false),
    ];
    let table = Table { columns, forms: JsonForms::default() };
    let name = TableName::parse("products");
    Tables { source: "shop".into(), tables: [(name, table)].into() }
}

fn event(op: Op, before: Value, after: Value) -> RowEvent {
    let row = |value: Value| match value {
        Value::Object(row) => Some(row),
        _ => None,
    };
    let table = TableName::parse("products");
    RowEvent { table, op, before: row(before), after: row(after), schema: None }
}

fn change_of(event: &RowEvent) -> (RowChange, bool) {
    tables().change(event).expect("tracked")
}

#[test]
fn unsupported_columns_omitted() {
    let after = json!({ "id": 42, "brand": "x", "price": "BNI=", "seen": 1.5, "more": 1 });
    let (change, parsed) = change_of(&event(Op::Update, Value::Null, after));
    assert!(parsed && change.old.is_none() && change.op == Op::Update);
    let new = change.new.expect("present");
    assert_eq!(new.get("id"), Some(&Cell::Text("42".into())));
    assert_eq!(new.get("brand"), Some(&Cell::Text("x".into())));
    assert_eq!(new.len(), 2, "without a price of unknown scale and an unsupported type: {new:?}");
}

#[test]
fn old_row_reduced_to_identity() {
    // Debezium fills in the other columns.
    let before = json!({ "id": 42, "brand": null, "price": null, "seen": 0 });
    let (change, parsed) = change_of(&event(Op::Delete, before, Value::Null));
    assert!(parsed && change.op == Op::Delete && change.new.is_none());
    let old = change.old.expect("present");
    assert_eq!((old.get("id"), old.len()), (Some(&Cell::Text("42".into())), 1));
}

#[test]
fn missing_key_column_changes_whole_table() {
    for (op, before, after) in [
        (Op::Insert, Value::Null, json!({ "brand": "x" })),
        (Op::Insert, Value::Null, json!({ "id": "42", "brand": "x" })),
        (Op::Update, Value::Null, json!({ "id": 42, "brand": 7 })),
        (Op::Update, json!({ "brand": "x" }), json!({ "id": 42, "brand": "x" })),
        (Op::Update, Value::Null, Value::Null),
        (Op::Delete, Value::Null, Value::Null),
    ] {
        let (change, parsed) = change_of(&event(op, before, after));
        assert!(!parsed && change.op == Op::Truncate, "{change:?}");
    }
    let (change, parsed) = change_of(&event(Op::Truncate, Value::Null, Value::Null));
    assert!(parsed && change.op == Op::Truncate && &*change.table == "public.products");
    let other = RowEvent {
        table: TableName::parse("audit.products"),
        ..event(Op::Delete, Value::Null, Value::Null)
    };
    assert!(tables().change(&other).is_none());
}

#[test]
fn schema_decodes_decimal() {
    let field = |name: &str, kind: Value| {
        let mut field = kind;
        field["field"] = name.into();
        field
    };
    let decimal = json!({ "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
                          "parameters": { "scale": "2", "connect.decimal.precision": "10" } });
    let row = json!([field("id", json!({ "type": "int32" })), field("price", decimal)]);
    let schema = json!({ "type": "struct", "fields": [
        field("before", json!({ "type": "struct", "fields": row })),
        field("after", json!({ "type": "struct", "fields": row })) ] });
    let after = json!({ "id": 42, "brand": "x", "price": "BNI=" });
    let event =
        RowEvent { schema: Some(Arc::new(schema)), ..event(Op::Insert, Value::Null, after) };
    let new = change_of(&event).0.new.expect("present");
    assert_eq!(new.get("price"), Some(&Cell::Text("12.34".into())));
}

proptest! {
    #[test]
    fn any_row_never_panics(
        texts in prop::collection::vec("[a-zA-Z0-9+/=]{0,40}", 3),
        numbers in prop::collection::vec(any::<i64>(), 3),
        scale in any::<i32>(),
    ) {
        let schema = json!({ "fields": [{ "field": "after", "fields": [
            { "field": "price", "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
              "parameters": { "scale": scale.to_string() } }, 1] }, null] });
        let after = json!({ "id": numbers[0], "brand": texts[0], "price": texts[1], "seen": texts[2] });
        let event = RowEvent {
            schema: Some(Arc::new(schema)),
            ..event(Op::Insert, json!({ "id": numbers[1] }), after)
        };
        let _ = change_of(&event);
    }
}
