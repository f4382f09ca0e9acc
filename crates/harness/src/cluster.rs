//! A Redis Cluster: three primaries and a replica of each.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{
    port::Port,
    redis::{Redis, RedisBuilder},
    wait,
};

/// Shards, and as many replicas.
const SHARDS: usize = 3;
const SLOTS: usize = 16_384;
/// A node that is silent for so long counts as down. Long enough for a machine that is busy elsewhere.
const NODE_TIMEOUT_MS: u32 = 3_000;
const START_LIMIT: Duration = Duration::from_secs(60);
/// Detection, and an election, which is repeated if it fails.
const FAILOVER_LIMIT: Duration = Duration::from_secs(60);

/// Six Redis servers. Of the beginning, 0, 1 and 2 are primaries with a third of the slots each, and
/// 3, 4 and 5 their replicas. All are stopped and wiped on drop.
pub struct Cluster {
    nodes: Vec<Redis>,
    /// The nodes talk to each other on these.
    buses: Vec<Port>,
}

/// The slots that shard `n` has in the beginning.
fn share(n: usize) -> (usize, usize) {
    (n * SLOTS / SHARDS, (n + 1) * SLOTS / SHARDS - 1)
}

impl Cluster {
    /// Starts it; see [`Cluster::start_with`].
    ///
    /// # Errors
    /// When redis-server is missing or something does not come up.
    pub fn start() -> Result<Self> {
        Self::start_with(|builder| builder)
    }

    /// Starts it, with more settings for each node, and waits until every node knows all others and has a
    /// replica in step: from then on it can fail over.
    ///
    /// # Errors
    /// When redis-server is missing or something does not come up.
    pub fn start_with(edit: impl Fn(RedisBuilder) -> RedisBuilder) -> Result<Self> {
        let mut cluster = Self { nodes: Vec::new(), buses: Vec::new() };
        for _ in 0..2 * SHARDS {
            let bus = Port::reserve()?;
            let builder = Redis::builder()
                .setting("cluster-enabled", "yes")
                .setting("cluster-port", &bus.number().to_string())
                .setting("cluster-node-timeout", &NODE_TIMEOUT_MS.to_string())
                // What a shard has lost, others go on without.
                .setting("cluster-require-full-coverage", "no")
                .setting("repl-diskless-sync-delay", "0");
            cluster.nodes.push(edit(builder).start()?);
            cluster.buses.push(bus);
        }
        for (n, node) in cluster.nodes.iter().enumerate() {
            node.cli(&["cluster", "set-config-epoch", &(n + 1).to_string()])?;
            if n < SHARDS {
                let (first, last) = share(n);
                node.cli(&["cluster", "addslotsrange", &first.to_string(), &last.to_string()])?;
            }
        }
        for (node, bus) in cluster.nodes.iter().zip(&cluster.buses).skip(1) {
            let (port, bus) = (node.addr().port().to_string(), bus.number().to_string());
            cluster.nodes[0].cli(&["cluster", "meet", "127.0.0.1", &port, &bus])?;
        }
        cluster.wait_for("nodes that know each other", |told| {
            let known = told.lines().filter(|line| line.contains(" connected")).count();
            known == 2 * SHARDS && !told.contains("handshake")
        })?;
        for n in 0..SHARDS {
            let id = cluster.nodes[n].cli(&["cluster", "myid"])?;
            cluster.nodes[n + SHARDS].cli(&["cluster", "replicate", &id])?;
        }
        cluster.wait_for("replicas", |told| {
            told.lines().filter(|line| line.contains("slave ")).count() == SHARDS
                && !told.contains("fail")
        })?;
        for n in 0..SHARDS {
            cluster.wait_for_link(n + SHARDS)?;
            wait::until("a cluster in order", START_LIMIT, || {
                let told = cluster.nodes[n].cli(&["cluster", "info"])?;
                Ok(told.contains("cluster_state:ok").then_some(()))
            })?;
        }
        Ok(cluster)
    }

