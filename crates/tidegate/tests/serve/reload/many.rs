//! Many reloads: nothing grows, none is lost.

use std::thread;

use super::load::{Kept, Load};
use super::{unchanged, with_names};
use crate::stack::{DEADLINE, Node, Stack};

const RELOADS: usize = 50;

/// Returns the resident memory in KiB, and the number of open files.
fn usage(node: &Node) -> (u64, usize) {
    let folder = format!("/proc/{}", node.process.id());
    let status = std::fs::read_to_string(format!("{folder}/status")).expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kib = line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number");
    (kib, std::fs::read_dir(format!("{folder}/fd")).expect("readable").count())
}

fn sessions(stack: &Stack) -> usize {
    let sql = "select count(*) from pg_stat_activity where usename = 'shop'";
    stack.postgres.psql(sql).expect("a count").trim().parse().expect("a number")
}

#[test]
fn fifty_reloads_leak_nothing() {
    let stack = Stack::start();
    let node = stack.node();
    let epoch = node.status()["epoch"].clone();
    let load = Load::on(&node);
    // It must not keep the configuration that has accepted it.
    let mut kept = Kept::connect(node.gateway);
    let mut reload = |round: usize| {
        assert_eq!(kept.get("/p/42").0, 200, "the connection of before all reloads");
        stack.reload(&node, if round.is_multiple_of(2) { with_names } else { unchanged });
    };
    (0..5).for_each(&mut reload);
    let (memory, files) = usage(&node);
    let connections = sessions(&stack);
    (5..RELOADS).for_each(reload);
    stack.price(42, 77);
    node.wait("the new price", |node| node.cents(42) == Some(77));
    node.wait("the end of the replaced ones", |node| {
        usage(node).1 <= files + 8 && sessions(&stack) <= connections + 4
    });
    let grown = usage(&node).0.saturating_sub(memory);
    assert!(grown < 48 * 1024, "{grown} KiB more than {memory} after {RELOADS} reloads");
    assert_eq!(node.configuration()["number"], RELOADS + 1);
    assert_eq!(node.status()["epoch"], epoch, "the epoch goes on");
    assert_eq!(node.metric_with("tidegate_configuration_reloads_total", "success"), RELOADS as f64);
    load.goes_on(&node);
    assert!(load.end() > 100);
}

#[test]
fn reloads_at_once_all_answered() {
    let stack = Stack::start();
    let node = stack.node();
    let load = Load::on(&node);
    stack.write(&node, with_names);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| node.reload())).collect();
        for caller in callers {
            let answer = caller.join().expect("it ends");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    });
    // Those that waited were answered by one reading of the file.
    assert!(node.configuration()["number"].as_u64().is_some_and(|number| number <= 9));
    assert_eq!(node.value("product_name", 42).0.status, 200);
    load.end();
}

/// A signal that arrives while a reload is under way is not lost: the last content of the file is served.
#[test]
fn hangups_in_a_row_end_with_the_last_file() {
    let stack = Stack::start();
    let node = stack.node();
    let load = Load::on(&node);
    for round in 0..20 {
        stack.write(&node, if round % 2 == 0 { unchanged } else { with_names });
        node.hangup();
    }
    node.wait("the last contracts", |node| {
        node.value("product_name", 42).0.status == 200
            && node.configuration()["reload_error"].is_null()
    });
    stack.write(&node, |config| config + "[oops");
    node.hangup();
    node.wait("the failure", |node| node.configuration()["reload_error"].is_string());
    assert_eq!(node.value("product_name", 42).0.status, 200, "the configuration of before serves");
    load.end();
    assert!(harness::http::get(node.admin, "/healthz", DEADLINE).is_ok());
}

/// A caller that goes away does not stop the reload half way.
#[test]
fn reload_ends_without_its_caller() {
    let stack = Stack::start();
    let node = stack.node();
    stack.write(&node, with_names);
    let request = format!(
        "POST /api/v1/reload HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n",
        node.admin
    );
    let mut stream = std::net::TcpStream::connect(node.admin).expect("connects");
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("sent");
    thread::sleep(std::time::Duration::from_millis(5));
    drop(stream);
    node.reloaded();
    assert_eq!(node.value("product_name", 42).0.status, 200);
}
