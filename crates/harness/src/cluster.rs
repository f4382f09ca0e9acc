//! A Redis Cluster: three primaries and a replica of each.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};

use crate::{
    port::Port,
    redis::{Redis, RedisBuilder},
    wait,
};

/// The number of primaries, and of replicas.
const SHARDS: usize = 3;
const SLOTS: usize = 16_384;
/// A node that is silent for so long counts as down; long enough for a busy machine.
const NODE_TIMEOUT_MS: u32 = 3_000;
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Detection, and an election, which is repeated if it fails.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(60);

/// Six Redis servers. At the start, 0, 1 and 2 are primaries with a third of the slots each, and 3, 4
/// and 5 their replicas. All are stopped on drop.
pub struct Cluster {
    nodes: Vec<Redis>,
    /// The ports on which the nodes talk to each other.
    buses: Vec<Port>,
}

/// Returns the first and the last slot of shard `n` at the start.
fn first_and_last_slot(n: usize) -> (usize, usize) {
    (n * SLOTS / SHARDS, (n + 1) * SLOTS / SHARDS - 1)
}

impl Cluster {
    /// Starts it with the default settings; see [`Cluster::start_with`].
    ///
    /// # Errors
    /// When redis-server is missing or a server does not become ready.
    pub fn start() -> Result<Self> {
        Self::start_with(|builder| builder)
    }

    /// Starts it, with more settings for each node, and waits until every node knows all others and each
    /// primary has a replica in sync: from then on it can fail over.
    ///
    /// # Errors
    /// When redis-server is missing or a server does not become ready.
    pub fn start_with(edit: impl Fn(RedisBuilder) -> RedisBuilder) -> Result<Self> {
        let mut cluster = Self { nodes: Vec::new(), buses: Vec::new() };
        for _ in 0..2 * SHARDS {
            let bus = Port::reserve()?;
            let builder = Redis::builder()
                .setting("cluster-enabled", "yes")
                .setting("cluster-port", &bus.number().to_string())
                .setting("cluster-node-timeout", &NODE_TIMEOUT_MS.to_string())
                // The other shards serve while one is down.
                .setting("cluster-require-full-coverage", "no")
                .setting("repl-diskless-sync-delay", "0");
            cluster.nodes.push(edit(builder).start()?);
            cluster.buses.push(bus);
        }
        for (n, node) in cluster.nodes.iter().enumerate() {
            node.cli(&["cluster", "set-config-epoch", &(n + 1).to_string()])?;
            if n < SHARDS {
                let (first, last) = first_and_last_slot(n);
                node.cli(&["cluster", "addslotsrange", &first.to_string(), &last.to_string()])?;
            }
        }
        for (node, bus) in cluster.nodes.iter().zip(&cluster.buses).skip(1) {
            let (port, bus) = (node.addr().port().to_string(), bus.number().to_string());
            cluster.nodes[0].cli(&["cluster", "meet", "127.0.0.1", &port, &bus])?;
        }
        cluster.wait_for("nodes that know each other", |nodes| {
            let known = nodes.lines().filter(|line| line.contains(" connected")).count();
            known == 2 * SHARDS && !nodes.contains("handshake")
        })?;
        for n in 0..SHARDS {
            let id = cluster.nodes[n].cli(&["cluster", "myid"])?;
            cluster.nodes[n + SHARDS].cli(&["cluster", "replicate", &id])?;
        }
        cluster.wait_for("replicas", |nodes| {
            nodes.lines().filter(|line| line.contains("slave ")).count() == SHARDS
                && !nodes.contains("fail")
        })?;
        for n in 0..SHARDS {
            cluster.nodes[n + SHARDS].wait_for_link()?;
            wait::until("a working cluster", START_TIMEOUT, || {
                let info = cluster.nodes[n].cli(&["cluster", "info"])?;
                Ok(info.contains("cluster_state:ok").then_some(()))
            })?;
        }
        Ok(cluster)
    }

