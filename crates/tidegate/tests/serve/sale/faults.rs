//! Faults under load: acknowledged holds survive, and no unit is sold twice.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use drill::{Fault, FaultProxy};

use super::stand::{Client, Stand, body, kind, text};
use crate::stack::DEADLINE;

/// Clients that hold and confirm until they are stopped. Each repeats a request with its key, at any node, until it
/// has a definite answer.
struct Load<'s> {
    stop: &'s AtomicBool,
    /// Definite answers.
    answered: &'s AtomicUsize,
}

impl Load<'_> {
    fn client(&self, clients: &[Client], number: usize) {
        let mut round = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let name = format!("client {number} round {round}");
            let client = &clients[(number + round) % clients.len()];
            let attempt = client.try_hold(&name, &name, &[("A", 1)], 600);
            let held = match attempt {
                Ok(answer) if answer.status < 500 => answer,
                // A client repeats at another node, if there is one.
                _ => clients[(number + round + 1) % clients.len()].hold_persistently(
                    &name,
                    &name,
                    &[("A", 1)],
                ),
            };
            if held.status == 201 && number.is_multiple_of(2) {
                let hold = text(&body(&held), "hold");
                self.confirm(clients, &hold, &name);
            } else if held.status != 201 {
                assert_eq!(kind(&held), "sold-out");
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
            round += 1;
        }
    }

    fn confirm(&self, clients: &[Client], hold: &str, name: &str) {
        let path = format!("/v1/holds/{hold}/confirm");
        let confirmed = || {
            let mut answers = clients.iter().map(|client| {
                client.send(
                    "POST",
                    &path,
                    Some(&format!("confirm {name}")),
                    &serde_json::Value::Null,
                )
            });
            let definite =
                answers.find_map(|answer| answer.ok().filter(|answer| answer.status < 500));
            let done = definite
                .filter(|answer| answer.status == 200 || kind(answer) != "request-in-flight");
            Ok(done)
        };
        let answer =
            harness::until("a definite answer", DEADLINE * 3, confirmed).expect("answered");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// Runs 16 clients, calls `fault` after some answers, and stops the clients after some more.
fn under_load(clients: &[Client], fault: impl FnOnce()) {
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let reaches = |count: usize| {
        let reached = || Ok((answered.load(Ordering::Relaxed) >= count).then_some(()));
        harness::until("answers under load", DEADLINE * 4, reached).expect("answered");
    };
    thread::scope(|scope| {
        for number in 0..16 {
            let load = Load { stop: &stop, answered: &answered };
            scope.spawn(move || load.client(clients, number));
        }
        reaches(100);
        fault();
        reaches(answered.load(Ordering::Relaxed) + 100);
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn killed_node_loses_no_acknowledged_hold() {
    let stand = Stand::start();
    let mut killed = stand.node();
    let left = stand.node();
    let clients = [stand.client(&killed), stand.client(&left)];
    clients[1].put_units("A", 1_000_000);
    under_load(&clients, || killed.process.kill9().expect("killed"));
    stand.audit();
    let two_effects = "select count(*) from (select key from tidegate.movement where kind = 'hold' \
                       group by key having count(*) > 1) k";
    assert_eq!(stand.count(two_effects), 0);
}

#[test]
fn restarted_database_loses_no_acknowledged_hold() {
    let mut stand = Stand::start();
    let nodes = [stand.node(), stand.node()];
    let clients: Vec<Client> = nodes.iter().map(|node| stand.client(node)).collect();
    clients[0].put_units("A", 1_000_000);
    let postgres = &mut stand.stack.postgres;
    under_load(&clients, || {
        postgres.crash().expect("crashed");
        postgres.start_again().expect("started");
    });
    stand.audit();
}

/// A frozen node holds no lock: the other one sells on.
#[test]
fn frozen_node_stops_no_other() {
    let stand = Stand::start();
    let mut frozen = stand.node();
    let other = stand.node();
    let clients = [stand.client(&other)];
    clients[0].put_units("A", 1_000_000);
    let of_frozen = [stand.client(&frozen)];
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let load = Load { stop: &stop, answered: &answered };
        scope.spawn(move || load.client(&of_frozen, 1_000));
        let begun = || Ok((answered.load(Ordering::Relaxed) > 20).then_some(()));
        harness::until("answers", DEADLINE, begun).expect("answered");
        frozen.process.pause().expect("paused");
        under_load(&clients, || {});
        stop.store(true, Ordering::Relaxed);
        frozen.process.resume().expect("resumed");
    });
    stand.audit();
}

/// 100 ms between service and database make every race of a check and a write certain.
#[test]
fn slow_way_to_the_database_oversells_nothing() {
    let stand = Stand::start();
    let proxy = FaultProxy::start(stand.stack.postgres.addr()).expect("a proxy");
    proxy.set(Fault::slow(Duration::from_millis(100)));
    let ledger = format!("postgres://shop@{}/shop", proxy.addr());
    let nodes = [(); 2].map(|()| {
        let mut node = stand.launch(&ledger);
        node.process.wait_for_http(node.admin, "/readyz", DEADLINE * 2).expect("ready");
        node
    });
    let clients: Vec<Client> = nodes.iter().map(|node| stand.client(node)).collect();
    clients[0].put_units("A", 10);
    let statuses = thread::scope(|scope| {
        let buyers: Vec<_> = (0..24)
            .map(|n| {
                let client = &clients[n % 2];
                scope.spawn(move || {
                    let name = format!("buyer {n}");
                    client.hold_persistently(&name, &name, &[("A", 1)]).status
                })
            })
            .collect();
        buyers.into_iter().map(|buyer| buyer.join().expect("joined")).collect::<Vec<_>>()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 10, "{statuses:?}");
    stand.audit();
}

/// A node without its database answers that it does not know, not that anything is sold out.
#[test]
fn absent_database_is_no_sold_out() {
    let mut stand = Stand::start();
    let node = stand.node();
    let client = stand.client(&node);
    client.put_units("A", 1);
    stand.stack.postgres.stop().expect("stopped");
    let answer = client.hold("k", "c", &[("A", 1)]);
    assert_eq!((answer.status, &*kind(&answer)), (503, "ledger-unavailable"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    stand.stack.postgres.start_again().expect("started");
    assert_eq!(client.hold_persistently("k", "c", &[("A", 1)]).status, 201);
    stand.audit();
}
