//! The shared tier on a real cluster, under load: a shard's primary dies, a shard is flushed or down, slots
//! move.

use std::sync::Arc;
use std::time::Duration;

use harness::Cluster;
use parking_lot::Mutex;

use crate::faults::{WatchResult, wait_cached, watch_nodes};
use crate::stack::{Node, Stack};

/// Two nodes on a cluster.
struct ClusterStack {
    cluster: Arc<Mutex<Cluster>>,
    stack: Stack,
    nodes: [Node; 2],
    /// The primary that has the watched key.
    home: usize,
}

impl ClusterStack {
    fn start() -> Self {
        let cluster = Cluster::start().expect("a cluster");
        let stack = Stack::start().with_shared_at(cluster.url());
        let nodes = [stack.node(), stack.node()];
        nodes.iter().for_each(wait_cached);
        let keys = cluster.cli_on_primaries(&["keys", "{tg:*}:k:*:42"]);
        let home = keys.iter().find(|(_, keys)| !keys.is_empty()).expect("the key exists").0;
        Self { cluster: Arc::new(Mutex::new(cluster)), stack, nodes, home }
    }

    fn watch(
        &self,
        span: Duration,
        mut fault: impl FnMut(&Self, u32),
        heal: impl FnOnce(&Self),
    ) -> WatchResult {
        let nodes = self.nodes.each_ref();
        let result =
            watch_nodes(&self.stack, &nodes, span, |_, step| fault(self, step), || heal(self));
        assert!(result.answered > 100, "{}", result.answered);
        assert_eq!(result.refused, 0, "unproven = read-origin, and the origin was available");
        result
    }

    /// Asserts that entries are cached again and that invalidations reach both nodes.
    fn assert_recovered(&self) {
        self.nodes.iter().for_each(wait_cached);
        self.stack.price(42, 9_000);
        for node in &self.nodes {
            node.wait("the new price", |node| node.cents(42) == Some(9_000));
            node.wait("every bucket", |node| node.metric("tidegate_shared_buckets_away") == 0.0);
            wait_cached(node);
        }
    }

    /// Kills a primary under load and waits until its replica has taken over.
    fn kill_primary(&self, primary: usize) {
        let kill = |stack: &Self, step| {
            if step == 10 {
                stack.cluster.lock().node(primary).crash().expect("killed");
            }
        };
        let heal = |stack: &Self| {
            stack.cluster.lock().wait_for_primary(primary + 3, &[primary]).expect("a failover");
        };
        self.watch(Duration::from_secs(8), kill, heal);
        for node in &self.nodes {
            node.wait("the new primary", |node| {
                node.metric("tidegate_shared_primary_changes_total") >= 1.0
            });
        }
        self.assert_recovered();
    }
}

/// The shard of the watched key, which may differ from the shard of the node stream.
#[test]
fn race_21_shard_primary_killed() {
    let stack = ClusterStack::start();
    stack.kill_primary(stack.home);
}

/// The shard of the node stream.
#[test]
fn stream_shard_primary_killed() {
    ClusterStack::start().kill_primary(0);
}

#[test]
fn shards_flushed() {
    let stack = ClusterStack::start();
    let flush = |stack: &ClusterStack, step| {
        if step % 10 == 5 {
            stack.cluster.lock().node((step as usize / 10 + 1) % 3).flushall().expect("flushed");
        }
    };
    stack.watch(Duration::from_secs(5), flush, |_| ());
    let begun =
        || stack.nodes.iter().map(|node| node.metric("tidegate_shared_buckets_begun_total"));
    assert!(begun().sum::<f64>() >= 1.0, "only buckets of the flushed shard");
    stack.assert_recovered();
}

#[test]
fn whole_shard_down() {
    let stack = ClusterStack::start();
    let home = stack.home;
    let down = |stack: &ClusterStack, step| {
        if step == 10 {
            let mut cluster = stack.cluster.lock();
            cluster.node(home + 3).crash().expect("killed");
            cluster.node(home).crash().expect("killed");
        }
    };
    let up = |stack: &ClusterStack| stack.cluster.lock().node(home).start_again().expect("started");
    stack.watch(Duration::from_secs(6), down, up);
    stack.assert_recovered();
}

/// The slot of the watched key moves to another shard and back, key by key.
#[test]
fn race_17_slots_moved() {
    let stack = ClusterStack::start();
    let keys = stack.cluster.lock().cli(stack.home, &["keys", "{tg:*}:k:*:42"]).expect("listed");
    let slot = stack.cluster.lock().slot(keys.lines().next().expect("the key")).expect("its slot");
    let other = (stack.home + 1) % 3;
    let moving = Mutex::new(None);
    let begin = |stack: &ClusterStack, step| {
        if step != 10 {
            return;
        }
        let (cluster, home) = (Arc::clone(&stack.cluster), stack.home);
        *moving.lock() = Some(std::thread::spawn(move || {
            let cluster = cluster.lock();
            let pause = |_| std::thread::sleep(Duration::from_millis(30));
            for _ in 0..2 {
                cluster.move_slot(slot, home, other, pause).expect("moved");
                cluster.move_slot(slot, other, home, pause).expect("moved back");
            }
        }));
    };
    let end = |_: &ClusterStack| moving.lock().take().expect("started").join().expect("moved");
    stack.watch(Duration::from_secs(6), begin, end);
    let epoch = stack.nodes[0].status()["epoch"].clone();
    stack.assert_recovered();
    assert_eq!(stack.nodes[0].status()["epoch"], epoch, "nothing was lost");
}
