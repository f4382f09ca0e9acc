//! Orders of one SKU by many customers at one instant.

use super::rehearsal::{Rehearsal, hold, pay_persistently};
use crate::sale::load::at_once;
use crate::sale::stand::{Client, Node, kind};
use crate::stack::DEADLINE;

const CUSTOMERS: usize = 64;

/// Returns the number of calls of an operation to the ledger, and of the requests in them.
fn calls(nodes: &[(Node, Client)], operation: &str) -> (u64, u64) {
    let texts = nodes.iter().map(|(node, _)| {
        harness::http::get(node.admin, "/metrics", DEADLINE).expect("an answer").text()
    });
    let texts: Vec<String> = texts.collect();
    let sum = |name: &str| {
        let start = format!("tidegate_sale_batch_requests_{name}{{operation=\"{operation}\"}} ");
        let lines = texts.iter().flat_map(|text| text.lines());
        let values = lines.filter_map(|line| line.strip_prefix(&start)?.parse::<f64>().ok());
        values.sum::<f64>() as u64
    };
    (sum("count"), sum("sum"))
}

/// Every fourth customer has given the hold back, and every fourth has a card that is declined.
#[test]
fn bad_orders_of_a_batch_fail_alone() {
    for kind_of_provider in ["http", "stripe"] {
        let shop = Rehearsal::of_kind(kind_of_provider, "");
        let nodes = [shop.node(), shop.node()];
        let answers = at_once(CUSTOMERS, |n| {
            let (_, client) = &nodes[n % 2];
            let held = hold(client, &format!("c{n}"));
            if n % 4 == 1 {
                let path = format!("/v1/holds/{held}");
                let cancelled = client.send("DELETE", &path, None, &serde_json::Value::Null);
                assert_eq!(cancelled.expect("an answer").status, 200);
            }
            let method = if n % 4 == 2 { "pm_declined" } else { "pm_card" };
            // The other node takes the payment.
            let (_, client) = &nodes[(n + 1) % 2];
            pay_persistently(client, &format!("k{n}"), &held, method)
        });
        for (n, answer) in answers.iter().enumerate() {
            match n % 4 {
                1 => assert_eq!(kind(answer), "hold-ended"),
                2 => assert_eq!(kind(answer), "payment-declined"),
                _ => assert_eq!(answer.status, 201, "{answer:?}"),
            }
        }
        let ordered = CUSTOMERS as u64 / 2;
        let declined = CUSTOMERS as u64 / 4;
        let (_, client) = &nodes[0];
        assert_eq!(client.stock("A"), [100, declined, ordered, 100 - ordered - declined]);
        assert_eq!(
            (shop.executed("capture").len() as u64, shop.paid()),
            (ordered, 1_999 * ordered as i64)
        );
        for operation in ["begin checkout", "change checkout", "read prices"] {
            let (calls, requests) = calls(&nodes, operation);
            assert!(
                0 < calls && calls < requests,
                "{operation}: {calls} calls, {requests} requests"
            );
        }
        shop.check();
    }
}
