use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse_one(message: &Value) -> Result<Message, String> {
    let mut messages = parse(message.to_string().as_bytes())?;
    assert_eq!(messages.len(), 1, "{messages:?}");
    Ok(messages.remove(0))
}

fn gtid(text: &str) -> Gtid {
    text.parse().expect("an id")
}

/// The example of an update in Debezium's documentation of the connector for MySQL, with transaction metadata and
/// global transaction ids.
fn update() -> Value {
    json!({
        "schema": { "type": "struct", "fields": [] },
        "payload": {
            "before": { "id": 1004, "first_name": "Anne", "last_name": "Kretchmar",
                        "email": "annek@noanswer.org" },
            "after": { "id": 1004, "first_name": "Anne Marie", "last_name": "Kretchmar",
                       "email": "annek@noanswer.org" },
            "source": {
                "version": "2.7.4.Final", "connector": "mysql", "name": "mysql-server-1",
                "ts_ms": 1_465_581_029_100_u64, "ts_us": 1_465_581_029_100_000_u64,
                "ts_ns": 1_465_581_029_100_000_000_u64, "snapshot": "false", "db": "inventory",
                "sequence": null, "table": "customers", "server_id": 223_344,
                "gtid": "3E11FA47-71CA-11E1-9E33-C80AA9429562:23", "file": "mysql-bin.000003",
                "pos": 484, "row": 0, "thread": 7, "query": null
            },
            "op": "u", "ts_ms": 1_465_581_029_523_u64,
            "transaction": { "id": "3E11FA47-71CA-11E1-9E33-C80AA9429562:23", "total_order": 1,
                             "data_collection_order": 1 }
        }
    })
}

/// The same as the connector for MariaDB writes it.
fn of_mariadb() -> Value {
    let mut message = update();
    let payload = &mut message["payload"];
    payload["source"]["connector"] = "mariadb".into();
    payload["source"]["gtid"] = "0-1-42".into();
    payload["transaction"]["id"] = "0-1-42".into();
    message
}

#[test]
fn update_parsed_with_its_place() {
    for (message, id, of_mysql) in [
        (update(), "3E11FA47-71CA-11E1-9E33-C80AA9429562:23", true),
        (of_mariadb(), "0-1-42", false),
    ] {
        let Ok(Message::Row { ordinal: 1, position, row }) = parse_one(&message) else {
            panic!("a row: {message}")
        };
        let at = Lsn(3 << 32 | 485);
        let committed_us = 1_465_581_029_100_000;
        assert_eq!(position, EventPosition { id: gtid(id), at, committed_us });
        assert_eq!((row.table.to_string().as_str(), row.op), ("inventory.customers", Op::Update));
        assert_eq!((row.of_mysql, row.schema.is_some()), (of_mysql, true));
        assert_eq!(row.after.expect("present")["first_name"], "Anne Marie");
        assert_eq!(row.before.expect("present")["first_name"], "Anne");
        // Schemas may be switched off, and a body may be a list.
        let bare = message["payload"].clone();
        let list = json!([bare, message]).to_string();
        assert_eq!(parse(list.as_bytes()).expect("good").len(), 2);
    }
}

#[test]
fn transaction_boundaries_parsed() {
    let begin = json!({ "status": "BEGIN", "id": "0e4d5dcd-a33b-11ea-80f1-02010a22a99e:10",
                        "ts_ms": 1_486_500_577_125_u64, "event_count": null,
                        "data_collections": null });
    let id = gtid("0e4d5dcd-a33b-11ea-80f1-02010a22a99e:10");
    assert_eq!(parse_one(&begin), Ok(Message::Begin { id: id.clone() }));
    let end = json!({ "status": "END", "id": "0e4d5dcd-a33b-11ea-80f1-02010a22a99e:10",
                      "ts_ms": 1_486_500_577_691_u64, "event_count": 2, "data_collections": [
                          { "data_collection": "inventory.products", "event_count": 1 },
                          { "data_collection": "inventory.customers", "event_count": 1 }] });
    assert_eq!(
        parse_one(&json!({ "schema": null, "payload": end })),
        Ok(Message::End { id, count: 2 })
    );
    let without_ids = json!({ "status": "BEGIN", "id": "file=mysql-bin.000003,pos=154" });
    let err = parse_one(&without_ids).expect_err("no id");
    assert!(err.contains("global transaction ids") && err.contains("connector.adapter"), "{err}");
}

