//! Definitions that are altered while nodes serve: no answer is older than its bound says, and every answer is
//! the new one soon.

mod computed;
mod definitions;
mod publication;
mod rights;
mod rows;
mod types;
mod unwatched;

use harness::http::{self, Response};

use crate::stack::{DEADLINE, Node, Stack, bound_ms, now, tier};

/// Returns a contract of a table with the key `id`.
fn contract(name: &str, table: &str, value: &str) -> String {
    format!(
        "\n[data.{name}]\nkey = \"v1:schema:{name}:{{id}}\"\nvalue = \"{value}\"\n\
         from = {{ source = \"shop\", table = \"{table}\", key = \"id\" }}\nstaleness = \"5s\"\n\
         ttl = \"10m\"\nunproven = \"read-origin\"\nowner = \"shop\"\n\
         approved = {{ by = [\"product\", \"finance\"], on = 2026-11-02 }}\n"
    )
}

/// Starts a node with further contracts.
fn node_with(stack: &Stack, contracts: &[String]) -> Node {
    stack.node_with(|config| config + &contracts.concat())
}

fn get(node: &Node, contract: &str, id: &str) -> Response {
    http::get(node.data, &format!("/data/{contract}/{id}"), DEADLINE).expect("an answer")
}

/// A value that nodes answer.
struct Watched<'a> {
    stack: &'a Stack,
    nodes: &'a [&'a Node],
    contract: &'a str,
    id: &'a str,
}

impl Watched<'_> {
    fn get(&self, node: &Node) -> String {
        get(node, self.contract, self.id).text()
    }

    fn wait_cached(&self) {
        for node in self.nodes {
            let what = format!("a cached {}", self.contract);
            node.wait(&what, |node| tier(&get(node, self.contract, self.id)) == Some("local"));
            // A sample since the last alteration has proven the tier.
            node.wait("a small bound", |node| {
                node.status()["bound_ms"].as_f64().is_some_and(|ms| ms < 250.0)
            });
        }
    }

    /// Runs `sql` while the nodes have an entry, and waits until each answers with `new`. An answer without it
    /// must have a bound that admits that.
    fn altered(&self, sql: &str, new: &str) {
        self.wait_cached();
        // Each statement as its own transaction.
        sql.split("; ").for_each(|statement| drop(self.stack.sql(statement)));
        self.expect(sql, new);
    }

    /// As [`altered`](Self::altered), with all statements in one transaction.
    fn altered_at_once(&self, sql: &str, new: &str) {
        self.wait_cached();
        self.stack.sql(&format!("begin; {sql}; commit"));
        self.expect(sql, new);
    }

    fn expect(&self, sql: &str, new: &str) {
        let committed = now();
        let mut waiting: Vec<&Node> = self.nodes.to_vec();
        while !waiting.is_empty() {
            waiting.retain(|node| {
                let asked = committed.elapsed().as_secs_f64() * 1e3;
                let answer = get(node, self.contract, self.id);
                if answer.text().contains(new) {
                    return false;
                }
                let admits = bound_ms(&answer).is_none_or(|bound| asked <= bound + 1.0);
                assert!(admits, "{asked} ms after `{sql}`: {answer:?}");
                true
            });
            let log =
                || self.nodes.iter().flat_map(|node| node.process.lines()).collect::<Vec<_>>();
            assert!(committed.elapsed() < DEADLINE, "`{sql}` is not noticed: {:#?}", log());
        }
        self.wait_cached();
        for node in self.nodes {
            assert!(self.get(node).contains(new), "after `{sql}`: {}", self.get(node));
        }
    }
}
