//! A shop's servers with a sale, clients, and the audit.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use harness::http::{self, Response};
use harness::{Port, Process};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::stack::{DEADLINE, Stack, start};

/// Servers, nodes' configurations, and the holds that clients were told of.
pub(super) struct Stand {
    pub(super) stack: Stack,
    folder: tempfile::TempDir,
    /// More lines of `[sale]`.
    pub(super) more: String,
    told: Arc<Mutex<Vec<String>>>,
}

/// A node with a sale.
pub(super) struct Node {
    pub(super) process: Process,
    pub(super) data: SocketAddr,
    pub(super) sale: SocketAddr,
    pub(super) admin: SocketAddr,
    /// Reserved as long as the node may run.
    _ports: Vec<Port>,
}

/// A client of a node. Clones share the list of holds that they were told of.
#[derive(Clone)]
pub(super) struct Client {
    at: SocketAddr,
    told: Arc<Mutex<Vec<String>>>,
}

/// The JSON body of an answer.
pub(super) fn body(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|err| panic!("{err}: {answer:?}"))
}

/// The last word of a problem's type.
pub(super) fn kind(answer: &Response) -> String {
    let body = body(answer);
    let kind = body["type"].as_str().unwrap_or_else(|| panic!("no type: {answer:?}"));
    assert_eq!(body["status"], answer.status);
    kind.rsplit(':').next().unwrap_or_default().to_owned()
}

impl Stand {
    /// Starts the servers and creates the ledger.
    pub(super) fn start() -> Self {
        let stand = Self::without_ledger();
        let (status, output) = stand.command(&["migrate"], "");
        assert_eq!(status, Some(0), "{output}");
        stand
    }

    pub(super) fn without_ledger() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { stack: Stack::start(), folder, more: String::new(), told: Arc::default() }
    }

    fn ledger(&self) -> String {
        self.stack.postgres.url_as("shop", "shop")
    }

    /// Writes a configuration; `ledger`: its address, or empty for the shop's database.
    fn config(&self, ledger: &str, ports: [&Port; 4]) -> PathBuf {
        let [gateway, data, admin, sale] = ports;
        let own = self.ledger();
        let ledger = if ledger.is_empty() { &own } else { ledger };
        let config = self.stack.config([gateway, data, admin]);
        let listen = format!("[listen]\nsale = \"{}\"\n", sale.addr());
        let config = config.replacen("[listen]\n", &listen, 1);
        assert!(config.contains(&listen), "{config}");
        let config = format!("{config}\n[sale]\nurl = \"{ledger}\"\n{}\n", self.more);
        let path = self.folder.path().join(format!("tidegate-{}.toml", sale.number()));
        std::fs::write(&path, config).expect("written");
        path
    }

    fn ports() -> [Port; 4] {
        [(); 4].map(|()| Port::reserve().expect("a free port"))
    }

    /// Runs `tidegate sale …` and returns its exit code and output.
    pub(super) fn command(&self, args: &[&str], ledger: &str) -> (Option<i32>, String) {
        let ports = Self::ports();
        let config = self.config(ledger, ports.each_ref());
        let process = Process::builder(env!("CARGO_BIN_EXE_tidegate")).arg("sale").args(args);
        let mut process = process.arg("--config").arg(config).start().expect("the binary starts");
        let status = process.wait(DEADLINE).expect("exited");
        (status.code(), process.lines().join("\n"))
    }

    /// Writes a configuration for a command, and returns its file.
    pub(super) fn any_config(&self) -> PathBuf {
        self.config("", Self::ports().each_ref())
    }

    /// Starts a node without waiting.
    pub(super) fn launch(&self, ledger: &str) -> Node {
        let ports = Self::ports();
        let process = start(&self.config(ledger, ports.each_ref()), &[]);
        let [_, data, admin, sale] = ports.each_ref().map(Port::addr);
        Node { process, data, sale, admin, _ports: ports.into() }
    }

    /// Starts a node that needs access tokens, which are made from a configuration in the same folder, and waits
    /// until it serves.
    pub(super) fn guarded_node(&self) -> Node {
        let access = "[access]\ntokens = \"tokens.toml\"\naudit_log = { file = \"audit.log\" }\n";
        let ports = Self::ports();
        let path = self.config("", ports.each_ref());
        let config = std::fs::read_to_string(&path).expect("readable");
        std::fs::write(&path, format!("{access}{config}")).expect("written");
        std::fs::copy(&path, self.folder.path().join("tidegate.toml")).expect("copied");
        self.token("first", "admin");
        let process = start(&path, &[]);
        let [_, data, admin, sale] = ports.each_ref().map(Port::addr);
        let mut node = Node { process, data, sale, admin, _ports: ports.into() };
        node.process.wait_for_http(node.admin, "/readyz", DEADLINE).expect("ready");
        node
    }

    /// Makes an access token.
    pub(super) fn token(&self, name: &str, role: &str) -> String {
        let made = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["token", "create", name, "--role", role])
            .current_dir(self.folder.path())
            .output()
            .expect("the binary runs");
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).expect("text").trim().to_owned()
    }

    /// Starts a node and waits until it serves.
    pub(super) fn node(&self) -> Node {
        let mut node = self.launch("");
        node.process.wait_for_http(node.admin, "/readyz", DEADLINE).expect("ready");
        node
    }

    pub(super) fn client(&self, node: &Node) -> Client {
        Client { at: node.sale, told: Arc::clone(&self.told) }
    }

    /// Checks all invariants and that every hold that a client was told of exists.
    pub(super) fn audit(&self) {
        self.audit_at("");
    }

    pub(super) fn audit_at(&self, ledger: &str) {
        let told = self.folder.path().join("told.txt");
        std::fs::write(&told, self.told.lock().join("\n")).expect("written");
        let told = told.display().to_string();
        let (status, output) = self.command(&["audit", "--json", "--acknowledged", &told], ledger);
        assert_eq!(status, Some(0), "{output}");
    }

    /// Writes a file beside the configurations.
    pub(super) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns one number of the ledger.
    pub(super) fn count(&self, sql: &str) -> u64 {
        self.stack.sql(sql).trim().parse().unwrap_or_else(|err| panic!("{sql}: {err}"))
    }
}

