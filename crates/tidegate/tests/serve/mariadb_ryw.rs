//! Race 15 on MariaDB: a client writes and reads at once on another node, with a token of its own.

use harness::http;

use crate::mariadb::{Stack, wait_cached};
use crate::stack::DEADLINE;

/// The statement of `docs/read-your-writes.md` for applications.
const TOKEN: &str = r"select concat('lsn=',
    conv(substring_index(max(if(variable_name = 'BINLOG_SNAPSHOT_FILE', variable_value, null)), '.', -1), 10, 16), '/',
    conv(max(if(variable_name = 'BINLOG_SNAPSHOT_POSITION', variable_value, null)), 10, 16))
  from information_schema.session_status where variable_name like 'BINLOG\_SNAPSHOT\_%';";

#[test]
fn mariadb_race_15_token_read_includes_own_write() {
    let document = include_str!("../../../../docs/read-your-writes.md");
    assert!(document.contains(TOKEN), "the statement of the document");
    let stack = Stack::start();
    let (one, two) = (stack.node(), stack.node());
    for node in [&one, &two] {
        wait_cached(node);
    }
    for round in 0..30 {
        if round == 15 {
            stack.sql("flush binary logs");
        }
        let token =
            stack.sql(&format!("update products set price_cents = {round} where id = 42; {TOKEN}"));
        let token = token.trim();
        assert!(token.starts_with("lsn="), "{token}");
        for node in [&one, &two] {
            let headers = [("tidegate-after", token)];
            let path = "/data/product_price/42";
            let answer = http::request(node.data, "GET", path, &headers, b"", DEADLINE);
            let text = answer.expect("an answer").text();
            assert!(text.contains(&format!("\"price_cents\":{round},")), "{token}: {text}");
        }
    }
}
