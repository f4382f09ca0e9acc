//! A cluster: a line to each shard that has a bucket, and the task that knows which shard that is.
//!
//! Slots move: by a failover, or because somebody moves them. A node that does not serve a slot says who does
//! (`MOVED`), one that is giving it away where some of it is already (`ASK`), and while a bucket is partly
//! here and partly there nobody can run a script on it (`TRYAGAIN`): then it is asked again until the call's
//! time is up. The keeper asks all nodes once a second, and whenever something speaks against what it
//! knows. Replicas are never read.

mod nodes;
mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::{ConnectionInfo, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use self::nodes::Nodes;
use self::view::View;
use super::super::TierError;
use super::buckets::Buckets;
use super::line::{CONNECT, Dial, Line, Up, Way};
use super::lines::Call;
use super::metrics::RedisMetrics;
use super::reply::failed;
use super::rights::Rights;
use super::scripts::Scripts;

/// How often the nodes are asked who serves what: always, and while something speaks against what they
/// said last.
const LOOK_EVERY: [Duration; 2] = [Duration::from_secs(1), Duration::from_millis(100)];
/// Between two tries of a call that was sent elsewhere.
const PAUSE: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(20)];

/// A handle; the keeper ends with the last one.
#[derive(Clone)]
pub(super) struct Cluster {
    map: watch::Receiver<Arc<Map>>,
    shards: Arc<Shards>,
    doubts: mpsc::Sender<Doubt>,
}

/// Where each bucket is.
#[derive(Debug, Default, Eq, PartialEq)]
struct Map {
    primaries: Vec<Option<String>>,
}

/// The lines to shards, by `host:port`.
struct Shards {
    lines: Mutex<HashMap<String, Line>>,
    /// Login and TLS, wherever a shard is.
    any: ConnectionInfo,
    buckets: Buckets,
    scripts: Arc<Scripts>,
    metrics: RedisMetrics,
}

/// Something speaks against the map.
#[derive(Debug)]
enum Doubt {
    /// A node says that the bucket is at this address.
    Moved(usize, String),
    Broken,
}

impl Shards {
    fn dial(&self, node: &str, bucket: usize) -> Option<Dial> {
        let (host, port) = node.rsplit_once(':')?;
        Some(Dial {
            way: Way::Shard(super::place::at(&self.any, host.to_owned(), port.parse().ok()?)),
            names: self.buckets.names(bucket).clone(),
            scripts: Arc::clone(&self.scripts),
            metrics: self.metrics.clone(),
        })
    }

    /// The line to a shard, which may be just being made. `bucket`: one that is there.
    fn line(&self, node: &str, bucket: usize) -> Result<Line, TierError> {
        let mut lines = self.lines.lock();
        if let Some(line) = lines.get(node) {
            return Ok(line.clone());
        }
        let dial = self.dial(node, bucket);
        let dial = dial.ok_or_else(|| TierError::Unavailable(format!("{node:?} is no address")))?;
        let line = Line::begin(dial);
        lines.insert(node.to_owned(), line.clone());
        Ok(line)
    }
}

