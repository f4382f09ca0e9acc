use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse_one(message: &Value) -> Result<Message, String> {
    let mut messages = parse(message.to_string().as_bytes(), "postgres")?;
    assert_eq!(messages.len(), 1, "{messages:?}");
    Ok(messages.remove(0))
}

/// The example of an update in Debezium's documentation of the connector, with transaction metadata.
fn update() -> Value {
    json!({
        "schema": { "type": "struct", "fields": [] },
        "payload": {
            "before": { "id": 1 },
            "after": { "id": 1, "first_name": "Anne Marie", "last_name": "Kretchmar",
                       "email": "annek@noanswer.org" },
            "source": {
                "version": "3.0.5.Final", "connector": "postgresql", "name": "PostgreSQL_server",
                "ts_ms": 1_559_033_904_863_u64, "snapshot": "false", "db": "postgres",
                "schema": "public", "table": "customers", "txId": 556, "lsn": 24_023_128,
                "sequence": "[\"24023119\",\"24023128\"]", "xmin": null
            },
            "op": "u", "ts_ms": 1_465_584_025_523_u64,
            "transaction": { "id": "556:24023128", "total_order": 1, "data_collection_order": 1 }
        }
    })
}

#[test]
fn update_parsed_with_predecessor() {
    let Ok(Message::Event(event)) = parse_one(&update()) else { panic!("an event") };
    assert_eq!((event.xid, event.ordinal, event.after), (556, 1, Some(Lsn(24_023_119))));
    assert_eq!(event.committed_us, 1_559_033_904_863_000);
    let Content::Row(row) = event.content else { panic!("a row") };
    assert_eq!((row.table.to_string().as_str(), row.op), ("public.customers", Op::Update));
    assert_eq!(row.after.expect("present")["email"], "annek@noanswer.org");
    assert!(row.schema.is_some());

    let bare = update()["payload"].clone();
    assert!(matches!(parse_one(&bare), Ok(Message::Event(_))), "schemas may be switched off");
    let list = json!([bare, update()]).to_string();
    assert_eq!(parse(list.as_bytes(), "postgres").expect("good").len(), 2);
}

/// The examples of the documentation.
#[test]
fn transaction_boundaries_parsed() {
    let begin = json!({ "status": "BEGIN", "id": "571:53195829", "ts_ms": 1_486_500_577_125_u64,
                        "event_count": null, "data_collections": null });
    assert_eq!(parse_one(&begin), Ok(Message::Begin { xid: 571 }));
    let end = json!({ "status": "END", "id": "571:53195832", "ts_ms": 1_486_500_577_691_u64,
                      "event_count": 2, "data_collections": [
                          { "data_collection": "s1.a", "event_count": 1 },
                          { "data_collection": "s2.a", "event_count": 1 }] });
    assert_eq!(parse_one(&end), Ok(Message::End { xid: 571, end: Lsn(53_195_832), count: 2 }));
    let wrapped = json!({ "schema": null, "payload": end });
    assert_eq!(parse_one(&wrapped), parse_one(&end));
    let old = json!({ "status": "END", "id": "571", "event_count": 2 });
    assert!(parse_one(&old).expect_err("too old").contains("Debezium 2.0"));
}

#[test]
fn heartbeat_and_tombstone_ignored() {
    let (null, beat) = (Value::Null, json!({ "ts_ms": 1 }));
    let tombstone = json!({ "schema": null, "payload": null });
    for message in [null, beat.clone(), tombstone, json!({ "schema": {}, "payload": beat })] {
        assert_eq!(parse_one(&message), Ok(Message::Ignored), "{message}");
    }
    assert_eq!(parse(b" \n", "postgres"), Ok(Vec::new()));
}

#[test]
fn incremental_snapshot_ignored() {
    let read = |snapshot: &str| {
        let mut message = update();
        message["payload"]["op"] = "r".into();
        message["payload"]["source"]["snapshot"] = snapshot.into();
        parse_one(&message)
    };
    for snapshot in ["true", "first", "last", "first_in_data_collection"] {
        assert_eq!(read(snapshot), Ok(Message::Snapshot));
    }
    assert_eq!(read("incremental"), Ok(Message::Ignored));
}

#[test]
fn log_messages_parsed() {
    let mut message = update();
    let payload = &mut message["payload"];
    payload["op"] = "m".into();
    payload["message"] = json!({ "prefix": "tidegate", "content": "e30=" });
    let Ok(Message::Event(event)) = parse_one(&message) else { panic!("an event") };
    let expected = Content::Message { prefix: "tidegate".into(), content: b"{}".to_vec() };
    assert_eq!(event.content, expected);
    message["payload"]["message"]["content"] = "7b7d!".into();
    assert!(parse_one(&message).expect_err("hex").contains("binary.handling.mode"));
    // Outside a transaction, the message is itself the last commit.
    message["payload"]["transaction"] = Value::Null;
    assert!(parse_one(&message).is_err(), "in a transaction without metadata");
    message["payload"]["source"]["sequence"] = r#"["24023128","24023128"]"#.into();
    assert_eq!(parse_one(&message), Ok(Message::NonTransactional { at: Lsn(24_023_128) }));
}

