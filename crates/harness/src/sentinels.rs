//! A Redis primary, its replicas, and sentinels that watch them.

use std::{fs, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    child::{self, Daemon},
    folder,
    output::Output,
    port::{self, Port},
    programs,
    redis::{Redis, answers_ping},
    wait,
};

/// What the sentinels call the primary.
const NAME: &str = "shop";
/// A server that is silent for so long counts as down.
const DOWN_AFTER_MS: u32 = 600;
const START_LIMIT: Duration = Duration::from_secs(20);
/// A failover takes some seconds; a second try begins ten seconds later.
const FAILOVER_LIMIT: Duration = Duration::from_secs(60);

/// Two Redis servers, of which one replicates the other, and three sentinels. All are stopped and
/// wiped on drop.
pub struct Sentinels {
    // Before the servers, so that they don't see them go.
    watchers: Vec<Watcher>,
    servers: Vec<Redis>,
}

struct Watcher {
    daemon: Daemon,
    port: Port,
    _folder: TempDir,
}

impl Sentinels {
    /// Starts all of it, and waits until every sentinel knows the replica and the other sentinels:
    /// from then on they can fail over.
    ///
    /// # Errors
    /// When redis-server is missing or something does not come up.
    pub fn start() -> Result<Self> {
        // A replica gets what it needs at once, instead of five seconds later.
        let builder = || Redis::builder().setting("repl-diskless-sync-delay", "0");
        let primary = builder().start()?;
        let port = primary.addr().port();
        let replica = builder().setting("replicaof", &format!("127.0.0.1 {port}")).start()?;
        // Before a sentinel looks, which it does every ten seconds only.
        wait::until("a replica in step", START_LIMIT, || {
            let told = replica.cli(&["info", "replication"])?;
            Ok(told.contains("master_link_status:up").then_some(()))
        })?;
        let servers = vec![primary, replica];
        let mut sentinels = Self { watchers: Vec::new(), servers };
        for _ in 0..3 {
            sentinels.watchers.push(watch(port)?);
        }
        sentinels.wait_until_ready()?;
        Ok(sentinels)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        for at in 0..self.watchers.len() {
            let ready = wait::until("a sentinel that knows the others", START_LIMIT, || {
                let told = self.ask(at, &["sentinel", "master", NAME])?;
                let value = |name: &str| {
                    told.lines().skip_while(|line| *line != name).nth(1).map(str::to_owned)
                };
                let knows = value("num-slaves").as_deref() == Some("1")
                    && value("num-other-sentinels").as_deref() == Some("2")
                    && value("flags").as_deref() == Some("master");
                let replicas = self.ask(at, &["sentinel", "replicas", NAME])?;
                let linked = replicas.lines().skip_while(|line| *line != "master-link-status");
                Ok((knows && linked.clone().nth(1) == Some("ok")).then_some(()))
            });
            ready
                .map_err(|err| err.context(self.watchers[at].daemon.complain("it is not ready")))?;
        }
        Ok(())
    }

    fn ask(&self, watcher: usize, words: &[&str]) -> Result<String> {
        crate::redis::cli(self.watchers[watcher].port.number(), words)
    }

    /// `redis+sentinel://host:port,host:port,host:port/NAME`
    #[must_use]
    pub fn url(&self) -> String {
        let at: Vec<String> = self.addrs().iter().map(ToString::to_string).collect();
        format!("redis+sentinel://{}/{NAME}", at.join(","))
    }

