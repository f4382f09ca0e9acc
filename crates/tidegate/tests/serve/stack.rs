//! A shop's servers, and any number of Tidegate nodes with one configuration.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::http::{self, Response};
use harness::{Port, Postgres, PostgresBuilder, Process, Redis};

use crate::upstream::Upstream;

/// The example configuration.
const EXAMPLE: &str = include_str!("../../../../examples/tidegate.toml");

/// The time limit of every expected event.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Stack {
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    pub(crate) upstream: Upstream,
    /// The address of Redis in the configuration: a proxy's, to inject faults.
    redis_at: Option<SocketAddr>,
    /// The shared tier's URL, for Sentinel and Cluster.
    shared: Option<String>,
    folder: tempfile::TempDir,
}

pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) gateway: SocketAddr,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Reserved as long as the node may run: another test could take a port that is not bound yet.
    pub(crate) _ports: Vec<Port>,
}

impl Stack {
    /// Starts PostgreSQL with the shop's table, Redis and an upstream, without a node.
    pub(crate) fn start() -> Self {
        Self::with_postgres(Postgres::builder())
    }

    /// Starts as [`start`](Self::start) does, with a configured PostgreSQL.
    pub(crate) fn with_postgres(postgres: PostgresBuilder) -> Self {
        Self::on_running(postgres.start().expect("PostgreSQL starts"))
    }

    /// Starts as [`start`](Self::start) does, with a running PostgreSQL.
    pub(crate) fn on_running(postgres: Postgres) -> Self {
        postgres
            .psql("create role shop login replication; create database shop owner shop")
            .or_else(|_| {
                postgres.psql("create role shop login replication")?;
                postgres.psql("create database shop owner shop")
            })
            .expect("a role and a database");
        let stack = Self::of_parts(postgres);
        stack.sql(
            "create table products(id int primary key, name text, category_id int, \
             price_cents int, currency text)",
        );
        stack.sql("insert into products select n, 'thing ' || n, n % 10, 1000 + n, 'GBP' from generate_series(1, 100) n");
        stack
    }

    /// Starts Redis and an upstream beside a PostgreSQL that has the shop's table.
    pub(crate) fn of_parts(postgres: Postgres) -> Self {
        Self {
            postgres,
            redis: Redis::start().expect("Redis starts"),
            upstream: Upstream::start(),
            redis_at: None,
            shared: None,
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub(crate) fn with_redis_at(mut self, address: SocketAddr) -> Self {
        self.redis_at = Some(address);
        self
    }

    pub(crate) fn with_shared_at(mut self, url: String) -> Self {
        self.shared = Some(url);
        self
    }

    /// Runs a statement as the shop's application.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.postgres.psql_as("shop", "shop", sql).expect("the statement runs")
    }

    pub(crate) fn price(&self, id: u32, cents: u32) {
        self.sql(&format!("update products set price_cents = {cents} where id = {id}"));
    }

    /// Returns the example configuration with this stack's addresses and a budget of one second.
    pub(crate) fn config(&self, ports: [&Port; 3]) -> String {
        let redis = self.redis_at.unwrap_or_else(|| self.redis.addr());
        let shared = self.shared.clone().unwrap_or_else(|| format!("redis://{redis}"));
        // With the quotes: 127.0.0.1:3000 is also a prefix of 127.0.0.1:30004.
        let listen = |port: &Port| format!("\"{}\"", port.addr());
        EXAMPLE
            .replace("\"127.0.0.1:8080\"", &listen(ports[0]))
            .replace("\"127.0.0.1:9170\"", &listen(ports[1]))
            .replace("\"127.0.0.1:9180\"", &listen(ports[2]))
            .replace("@127.0.0.1:5432/", &format!("@{}/", self.postgres.addr()))
            .replace("\"redis://127.0.0.1:6379\"", &format!("\"{shared}\""))
            .replace("\"http://127.0.0.1:3000\"", &format!("\"http://{}\"", self.upstream.address))
            .replace("staleness = \"30s\"", "staleness = \"1s\"")
    }

    /// Starts a node and waits until its answers have a proven bound.
    pub(crate) fn node(&self) -> Node {
        self.node_with(|config| config)
    }

    /// Starts a node as [`node`](Self::node) does, with an edited configuration.
    pub(crate) fn node_with(&self, edit: impl Fn(String) -> String) -> Node {
        self.launch(edit).ready()
    }

    /// Starts a node without waiting.
    pub(crate) fn launch(&self, edit: impl Fn(String) -> String) -> Node {
        self.launch_with_env(&[], edit)
    }

    /// Starts a node that must refuse its environment or configuration, and returns its output.
    pub(crate) fn refusal(&self, edit: impl Fn(String) -> String) -> String {
        let mut node = self.launch(edit);
        let status = node.process.wait(DEADLINE).expect("exited");
        let output = node.process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{output}");
        output
    }

    /// Returns the configuration's file of a node.
    pub(crate) fn file_of(&self, node: &Node) -> PathBuf {
        self.file_at(node.admin.port())
    }

    fn file_at(&self, admin_port: u16) -> PathBuf {
        self.folder.path().join(format!("tidegate-{admin_port}.toml"))
    }

    /// Starts a node without waiting, with environment variables.
    pub(crate) fn launch_with_env(
        &self,
        env: &[(OsString, OsString)],
        edit: impl Fn(String) -> String,
    ) -> Node {
        let ports = [(); 3].map(|()| Port::reserve().expect("a free port"));
        let [gateway, data, admin] = &ports;
        let path = self.file_at(admin.number());
        std::fs::write(&path, edit(self.config([gateway, data, admin]))).expect("written");
        let process = start(&path, env);
        let [gateway, data, admin] = ports.each_ref().map(Port::addr);
        Node { process, gateway, data, admin, _ports: ports.into() }
    }
}

/// Starts a gateway with SQLite and an in-process shared tier in front of an application. `options`: more lines of
/// `[upstream]`, and of sections after it.
pub(crate) fn gateway_of(application: SocketAddr, options: &str) -> (Node, tempfile::TempDir) {
    gateway_with_env(application, options, &[])
}

/// Starts a gateway as [`gateway_of`] does, with environment variables.
pub(crate) fn gateway_with_env(
    application: SocketAddr,
    options: &str,
    env: &[(OsString, OsString)],
) -> (Node, tempfile::TempDir) {
    gateway_started_by(application, options, "", |config| start(config, env))
}

/// Starts a gateway as [`gateway_of`] does, with more lines of `[listen]`, by a command of the test.
pub(crate) fn gateway_started_by(
    application: SocketAddr,
    options: &str,
    listen: &str,
    start: impl FnOnce(&Path) -> Process,
) -> (Node, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("shop.db");
    let shop = rusqlite::Connection::open(&database).expect("a database");
    shop.execute_batch("create table products(id integer primary key)").expect("a table");
    let ports = [(); 3].map(|()| Port::reserve().expect("a free port"));
    let [gateway, data, admin] = ports.each_ref().map(Port::addr);
    let text = format!(
        "[listen]\ngateway = \"{gateway}\"\ndata = \"{data}\"\nadmin = \"{admin}\"\n{listen}\
         [source.shop]\nurl = \"sqlite:{}\"\n\
         [upstream]\nurl = \"http://{application}\"\n{options}",
        database.display(),
    );
    let config = folder.path().join("tidegate.toml");
    std::fs::write(&config, text).expect("written");
    let process = start(&config);
    let node = Node { process, gateway, data, admin, _ports: ports.into() }.ready();
    (node, folder)
}

pub(crate) fn start(config: &Path, env: &[(OsString, OsString)]) -> Process {
    let serve = Process::builder(env!("CARGO_BIN_EXE_tidegate")).arg("serve").arg("--config");
    let serve = env.iter().fold(serve.arg(config), |serve, (name, value)| serve.env(name, value));
    serve.start().expect("the binary starts")
}

impl Node {
    /// Waits until the node's answers have a proven bound.
    pub(crate) fn ready(mut self) -> Self {
        self.process.wait_for_http(self.admin, "/readyz", DEADLINE).expect("ready");
        self.wait("a proven bound", |node| node.status()["bound_ms"].as_f64().is_some());
        self
    }

