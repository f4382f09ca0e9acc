//! Access to the private listeners: hosts, tokens, the audit log, slow senders.

mod audit_log;
mod commands;
mod hosts;
mod purges;
mod senders;
mod start;
mod stop;
mod tokens;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use harness::http::{self, Response};
use serde_json::Value;

use crate::stack::{DEADLINE, Node, Stack};

/// The contract whose values some tokens may not read.
const SECOND_CONTRACT: &str = r#"
[data.product_name]
key       = "v1:catalog:name:{id}"
value     = "select name from products where id = $id"
from      = { source = "shop", table = "products", key = "id", columns = ["name"] }
staleness = "1s"
unproven  = "read-origin"
owner     = "pricing"
approved  = { by = ["product"], on = 2026-11-02 }
"#;

/// A node with access tokens and an audit log, and the commands of its operator.
struct Guarded {
    stack: Stack,
    folder: tempfile::TempDir,
    node: Node,
}

impl Guarded {
    /// Starts a node with the admin's token `root`.
    fn start() -> (Self, String) {
        let stack = Stack::start();
        let folder = tempfile::tempdir().expect("a folder");
        let config = |config: String| guarded(&config, folder.path());
        // The commands read the same configuration as the node; its addresses do not matter to them.
        let ports = [(); 3].map(|()| harness::Port::reserve().expect("a free port"));
        std::fs::write(folder.path().join("tidegate.toml"), config(stack.config(ports.each_ref())))
            .expect("written");
        let root = create_token(folder.path(), &["root", "--role", "admin", "--read", "*"]);
        let mut node = stack.launch(config);
        node.process.wait_for_http(node.admin, "/readyz", DEADLINE).expect("ready");
        let guarded = Self { stack, folder, node };
        guarded.node.wait("a proven bound", |node| {
            let status = get(node.admin, "/api/v1/status", &root);
            let status: Value = serde_json::from_slice(&status.body).expect("JSON");
            status["bound_ms"].as_f64().is_some()
        });
        (guarded, root)
    }

    fn token(&self, args: &[&str]) -> String {
        create_token(self.folder.path(), args)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command of the binary in the folder of the configuration.
    fn run(&self, env: &[(&str, &str)], args: &[&str]) -> Output {
        run(self.folder.path(), env, args)
    }

    /// Runs a command against the node, with a token in the environment.
    fn ask(&self, token: &str, args: &[&str]) -> Output {
        let admin = self.node.admin.to_string();
        self.run(&[("TIDEGATE_TOKEN", token)], &[args, &["--admin", &admin]].concat())
    }

    fn admin(&self, path: &str, token: &str) -> u16 {
        get(self.node.admin, path, token).status
    }

    fn purge(&self, token: &str, body: &str) -> Response {
        post(self.node.admin, "/api/v1/purge", token, body)
    }

    /// Returns the records of the audit log.
    fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("audit.log")).expect("readable");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

fn guarded(config: &str, folder: &std::path::Path) -> String {
    let access = format!(
        "[access]\ntokens = \"{0}/tokens.toml\"\naudit_log = {{ file = \"{0}/audit.log\" }}\n",
        folder.display()
    );
    format!("{access}\n{config}\n{SECOND_CONTRACT}")
}

fn run(folder: &std::path::Path, env: &[(&str, &str)], args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(args)
        .envs(env.iter().copied())
        .current_dir(folder)
        .output()
        .expect("the binary runs")
}

fn create_token(folder: &std::path::Path, args: &[&str]) -> String {
    let made = run(folder, &[], &[&["token", "create"], args].concat());
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    let token = String::from_utf8(made.stdout).expect("text").trim().to_owned();
    assert!(token.starts_with("tgt_"), "{token}");
    token
}

/// Returns both outputs of a command.
fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

fn get(address: std::net::SocketAddr, path: &str, token: &str) -> Response {
    let bearer = format!("Bearer {token}");
    http::request(address, "GET", path, &[("authorization", &bearer)], b"", DEADLINE)
        .expect("an answer")
}

fn post(address: std::net::SocketAddr, path: &str, token: &str, body: &str) -> Response {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    http::request(address, "POST", path, &headers, body.as_bytes(), DEADLINE).expect("an answer")
}

/// Waits for an event.
fn wait(what: &str, holds: impl Fn() -> bool) {
    harness::until(what, DEADLINE, || {
        std::thread::sleep(Duration::from_millis(5));
        Ok(holds().then_some(()))
    })
    .expect(what);
}