    /// Where the sentinels listen.
    #[must_use]
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.watchers.iter().map(|watcher| watcher.port.addr()).collect()
    }

    /// One of the two servers; 0 is the primary of the beginning.
    pub fn server(&mut self, n: usize) -> &mut Redis {
        &mut self.servers[n]
    }

    /// Where a majority of the sentinels say that the primary is.
    ///
    /// # Errors
    /// When redis-cli is missing or no two of them agree.
    pub fn primary(&self) -> Result<SocketAddr> {
        let said: Vec<String> = (0..self.watchers.len())
            .filter_map(|at| self.ask(at, &["sentinel", "get-master-addr-by-name", NAME]).ok())
            .collect();
        let agreed = said.iter().find(|one| said.iter().filter(|other| other == one).count() >= 2);
        let agreed = agreed.with_context(|| format!("harness: the sentinels say {said:?}"))?;
        let port = agreed.lines().nth(1).and_then(|port| port.parse().ok());
        Ok(SocketAddr::from(([127, 0, 0, 1], port.context("harness: a sentinel names no port")?)))
    }

    /// Waits until the sentinels have made server `n` the primary, and it says so itself.
    ///
    /// # Errors
    /// When that takes more than a minute.
    pub fn wait_for_primary(&self, n: usize) -> Result<()> {
        let server = &self.servers[n];
        wait::until("a failover", FAILOVER_LIMIT, || {
            let named = self.primary().is_ok_and(|at| at == server.addr());
            let role = server.cli(&["role"]).unwrap_or_default();
            Ok((named && role.starts_with("master")).then_some(()))
        })
    }

    /// Runs redis-cli with these words against each sentinel.
    ///
    /// # Errors
    /// When redis-cli is missing, or one of them can't be reached or answers with an error.
    pub fn tell(&self, words: &[&str]) -> Result<()> {
        (0..self.watchers.len()).try_for_each(|at| self.ask(at, words).map(drop))
    }

    /// Freezes all sentinels: nothing is failed over until [`Sentinels::resume`].
    ///
    /// # Errors
    /// When they can't be signalled.
    pub fn pause(&mut self) -> Result<()> {
        self.watchers.iter_mut().try_for_each(|watcher| watcher.daemon.signal(Signal::STOP))
    }

    /// Ends [`Sentinels::pause`].
    ///
    /// # Errors
    /// When they can't be signalled.
    pub fn resume(&mut self) -> Result<()> {
        self.watchers.iter_mut().try_for_each(|watcher| watcher.daemon.signal(Signal::CONT))
    }

    /// Waits until the replica `n` has all that the primary `of` has written so far.
    ///
    /// # Errors
    /// When it takes too long.
    pub fn wait_for_replica(&self, n: usize, of: usize) -> Result<()> {
        let offset = |server: &Redis, field: &str| -> Result<u64> {
            let told = server.cli(&["info", "replication"])?;
            let line = told.lines().find_map(|line| line.trim().strip_prefix(field));
            match line.and_then(|rest| rest.strip_prefix(':')).map(str::parse) {
                Some(Ok(offset)) => Ok(offset),
                _ => bail!("harness: no {field} in {told}"),
            }
        };
        let wanted = offset(&self.servers[of], "master_repl_offset")?;
        wait::until("a replica that has caught up", START_LIMIT, || {
            Ok((offset(&self.servers[n], "slave_repl_offset")? >= wanted).then_some(()))
        })
    }
}

/// Starts a sentinel.
fn watch(primary: u16) -> Result<Watcher> {
    let server = programs::find("redis-server", &[])
        .ok_or_else(|| programs::missing("redis-server", "redis-server"))?;
    let folder = folder::private("sentinel")?;
    let file = folder.path().join("sentinel.conf");
    let text = format!(
        "sentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
         sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n\
         sentinel failover-timeout {NAME} 10000\n"
    );
    let output = Output::default();
    let (port, daemon) = port::start_on_some_port(|port| {
        fs::write(&file, &text)?;
        let mut command = child::command(&server, None)?;
        command.arg(&file).args(["--sentinel", "--bind", "127.0.0.1", "--daemonize", "no"]);
        command.arg("--port").arg(port.number().to_string()).arg("--dir").arg(folder.path());
        let mut daemon = Daemon::spawn("redis-sentinel", command, output.clone())?;
        let addr = port.addr();
        let ready = wait::until("a sentinel answering PING", START_LIMIT, || {
            if daemon.exited()?.is_some() {
                return Err(daemon.complain("it did not start"));
            }
            Ok(answers_ping(addr).then_some(()))
        });
        ready.map_err(|err| err.context(daemon.complain("it is not ready")))?;
        Ok(daemon)
    })?;
    Ok(Watcher { daemon, port, _folder: folder })
}