#[test]
fn error_names_location() {
    let with = |path: &[&str], value: Value| {
        let mut message = update();
        let mut at = &mut message["payload"];
        for name in path {
            at = &mut at[*name];
        }
        *at = value;
        parse_one(&message).expect_err("malformed")
    };
    for (path, value, expected) in [
        (&["transaction"][..], Value::Null, "provide.transaction.metadata=true"),
        (&["transaction", "total_order"], json!("x"), "total_order"),
        (&["source"], json!(1), "source"),
        (&["source", "connector"], json!("mysql"), "PostgreSQL connector"),
        (&["source", "db"], json!("other"), "\"other\""),
        (&["source", "table"], Value::Null, "source.table"),
        (&["op"], json!("x"), "op = \"x\""),
    ] {
        let error = with(path, value);
        assert!(error.contains(expected), "{path:?}: {error}");
    }
    let list = json!([update(), 7]).to_string();
    let error = parse(list.as_bytes(), "postgres").expect_err("malformed");
    assert!(error.starts_with("message 1:"), "{error}");
    assert!(parse(b"{\"a\":", "postgres").expect_err("cut off").contains("not JSON"));
}

/// Messages of Debezium's connectors for MySQL and MariaDB, as they are in its documentation. None may be taken for one of
/// PostgreSQL's, or be skipped; their heartbeats and tombstones say nothing.
#[test]
fn events_of_binary_logs_refused_with_remedy() {
    let source = |connector: &str, snapshot: &str| {
        json!({
            "version": "3.0.5.Final", "connector": connector, "name": "shop", "ts_ms": 1_733_000_000_000_u64,
            "snapshot": snapshot, "db": "postgres", "sequence": null, "table": "products", "server_id": 1,
            "gtid": "0-1-42", "file": "binlog.000042", "pos": 400, "row": 0, "thread": 7, "query": null
        })
    };
    let row = json!({"id": 18_446_744_073_709_551_615_u64, "price": "MC4=", "state": "in"});
    let mut messages = Vec::new();
    for (connector, id) in [
        ("mysql", "24bc7850-2c16-11e6-a073-0242ac110002:8"),
        ("mysql", "24bc7850-2c16-11e6-a073-0242ac110002:tag:8"),
        ("mysql", "file=binlog.000042,pos=400"),
        ("mariadb", "0-1-42"),
    ] {
        let inside = json!({"id": id, "total_order": 1, "data_collection_order": 1});
        for (op, snapshot) in [
            ("c", "false"),
            ("u", "false"),
            ("d", "false"),
            ("t", "false"),
            ("r", "true"),
            ("r", "incremental"),
        ] {
            messages.push(json!({
                "before": row, "after": row, "op": op, "source": source(connector, snapshot),
                "transaction": inside, "ts_ms": 1_733_000_000_001_u64
            }));
        }
        messages.push(json!({"status": "BEGIN", "id": id, "ts_ms": 1, "event_count": null}));
        messages.push(json!({"status": "END", "id": id, "ts_ms": 1, "event_count": 2}));
        messages.push(json!({
            "source": source(connector, "false"), "ts_ms": 1, "databaseName": "shop", "schemaName": null,
            "ddl": "ALTER TABLE products ADD x INT", "tableChanges": []
        }));
    }
    for message in &messages {
        for message in [message.clone(), json!({"schema": {"type": "struct"}, "payload": message})]
        {
            let error = parse_one(&message).expect_err("of another database");
            assert!(
                error.contains("only events of the PostgreSQL connector belong to it"),
                "{message}: {error}"
            );
        }
    }
    let mixed = json!([update(), messages[0]]).to_string();
    assert!(parse(mixed.as_bytes(), "postgres").is_err(), "none of the messages is taken");
    for silent in [json!(null), json!({"ts_ms": 1}), json!({"schema": null, "payload": null})] {
        assert_eq!(parse_one(&silent), Ok(Message::Ignored));
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "op",
        "source",
        "payload",
        "schema",
        "transaction",
        "id",
        "total_order",
        "status",
        "event_count",
        "before",
        "after",
        "message",
        "prefix",
        "content",
        "connector",
        "db",
        "lsn",
        "sequence",
        "table",
        "ts_ms",
        "snapshot",
    ]);
    let texts = prop::sample::select(vec![
        "c",
        "u",
        "d",
        "r",
        "t",
        "m",
        "BEGIN",
        "END",
        "postgresql",
        "postgres",
        "public",
        "x",
        "",
        "1:2",
        "18446744073709551616:1",
        "[\"1\",\"2\"]",
        "[null,[]]",
        "////",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..8).prop_map(|fields| {
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_never_panics(message in any_json()) {
        let _ = parse(message.to_string().as_bytes(), "postgres");
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, "postgres");
    }

    /// One part of a valid message is replaced by any JSON.
    #[test]
    fn altered_message_never_panics(part in 0_usize..9, value in any_json()) {
        let mut message = update();
        let payload = &mut message["payload"];
        let parts = ["before", "after", "source", "op", "transaction", "message", "status", "id", "schema"];
        payload[parts[part]] = value;
        let _ = parse(message.to_string().as_bytes(), "postgres");
    }
}
