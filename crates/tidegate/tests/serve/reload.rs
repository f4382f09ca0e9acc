//! Reloads of the configuration, under load.

mod contracts;
mod failures;
mod load;
mod many;
mod nodes;
mod settings;

use std::path::PathBuf;
use std::process::{Command, Output};

use harness::http::{self, Response};
use serde_json::Value;

use crate::stack::{DEADLINE, Node, Stack};

/// A contract that a reload adds.
const NAMES: &str = r#"
[data.product_name]
key       = "v1:catalog:name:{id}"
value     = "select name from products where id = $id"
from      = { source = "shop", table = "products", key = "id", columns = ["name"] }
staleness = "1s"
ttl       = "60s"
unproven  = "read-origin"
owner     = "catalogue"
approved  = { by = ["product"], on = 2026-11-02 }
"#;

fn unchanged(config: String) -> String {
    config
}

fn with_names(config: String) -> String {
    config + NAMES
}

fn with_edge(config: String) -> String {
    config + "\n[edge]\nmax_tags = 77\n"
}

impl Node {
    /// Asks for a reload of the configuration that stands in the file.
    fn reload(&self) -> Response {
        http::request(self.admin, "POST", "/api/v1/reload", &[], b"", DEADLINE).expect("an answer")
    }

    fn reloaded(&self) -> Value {
        let answer = self.reload();
        assert_eq!(answer.status, 200, "{}\n{}", answer.text(), self.process.lines().join("\n"));
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    fn hangup(&self) {
        signal(self.process.id(), "HUP");
    }

    fn configuration(&self) -> Value {
        self.status()["configuration"].clone()
    }

    fn value(&self, contract: &str, id: u32) -> (Response, Value) {
        let path = format!("/data/{contract}/{id}");
        let answer = http::get(self.data, &path, DEADLINE).expect("an answer");
        let body = serde_json::from_slice(&answer.body).unwrap_or_default();
        (answer, body)
    }

    fn components(&self) -> Value {
        let answer = http::get(self.admin, "/readyz", DEADLINE).expect("an answer");
        serde_json::from_slice(&answer.body).expect("JSON")
    }
}

impl Stack {
    /// Writes the file of a node anew.
    fn write(&self, node: &Node, edit: impl Fn(String) -> String) -> PathBuf {
        let [gateway, data, admin] = &*node._ports else { panic!("three ports") };
        let path = self.file_of(node);
        let new = path.with_extension("new");
        std::fs::write(&new, edit(self.config([gateway, data, admin]))).expect("written");
        std::fs::rename(&new, &path).expect("renamed");
        path
    }

    /// Writes the file of a node anew and has it reloaded.
    fn reload(&self, node: &Node, edit: impl Fn(String) -> String) -> Value {
        self.write(node, edit);
        node.reloaded()
    }
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

fn command(node: &Node, args: &[&str]) -> Output {
    let admin = node.admin.to_string();
    let command = [&["reload", "--admin", &admin], args].concat();
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(command).output().expect("the binary runs")
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}
