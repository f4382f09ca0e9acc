//! A shop's servers and any number of Tidegate nodes with one configuration.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::http::{self, Answer};
use harness::{Port, Postgres, PostgresBuilder, Process, Redis};

use crate::upstream::Upstream;

/// The configuration of issue 2, as it stands in `examples/`.
const EXAMPLE: &str = include_str!("../../../../examples/tidegate.toml");

/// For anything that is expected to happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Stack {
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    pub(crate) upstream: Upstream,
    /// Where nodes are told that Redis is; a proxy's address to inject faults.
    redis_at: Option<SocketAddr>,
    /// The shared tier's address, where it is not that of one Redis.
    shared: Option<String>,
    folder: tempfile::TempDir,
}

pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) gateway: SocketAddr,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Its own for as long as it may run: another test could take a port that it has yet to open.
    pub(crate) _ports: Vec<Port>,
}

impl Stack {
    /// PostgreSQL with the shop's table, Redis and an application; no node yet.
    pub(crate) fn start() -> Self {
        Self::on(Postgres::builder())
    }

    /// The same with a PostgreSQL that is set up in a certain way.
    pub(crate) fn on(postgres: PostgresBuilder) -> Self {
        Self::of(postgres.start().expect("PostgreSQL starts"))
    }

    /// The same with a PostgreSQL that runs already.
    pub(crate) fn of(postgres: Postgres) -> Self {
        postgres
            .psql("create role shop login replication; create database shop owner shop")
            .or_else(|_| {
                postgres.psql("create role shop login replication")?;
                postgres.psql("create database shop owner shop")
            })
            .expect("a role and a database");
        let stack = Self {
            postgres,
            redis: Redis::start().expect("Redis starts"),
            upstream: Upstream::start(),
            redis_at: None,
            shared: None,
            folder: tempfile::tempdir().expect("a folder"),
        };
        stack.sql(
            "create table products(id int primary key, name text, category_id int, \
             price_cents int, currency text)",
        );
        stack.sql("insert into products select n, 'thing ' || n, n % 10, 1000 + n, 'GBP' from generate_series(1, 100) n");
        stack
    }

    pub(crate) fn with_redis_at(mut self, address: SocketAddr) -> Self {
        self.redis_at = Some(address);
        self
    }

    pub(crate) fn with_shared_at(mut self, url: String) -> Self {
        self.shared = Some(url);
        self
    }

    /// As the shop's application would.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.postgres.psql_as("shop", "shop", sql).expect("the statement runs")
    }

    pub(crate) fn price(&self, id: u32, cents: u32) {
        self.sql(&format!("update products set price_cents = {cents} where id = {id}"));
    }

    /// The example with this stack's addresses and a budget of one second.
    pub(crate) fn config(&self, ports: [&Port; 3]) -> String {
        let redis = self.redis_at.unwrap_or_else(|| self.redis.addr());
        let shared = self.shared.clone().unwrap_or_else(|| format!("redis://{redis}"));
        // With what surrounds them: 127.0.0.1:3000 also begins the port 30004.
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

    /// Starts a node and waits until it serves proven answers.
    pub(crate) fn node(&self) -> Node {
        self.node_with(|config| config)
    }

    /// The same with another configuration.
    pub(crate) fn node_with(&self, edit: impl Fn(String) -> String) -> Node {
        self.launch(edit).ready()
    }

    /// Starts a node without waiting for anything.
    pub(crate) fn launch(&self, edit: impl Fn(String) -> String) -> Node {
        self.launch_under(&[], edit)
    }

    /// The same with this in its environment.
    pub(crate) fn launch_under(
        &self,
        env: &[(OsString, OsString)],
        edit: impl Fn(String) -> String,
    ) -> Node {
        let ports = [(); 3].map(|()| Port::reserve().expect("a free port"));
        let [gateway, data, admin] = &ports;
        let path = self.folder.path().join(format!("tidegate-{}.toml", admin.number()));
        std::fs::write(&path, edit(self.config([gateway, data, admin]))).expect("written");
        let process = start(&path, env);
        let [gateway, data, admin] = ports.each_ref().map(Port::addr);
        Node { process, gateway, data, admin, _ports: ports.into() }
    }
}

pub(crate) fn start(config: &Path, env: &[(OsString, OsString)]) -> Process {
    let serve = Process::builder(env!("CARGO_BIN_EXE_tidegate")).arg("serve").arg("--config");
    let serve = env.iter().fold(serve.arg(config), |serve, (name, value)| serve.env(name, value));
    serve.start().expect("the binary starts")
}

impl Node {
    /// Waits until it serves proven answers.
    pub(crate) fn ready(mut self) -> Self {
        self.process.wait_for_http(self.admin, "/readyz", SOON).expect("ready");
        self.wait("a proven bound", |node| node.status()["bound_ms"].as_f64().is_some());
        self
    }

    pub(crate) fn get(&self, id: u32) -> Answer {
        http::get(self.data, &format!("/data/product_price/{id}"), SOON).expect("an answer")
    }

    /// The price that is answered, if one is.
    pub(crate) fn cents(&self, id: u32) -> Option<u32> {
        let answer = self.get(id);
        let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        (answer.status == 200).then(|| body["price_cents"].as_u64())??.try_into().ok()
    }

    pub(crate) fn page(&self) -> Answer {
        http::get(self.gateway, "/p/42", SOON).expect("an answer")
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let answer = http::get(self.admin, "/api/v1/status", SOON).expect("an answer");
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.metric_with(name, "")
    }

    /// The sum of those whose labels contain `labels`.
    pub(crate) fn metric_with(&self, name: &str, labels: &str) -> f64 {
        let answer = http::get(self.admin, "/metrics", SOON).expect("an answer");
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
            assert!(begun.elapsed() < SOON, "no {what} within {SOON:?}\n{}", self.story());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything that may explain why something did not happen.
    fn story(&self) -> String {
        let ask = |addr, path: &str| {
            http::get(addr, path, SOON)
                .map_or_else(|err| format!("{err:#}"), |answer| answer.text())
        };
        let metrics = ask(self.admin, "/metrics");
        let told = metrics.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
        let log = self.process.lines().join("\n");
        format!(
            "{}\n{}\n{log}\n{}",
            ask(self.admin, "/api/v1/status"),
            ask(self.data, "/data/product_price/42"),
            told.collect::<Vec<_>>().join("\n")
        )
    }
}

/// The staleness bound that an answer shows, in ms.
pub(crate) fn bound_ms(answer: &Answer) -> Option<f64> {
    let freshness = answer.header("tidegate-freshness")?;
    let bound = freshness.split(',').find_map(|part| part.trim().strip_prefix("bound="))?;
    bound.parse().ok()
}

/// Which tier answered.
pub(crate) fn tier(answer: &Answer) -> Option<&str> {
    let freshness = answer.header("tidegate-freshness")?;
    freshness.split(',').find_map(|part| part.trim().strip_prefix("tier="))
}

#[expect(clippy::disallowed_methods, reason = "these tests run real processes in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
