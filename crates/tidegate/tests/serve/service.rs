//! Values from an HTTP service that reads the followed database.

use std::time::Duration;

use harness::http::{self, Response};

use crate::pricing::{Behaviour, PricingService};
use crate::stack::{DEADLINE, Node, Stack, bound_ms, now, tier};

/// The budget is long because a busy machine can't always prove a bound of one second. Without the governor a
/// commit always removes the entry; with it, budget may be spent while the service is slow.
const LOG_CONTRACT: &str = r#"
[governor]
mode = "off"

[data.service_price]
key       = "v1:pricing:price:{id}"
value     = { http = "http://SERVICE/prices/{id}", timeout = "20s" }
from      = { source = "shop", table = "products", columns = ["price_cents"] }
tags      = ["product-{id}"]
staleness = "60s"
owner     = "pricing"
approved  = { by = ["product"], on = 2026-11-02 }
"#;

fn node_with(stack: &Stack, service: &PricingService, edit: impl Fn(String) -> String) -> Node {
    launch(stack, service, edit).ready()
}

fn launch(stack: &Stack, service: &PricingService, edit: impl Fn(String) -> String) -> Node {
    let contract = edit(contract(service));
    stack.launch(|config| config + &contract)
}

fn contract(service: &PricingService) -> String {
    LOG_CONTRACT.replace("SERVICE", &service.address.to_string())
}

/// Returns an edit that removes `from` and `tags`, so that no log invalidates, with this budget.
fn without_log(staleness: &'static str) -> impl Fn(String) -> String {
    move |text| {
        let text = text.replace("from  ", "# from").replace("tags  ", "# tags");
        text.replace("\"60s\"", &format!("\"{staleness}\""))
    }
}

impl Node {
    fn price(&self, id: u32) -> Response {
        let path = format!("/data/service_price/{id}");
        http::get(self.data, &path, DEADLINE).expect("an answer")
    }
}

fn cents(answer: &Response) -> Option<u32> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    (answer.status == 200).then(|| body["price_cents"].as_u64())??.try_into().ok()
}

fn evidence(answer: &Response) -> Option<&str> {
    let freshness = answer.header("tidegate-freshness")?;
    freshness.split(',').find_map(|part| part.trim().strip_prefix("proof="))
}