impl Client {
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> anyhow::Result<Response> {
        let headers: Vec<_> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        self.send_with(method, path, &headers, body)
    }

    pub(super) fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> anyhow::Result<Response> {
        let headers = [&[("content-type", "application/json")], headers].concat();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http::request(self.at, method, path, &headers, body.as_bytes(), DEADLINE)
    }

    pub(super) fn get(&self, path: &str) -> Response {
        http::get(self.at, path, DEADLINE).expect("an answer")
    }

    pub(super) fn post(&self, path: &str, key: &str, body: &Value) -> Response {
        self.send("POST", path, Some(key), body).expect("an answer")
    }

    pub(super) fn put(&self, sku: &str, body: &Value) -> Response {
        self.send("PUT", &format!("/v1/stock/{sku}"), None, body).expect("an answer")
    }

    pub(super) fn put_units(&self, sku: &str, on_hand: u32) {
        let answer = self.put(sku, &json!({ "on_hand": on_hand }));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Asks for a hold; records it if it is acknowledged.
    pub(super) fn try_hold(
        &self,
        key: &str,
        customer: &str,
        lines: &[(&str, u32)],
        ttl_seconds: u32,
    ) -> anyhow::Result<Response> {
        let lines: Value = lines
            .iter()
            .map(|(sku, quantity)| json!({ "sku": sku, "quantity": quantity }))
            .collect();
        let body_sent = json!({ "customer": customer, "lines": lines, "ttl_seconds": ttl_seconds });
        let answer = self.send("POST", "/v1/holds", Some(key), &body_sent)?;
        if answer.status == 201 {
            self.told.lock().push(text(&body(&answer), "hold"));
        }
        Ok(answer)
    }

    pub(super) fn hold(&self, key: &str, customer: &str, lines: &[(&str, u32)]) -> Response {
        self.try_hold(key, customer, lines, 600).expect("an answer")
    }

    /// Asks for a hold until there is a definite answer, as a careful client does.
    pub(super) fn hold_persistently(
        &self,
        key: &str,
        customer: &str,
        lines: &[(&str, u32)],
    ) -> Response {
        let definite = || match self.try_hold(key, customer, lines, 600) {
            Ok(answer) if answer.status < 500 && kind_or_none(&answer) != "request-in-flight" => {
                Ok(Some(answer))
            }
            _ => {
                std::thread::sleep(Duration::from_millis(20));
                Ok(None)
            }
        };
        harness::until("a definite answer", DEADLINE * 3, definite).expect("answered")
    }

    pub(super) fn confirm(&self, hold: &str, key: &str) -> Response {
        self.post(&format!("/v1/holds/{hold}/confirm"), key, &Value::Null)
    }

    /// Returns `[on_hand, held, sold, available]` of a SKU.
    pub(super) fn stock(&self, sku: &str) -> [u64; 4] {
        let answer = self.get(&format!("/v1/stock/{sku}"));
        let body = body(&answer);
        ["on_hand", "held", "sold", "available"]
            .map(|name| body[name].as_u64().unwrap_or_else(|| panic!("{name}: {answer:?}")))
    }
}

fn kind_or_none(answer: &Response) -> String {
    if answer.status < 400 { String::new() } else { kind(answer) }
}

/// Returns a text of a JSON object.
pub(super) fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_else(|| panic!("{name}: {body}")).to_owned()
}