/// The example of a schema change in Debezium's documentation.
#[test]
fn schema_change_parsed_as_statement() {
    let change = |snapshot: &str, gtid: Value| {
        json!({
            "schema": {},
            "payload": {
                "source": { "version": "3.0.5.Final", "connector": "mariadb", "name": "shop",
                            "ts_ms": 1_651_535_750_218_u64, "snapshot": snapshot, "db": "inventory",
                            "table": "customers", "server_id": 223_344, "gtid": gtid,
                            "file": "binlog.000003", "pos": 570, "row": 0 },
                "ts_ms": 1_651_535_750_218_u64, "databaseName": "inventory", "schemaName": null,
                "ddl": "ALTER TABLE customers ADD middle_name varchar(255) AFTER first_name",
                "tableChanges": []
            }
        })
    };
    let Ok(Message::Statement { position, statement }) =
        parse_one(&change("false", "0-1-7".into()))
    else {
        panic!("a statement")
    };
    assert_eq!((position.id, position.at), (gtid("0-1-7"), Lsn(3 << 32 | 571)));
    let Statement::Ddl { database, text } = statement else { panic!("a definition") };
    assert!(database == "inventory" && text.starts_with("ALTER TABLE customers"), "{text}");
    assert_eq!(parse_one(&change("true", Value::Null)), Ok(Message::Ignored));
    assert!(parse_one(&change("false", Value::Null)).expect_err("no id").contains("global"));
}

#[test]
fn truncate_parsed_with_and_without_transaction() {
    let mut message = of_mariadb()["payload"].clone();
    message["op"] = "t".into();
    (message["before"], message["after"]) = (Value::Null, Value::Null);
    for transaction in [message["transaction"].clone(), Value::Null] {
        message["transaction"] = transaction;
        let Ok(Message::Statement { position, statement: Statement::Truncates(table) }) =
            parse_one(&message)
        else {
            panic!("a truncation")
        };
        assert_eq!(
            (position.id, table.to_string().as_str()),
            (gtid("0-1-42"), "inventory.customers")
        );
    }
}

#[test]
fn heartbeat_tombstone_and_snapshot_ignored() {
    let beat = json!({ "ts_ms": 1, "ts_us": 1000, "ts_ns": 1_000_000 });
    let tombstone = json!({ "schema": null, "payload": null });
    let mut snapshot = update();
    snapshot["payload"]["op"] = "r".into();
    snapshot["payload"]["transaction"] = Value::Null;
    let mut others = vec![Value::Null, beat, tombstone];
    for kind in ["true", "first", "last_in_data_collection", "last", "incremental"] {
        snapshot["payload"]["source"]["snapshot"] = kind.into();
        others.push(snapshot.clone());
    }
    for message in others {
        assert_eq!(parse_one(&message), Ok(Message::Ignored), "{message}");
    }
    assert_eq!(parse(b" \n"), Ok(Vec::new()));
}

#[test]
fn unsuitable_messages_name_the_remedy() {
    let edited = |path: &str, value: Value| {
        let mut message = update();
        *message.pointer_mut(path).expect("a field") = value;
        message
    };
    for (message, remedy) in [
        (json!(7), "is not a message"),
        (json!({ "specversion": "1.0" }), "debezium.format.value=json"),
        (json!({ "id": 42, "price": 7 }), "unwrap"),
        (edited("/payload/transaction", Value::Null), "provide.transaction.metadata=true"),
        (edited("/payload/transaction/id", json!("file=b.000001,pos=4")), "global transaction ids"),
        (edited("/payload/source/connector", json!("postgresql")), "MariaDB"),
        (edited("/payload/source/file", json!("binlog")), "not a position"),
        (edited("/payload/source/pos", json!(-1)), "not a position"),
        (edited("/payload/source/table", Value::Null), "source.table"),
        (edited("/payload/op", json!("m")), "op = \"m\""),
    ] {
        let err = parse_one(&message).expect_err("unsuitable");
        assert!(err.contains(remedy), "{err}");
    }
    assert!(parse(b"{").expect_err("no JSON").contains("debezium.format.value=json"));
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        pointer in 0_usize..12,
        value in prop_oneof![
            Just(Value::Null), any::<i64>().prop_map(Value::from), ".{0,20}".prop_map(Value::from),
            Just(json!([])), Just(json!({})),
        ],
    ) {
        let _ = parse(&bytes);
        let pointers = ["/payload", "/schema", "/payload/op", "/payload/source", "/payload/source/pos",
                        "/payload/source/file", "/payload/source/db", "/payload/source/snapshot",
                        "/payload/transaction", "/payload/transaction/total_order", "/payload/before",
                        "/payload/transaction/id"];
        let mut message = of_mariadb();
        *message.pointer_mut(pointers[pointer]).expect("a field") = value;
        let _ = parse(message.to_string().as_bytes());
    }
}