impl Cluster {
    /// Asks the nodes, connects to every shard that has a bucket, and begins to keep watch. `limit`: how
    /// long a shard may take.
    pub(super) async fn connect(
        any: ConnectionInfo,
        seeds: Vec<ConnectionInfo>,
        buckets: &Buckets,
        scripts: &Arc<Scripts>,
        metrics: &RedisMetrics,
        limit: Duration,
    ) -> Result<Self, TierError> {
        let shards = Arc::new(Shards {
            lines: Mutex::default(),
            any: any.clone(),
            buckets: buckets.clone(),
            scripts: Arc::clone(scripts),
            metrics: metrics.clone(),
        });
        let nodes = Nodes::new(any, seeds);
        let mut keeper = Keeper { slots: buckets.slots(), nodes, shards: Arc::clone(&shards) };
        let map = keeper.look().await?;
        for (bucket, node) in map.primaries.iter().enumerate() {
            let Some(node) = node else {
                return Err(TierError::Unavailable(format!(
                    "no primary of the cluster serves slot {}; `redis-cli --cluster check \
                     host:port` says more",
                    keeper.slots[bucket]
                )));
            };
            if !shards.lines.lock().contains_key(node) {
                let dial = shards.dial(node, bucket);
                let dial =
                    dial.ok_or_else(|| TierError::Unavailable(format!("{node:?} is no address")))?;
                let line = Line::connect(dial, limit).await.map_err(|err| match err {
                    TierError::Unsuitable(why) => TierError::Unsuitable(format!("{node}: {why}")),
                    TierError::Unavailable(why) => TierError::Unavailable(format!("{node}: {why}")),
                    err => err,
                })?;
                shards.lines.lock().insert(node.clone(), line);
            }
        }
        let (sender, map) = watch::channel(Arc::new(map));
        let (doubts, reports) = mpsc::channel(64);
        tokio::spawn(async move {
            let kept = sender.clone();
            tokio::select! {
                () = kept.closed() => {}
                () = keeper.keep(sender, reports) => {}
            }
        });
        Ok(Self { map, shards, doubts })
    }

    /// One bucket of each shard.
    pub(super) fn one_of_each(&self) -> Vec<usize> {
        let map = self.map.borrow();
        let first = |bucket: usize| map.primaries.iter().position(|p| *p == map.primaries[bucket]);
        (0..map.primaries.len()).filter(|bucket| first(*bucket) == Some(*bucket)).collect()
    }

    fn line(&self, bucket: usize) -> Result<Line, TierError> {
        let map = Arc::clone(&self.map.borrow());
        match map.primaries.get(bucket) {
            Some(Some(node)) => self.shards.line(node, bucket),
            _ => Err(TierError::Unavailable("no primary of the cluster serves its slot".into())),
        }
    }

    pub(super) async fn up(&self, bucket: usize) -> Result<Up, TierError> {
        self.line(bucket)?.up().await
    }

    /// Waits until the bucket is elsewhere than at `up`.
    pub(super) async fn moved(&self, bucket: usize, up: &Up) {
        let here = up.info.addr().to_string();
        let elsewhere = |map: &Arc<Map>| map.primaries[bucket].as_ref().is_some_and(|p| *p != here);
        if self.map.clone().wait_for(elsewhere).await.is_err() {
            std::future::pending().await
        }
    }

    /// Something speaks against what is known.
    pub(super) fn doubt(&self) {
        // Full: the keeper will look anyway.
        let _ = self.doubts.try_send(Doubt::Broken);
    }

