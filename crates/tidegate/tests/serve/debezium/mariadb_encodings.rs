//! Values of MariaDB in the encodings of Debezium's settings raise the tags that loads carry.

use harness::http;
use serde_json::{Value, json};

use super::mariadb::{REPORTS_ALL, Shop};
use super::relay::{SECRET, post};
use crate::mariadb::Stack;
use crate::stack::{DEADLINE, tier};

/// Type, value in SQL, Debezium's JSON of it, and its schema (without `field`).
fn encodings() -> Vec<(&'static str, &'static str, Value, Value)> {
    let plain = |kind: &str| json!({ "type": kind });
    let named = |kind: &str, name: &str| json!({ "type": kind, "name": name });
    let decimal = |scale: &str| {
        json!({ "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
                "parameters": { "scale": scale, "connect.decimal.precision": "9" } })
    };
    let label = |kind: &str| {
        json!({ "type": "string", "name": format!("io.debezium.data.{kind}"),
                "parameters": { "allowed": "s,m,it's" } })
    };
    let text = || plain("string");
    vec![
        ("boolean", "true", json!(1), plain("int16")),
        ("tinyint unsigned", "255", json!(255), plain("int16")),
        ("int", "-2147483648", json!(i32::MIN), plain("int32")),
        ("int unsigned", "4294967295", json!(4_294_967_295_u32), plain("int64")),
        ("bigint", "-9223372036854775808", json!(i64::MIN), plain("int64")),
        ("bigint unsigned", "18446744073709551615", json!(-1), plain("int64")),
        ("bigint unsigned", "18446744073709551614", json!("AP/////////+"), decimal("0")),
        ("decimal(9,2)", "12.34", json!("BNI="), decimal("2")),
        ("decimal(9,2)", "1.5", json!("AJY="), decimal("2")),
        ("decimal(9,2)", "-0.05", json!("-0.05"), text()),
        ("decimal(9,0)", "1234", json!("1234"), text()),
        ("char(5)", "'ab'", json!("ab"), text()),
        ("varchar(5)", "'ab '", json!("ab "), text()),
        ("varchar(9)", "'茶 🛒'", json!("茶 🛒"), text()),
        ("longtext", "'x'", json!("x"), text()),
        ("json", "'{\"a\":  1}'", json!("{\"a\":  1}"), named("string", "io.debezium.data.Json")),
        ("enum('s','m','it''s')", "'it''s'", json!("it's"), label("Enum")),
        ("set('s','m')", "'s,m'", json!("s,m"), label("EnumSet")),
        ("date", "'2026-11-30'", json!(20_787), named("int32", "io.debezium.time.Date")),
        ("date", "'1969-12-31'", json!(-1), named("int32", "org.apache.kafka.connect.data.Date")),
        ("year", "2155", json!(2155), named("int32", "io.debezium.time.Year")),
        ("year", "0", json!(1900), named("int32", "io.debezium.time.Year")),
    ]
}

#[test]
fn every_mariadb_encoding_raises_the_loaded_tags() {
    let encodings = encodings();
    let columns: Vec<String> =
        encodings.iter().enumerate().map(|(at, (kind, ..))| format!("c{at} {kind}")).collect();
    let values: Vec<&str> = encodings.iter().map(|(_, value, ..)| *value).collect();
    let stack = Stack::start();
    stack.sql(&format!(
        "create table typed(id int primary key, {}) character set utf8mb4; \
         insert into typed select seq, {} from seq_1_to_2",
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
    let mut shop = Shop::on(stack, 1, REPORTS_ALL, |config| config + &contracts);
    let data = shop.nodes[0].data;
    let get = |at: usize| http::get(data, &format!("/data/t{at}/1"), DEADLINE).expect("an answer");
    for at in 0..encodings.len() {
        shop.nodes[0].wait("a cached answer", |_| tier(&get(at)) == Some("local"));
    }
    // From now on only the test posts.
    shop.relay = None;
    let node = &shop.nodes[0];
    let (file, offset, id) = shop.next_transaction();
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
            "source": { "connector": "mariadb", "db": "shop", "table": "typed", "snapshot": "false",
                        "file": file, "pos": offset },
            "transaction": { "id": id, "total_order": 1 }
        }
    });
    let breaks = node.metric("tidegate_events_breaks_total");
    let answer = post(node.admin, "shop", SECRET, event.to_string().as_bytes()).expect("an answer");
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(node.metric("tidegate_feed_malformed_total"), 0.0, "every value was read");
    let now = node.metric("tidegate_events_breaks_total");
    assert_eq!(now, breaks, "not everything counts as changed");
    for (at, (kind, value, ..)) in encodings.iter().enumerate() {
        let what = format!("an invalidation of {kind} {value}");
        node.wait(&what, |_| tier(&get(at)) != Some("local"));
    }
}
