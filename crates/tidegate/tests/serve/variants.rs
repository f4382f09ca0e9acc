//! Variants: a price per currency, which readers name in the query string and the statement as `$currency`.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use harness::http::{self, Response};

use crate::mariadb;
use crate::stack::{DEADLINE, Node, Stack, tier};

const PRICES: &str = "create table prices(product_id int, currency varchar(3), cents int, \
                      primary key (product_id, currency)); \
                      insert into prices values (42, 'GBP', 1042), (42, 'EUR', 1242), (43, 'GBP', 1043)";

/// Replaces the contract of the example by one with a variant.
fn with_variant(config: &str) -> String {
    let (head, _) = config.split_once("[data.product_price]").expect("it is there");
    format!(
        r#"{head}
[data.product_price]
key = "v1:catalog:price:{{id}}:{{currency}}"
value = "select cents from prices where product_id = $id and currency = $currency"
from = {{ source = "shop", table = "prices", key = "product_id", columns = ["cents", "currency"] }}
tags = ["product-{{id}}"]
staleness = "1s"
unproven = "read-origin"
owner = "pricing"
approved = {{ by = ["product"], on = 2026-11-02 }}
"#
    )
}

fn get(node: &Node, path: &str) -> Response {
    http::get(node.data, path, DEADLINE).expect("an answer")
}

fn cents(node: &Node, item: &str) -> Option<u64> {
    let answer = get(node, &format!("/data/product_price/{item}"));
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    (answer.status == 200).then(|| body["cents"].as_u64())?
}

/// Each variant has its own value, and a commit on any row of an id invalidates them all.
fn assert_variants(node: &Node, run: &dyn Fn(&str)) {
    let both = ["42?currency=GBP", "42?currency=EUR"];
    assert_eq!(both.map(|item| cents(node, item)), [Some(1042), Some(1242)]);
    let hit =
        |item: &str| tier(&get(node, &format!("/data/product_price/{item}"))) == Some("local");
    node.wait("two hits", |node| both.iter().all(|item| cents(node, item).is_some() && hit(item)));
    run("update prices set cents = 1300 where product_id = 42 and currency = 'EUR'");
    node.wait("the new price", |node| cents(node, both[1]) == Some(1300));
    assert_eq!(cents(node, both[0]), Some(1042));
    assert_eq!(get(node, "/data/product_price/42?currency=USD").status, 404);
    run("insert into prices values (42, 'USD', 1400)");
    node.wait("the new variant", |node| cents(node, "42?currency=USD") == Some(1400));
    for (item, part) in [
        ("42", "{currency}"),
        ("42?curency=GBP", "its variants are: currency"),
        ("42?currency=", "is empty"),
        ("42?currency=GBP&currency=EUR", "twice"),
    ] {
        let answer = get(node, &format!("/data/product_price/{item}"));
        assert_eq!(answer.status, 400, "{item}: {}", answer.text());
        assert!(answer.text().contains(part), "{item}: {}", answer.text());
    }
    // Quotes are data, in every database.
    let quoted = get(node, "/data/product_price/42?currency=%27%20or%201%3D1%20--%20");
    assert_eq!(quoted.status, 404, "{}", quoted.text());
    let batch = "/data/batch?atomic&get=product_price/42?currency=GBP\
                 &get=product_price/43%3Fcurrency%3DGBP";
    let batch = get(node, batch);
    assert_eq!(batch.status, 200, "{}", batch.text());
    let body: serde_json::Value = serde_json::from_slice(&batch.body).expect("JSON");
    let values = body["items"].as_array().expect("items");
    let values: Vec<_> = values.iter().map(|item| item["value"]["cents"].as_u64()).collect();
    assert_eq!(values, [Some(1042), Some(1043)]);
}

#[test]
fn variants_read_on_postgres() {
    let stack = Stack::start();
    stack.sql(PRICES);
    let node = stack.node_with(|config| with_variant(&config));
    assert_variants(&node, &|sql| drop(stack.sql(sql)));
}

#[test]
fn variants_read_on_mariadb() {
    let stack = mariadb::Stack::start();
    stack.sql(PRICES);
    let node = stack.launch_with(|config| with_variant(&config)).ready();
    assert_variants(&node, &|sql| drop(stack.sql(sql)));
}

/// A type that refuses texts would turn a reader's mistake into a broken origin.
#[test]
fn variant_of_other_type_refused_at_start() {
    let stack = Stack::start();
    stack.sql("create type currency as enum ('GBP', 'EUR')");
    stack.sql(&PRICES.replace("varchar(3)", "currency"));
    let mut node = stack.launch(|config| with_variant(&config));
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("`currency::text = $currency`"), "{output}");
    let cast = |config: String| {
        with_variant(&config).replace("and currency = $currency", "and currency::text = $currency")
    };
    let node = stack.node_with(cast);
    assert_eq!(cents(&node, "42?currency=GBP"), Some(1042));
    assert_eq!(get(&node, "/data/product_price/42?currency=XXX").status, 404);
}

/// Answers one request with its target.
fn answer_with_target(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = BufReader::new(stream.try_clone()?).lines();
    let first = head.next().transpose()?.unwrap_or_default();
    while head.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let body = serde_json::json!({ "target": first.split(' ').nth(1) }).to_string();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

#[test]
fn variants_read_from_service() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer_with_target(stream));
        }
    });
    let contract = format!(
        r#"
[data.quote]
key = "v1:pricing:quote:{{id}}:{{currency}}"
value = {{ http = "http://{address}/{{currency}}/quotes?id={{id}}", timeout = "20s" }}
staleness = "60s"
owner = "pricing"
approved = {{ by = ["product"], on = 2026-11-02 }}
"#
    );
    let stack = Stack::start();
    let node = stack.node_with(|config| config + &contract);
    for (currency, path) in [("GBP", "/GBP/"), ("a%2Fb", "/a%2Fb/")] {
        let answer = get(&node, &format!("/data/quote/42?currency={currency}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.text(), format!("{{\"target\":\"{path}quotes?id=42\"}}"));
    }
    assert_eq!(get(&node, "/data/quote/42").status, 400);
    assert_eq!(get(&node, "/data/quote/42?currency=..").status, 400);
}