    /// Waits until `CLUSTER NODES` of each node is `good`.
    fn wait_for(&self, event: &str, good: impl Fn(&str) -> bool) -> Result<()> {
        for node in &self.nodes {
            wait::until(event, START_TIMEOUT, || {
                let nodes = node.cli(&["cluster", "nodes"])?;
                Ok(good(&nodes).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Returns `redis+cluster://host:port,host:port`, with two of the nodes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+cluster://{},{}", self.nodes[0].addr(), self.nodes[SHARDS + 1].addr())
    }

    /// Returns one of the six servers.
    pub fn node(&mut self, n: usize) -> &mut Redis {
        &mut self.nodes[n]
    }

    /// Returns the address of each node.
    #[must_use]
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Redis::addr).collect()
    }

    /// Runs redis-cli with `words` against node `n`.
    ///
    /// # Errors
    /// As [`Redis::cli`].
    pub fn cli(&self, n: usize, words: &[&str]) -> Result<String> {
        self.nodes[n].cli(words)
    }

    /// Runs redis-cli with `words` against each running node that is a primary now, and returns its number
    /// and output.
    pub fn cli_on_primaries(&self, words: &[&str]) -> Vec<(usize, String)> {
        let outputs = self.nodes.iter().enumerate().filter_map(|(n, node)| {
            let primary = node.cli(&["role"]).ok()?.starts_with("master");
            Some((n, primary.then(|| node.cli(words).ok())??))
        });
        outputs.collect()
    }

    /// Waits until node `n` is a primary according to all nodes but those in `without`, which are down.
    ///
    /// # Errors
    /// When that takes more than a minute.
    pub fn wait_for_primary(&self, n: usize, without: &[usize]) -> Result<()> {
        let port = format!(":{}@", self.nodes[n].addr().port());
        for asked in (0..self.nodes.len()).filter(|n| !without.contains(n)) {
            wait::until("a failover", FAILOVER_TIMEOUT, || {
                let nodes = self.nodes[asked].cli(&["cluster", "nodes"]).unwrap_or_default();
                let line = nodes.lines().find(|line| line.contains(&port)).unwrap_or_default();
                // The slots come after the state of the link.
                let serves = line.split(' ').nth(8).is_some();
                Ok((line.contains("master") && serves).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Waits until the replica `n` has all that the primary `of` has written so far.
    ///
    /// # Errors
    /// When that takes more than a minute.
    pub fn wait_for_replica(&self, n: usize, of: usize) -> Result<()> {
        self.nodes[n].wait_for_writes_of(&self.nodes[of])
    }

    /// Returns the slot of a key.
    ///
    /// # Errors
    /// As [`Redis::cli`].
    pub fn slot(&self, key: &str) -> Result<u16> {
        let slot = self.nodes[0].cli(&["cluster", "keyslot", key])?;
        slot.parse().with_context(|| format!("harness: {slot:?} is no slot"))
    }

    /// Returns the node that serves the slot, according to node `asked`.
    ///
    /// # Errors
    /// When no node does.
    pub fn owner(&self, slot: u16, asked: usize) -> Result<usize> {
        let nodes = self.nodes[asked].cli(&["cluster", "nodes"])?;
        let serves = |line: &str| {
            line.split(' ').skip(8).filter(|word| !word.starts_with('[')).any(|word| {
                let (first, last) = word.split_once('-').unwrap_or((word, word));
                first.parse().is_ok_and(|first: u16| first <= slot)
                    && last.parse().is_ok_and(|last: u16| slot <= last)
            })
        };
        let line = nodes.lines().find(|line| serves(line));
        let line = line.with_context(|| format!("harness: no node serves slot {slot}"))?;
        let named = |node: &Redis| line.contains(&format!(":{}@", node.addr().port()));
        self.nodes.iter().position(named).context("harness: an unknown node serves the slot")
    }

    /// Moves a slot from one primary to another in one step, as Valkey 9 can. Returns false if these servers
    /// can't.
    ///
    /// # Errors
    /// When one of the nodes refuses, or it takes more than a minute.
    pub fn move_slot_at_once(&self, slot: u16, from: usize, to: usize) -> Result<bool> {
        let (text, target) = (slot.to_string(), self.nodes[to].cli(&["cluster", "myid"])?);
        let migrate = ["cluster", "migrateslots", "slotsrange", &text, &text, "node", &target];
        match self.nodes[from].cli(&migrate) {
            Ok(_) => {}
            Err(err) if err.to_string().to_lowercase().contains("unknown subcommand") => {
                return Ok(false);
            }
            Err(err) => return Err(err),
        }
        wait::until("a slot that has moved", START_TIMEOUT, || {
            let moved = self.owner(slot, from)? == to && self.owner(slot, to)? == to;
            Ok(moved.then_some(()))
        })?;
        Ok(true)
    }

    /// Moves a slot from one primary to another, as the tools of an administrator do: key by key, while
    /// both know of the migration. Calls `between` with the number of keys left before it moves each key.
    ///
    /// # Errors
    /// When one of the nodes refuses.
    pub fn move_slot(
        &self,
        slot: u16,
        from: usize,
        to: usize,
        mut between: impl FnMut(usize),
    ) -> Result<()> {
        let (slot, port) = (slot.to_string(), self.nodes[to].addr().port().to_string());
        let id = |n: usize| self.nodes[n].cli(&["cluster", "myid"]);
        let (source, target) = (id(from)?, id(to)?);
        self.nodes[to].cli(&["cluster", "setslot", &slot, "importing", &source])?;
        self.nodes[from].cli(&["cluster", "setslot", &slot, "migrating", &target])?;
        loop {
            let keys = self.nodes[from].cli(&["cluster", "getkeysinslot", &slot, "1000"])?;
            let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
            between(keys.len());
            let Some(key) = keys.first() else { break };
            self.nodes[from].cli(&["migrate", "127.0.0.1", &port, key, "0", "5000"])?;
        }
        // First on the new owner, which gets the newest configuration epoch of all.
        for n in [to, from] {
            self.nodes[n].cli(&["cluster", "setslot", &slot, "node", &target])?;
        }
        Ok(())
    }
}
