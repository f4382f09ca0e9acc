//! The shared tier on a real cluster, under load: a shard's primary dies, a shard is flushed, goes away as a
//! whole, or gives a slot to another one.

use std::sync::Arc;
use std::time::Duration;

use harness::Cluster;
use parking_lot::Mutex;

use crate::faults::{Watched, cached_again, watch_all};
use crate::stack::{Node, Stack};

/// Two nodes on a cluster.
struct Lab {
    cluster: Arc<Mutex<Cluster>>,
    stack: Stack,
    nodes: [Node; 2],
    /// Which of the cluster's primaries has the key that is watched.
    home: usize,
}

impl Lab {
    fn start() -> Self {
        let cluster = Cluster::start().expect("a cluster");
        let stack = Stack::start().with_shared_at(cluster.url());
        let nodes = [stack.node(), stack.node()];
        nodes.iter().for_each(cached_again);
        let told = cluster.on_primaries(&["keys", "{tg:*}:k:*:42"]);
        let home = told.iter().find(|(_, keys)| !keys.is_empty()).expect("the key is somewhere").0;
        Self { cluster: Arc::new(Mutex::new(cluster)), stack, nodes, home }
    }

    fn watch(
        &self,
        span: Duration,
        mut disturb: impl FnMut(&Self, u32),
        heal: impl FnOnce(&Self),
    ) -> Watched {
        let nodes = self.nodes.each_ref();
        let seen =
            watch_all(&self.stack, &nodes, span, |_, step| disturb(self, step), || heal(self));
        assert!(seen.answered > 100, "{}", seen.answered);
        assert_eq!(seen.refused, 0, "the contract says read-origin, and the origin was there");
        seen
    }

    /// All is as before: copies are kept, invalidations reach both nodes.
    fn goes_on(&self) {
        self.nodes.iter().for_each(cached_again);
        self.stack.price(42, 9_000);
        for node in &self.nodes {
            node.wait("the new price", |node| node.cents(42) == Some(9_000));
            node.wait("every bucket", |node| node.metric("tidegate_shared_buckets_away") == 0.0);
            cached_again(node);
        }
    }

    /// Kills a primary under load; its replica takes over.
    fn survives_the_death_of(&self, primary: usize) {
        let kill = |lab: &Self, step| {
            if step == 10 {
                lab.cluster.lock().node(primary).crash().expect("killed");
            }
        };
        let heal = |lab: &Self| {
            lab.cluster.lock().wait_for_primary(primary + 3, &[primary]).expect("a failover");
        };
        self.watch(Duration::from_secs(8), kill, heal);
        for node in &self.nodes {
            node.wait("the new primary", |node| {
                node.metric("tidegate_shared_primary_changes_total") >= 1.0
            });
        }
        self.goes_on();
    }
}

/// The shard that has the watched key, and perhaps not the node stream.
#[test]
fn race_21_a_cluster_shards_primary_is_killed_under_load() {
    let lab = Lab::start();
    lab.survives_the_death_of(lab.home);
}

/// The shard that has the node stream.
#[test]
fn the_clusters_first_primary_is_killed_under_load() {
    Lab::start().survives_the_death_of(0);
}

#[test]
fn a_clusters_shards_are_flushed_mid_load() {
    let lab = Lab::start();
    let flush = |lab: &Lab, step| {
        if step % 10 == 5 {
            lab.cluster.lock().node((step as usize / 10 + 1) % 3).flushall().expect("flushed");
        }
    };
    lab.watch(Duration::from_secs(5), flush, |_| ());
    let begun = || lab.nodes.iter().map(|node| node.metric("tidegate_shared_buckets_begun_total"));
    assert!(begun().sum::<f64>() >= 1.0, "those of a shard alone");
    lab.goes_on();
}

#[test]
fn a_clusters_shard_is_down_as_a_whole() {
    let lab = Lab::start();
    let home = lab.home;
    let down = |lab: &Lab, step| {
        if step == 10 {
            let mut cluster = lab.cluster.lock();
            cluster.node(home + 3).crash().expect("killed");
            cluster.node(home).crash().expect("killed");
        }
    };
    let up = |lab: &Lab| lab.cluster.lock().node(home).start_again().expect("started");
    lab.watch(Duration::from_secs(6), down, up);
    lab.goes_on();
}

/// The bucket of the watched key goes to another shard and back, key by key.
#[test]
fn race_17_a_clusters_slots_are_moved_under_load() {
    let lab = Lab::start();
    let told = lab.cluster.lock().cli(lab.home, &["keys", "{tg:*}:k:*:42"]).expect("listed");
    let slot = lab.cluster.lock().slot(told.lines().next().expect("the key")).expect("its slot");
    let there = (lab.home + 1) % 3;
    let moving = Mutex::new(None);
    let begin = |lab: &Lab, step| {
        if step != 10 {
            return;
        }
        let (cluster, home) = (Arc::clone(&lab.cluster), lab.home);
        *moving.lock() = Some(std::thread::spawn(move || {
            let cluster = cluster.lock();
            let slowly = |_| std::thread::sleep(Duration::from_millis(30));
            for _ in 0..2 {
                cluster.move_slot(slot, home, there, slowly).expect("moved");
                cluster.move_slot(slot, there, home, slowly).expect("moved back");
            }
        }));
    };
    let end = |_: &Lab| moving.lock().take().expect("begun").join().expect("moved");
    lab.watch(Duration::from_secs(6), begin, end);
    let epoch = lab.nodes[0].status()["epoch"].clone();
    lab.goes_on();
    assert_eq!(lab.nodes[0].status()["epoch"], epoch, "nothing was lost");
}