    pub(crate) fn get(&self, id: u32) -> Response {
        http::get(self.data, &format!("/data/product_price/{id}"), DEADLINE).expect("an answer")
    }

    /// Returns the price of an answer with status 200.
    pub(crate) fn cents(&self, id: u32) -> Option<u32> {
        let answer = self.get(id);
        let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        (answer.status == 200).then(|| body["price_cents"].as_u64())??.try_into().ok()
    }

    pub(crate) fn page(&self) -> Response {
        http::get(self.gateway, "/p/42", DEADLINE).expect("an answer")
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let answer = http::get(self.admin, "/api/v1/status", DEADLINE).expect("an answer");
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.metric_with(name, "")
    }

    /// Returns the sum of the series whose labels contain `labels`.
    pub(crate) fn metric_with(&self, name: &str, labels: &str) -> f64 {
        let answer = http::get(self.admin, "/metrics", DEADLINE).expect("an answer");
        let text = answer.text();
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']) && rest.contains(labels))
        });
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    pub(crate) fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = now();
        while !holds(self) {
            assert!(
                begun.elapsed() < DEADLINE,
                "no {what} within {DEADLINE:?}\n{}",
                self.diagnostics()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns status, log, metrics and an answer, for the message of a timeout.
    fn diagnostics(&self) -> String {
        let get = |addr, path: &str| {
            http::get(addr, path, DEADLINE)
                .map_or_else(|err| format!("{err:#}"), |answer| answer.text())
        };
        let metrics = get(self.admin, "/metrics");
        let nonzero =
            metrics.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
        let log = self.process.lines().join("\n");
        format!(
            "{}\n{}\n{log}\n{}",
            get(self.admin, "/api/v1/status"),
            get(self.data, "/data/product_price/42"),
            nonzero.collect::<Vec<_>>().join("\n")
        )
    }
}

/// Returns the staleness bound of an answer, in ms.
pub(crate) fn bound_ms(answer: &Response) -> Option<f64> {
    let freshness = answer.header("tidegate-freshness")?;
    let bound = freshness.split(',').find_map(|part| part.trim().strip_prefix("bound="))?;
    bound.parse().ok()
}

/// Returns the tier that answered.
pub(crate) fn tier(answer: &Response) -> Option<&str> {
    let freshness = answer.header("tidegate-freshness")?;
    freshness.split(',').find_map(|part| part.trim().strip_prefix("tier="))
}

#[expect(clippy::disallowed_methods, reason = "these tests run real processes in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