    /// Waits until each node that runs tells (`CLUSTER NODES`) what is good.
    fn wait_for(&self, what: &str, good: impl Fn(&str) -> bool) -> Result<()> {
        for node in &self.nodes {
            wait::until(what, START_LIMIT, || {
                let told = node.cli(&["cluster", "nodes"])?;
                Ok(good(&told).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Waits until the node has all of its primary's data.
    fn wait_for_link(&self, n: usize) -> Result<()> {
        wait::until("a replica in step", START_LIMIT, || {
            let told = self.nodes[n].cli(&["info", "replication"])?;
            Ok(told.contains("master_link_status:up").then_some(()))
        })
    }

    /// `redis+cluster://host:port,host:port`, with two of the nodes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+cluster://{},{}", self.nodes[0].addr(), self.nodes[SHARDS + 1].addr())
    }

    /// One of the six.
    pub fn node(&mut self, n: usize) -> &mut Redis {
        &mut self.nodes[n]
    }

    /// Where each node listens.
    #[must_use]
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Redis::addr).collect()
    }

    /// Runs redis-cli against a node.
    ///
    /// # Errors
    /// As [`Redis::cli`].
    pub fn cli(&self, n: usize, words: &[&str]) -> Result<String> {
        self.nodes[n].cli(words)
    }

    /// Runs redis-cli against each node that is a primary now, as far as they run.
    pub fn on_primaries(&self, words: &[&str]) -> Vec<(usize, String)> {
        let told = self.nodes.iter().enumerate().filter_map(|(n, node)| {
            let primary = node.cli(&["role"]).ok()?.starts_with("master");
            Some((n, primary.then(|| node.cli(words).ok())??))
        });
        told.collect()
    }

    /// Waits until node `n` is a primary, and all nodes but `without` (which is down) know that.
    ///
    /// # Errors
    /// When that takes more than a minute.
    pub fn wait_for_primary(&self, n: usize, without: &[usize]) -> Result<()> {
        let port = format!(":{}@", self.nodes[n].addr().port());
        for asked in (0..self.nodes.len()).filter(|n| !without.contains(n)) {
            wait::until("a failover", FAILOVER_LIMIT, || {
                let told = self.nodes[asked].cli(&["cluster", "nodes"]).unwrap_or_default();
                let line = told.lines().find(|line| line.contains(&port)).unwrap_or_default();
                // Behind the state of the link are its slots.
                let serves = line.split(' ').nth(8).is_some();
                Ok((line.contains("master") && serves).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Waits until the replica `n` has all that the primary `of` has written so far.
    ///
    /// # Errors
    /// When it takes too long.
    pub fn wait_for_replica(&self, n: usize, of: usize) -> Result<()> {
        let offset = |node: usize, field: &str| -> Result<u64> {
            let told = self.nodes[node].cli(&["info", "replication"])?;
            let line = told.lines().find_map(|line| line.trim().strip_prefix(field));
            match line.and_then(|rest| rest.strip_prefix(':')).map(str::parse) {
                Some(Ok(offset)) => Ok(offset),
                _ => bail!("harness: no {field} in {told}"),
            }
        };
        let wanted = offset(of, "master_repl_offset")?;
        wait::until("a replica that has caught up", START_LIMIT, || {
            Ok((offset(n, "slave_repl_offset")? >= wanted).then_some(()))
        })
    }

    /// The slot of a key.
    ///
    /// # Errors
    /// As [`Redis::cli`].
    pub fn slot(&self, key: &str) -> Result<u16> {
        let told = self.nodes[0].cli(&["cluster", "keyslot", key])?;
        told.parse().with_context(|| format!("harness: {told:?} is no slot"))
    }

    /// Which node serves the slot, as node `asked` knows it.
    ///
    /// # Errors
    /// When nobody does.
    pub fn owner(&self, slot: u16, asked: usize) -> Result<usize> {
        let told = self.nodes[asked].cli(&["cluster", "nodes"])?;
        let serves = |line: &str| {
            line.split(' ').skip(8).filter(|word| !word.starts_with('[')).any(|word| {
                let (first, last) = word.split_once('-').unwrap_or((word, word));
                first.parse().is_ok_and(|first: u16| first <= slot)
                    && last.parse().is_ok_and(|last: u16| slot <= last)
            })
        };
        let line = told.lines().find(|line| serves(line)).context("harness: nobody serves it")?;
        let named = |node: &Redis| line.contains(&format!(":{}@", node.addr().port()));
        self.nodes.iter().position(named).context("harness: an unknown node serves it")
    }

    /// Moves a slot from one primary to another, as an administrator's tools do it: key by key, while both
    /// know of it. `between` is called with the number of keys left, before each is moved.
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
        // First where it is now, so that it has a newer configuration than all others.
        for n in [to, from] {
            self.nodes[n].cli(&["cluster", "setslot", &slot, "node", &target])?;
        }
        Ok(())
    }
}
