//! A Redis primary, its replica, and the sentinels that watch them.

use std::{fs, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    folder,
    programs::Release,
    redis::{self, Redis},
    server::Server,
    wait,
};

/// The name of the primary in the sentinels' configuration.
const NAME: &str = "shop";
/// A server that is silent for so long counts as down.
const DOWN_AFTER_MS: u32 = 600;
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// A failover takes some seconds; a second attempt begins ten seconds later.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(60);

/// Two Redis servers, of which one replicates the other, and three sentinels; all are stopped on
/// drop.
pub struct Sentinels {
    // Before the servers, so that they are stopped first and see no failure.
    watchers: Vec<Watcher>,
    servers: Vec<Redis>,
}

struct Watcher {
    server: Server,
    _folder: TempDir,
}

impl Sentinels {
    /// Starts all of them, and waits until every sentinel knows the replica and the other
    /// sentinels: from then on they can fail over.
    ///
    /// # Errors
    /// When redis-server is missing or a server does not become ready.
    pub fn start() -> Result<Self> {
        // Without a delay of five seconds before a replica gets its data.
        let builder = || Redis::builder().setting("repl-diskless-sync-delay", "0");
        let primary = builder().start()?;
        let port = primary.addr().port();
        let replica = builder().setting("replicaof", &format!("127.0.0.1 {port}")).start()?;
        // Before the sentinels start, since they look for replicas every ten seconds only.
        replica.wait_for_link()?;
        let watchers = (0..3).map(|_| Watcher::start(port)).collect::<Result<_>>()?;
        let sentinels = Self { watchers, servers: vec![primary, replica] };
        sentinels.wait_until_ready()?;
        Ok(sentinels)
    }

    fn wait_until_ready(&self) -> Result<()> {
        self.watchers.iter().try_for_each(|watcher| {
            wait::until("a sentinel that knows the others", START_TIMEOUT, || {
                let primary = watcher.cli(&["sentinel", "master", NAME])?;
                let knows = value(&primary, "num-slaves") == Some("1")
                    && value(&primary, "num-other-sentinels") == Some("2")
                    && value(&primary, "flags") == Some("master");
                let replicas = watcher.cli(&["sentinel", "replicas", NAME])?;
                let linked = value(&replicas, "master-link-status") == Some("ok");
                Ok((knows && linked).then_some(()))
            })
        })
    }

    /// Returns `redis+sentinel://host:port,host:port,host:port/NAME`.
    #[must_use]
    pub fn url(&self) -> String {
        let addrs: Vec<String> = self.addrs().iter().map(ToString::to_string).collect();
        format!("redis+sentinel://{}/{NAME}", addrs.join(","))
    }

    /// Returns the addresses of the sentinels.
    #[must_use]
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.watchers.iter().map(|watcher| watcher.server.addr()).collect()
    }

    /// Returns one of the two servers; 0 is the first primary.
    pub fn server(&mut self, n: usize) -> &mut Redis {
        &mut self.servers[n]
    }

    /// Returns the address of the primary, according to a majority of the sentinels.
    ///
    /// # Errors
    /// When redis-cli is missing or no two of them agree.
    pub fn primary(&self) -> Result<SocketAddr> {
        let answers: Vec<String> = self
            .watchers
            .iter()
            .filter_map(|watcher| watcher.cli(&["sentinel", "get-master-addr-by-name", NAME]).ok())
            .collect();
        let votes = |one: &&String| answers.iter().filter(|other| other == one).count();
        let agreed = answers.iter().find(|one| votes(one) >= 2);
        let agreed =
            agreed.with_context(|| format!("harness: the sentinels return {answers:?}"))?;
        let port = agreed.lines().nth(1).and_then(|port| port.parse().ok());
        Ok(SocketAddr::from(([127, 0, 0, 1], port.context("harness: a sentinel names no port")?)))
    }

    /// Waits until server `n` is the primary according to the sentinels and itself.
    ///
    /// # Errors
    /// When that takes more than a minute.
    pub fn wait_for_primary(&self, n: usize) -> Result<()> {
        let server = &self.servers[n];
        wait::until("a failover", FAILOVER_TIMEOUT, || {
            let named = self.primary().is_ok_and(|primary| primary == server.addr());
            let role = server.cli(&["role"]).unwrap_or_default();
            Ok((named && role.starts_with("master")).then_some(()))
        })
    }

    /// Runs redis-cli with `words` against each sentinel.
    ///
    /// # Errors
    /// When redis-cli is missing, or one of them can't be reached or returns an error.
    pub fn cli_on_all(&self, words: &[&str]) -> Result<()> {
        self.watchers.iter().try_for_each(|watcher| watcher.cli(words).map(drop))
    }

    /// Freezes all sentinels: no failover until [`Sentinels::resume`].
    ///
    /// # Errors
    /// When they can't be signalled.
    pub fn pause(&mut self) -> Result<()> {
        self.signal_all(Signal::STOP)
    }

    /// Ends [`Sentinels::pause`].
    ///
    /// # Errors
    /// When they can't be signalled.
    pub fn resume(&mut self) -> Result<()> {
        self.signal_all(Signal::CONT)
    }

    fn signal_all(&mut self, signal: Signal) -> Result<()> {
        self.watchers.iter_mut().try_for_each(|watcher| watcher.server.running()?.signal(signal))
    }

    /// Waits until the replica `n` has all that the primary `of` has written so far.
    ///
    /// # Errors
    /// When that takes more than a minute.
    pub fn wait_for_replica(&self, n: usize, of: usize) -> Result<()> {
        self.servers[n].wait_for_writes_of(&self.servers[of])
    }
}

/// Returns the value on the line after `name`.
fn value<'a>(reply: &'a str, name: &str) -> Option<&'a str> {
    reply.lines().skip_while(|line| *line != name).nth(1)
}

impl Watcher {
    fn start(primary: u16) -> Result<Self> {
        let program = redis::server_program(Release::Any)?;
        let folder = folder::private("sentinel")?;
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "sentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {NAME} 10000\n"
        );
        let dir = folder.path().display().to_string();
        let args = ["--sentinel".to_owned(), "--dir".to_owned(), dir];
        let server = Server::start("sentinel", |port, output| {
            // A sentinel rewrites its file, so that another attempt needs a fresh one.
            fs::write(&file, &text)?;
            redis::launch(&program, Some(&file), &args, (port, output))
        })?;
        Ok(Self { server, _folder: folder })
    }

    fn cli(&self, words: &[&str]) -> Result<String> {
        redis::cli(self.server.addr(), words)
    }
}
