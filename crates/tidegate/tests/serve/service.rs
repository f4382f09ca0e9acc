//! Values that an HTTP service gives, which reads the database that is followed.

use std::time::Duration;

use harness::http::{self, Answer};

use crate::pricing::{Does, Pricing};
use crate::stack::{Node, SOON, Stack, bound_ms, now, tier};

/// A machine that stands still for a moment proves nothing within a second. Without the governor a
/// commit always removes; with it, a budget may be spent while the service is slow.
const FED: &str = r#"
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

fn node_with(stack: &Stack, service: &Pricing, edit: impl Fn(String) -> String) -> Node {
    launch(stack, service, edit).ready()
}

fn launch(stack: &Stack, service: &Pricing, edit: impl Fn(String) -> String) -> Node {
    let contract = edit(contract(service));
    stack.launch(|config| config + &contract)
}

fn contract(service: &Pricing) -> String {
    FED.replace("SERVICE", &service.address.to_string())
}

/// Nothing tells of changes; its answers may be so old.
fn unfed(staleness: &'static str) -> impl Fn(String) -> String {
    move |text| {
        let text = text.replace("from  ", "# from").replace("tags  ", "# tags");
        text.replace("\"60s\"", &format!("\"{staleness}\""))
    }
}

impl Node {
    fn price(&self, id: u32) -> Answer {
        let path = format!("/data/service_price/{id}");
        http::get(self.data, &path, SOON).expect("an answer")
    }
}

fn cents(answer: &Answer) -> Option<u32> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    (answer.status == 200).then(|| body["price_cents"].as_u64())??.try_into().ok()
}

fn rests_on(answer: &Answer) -> Option<&str> {
    let freshness = answer.header("tidegate-freshness")?;
    freshness.split(',').find_map(|part| part.trim().strip_prefix("proof="))
}

