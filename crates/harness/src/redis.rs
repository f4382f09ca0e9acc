//! A Redis server of one's own.

use std::{
    ffi::OsString,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    child::{self, Daemon},
    folder,
    output::Output,
    port::{self, Port},
    programs, wait,
};

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How the server shall be set up; see [`Redis::builder`].
#[derive(Default)]
pub struct RedisBuilder {
    persistent: bool,
    settings: Vec<(String, String)>,
}

impl RedisBuilder {
    /// A directive of `redis.conf`, for example `maxmemory-policy`, `allkeys-lru`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Keeps its data over a restart (append-only file, synced with each write). Without this
    /// everything is gone then.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When redis-server is missing or does not come up; with its last lines.
    pub fn start(self) -> Result<Redis> {
        let server = programs::find("redis-server", &[])
            .ok_or_else(|| programs::missing("redis-server", "redis-server"))?;
        let folder = folder::private("redis")?;
        let mut options = vec![
            ("save".to_owned(), String::new()),
            ("appendonly".to_owned(), if self.persistent { "yes" } else { "no" }.to_owned()),
            ("appendfsync".to_owned(), "always".to_owned()),
        ];
        options.extend(self.settings);
        let output = Output::default();
        let (port, daemon) = port::start_on_some_port(|port| {
            launch(&server, folder.path(), port, &options, &output)
        })?;
        Ok(Redis { daemon: Some(daemon), output, port, options, server: server.into(), folder })
    }
}

/// A running Redis; stopped and wiped on drop.
pub struct Redis {
    // Before the folder, so that it is dropped first.
    daemon: Option<Daemon>,
    output: Output,
    port: Port,
    options: Vec<(String, String)>,
    server: OsString,
    folder: TempDir,
}

impl Redis {
    /// A server without persistence and with Redis's own defaults.
    ///
    /// # Errors
    /// As [`RedisBuilder::start`].
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// A server to be set up.
    #[must_use]
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// `redis://127.0.0.1:port`
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Runs redis-cli with these words, as a person would, and returns what it printed.
    ///
    /// # Errors
    /// When redis-cli is missing, the server can't be reached or answers with an error.
    pub fn cli(&self, words: &[&str]) -> Result<String> {
        cli(self.port.number(), words)
    }

    /// Deletes everything, at once.
    ///
    /// # Errors
    /// As [`Redis::cli`].
    pub fn flushall(&self) -> Result<()> {
        self.cli(&["flushall", "sync"]).map(drop)
    }

    /// Shuts it down in order. [`Redis::start_again`] brings it back on the same port.
    ///
    /// # Errors
    /// When it is not running or does not end in time.
    pub fn stop(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("harness: redis is not running")?;
        daemon.signal(Signal::TERM)?;
        daemon.wait(STOP_LIMIT).map(drop)
    }

    /// Kills it as `kill -9` does.
    ///
    /// # Errors
    /// When it is not running.
    pub fn crash(&mut self) -> Result<()> {
        self.daemon.take().context("harness: redis is not running")?.kill()
    }

    /// Starts it again after [`Redis::stop`] or [`Redis::crash`]: same port, same settings.
    ///
    /// # Errors
    /// When it runs already or does not come up.
    pub fn start_again(&mut self) -> Result<()> {
        if self.daemon.is_some() {
            bail!("harness: redis is running already");
        }
        let daemon = launch(
            Path::new(&self.server),
            self.folder.path(),
            &self.port,
            &self.options,
            &self.output,
        )?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Freezes it: it holds its connections and says nothing, until [`Redis::resume`].
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause(&mut self) -> Result<()> {
        self.running()?.signal(Signal::STOP)
    }

    /// Ends [`Redis::pause`].
    ///
    /// # Errors
    /// When it is not running.
    pub fn resume(&mut self) -> Result<()> {
        self.running()?.signal(Signal::CONT)
    }

    fn running(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().context("harness: redis is not running")
    }

    /// The lines it has logged.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.output.all()
    }
}

fn launch(
    server: &Path,
    folder: &Path,
    port: &Port,
    options: &[(String, String)],
    output: &Output,
) -> Result<Daemon> {
    let mut command = child::command(server, None)?;
    command.arg("--port").arg(port.number().to_string());
    command.args(["--bind", "127.0.0.1", "--daemonize", "no", "--dir"]).arg(folder);
    for (name, value) in options {
        command.arg(format!("--{name}")).arg(value);
    }
    let mut daemon = Daemon::spawn("redis-server", command, output.clone())?;
    let addr = port.addr();
    let ready = wait::until("redis-server answering PING", START_LIMIT, || {
        if daemon.exited()?.is_some() {
            return Err(daemon.complain("it did not start"));
        }
        Ok(answers_ping(addr).then_some(()))
    });
    match ready {
        Ok(()) => Ok(daemon),
        Err(err) => Err(err.context(daemon.complain("it is not ready"))),
    }
}

/// Runs redis-cli against a port of this machine.
pub(crate) fn cli(port: u16, words: &[&str]) -> Result<String> {
    let cli = programs::find("redis-cli", &[])
        .ok_or_else(|| programs::missing("redis-cli", "redis-tools"))?;
    let result = Command::new(cli).args(["-e", "-p", &port.to_string()]).args(words).output()?;
    let printed = String::from_utf8_lossy(&result.stdout).trim_end().to_owned();
    if !result.status.success() {
        let complaint = String::from_utf8_lossy(&result.stderr);
        bail!("harness: redis-cli {words:?}: {printed} {}", complaint.trim_end());
    }
    Ok(printed)
}

pub(crate) fn answers_ping(addr: SocketAddr) -> bool {
    let mut answer = [0; 5];
    let Ok(mut stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(500)) else {
        return false;
    };
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == *b"+PONG"
}
