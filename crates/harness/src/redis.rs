//! A Redis server.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    child::{self, Daemon},
    folder,
    output::Output,
    port::Port,
    programs::{self, Release},
    server::Server,
    wait,
};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const REPLICATION_TIMEOUT: Duration = Duration::from_secs(60);

/// The settings of a [`Redis`].
#[derive(Default)]
pub struct RedisBuilder {
    persistent: bool,
    settings: Vec<(String, String)>,
}

impl RedisBuilder {
    /// Sets a directive of `redis.conf`, for example `maxmemory-policy` to `allkeys-lru`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Keeps its data over a restart (append-only file, synced with each write). Without this a
    /// restarted server is empty.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When redis-server is missing or does not become ready; with its last lines.
    pub fn start(self) -> Result<Redis> {
        let folder = folder::private("redis")?;
        let mut args = vec!["--dir".to_owned(), folder.path().display().to_string()];
        let mut set =
            |name: &str, value: &str| args.extend([format!("--{name}"), value.to_owned()]);
        set("save", "");
        set("appendonly", if self.persistent { "yes" } else { "no" });
        set("appendfsync", "always");
        for (name, value) in &self.settings {
            set(name, value);
        }
        let uses_tls = self.settings.iter().any(|(name, _)| name.starts_with("tls-"));
        // Packaged builds of other releases often lack TLS.
        let release = if uses_tls { Release::System } else { Release::Any };
        let program = server_program(release)?;
        let launch = |port: &Port, output: &Output| launch(&program, None, &args, (port, output));
        let server = Server::start("redis", launch)?;
        Ok(Redis { server, program, args, _folder: folder })
    }
}

/// A running Redis; stopped on drop, with its data removed.
pub struct Redis {
    // Before the folder, so that it is dropped first.
    server: Server,
    program: PathBuf,
    args: Vec<String>,
    _folder: TempDir,
}

impl Redis {
    /// Starts a server without persistence and with Redis's own defaults.
    ///
    /// # Errors
    /// As [`RedisBuilder::start`].
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// Returns a builder for other settings.
    #[must_use]
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// Returns its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Returns `redis://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Runs redis-cli with `words` and returns its output.
    ///
    /// # Errors
    /// When redis-cli is missing, the server can't be reached or returns an error.
    pub fn cli(&self, words: &[&str]) -> Result<String> {
        cli(self.addr(), words)
    }

    /// Deletes all keys synchronously.
    ///
    /// # Errors
    /// As [`Redis::cli`].
    pub fn flushall(&self) -> Result<()> {
        self.cli(&["flushall", "sync"]).map(drop)
    }

    /// Shuts it down cleanly. [`Redis::start_again`] restarts it on the same port.
    ///
    /// # Errors
    /// When it is not running or does not end in time.
    pub fn stop(&mut self) -> Result<()> {
        self.server.stop(Signal::TERM, STOP_TIMEOUT)
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// When it is not running.
    pub fn crash(&mut self) -> Result<()> {
        self.server.crash(Daemon::kill)
    }

    /// Starts it again after [`Redis::stop`] or [`Redis::crash`], with the same port and settings.
    ///
    /// # Errors
    /// When it runs already or does not become ready.
    pub fn start_again(&mut self) -> Result<()> {
        let (program, args) = (&self.program, &self.args);
        self.server.start_again(|port, output| launch(program, None, args, (port, output)))
    }

    /// Freezes it (SIGSTOP) until [`Redis::resume`]: it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause(&mut self) -> Result<()> {
        self.server.running()?.signal(Signal::STOP)
    }

    /// Ends [`Redis::pause`].
    ///
    /// # Errors
    /// When it is not running.
    pub fn resume(&mut self) -> Result<()> {
        self.server.running()?.signal(Signal::CONT)
    }

    /// Returns the lines that it has logged.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.server.log()
    }

    /// Waits until this replica has synchronised with its primary and follows it.
    pub(crate) fn wait_for_link(&self) -> Result<()> {
        wait::until("a replica in sync", REPLICATION_TIMEOUT, || {
            let status = replication(self, "master_link_status")?;
            Ok((status == "up").then_some(()))
        })
    }

    /// Waits until this replica has all that `primary` has written so far.
    pub(crate) fn wait_for_writes_of(&self, primary: &Self) -> Result<()> {
        let offset = |server: &Self, field: &str| -> Result<u64> {
            let value = replication(server, field)?;
            value.parse().with_context(|| format!("harness: {field} is {value}"))
        };
        let written = offset(primary, "master_repl_offset")?;
        wait::until("a replica that has caught up", REPLICATION_TIMEOUT, || {
            Ok((offset(self, "slave_repl_offset")? >= written).then_some(()))
        })
    }
}

/// Returns a field of `INFO replication`.
fn replication(server: &Redis, field: &str) -> Result<String> {
    let info = server.cli(&["info", "replication"])?;
    let fields = info.lines().filter_map(|line| line.trim().split_once(':'));
    let value = fields.into_iter().find_map(|(name, value)| (name == field).then_some(value));
    value.map(str::to_owned).with_context(|| format!("harness: no {field} in {info}"))
}

pub(crate) fn server_program(release: Release) -> Result<PathBuf> {
    programs::require_release("redis-server", &[], "redis-server", release)
}

/// Starts a Redis server or a sentinel, with a configuration file if there is one, and waits until
/// it answers.
pub(crate) fn launch(
    program: &Path,
    file: Option<&Path>,
    args: &[String],
    (port, output): (&Port, &Output),
) -> Result<Daemon> {
    let mut command = child::command(program, None)?;
    command.args(file).args(["--bind", "127.0.0.1", "--daemonize", "no"]);
    // The arguments last, since they may override the others.
    command.arg("--port").arg(port.number().to_string()).args(args);
    let mut daemon = Daemon::spawn("redis-server", command, output.clone())?;
    daemon.wait_until_ready(START_TIMEOUT, || answers_ping(port.addr()))?;
    Ok(daemon)
}

/// Runs redis-cli against a server.
pub(crate) fn cli(server: SocketAddr, words: &[&str]) -> Result<String> {
    let program = programs::require("redis-cli", &[], "redis-tools")?;
    let mut cli = Command::new(program);
    programs::run(cli.args(["-e", "-p", &server.port().to_string()]).args(words))
}

fn answers_ping(addr: SocketAddr) -> bool {
    let mut answer = [0; 5];
    let Ok(mut stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(500)) else {
        return false;
    };
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == *b"+PONG"
}