#[test]
fn an_update_typed_into_psql_is_in_the_next_answer_of_a_service() {
    let stack = Stack::start();
    let service = Pricing::start(&stack);
    let nodes =
        [node_with(&stack, &service, |text| text), node_with(&stack, &service, |text| text)];
    let answer = nodes[0].price(42);
    assert_eq!((cents(&answer), rests_on(&answer)), (Some(1042), Some("lease")), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    for node in &nodes {
        node.wait("a copy of its own", |node| tier(&node.price(42)) == Some("local"));
    }
    let requests = service.requests();
    let answer = nodes[1].price(42);
    assert_eq!((cents(&answer), rests_on(&answer)), (Some(1042), Some("lease")));
    assert!(bound_ms(&answer).is_some());
    assert_eq!(service.requests(), requests, "both nodes keep it");
    stack.price(42, 7);
    for node in &nodes {
        node.wait("the new price", |node| cents(&node.price(42)) == Some(7));
        node.wait("a copy of it", |node| tier(&node.price(42)) == Some("local"));
        assert_eq!(cents(&node.price(42)), Some(7));
    }
    let services = &nodes[0].status()["services"]["service_price"];
    assert_eq!(services["proof"], "lease");
    assert!(services["http"].as_str().is_some_and(|http| http.ends_with("/prices/{id}")));
}

#[test]
fn what_a_service_does_not_have_is_remembered_until_it_is_inserted() {
    let stack = Stack::start();
    let service = Pricing::start(&stack);
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
fn a_service_that_lags_never_leaves_an_old_value_behind() {
    let stack = Stack::start();
    let service = Pricing::start(&stack);
    let node =
        node_with(&stack, &service, |text| text.replace("staleness", "lag = \"400ms\"\nstaleness"));
    service.does(Does::Lags(Duration::from_millis(400)));
    for price in 1..=12 {
        // The service has just read the old price, and keeps it for as long as it may.
        node.price(42);
        stack.price(42, price);
        // Whatever is asked meanwhile, the old value does not stay.
        node.wait("the new price", |node| cents(&node.price(42)) == Some(price));
        node.wait("a copy of it", |node| {
            let answer = node.price(42);
            assert_eq!(cents(&answer), Some(price), "it was there already: {answer:?}");
            tier(&answer) == Some("local")
        });
    }
}

#[test]
fn what_a_service_answers_that_is_no_value_is_an_error_and_mends_by_itself() {
    let stack = Stack::start();
    let service = Pricing::start(&stack);
    let node = node_with(&stack, &service, |text| {
        text.replace("\"20s\" }", "\"500ms\", max_body = 1000 }")
    });
    let http = |head: &str, body: &str| Does::Sends(format!("HTTP/1.1 {head}\r\n\r\n{body}"));
    let json = "content-type: application/json\r\ncontent-length";
    let large = format!("\"{}\"", "x".repeat(2_000));
    for (id, does, status, says) in [
        (1, Does::Sends("what is this\r\n\r\n".into()), 502, "does not speak HTTP"),
        (2, http(&format!("200 OK\r\n{json}: 400"), "{\"price"), 502, "broke off"),
        (3, Does::Never, 504, "did not answer within"),
        (4, http("302 Found\r\nlocation: /x\r\ncontent-length: 0", ""), 502, "redirects"),
        (5, http(&format!("200 OK\r\n{json}: {}", large.len()), &large), 502, "value.max_body"),
        (6, http(&format!("200 OK\r\n{json}: 5"), "price"), 502, "no JSON"),
        (
            7,
            http("200 OK\r\ncontent-type: text/html\r\ncontent-length: 3", "<p>"),
            502,
            "text/html",
        ),
        (8, http("200 OK\r\ncontent-type: application/json", "{}"), 502, "how long"),
        (9, http("500 Oh\r\ncontent-length: 0", ""), 502, "answered 500"),
        (10, http("503 Busy\r\ncontent-length: 0", ""), 503, "answered 503"),
        (11, http("422 No\r\ncontent-length: 0", ""), 400, "takes this for no id"),
        (12, Does::Sends(String::new()), 503, "closed the connection"),
    ] {
        service.does(does.clone());
        let answer = node.price(id);
        assert_eq!(answer.status, status, "{does:?}: {}", answer.text());
        assert!(answer.text().contains(says), "{does:?}: {}", answer.text());
        service.does(Does::Reads);
        node.wait("an answer", |node| cents(&node.price(id)) == Some(1000 + id));
    }
    node.wait("a copy", |node| tier(&node.price(1)) == Some("local"));
    drop(service);
    let answer = node.price(50);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(cents(&node.price(1)), Some(1001), "what is stored is answered");
}

#[test]
fn what_may_not_be_kept_is_not_and_what_was_kept_on_the_way_is_older() {
    let stack = Stack::start();
    let service = Pricing::start(&stack);
    let node = node_with(&stack, &service, |text| text);
    for (id, field) in
        [(1, "cache-control: no-store"), (2, "cache-control: private"), (3, "set-cookie: a=b")]
    {
        service.does(Does::Says(format!("{field}\r\n")));
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
    node.wait("a count of it", |node| {
        node.metric_with("tidegate_service_unstored_responses_total", "no-store") == 2.0
    });
    service.does(Does::Says("age: 20\r\n".to_owned()));
    let answer = node.price(4);
    assert!(bound_ms(&answer).is_some_and(|bound| bound >= 21_000.0), "{answer:?}");
    service.does(Does::Says("surrogate-key: season-sale\r\n".to_owned()));
    node.wait("a copy", |node| tier(&node.price(5)) == Some("local"));
    let order = br#"{"tags":["season-sale"]}"#;
    let json = [("content-type", "application/json")];
    let receipt = http::request(node.admin, "POST", "/api/v1/purge", &json, order, SOON);
    let receipt = receipt.expect("an answer");
    assert!(receipt.status < 300, "{}", receipt.text());
    let requests = service.requests();
    node.wait("another load", |node| node.price(5).status == 200 && service.requests() > requests);
}

#[test]
fn without_a_log_an_answer_is_as_old_as_its_age_and_ends_with_its_budget() {
    let stack = Stack::start();
    let service = Pricing::start(&stack);
    let nodes = [(); 2].map(|()| node_with(&stack, &service, unfed("3s")));
    let answer = nodes[0].price(42);
    assert_eq!((cents(&answer), rests_on(&answer)), (Some(1042), Some("age")), "{answer:?}");
    stack.price(42, 7);
    let committed = now();
    // No commit ends it, its budget does.
    loop {
        let missed = committed.elapsed().as_secs_f64() * 1e3;
        let answers = nodes.each_ref().map(|node| node.price(42));
        for answer in &answers {
            let bound = bound_ms(answer).expect("its age");
            assert_eq!(rests_on(answer), Some("age"));
            let honest = cents(answer) == Some(7) || bound >= missed;
            assert!(honest, "it misses what was committed {missed} ms ago: {answer:?}");
        }
        if answers.iter().all(|answer| cents(answer) == Some(7)) {
            break;
        }
        assert!(committed.elapsed() < SOON, "{answers:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn all_readers_of_all_nodes_wait_for_one_request() {
    let stack = Stack::start();
    let service = Pricing::start(&stack);
    // The lease is in the shared tier, which has to be waited for where the machine is slow.
    let patient = |config: String| config.replace("[shared]", "[shared]\ntimeout = \"5s\"");
    let nodes = [(); 2].map(|()| stack.node_with(|config| patient(config) + &contract(&service)));
    service.does(Does::Takes(Duration::from_millis(500)));
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
fn a_batch_asks_for_as_many_at_once_as_there_may_be_connections() {
    let stack = Stack::start();
    let service = Pricing::start(&stack);
    let node =
        node_with(&stack, &service, |text| text.replace("\"20s\" }", "\"20s\", connections = 8 }"));
    service.does(Does::Takes(Duration::from_millis(50)));
    let gets: Vec<String> = (1..=50).map(|id| format!("get=service_price/{id}")).collect();
    let path = format!("/data/batch?{}", gets.join("&"));
    let answer = http::get(node.data, &path, SOON).expect("an answer");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let items = body["items"].as_array().expect("a list");
    for (item, id) in items.iter().zip(1..) {
        assert_eq!(item["value"]["price_cents"], 1000 + id, "{item}");
        assert_eq!(item["freshness"]["proof"], "lease", "{item}");
    }
    assert_eq!(items.len(), 50);
    assert_eq!(rests_on(&answer), Some("lease"));
    assert!(service.most() <= 8, "{} at once", service.most());
    let answer = http::get(node.data, &format!("{path}&atomic"), SOON).expect("an answer");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("service_price is given by a service"), "{}", answer.text());
}

#[test]
fn who_has_written_sees_it_though_the_service_lags() {
    let stack = Stack::start();
    let service = Pricing::start(&stack);
    let node =
        node_with(&stack, &service, |text| text.replace("staleness", "lag = \"300ms\"\nstaleness"));
    service.does(Does::Lags(Duration::from_millis(300)));
    for price in 1..=10 {
        node.price(42);
        stack.price(42, price);
        let token = http::request(node.admin, "POST", "/api/v1/token", &[], b"", SOON);
        let token: serde_json::Value =
            serde_json::from_slice(&token.expect("an answer").body).expect("JSON");
        let token = [("tidegate-after", token["token"].as_str().expect("a token"))];
        let path = "/data/service_price/42";
        let answer = http::request(node.data, "GET", path, &token, b"", SOON).expect("an answer");
        assert_eq!(cents(&answer), Some(price), "{answer:?}");
    }
}

#[test]
fn a_secret_that_is_not_there_is_told_at_start() {
    let stack = Stack::start();
    let service = Pricing::start(&stack);
    let mut node = launch(&stack, &service, |text| {
        let header = "headers = [\"Authorization: $TIDEGATE_TEST_NO_SUCH_SECRET\"]";
        text.replace("\"20s\" }", &format!("\"20s\", {header} }}"))
    });
    let status = node.process.wait(SOON).expect("it ends");
    let said = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("data.service_price.value.headers"), "{said}");
    assert!(said.contains("TIDEGATE_TEST_NO_SUCH_SECRET, which is not set"), "{said}");
}