#[test]
fn psql_update_refetches_service_value() {
    let stack = Stack::start();
    let service = PricingService::start(&stack);
    let nodes =
        [node_with(&stack, &service, |text| text), node_with(&stack, &service, |text| text)];
    let answer = nodes[0].price(42);
    assert_eq!((cents(&answer), evidence(&answer)), (Some(1042), Some("lease")), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    for node in &nodes {
        node.wait("a local copy", |node| tier(&node.price(42)) == Some("local"));
    }
    let requests = service.requests();
    let answer = nodes[1].price(42);
    assert_eq!((cents(&answer), evidence(&answer)), (Some(1042), Some("lease")));
    assert!(bound_ms(&answer).is_some());
    assert_eq!(service.requests(), requests, "both nodes have an entry");
    stack.price(42, 7);
    for node in &nodes {
        node.wait("the new price", |node| cents(&node.price(42)) == Some(7));
        node.wait("a local copy", |node| tier(&node.price(42)) == Some("local"));
        assert_eq!(cents(&node.price(42)), Some(7));
    }
    let services = &nodes[0].status()["services"]["service_price"];
    assert_eq!(services["proof"], "lease");
    assert!(services["http"].as_str().is_some_and(|http| http.ends_with("/prices/{id}")));
}

#[test]
fn service_absence_cached_until_insert() {
    let stack = Stack::start();
    let service = PricingService::start(&stack);
    let node = node_with(&stack, &service, |text| text);
    assert_eq!(node.price(900).status, 404);
    node.wait("remembered absence", |node| {
        let answer = node.price(900);
        answer.status == 404 && tier(&answer) == Some("local")
    });
    stack.sql("insert into products values (900, 'new', 1, 5, 'GBP')");
    node.wait("the new price", |node| cents(&node.price(900)) == Some(5));
}

#[test]
fn lagging_service_response_not_kept() {
    let stack = Stack::start();
    let service = PricingService::start(&stack);
    let node =
        node_with(&stack, &service, |text| text.replace("staleness", "lag = \"400ms\"\nstaleness"));
    service.set_behaviour(Behaviour::Lags(Duration::from_millis(400)));
    for price in 1..=12 {
        // The service has just read the old price and returns it until its lag is over.
        node.price(42);
        stack.price(42, price);
        // Reads meanwhile must not store the old value.
        node.wait("the new price", |node| cents(&node.price(42)) == Some(price));
        node.wait("a local copy", |node| {
            let answer = node.price(42);
            assert_eq!(cents(&answer), Some(price), "an older value came back: {answer:?}");
            tier(&answer) == Some("local")
        });
    }
}

#[test]
fn invalid_service_response_not_stored() {
    let stack = Stack::start();
    let service = PricingService::start(&stack);
    let node = node_with(&stack, &service, |text| {
        text.replace("\"20s\" }", "\"500ms\", max_body = 1000 }")
    });
    let http =
        |head: &str, body: &str| Behaviour::SendsRaw(format!("HTTP/1.1 {head}\r\n\r\n{body}"));
    let json = "content-type: application/json\r\ncontent-length";
    let large = format!("\"{}\"", "x".repeat(2_000));
    for (id, behaviour, status, detail) in [
        (1, Behaviour::SendsRaw("not HTTP\r\n\r\n".into()), 502, "does not speak HTTP"),
        (2, http(&format!("200 OK\r\n{json}: 400"), "{\"price"), 502, "ended its response early"),
        (3, Behaviour::Never, 504, "did not respond within"),
        (4, http("302 Found\r\nlocation: /x\r\ncontent-length: 0", ""), 502, "redirects"),
        (5, http(&format!("200 OK\r\n{json}: {}", large.len()), &large), 502, "value.max_body"),
        (6, http(&format!("200 OK\r\n{json}: 5"), "price"), 502, "invalid JSON"),
        (
            7,
            http("200 OK\r\ncontent-type: text/html\r\ncontent-length: 3", "<p>"),
            502,
            "text/html",
        ),
        (8, http("200 OK\r\ncontent-type: application/json", "{}"), 502, "without Content-Length"),
        (9, http("500 Oh\r\ncontent-length: 0", ""), 502, "returned 500"),
        (10, http("503 Busy\r\ncontent-length: 0", ""), 503, "returned 503"),
        (11, http("422 No\r\ncontent-length: 0", ""), 400, "rejects this ID"),
        (12, Behaviour::SendsRaw(String::new()), 503, "closed the connection"),
    ] {
        service.set_behaviour(behaviour.clone());
        let answer = node.price(id);
        assert_eq!(answer.status, status, "{behaviour:?}: {}", answer.text());
        assert!(answer.text().contains(detail), "{behaviour:?}: {}", answer.text());
        service.set_behaviour(Behaviour::Reads);
        node.wait("an answer", |node| cents(&node.price(id)) == Some(1000 + id));
    }
    node.wait("a copy", |node| tier(&node.price(1)) == Some("local"));
    drop(service);
    let answer = node.price(50);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(cents(&node.price(1)), Some(1001), "stored entries are still served");
}

#[test]
fn no_store_obeyed_and_age_counted() {
    let stack = Stack::start();
    let service = PricingService::start(&stack);
    let node = node_with(&stack, &service, |text| text);
    for (id, field) in
        [(1, "cache-control: no-store"), (2, "cache-control: private"), (3, "set-cookie: a=b")]
    {
        service.set_behaviour(Behaviour::AddsHeaders(format!("{field}\r\n")));
        for _ in 0..2 {
            let requests = service.requests();
            let answer = node.price(id);
            assert_eq!(
                (cents(&answer), tier(&answer)),
                (Some(1000 + id), Some("origin")),
                "{field}"
            );
            assert_eq!(service.requests(), requests + 1, "{field}");
        }
    }
    node.wait("the counter", |node| {
        node.metric_with("tidegate_service_unstored_responses_total", "no-store") == 2.0
    });
    service.set_behaviour(Behaviour::AddsHeaders("age: 20\r\n".to_owned()));
    let answer = node.price(4);
    assert!(bound_ms(&answer).is_some_and(|bound| bound >= 21_000.0), "{answer:?}");
    service.set_behaviour(Behaviour::AddsHeaders("surrogate-key: season-sale\r\n".to_owned()));
    node.wait("a copy", |node| tier(&node.price(5)) == Some("local"));
    let body = br#"{"tags":["season-sale"]}"#;
    let json = [("content-type", "application/json")];
    let receipt = http::request(node.admin, "POST", "/api/v1/purge", &json, body, DEADLINE);
    let receipt = receipt.expect("an answer");
    assert!(receipt.status < 300, "{}", receipt.text());
    let requests = service.requests();
    node.wait("another load", |node| node.price(5).status == 200 && service.requests() > requests);
}

#[test]
fn bound_without_log_is_age() {
    let stack = Stack::start();
    let service = PricingService::start(&stack);
    let nodes = [(); 2].map(|()| node_with(&stack, &service, without_log("3s")));
    let answer = nodes[0].price(42);
    assert_eq!((cents(&answer), evidence(&answer)), (Some(1042), Some("age")), "{answer:?}");
    stack.price(42, 7);
    let committed = now();
    // The entry ends with its budget, not with the commit.
    loop {
        let missed = committed.elapsed().as_secs_f64() * 1e3;
        let answers = nodes.each_ref().map(|node| node.price(42));
        for answer in &answers {
            let bound = bound_ms(answer).expect("its age");
            assert_eq!(evidence(answer), Some("age"));
            let within_bound = cents(answer) == Some(7) || bound >= missed;
            assert!(within_bound, "it misses the commit of {missed} ms ago: {answer:?}");
        }
        if answers.iter().all(|answer| cents(answer) == Some(7)) {
            break;
        }
        assert!(committed.elapsed() < DEADLINE, "{answers:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn concurrent_reads_share_one_request() {
    let stack = Stack::start();
    let service = PricingService::start(&stack);
    // The lease is in the shared tier, which needs a long timeout on a slow machine.
    let patient = |config: String| config.replace("[shared]", "[shared]\ntimeout = \"5s\"");
    let nodes = [(); 2].map(|()| stack.node_with(|config| patient(config) + &contract(&service)));
    service.set_behaviour(Behaviour::Delays(Duration::from_millis(500)));
    std::thread::scope(|scope| {
        for node in &nodes {
            for _ in 0..10 {
                scope.spawn(move || assert_eq!(cents(&node.price(42)), Some(1042)));
            }
        }
    });
    assert_eq!(service.requests(), 1);
}

#[test]
fn batch_within_connection_limit() {
    let stack = Stack::start();
    let service = PricingService::start(&stack);
    let node =
        node_with(&stack, &service, |text| text.replace("\"20s\" }", "\"20s\", connections = 8 }"));
    service.set_behaviour(Behaviour::Delays(Duration::from_millis(50)));
    let gets: Vec<String> = (1..=50).map(|id| format!("get=service_price/{id}")).collect();
    let path = format!("/data/batch?{}", gets.join("&"));
    let answer = http::get(node.data, &path, DEADLINE).expect("an answer");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let items = body["items"].as_array().expect("a list");
    for (item, id) in items.iter().zip(1..) {
        assert_eq!(item["value"]["price_cents"], 1000 + id, "{item}");
        assert_eq!(item["freshness"]["proof"], "lease", "{item}");
    }
    assert_eq!(items.len(), 50);
    assert_eq!(evidence(&answer), Some("lease"));
    assert!(service.peak() <= 8, "{} at once", service.peak());
    let answer = http::get(node.data, &format!("{path}&atomic"), DEADLINE).expect("an answer");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("service_price is read from a service"), "{}", answer.text());
}

#[test]
fn token_read_waits_out_service_lag() {
    let stack = Stack::start();
    let service = PricingService::start(&stack);
    let node =
        node_with(&stack, &service, |text| text.replace("staleness", "lag = \"300ms\"\nstaleness"));
    service.set_behaviour(Behaviour::Lags(Duration::from_millis(300)));
    for price in 1..=10 {
        node.price(42);
        stack.price(42, price);
        let token = http::request(node.admin, "POST", "/api/v1/token", &[], b"", DEADLINE);
        let token: serde_json::Value =
            serde_json::from_slice(&token.expect("an answer").body).expect("JSON");
        let token = [("tidegate-after", token["token"].as_str().expect("a token"))];
        let path = "/data/service_price/42";
        let answer =
            http::request(node.data, "GET", path, &token, b"", DEADLINE).expect("an answer");
        assert_eq!(cents(&answer), Some(price), "{answer:?}");
    }
}

#[test]
fn missing_secret_reported_at_start() {
    let stack = Stack::start();
    let service = PricingService::start(&stack);
    let mut node = launch(&stack, &service, |text| {
        let header = "headers = [\"Authorization: $TIDEGATE_TEST_NO_SUCH_SECRET\"]";
        text.replace("\"20s\" }", &format!("\"20s\", {header} }}"))
    });
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("data.service_price.value.headers"), "{output}");
    assert!(output.contains("TIDEGATE_TEST_NO_SUCH_SECRET, which is not set"), "{output}");
}
