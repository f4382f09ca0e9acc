//! A stop that is announced before the listeners close.

use harness::http;

use super::wait;
use crate::stack::{DEADLINE, Stack};

#[test]
fn stopping_node_serves_until_the_delay_ends() {
    let stack = Stack::start();
    let mut node = stack.node_with(|config| format!("[node]\nstop_delay = \"2s\"\n\n{config}"));
    let (admin, data) = (node.admin, node.data);
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| node.process.terminate(DEADLINE).expect("ended"));
        wait("the announcement", || {
            http::get(admin, "/readyz", DEADLINE).is_ok_and(|answer| answer.status == 503)
        });
        let answer = http::get(data, "/data/product_price/42", DEADLINE).expect("it still serves");
        assert_eq!(answer.status, 200);
        assert!(stopped.join().expect("joined").success());
    });
    assert!(http::get(admin, "/healthz", DEADLINE).is_err());
}