    /// Calls where the bucket is, however often it is sent elsewhere; the caller limits the time.
    pub(super) async fn call(
        &self,
        bucket: usize,
        call: Call<'_>,
        limit: Duration,
    ) -> Result<Value, TierError> {
        let mut pause = PAUSE[0];
        loop {
            let line = self.line(bucket)?;
            let mut up = line.up().await.inspect_err(|_| self.doubt())?;
            let err = match call.run(&mut up.connection).await {
                Ok(value) => return Ok(value),
                Err(err) => err,
            };
            match server(&err) {
                Some(ServerErrorKind::Moved) => {
                    self.shards.metrics.redirections.inc();
                    if let Some((node, _)) = err.redirect_node() {
                        let _ = self.doubts.try_send(Doubt::Moved(bucket, node.to_owned()));
                    }
                }
                Some(ServerErrorKind::Ask) => {
                    self.shards.metrics.redirections.inc();
                    if let Some((node, _)) = err.redirect_node()
                        && let Some(value) = self.ask(node, bucket, call, limit).await?
                    {
                        return Ok(value);
                    }
                }
                Some(ServerErrorKind::TryAgain) => {}
                _ => {
                    line.report(&up, &err);
                    self.doubt();
                    return Err(failed(&err, limit));
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE[1]);
        }
    }

    /// Calls a node to which the bucket's slot is on its way; `None`: not all of it is there yet.
    async fn ask(
        &self,
        node: &str,
        bucket: usize,
        call: Call<'_>,
        limit: Duration,
    ) -> Result<Option<Value>, TierError> {
        let mut up = self.shards.line(node, bucket)?.up().await?;
        match call.run_asking(&mut up.connection).await {
            Ok(value) => Ok(Some(value)),
            Err(err) if elsewhere(&err) => Ok(None),
            Err(err) => Err(failed(&err, limit)),
        }
    }
}

fn server(err: &RedisError) -> Option<ServerErrorKind> {
    match err.kind() {
        ErrorKind::Server(kind) => Some(kind),
        _ => None,
    }
}

/// Whether an error says nothing but that the slot is elsewhere, or on its way.
pub(super) fn elsewhere(err: &RedisError) -> bool {
    matches!(
        server(err),
        Some(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::TryAgain)
    )
}

struct Keeper {
    /// Of each bucket.
    slots: Vec<u16>,
    nodes: Nodes,
    shards: Arc<Shards>,
}

impl Keeper {
    async fn keep(mut self, map: watch::Sender<Arc<Map>>, mut doubts: mpsc::Receiver<Doubt>) {
        let mut said = String::new();
        loop {
            tokio::select! {
                () = sleep(LOOK_EVERY[0]) => {}
                () = async {
                    self.hear(&map, &mut doubts).await;
                    let hearing = async { loop { self.hear(&map, &mut doubts).await } };
                    let _ = timeout(LOOK_EVERY[1], hearing).await;
                } => {}
            }
            match timeout(CONNECT * 2, self.look()).await {
                Ok(Ok(seen)) => {
                    said.clear();
                    self.publish(&map, seen);
                }
                // What was known may hold still.
                Ok(Err(err)) => {
                    let why = err.to_string();
                    if why != said {
                        tracing::warn!(error = %why, "the cluster's nodes can't be asked");
                    }
                    said = why;
                }
                Err(_) => {}
            }
        }
    }

    /// Waits for a doubt, and follows it if it says where to.
    async fn hear(&self, map: &watch::Sender<Arc<Map>>, doubts: &mut mpsc::Receiver<Doubt>) {
        match doubts.recv().await {
            Some(Doubt::Moved(bucket, node)) => self.follow(map, bucket, node),
            Some(Doubt::Broken) => {}
            // Nobody is left to doubt; the keeper is about to end.
            None => std::future::pending().await,
        }
    }

    async fn look(&mut self) -> Result<Map, TierError> {
        let names = self.shards.buckets.names(0);
        let user = self.shards.any.redis_settings().username().unwrap_or("default");
        let view: View = self.nodes.look(&Rights { user, names }).await?;
        let primary = |slot: &u16| view.primary(*slot).map(str::to_owned);
        Ok(Map { primaries: self.slots.iter().map(primary).collect() })
    }

    /// A node has named the bucket's place; the next look tells whether it was right.
    fn follow(&self, map: &watch::Sender<Arc<Map>>, bucket: usize, node: String) {
        // Without a host it is the one that was asked, at another port; the look finds it.
        if node.starts_with(':') {
            return;
        }
        let mut primaries = map.borrow().primaries.clone();
        primaries[bucket] = Some(node);
        self.publish(map, Map { primaries });
    }

    fn publish(&self, map: &watch::Sender<Arc<Map>>, seen: Map) {
        let before = Arc::clone(&map.borrow());
        for (bucket, (from, to)) in before.primaries.iter().zip(&seen.primaries).enumerate() {
            if let Some(to) = to.as_ref().filter(|to| from.as_ref() != Some(*to)) {
                self.shards.metrics.primary_changes.inc();
                let slot = self.slots[bucket];
                tracing::warn!(bucket, slot, ?from, %to, "a bucket has another primary");
            }
        }
        if *before != seen {
            let served = |node: &String| seen.primaries.iter().flatten().any(|p| p == node);
            self.shards.lines.lock().retain(|node, _| served(node));
            map.send_replace(Arc::new(seen));
        }
    }
}
