//! Tidegate as its users run it: the binary, in its own processes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use harness::{Port, Postgres, Process, ProcessBuilder, Redis, http};

/// The example configuration.
const EXAMPLE: &str = include_str!("../../../../examples/tidegate.toml");

/// The time limit of every expected event.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The servers that a node needs.
pub(crate) struct Servers {
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    folder: tempfile::TempDir,
}

pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) gateway: SocketAddr,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Reserved as long as the node may run.
    ports: Ports,
    core: Option<usize>,
    folder: PathBuf,
}

/// The ports of a node: gateway, data API, admin listener.
pub(crate) struct Ports([Port; 3]);

impl Ports {
    pub(crate) fn reserve() -> Result<Self> {
        Ok(Self([Port::reserve()?, Port::reserve()?, Port::reserve()?]))
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.0[2].addr()
    }
}

impl Servers {
    /// Starts PostgreSQL with the example's table of `rows` rows, and Redis.
    pub(crate) fn start(settings: &[(&str, &str)], rows: u32) -> Result<Self> {
        let mut postgres = Postgres::builder();
        for (name, value) in settings {
            postgres = postgres.setting(name, value);
        }
        let postgres = postgres.start()?;
        postgres.psql("create role shop login replication")?;
        postgres.psql("create database shop owner shop")?;
        let servers = Self { postgres, redis: Redis::start()?, folder: tempfile::tempdir()? };
        servers.sql(
            "create table products(id int primary key, name text, category_id int, \
             price_cents int, currency text)",
        )?;
        servers.sql(&format!(
            "insert into products select n, 'thing ' || n, n % 10, n, 'GBP' \
             from generate_series(1, {rows}) n"
        ))?;
        Ok(servers)
    }

    pub(crate) fn sql(&self, sql: &str) -> Result<String> {
        self.postgres.psql_as("shop", "shop", sql)
    }

    /// Starts a node with the example's configuration, edited by `edit`, and waits until it is proven.
    pub(crate) fn node(&self, edit: impl Fn(String) -> String) -> Result<Node> {
        self.node_at(Ports::reserve()?, edit)
    }

    /// Starts a node as [`node`](Self::node) does, at these ports.
    pub(crate) fn node_at(&self, ports: Ports, edit: impl Fn(String) -> String) -> Result<Node> {
        let mut node = self.launch_at(ports, edit)?;
        node.wait()?;
        Ok(node)
    }

    /// Starts a node without waiting.
    pub(crate) fn launch(&self, edit: impl Fn(String) -> String) -> Result<Node> {
        self.launch_at(Ports::reserve()?, edit)
    }

    fn launch_at(&self, ports: Ports, edit: impl Fn(String) -> String) -> Result<Node> {
        let config = EXAMPLE
            .replace("127.0.0.1:5432", &self.postgres.addr().to_string())
            .replace("127.0.0.1:6379", &self.redis.addr().to_string());
        Node::launch_at(ports, self.folder.path(), &edit(config), None)
    }
}

impl Node {
    /// Starts a node with `config`, whose `[listen]` is the example's, and waits until it has a proven bound.
    /// `core`: the only core that it may use.
    pub(crate) fn start(folder: &Path, config: &str, core: Option<usize>) -> Result<Self> {
        let mut node = Self::launch_at(Ports::reserve()?, folder, config, core)?;
        node.wait()?;
        Ok(node)
    }

    /// Starts a node without waiting.
    fn launch_at(ports: Ports, folder: &Path, config: &str, core: Option<usize>) -> Result<Self> {
        let [gateway, data, admin] = ports.0.each_ref().map(Port::addr);
        let config = config
            .replace("127.0.0.1:8080", &gateway.to_string())
            .replace("127.0.0.1:9170", &data.to_string())
            .replace("127.0.0.1:9180", &admin.to_string());
        std::fs::write(config_path(folder, admin), config)?;
        let process = launch(folder, admin, core)?;
        Ok(Self { process, gateway, data, admin, ports, core, folder: folder.into() })
    }

    /// Starts the node again after its process has ended.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.process = launch(&self.folder, self.ports.admin(), self.core)?;
        self.wait()
    }

    fn wait(&mut self) -> Result<()> {
        self.process.wait_for_http(self.admin, "/readyz", DEADLINE)?;
        harness::until("a proven bound", DEADLINE, || {
            let status = http::get(self.admin, "/api/v1/status", DEADLINE)?;
            let status: serde_json::Value = serde_json::from_slice(&status.body)?;
            Ok(status["bound_ms"].as_f64())
        })?;
        Ok(())
    }
}

fn config_path(folder: &Path, admin: SocketAddr) -> PathBuf {
    folder.join(format!("tidegate-{}.toml", admin.port()))
}

fn launch(folder: &Path, admin: SocketAddr, core: Option<usize>) -> Result<Process> {
    let binary = Path::new(env!("CARGO_BIN_EXE_tidegate"));
    let process =
        on_core(core, binary)?.arg("serve").arg("--config").arg(config_path(folder, admin));
    process.folder(folder).start()
}

/// Returns the command of a program that may use one core, or all.
pub(crate) fn on_core(core: Option<usize>, program: &Path) -> Result<ProcessBuilder> {
    let Some(core) = core else { return Ok(Process::builder(program)) };
    let taskset = Process::builder(find("taskset")?);
    Ok(taskset.arg("--cpu-list").arg(core.to_string()).arg(program))
}

/// Finds a program in `PATH`.
pub(crate) fn find(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .with_context(|| format!("{program} not found"))
}
