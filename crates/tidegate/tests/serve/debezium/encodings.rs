//! Values in the encodings of Debezium's settings raise the tags that loads carry.

use harness::http;
use serde_json::{Value, json};

use super::relay::{Relay, SECRET, post};
use super::{DEADLINE, Shop, Stack, tier};

/// Type, value in SQL, Debezium's JSON of it, and its schema (without `field`).
fn encodings() -> Vec<(&'static str, &'static str, Value, Value)> {
    let plain = |kind: &str| json!({ "type": kind });
    let named = |kind: &str, name: &str| json!({ "type": kind, "name": name });
    let decimal = json!({ "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
                          "parameters": { "scale": "2", "connect.decimal.precision": "9" } });
    let scaled = named("struct", "io.debezium.data.VariableScaleDecimal");
    let time = |kind, name: &str| named(kind, &format!("io.debezium.time.{name}"));
    vec![
        ("boolean", "true", json!(true), plain("boolean")),
        ("bigint", "9223372036854775807", json!(9_223_372_036_854_775_807_i64), plain("int64")),
        ("oid", "4294967295", json!(4_294_967_295_u32), plain("int64")),
        ("numeric(9,2)", "12.34", json!("BNI="), decimal.clone()),
        ("numeric(9,2)", "1.50", json!("AJY="), decimal),
        ("numeric", "1.50", json!({ "scale": 2, "value": "AJY=" }), scaled.clone()),
        ("numeric", "0.001", json!({ "scale": 3, "value": "AQ==" }), scaled),
        ("numeric", "1.5", json!("1.50"), plain("string")),
        ("char(5)", "'ab'", json!("ab   "), plain("string")),
        ("varchar(5)", "'ab '", json!("ab "), plain("string")),
        ("mood", "'so so'", json!("so so"), named("string", "io.debezium.data.Enum")),
        ("label", "'x'", json!("x"), plain("string")),
        (
            "price",
            "3",
            json!("ASw="),
            json!({ "type": "bytes",
            "name": "org.apache.kafka.connect.data.Decimal", "parameters": { "scale": "2" } }),
        ),
        (
            "uuid",
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
            json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            named("string", "io.debezium.data.Uuid"),
        ),
        ("bytea", "'\\x00ff'", json!("AP8="), plain("bytes")),
        ("date", "'2026-11-30'", json!(20_787), time("int32", "Date")),
        ("time(3)", "'10:00:00.5'", json!(36_000_500), time("int32", "Time")),
        ("time", "'10:00:00.000001'", json!(36_000_000_001_i64), time("int64", "MicroTime")),
        ("timestamp(3)", "'1970-01-02 00:00:00.5'", json!(86_400_500), time("int64", "Timestamp")),
        ("timestamp", "'1969-12-31 23:59:59.999999'", json!(-1), time("int64", "MicroTimestamp")),
        (
            "timestamp",
            "'1970-01-01 00:00:01'",
            json!(1_000_000_000),
            time("int64", "NanoTimestamp"),
        ),
        (
            "timestamptz",
            "'2026-11-30 10:00:00.5+05'",
            json!("2026-11-30T05:00:00.500Z"),
            time("string", "ZonedTimestamp"),
        ),
        ("inet", "'10.0.0.1/32'", json!("10.0.0.1"), plain("string")),
        ("cidr", "'10.0.0.0/8'", json!("10.0.0.0/8"), plain("string")),
        ("macaddr", "'08-00-2b-01-02-03'", json!("08:00:2b:01:02:03"), plain("string")),
    ]
}

#[test]
fn every_encoding_raises_the_loaded_tags() {
    let encodings = encodings();
    let columns: Vec<String> =
        encodings.iter().enumerate().map(|(at, (kind, ..))| format!("c{at} {kind}")).collect();
    let values: Vec<&str> = encodings.iter().map(|(_, value, ..)| *value).collect();
    let stack = Stack::start();
    Relay::set_up(&stack);
    stack.sql(&format!(
        "create type mood as enum ('so so'); create domain label as text; \
         create domain price as numeric(9,2); create table typed(id int primary key, {}); \
         alter table typed replica identity full; \
         insert into typed select n, {} from generate_series(1, 2) n; \
         alter publication dbz_publication add table typed; \
         alter role shop set timezone = 'Asia/Kathmandu'; alter role shop set bytea_output = 'escape'; \
         alter role shop set datestyle = 'German'",
        columns.join(", "),
        values.join(", ")
    ));
    // One contract for each type: the answer for row 1 is about row 2, which it shares the tag with.
    let contracts: String = (0..encodings.len())
        .map(|at| {
            format!(
                "\n[data.t{at}]\nkey = \"v1:catalog:t{at}:{{id}}\"\n\
                 value = \"select c{at} from typed where id = $id\"\n\
                 from = {{ source = \"shop\", table = \"typed\", key = \"id\", columns = [\"c{at}\"] }}\n\
                 tags = [\"c{at}-{{c{at}}}\"]\nstaleness = \"60s\"\nowner = \"t\"\n\
                 approved = {{ by = [\"product\"], on = 2026-11-02 }}\n"
            )
        })
        .collect();
    let mut shop = Shop::on(stack, 1, |config| config + &contracts);
    let node = &shop.nodes[0];
    let data = node.data;
    let get = |at: usize| http::get(data, &format!("/data/t{at}/1"), DEADLINE).expect("an answer");
    for at in 0..encodings.len() {
        node.wait("a cached answer", |_| tier(&get(at)) == Some("local"));
    }
    // From now on only the test posts.
    shop.relay = None;
    let node = &shop.nodes[0];
    let last = shop.memory.lock().last_commit();
    let mut row = json!({ "id": 2 });
    let mut fields = vec![json!({ "type": "int32", "field": "id" })];
    for (at, (_, _, value, schema)) in encodings.iter().enumerate() {
        row[format!("c{at}")] = value.clone();
        let mut field = schema.clone();
        field["field"] = json!(format!("c{at}"));
        fields.push(field);
    }
    let side = |name: &str| json!({ "type": "struct", "field": name, "fields": fields });
    let event = json!({
        "schema": { "type": "struct", "fields": [side("before"), side("after")] },
        "payload": {
            "op": "d", "before": row, "after": null,
            "source": { "connector": "postgresql", "db": "shop", "schema": "public", "table": "typed",
                        "lsn": last + 1, "sequence": format!("[\"{last}\",\"{}\"]", last + 1) },
            "transaction": { "id": format!("1:{}", last + 1), "total_order": 1 }
        }
    });
    let answer = post(node.admin, "shop", SECRET, event.to_string().as_bytes()).expect("an answer");
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(node.metric("tidegate_feed_malformed_total"), 0.0, "every value was read");
    for (at, (kind, value, ..)) in encodings.iter().enumerate() {
        let what = format!("an invalidation of {kind} {value}");
        node.wait(&what, |_| tier(&get(at)) != Some("local"));
    }
}
