//! The comparison: one database, one shop with four server ends, each behind its own cache.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use cache::GovernorMode;
use drill::plan::Plan;
use drill::{Baseline, BaselineProxy, Demo, StalenessBudgets, Target, TargetMetrics};
use edge::UpstreamLimits;
use shop::{Catalogue, Shop, ShopOptions, ShopServer};
use tokio::net::TcpListener;

use super::error::StageError;
use super::node::DemoNode;
use super::oracle::{ShopOracle, ShopWriter};
use crate::config::Listen;

/// The TTL of the TTL-only cache.
const BASELINE_TTL: Duration = Duration::from_secs(10);

/// The traffic of a run.
pub(crate) struct Traffic {
    pub(crate) plan: Plan,
    /// Notes on the recorded traffic, for the report.
    pub(crate) notes: Vec<String>,
}

/// The demo's servers while they run.
pub(crate) struct Stage {
    pub(crate) at: Listen,
    pub(crate) shop_at: SocketAddr,
    targets: Vec<Target>,
    shop: Shop,
    node: DemoNode,
    // Held because a drop closes the port.
    _servers: Vec<ShopServer>,
    _baselines: Vec<BaselineProxy>,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// Starts the shop and the four systems, and waits until Tidegate's answers have a proven bound.
    pub(crate) async fn start(catalogue: &Catalogue, listen: Listen) -> Result<Self, StageError> {
        let folder = tempfile::tempdir().context("no temporary folder can be created")?;
        let database = folder.path().join("shop.db");
        let shop =
            Shop::open(ShopOptions::at(&database), catalogue).context("the shop can't open")?;
        let mut servers = Vec::new();
        for _ in 0..4 {
            servers.push(shop.serve(loopback().await?));
        }
        let [ours, plain, ttl, delete] = &servers[..] else { unreachable!("there are four") };

        let node = DemoNode::start(
            &database,
            ours.address(),
            listen,
            GovernorMode::On,
            UpstreamLimits::default(),
        )
        .await?;

        let mut baselines = Vec::new();
        let mut targets = vec![Target {
            key: "tidegate".into(),
            title: "Tidegate".into(),
            address: node.at.gateway,
            origin_requests: requests(ours.request_counter()),
            metrics: Some(node.node.drill_metrics()),
        }];
        for (baseline, key, title, server) in [
            (Baseline::NoCache, "no_cache", "no cache", plain),
            (Baseline::TtlOnly(BASELINE_TTL), "ttl_only", "TTL only (10 s)", ttl),
            (Baseline::DeleteOnWrite, "delete_on_write", "delete on write", delete),
        ] {
            let proxy = BaselineProxy::start(baseline, loopback().await?, server.address());
            if baseline == Baseline::DeleteOnWrite {
                shop.on_write(proxy.delete_hook());
            }
            let deletions = proxy.deletions();
            targets.push(Target {
                key: key.into(),
                title: title.into(),
                address: proxy.address(),
                origin_requests: requests(server.request_counter()),
                metrics: (baseline == Baseline::DeleteOnWrite).then(
                    || -> Arc<dyn Fn() -> TargetMetrics + Send + Sync> {
                        Arc::new(move || TargetMetrics {
                            invalidations: deletions(),
                            ..TargetMetrics::default()
                        })
                    },
                ),
            });
            baselines.push(proxy);
        }
        let shop_at = plain.address();
        Ok(Self {
            at: node.at.clone(),
            shop_at,
            targets,
            shop,
            node,
            _servers: servers,
            _baselines: baselines,
            _folder: folder,
        })
    }

    /// Returns the addresses of the four systems.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.targets.iter().map(|target| target.address).collect()
    }

    /// Returns the drill that sends `traffic` to all four.
    pub(crate) fn drill(&self, traffic: Traffic, ends: Option<Instant>) -> anyhow::Result<Demo> {
        Ok(Demo {
            targets: self.targets.clone(),
            plan: traffic.plan,
            oracle: Arc::new(ShopOracle(self.shop.ground_truth())),
            writer: Arc::new(ShopWriter { shop: self.shop.clone(), script: self.shop.script()? }),
            budgets: StalenessBudgets::default(),
            ends,
            notes: traffic.notes,
        })
    }

    /// Stops Tidegate and returns its result.
    pub(crate) async fn stop(self) -> Result<(), StageError> {
        self.node.stop().await
    }
}

pub(super) fn requests(counter: Arc<AtomicU64>) -> Arc<dyn Fn() -> u64 + Send + Sync> {
    Arc::new(move || counter.load(Ordering::Relaxed))
}

pub(super) async fn loopback() -> anyhow::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1")
}
