//! Many clients at one instant.

use std::collections::BTreeMap;
use std::thread;

use super::stand::{Client, Stand, body, kind, text};
use crate::stack::DEADLINE;

/// Runs `work` for each number on a thread of its own, all at once.
pub(super) fn at_once<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = std::sync::Barrier::new(count);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..count)
            .map(|n| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    start.wait();
                    work(n)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("joined")).collect()
    })
}

#[test]
fn sixty_four_clients_sell_a_hot_sku_once() {
    const UNITS: u32 = 100;
    let stand = Stand::start();
    let nodes = [stand.node(), stand.node()];
    let clients: Vec<Client> = nodes.iter().map(|node| stand.client(node)).collect();
    clients[0].put_units("A", UNITS);
    let answers = at_once(64, |n| {
        let client = &clients[n % 2];
        let mut answers = Vec::new();
        for round in 0..4 {
            let customer = format!("customer {n} {round}");
            let held = client.hold_persistently(&customer, &customer, &[("A", 1)]);
            if held.status == 201 {
                let hold = text(&body(&held), "hold");
                // The other node confirms.
                let confirmed = clients[(n + 1) % 2].confirm(&hold, &format!("confirm {customer}"));
                assert_eq!(confirmed.status, 200, "{confirmed:?}");
            } else {
                assert_eq!(kind(&held), "sold-out");
            }
            answers.push(held.status);
        }
        answers
    });
    let sold = answers.concat().iter().filter(|status| **status == 201).count();
    assert_eq!(sold, UNITS as usize);
    for client in &clients {
        assert_eq!(client.stock("A"), [100, 0, 100, 0]);
    }
    stand.audit();
}

#[test]
fn baskets_cross_on_two_nodes() {
    let stand = Stand::start();
    let nodes = [stand.node(), stand.node()];
    let clients: Vec<Client> = nodes.iter().map(|node| stand.client(node)).collect();
    let skus = ["A", "B", "C"];
    for sku in skus {
        clients[0].put_units(sku, 60);
    }
    at_once(48, |n| {
        let client = &clients[n % 2];
        let lines = [(skus[n % 3], 2), (skus[(n + 1 + n / 3 % 2) % 3], 1)];
        let key = format!("basket {n}");
        let held = client.hold_persistently(&key, &key, &lines);
        match held.status {
            201 if n % 3 == 0 => {
                let path = format!("/v1/holds/{}", text(&body(&held), "hold"));
                let cancelled = client.send("DELETE", &path, None, &serde_json::Value::Null);
                assert_eq!(cancelled.expect("an answer").status, 200);
            }
            201 => {
                let hold = text(&body(&held), "hold");
                assert_eq!(client.confirm(&hold, &format!("confirm {n}")).status, 200);
            }
            _ => assert_eq!(kind(&held), "sold-out"),
        }
    });
    let deadlocks =
        stand.stack.postgres.log().iter().filter(|line| line.contains("deadlock")).count();
    assert_eq!(deadlocks, 0);
    stand.audit();
}

/// Clients press ten times with the same key, over two nodes.
#[test]
fn pressing_ten_times_holds_once() {
    let stand = Stand::start();
    let nodes = [stand.node(), stand.node()];
    let clients: Vec<Client> = nodes.iter().map(|node| stand.client(node)).collect();
    clients[0].put_units("A", 100);
    let answers = at_once(40, |n| {
        let customer = format!("customer {}", n / 10);
        let held = clients[n % 2].hold_persistently(&customer, &customer, &[("A", 3)]);
        assert_eq!(held.status, 201, "{held:?}");
        (customer, held.text())
    });
    let mut first = BTreeMap::new();
    for (customer, answer) in answers {
        assert_eq!(first.entry(customer).or_insert_with(|| answer.clone()), &answer);
    }
    assert_eq!(first.len(), 4);
    assert_eq!(clients[0].stock("A"), [100, 12, 0, 88]);
    stand.audit();
}

#[test]
fn twelve_tabs_stay_within_the_limit() {
    let stand = Stand::start();
    let nodes = [stand.node(), stand.node()];
    let clients: Vec<Client> = nodes.iter().map(|node| stand.client(node)).collect();
    clients[0].put("A", &serde_json::json!({ "on_hand": 100, "customer_limit": 2 }));
    let statuses = at_once(12, |tab| {
        let held = clients[tab % 2].hold_persistently(&format!("tab {tab}"), "c", &[("A", 1)]);
        if held.status != 201 {
            assert_eq!(kind(&held), "customer-limit");
        }
        held.status
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 2);
    stand.audit();
}

/// The rush after the last unit went: most refusals need no call for stock, holders still get their answers, and a
/// returned unit is sold.
#[test]
fn sold_out_is_answered_early_and_repeats_are_not() {
    let stand = Stand::start();
    let nodes = [stand.node(), stand.node()];
    let clients: Vec<Client> = nodes.iter().map(|node| stand.client(node)).collect();
    clients[0].put_units("A", 4);
    let winners: Vec<_> = (0..4)
        .map(|n| {
            let name = format!("winner {n}");
            let held = clients[0].hold(&name, &name, &[("A", 1)]);
            assert_eq!(held.status, 201, "{held:?}");
            (name, held)
        })
        .collect();
    at_once(16, |n| {
        let client = &clients[n % 2];
        for round in 0..20 {
            let name = format!("late {n} {round}");
            assert_eq!(kind(&client.hold(&name, &name, &[("A", 1)])), "sold-out");
        }
        let (name, held) = &winners[n % 4];
        // Four clients at once repeat one request.
        let repeated = client.hold_persistently(name, name, &[("A", 1)]);
        assert_eq!((repeated.status, &repeated.body), (201, &held.body));
    });
    let metrics = harness::http::get(nodes[0].admin, "/metrics", DEADLINE).expect("an answer");
    let metrics = metrics.text();
    let line = metrics.lines().find(|line| line.starts_with("tidegate_sale_early_refusals_total "));
    let early = line.and_then(|line| line.rsplit(' ').next()?.parse::<u32>().ok());
    assert!(early.is_some_and(|early| early > 0), "{line:?}");
    let path = format!("/v1/holds/{}", text(&body(&winners[0].1), "hold"));
    let cancelled = clients[0].send("DELETE", &path, None, &serde_json::Value::Null);
    assert_eq!(cancelled.expect("an answer").status, 200);
    assert_eq!(clients[0].hold("next", "next", &[("A", 1)]).status, 201);
    stand.audit();
}
