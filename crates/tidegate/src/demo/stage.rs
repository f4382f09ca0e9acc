//! The comparison: one database, one shop with four front ends, each behind its own cache.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use drill::plan::Plan;
use drill::{Arm, Contracts, Demo, Rival, RivalProxy};
use shop::{Catalogue, Front, Shop, ShopOptions};
use tokio::net::TcpListener;

use super::error::StageError;
use super::node::DemoNode;
use super::truth::{ShopTruth, ShopWriter};
use crate::config::{GovernorMode, Listen};

/// The TTL of the TTL-only cache.
const RIVAL_TTL: Duration = Duration::from_secs(10);

/// The traffic of a run.
pub(crate) struct Traffic {
    pub(crate) catalogue: Catalogue,
    pub(crate) plan: Plan,
    /// Notes on the recorded traffic, for the report.
    pub(crate) notes: Vec<String>,
}

/// The demo's servers while they run.
pub(crate) struct Stage {
    pub(crate) at: Listen,
    pub(crate) shop_at: SocketAddr,
    arms: Vec<Arm>,
    shop: Shop,
    node: DemoNode,
    // Held because a drop closes the port.
    _fronts: Vec<Front>,
    _rivals: Vec<RivalProxy>,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// Starts the shop and the four systems, and waits until Tidegate's answers have a proven bound.
    pub(crate) async fn start(catalogue: &Catalogue, listen: Listen) -> Result<Self, StageError> {
        let folder = tempfile::tempdir().context("no temporary folder can be created")?;
        let database = folder.path().join("shop.db");
        let shop =
            Shop::open(ShopOptions::at(&database), catalogue).context("the shop can't open")?;
        let mut fronts = Vec::new();
        for _ in 0..4 {
            fronts.push(shop.serve(loopback().await?));
        }
        let [ours, plain, ttl, delete] = &fronts[..] else { unreachable!("there are four") };

        let node = DemoNode::start(&database, ours.address(), listen, GovernorMode::On).await?;

        let mut rivals = Vec::new();
        let mut arms = vec![Arm {
            key: "tidegate".into(),
            title: "Tidegate".into(),
            address: node.at.gateway,
            origin_requests: requests(ours.counter()),
            inside: Some(node.node.inside()),
        }];
        for (rival, key, title, front) in [
            (Rival::NoCache, "no_cache", "no cache", plain),
            (Rival::TtlOnly(RIVAL_TTL), "ttl_only", "TTL only (10 s)", ttl),
            (Rival::DeleteOnWrite, "delete_on_write", "delete on write", delete),
        ] {
            let proxy = RivalProxy::start(rival, loopback().await?, front.address());
            if rival == Rival::DeleteOnWrite {
                shop.on_write(proxy.deleter());
            }
            let deletions = proxy.deletions();
            arms.push(Arm {
                key: key.into(),
                title: title.into(),
                address: proxy.address(),
                origin_requests: requests(front.counter()),
                inside: (rival == Rival::DeleteOnWrite).then(
                    || -> Arc<dyn Fn() -> drill::Inside + Send + Sync> {
                        Arc::new(move || drill::Inside {
                            invalidations: deletions(),
                            ..drill::Inside::default()
                        })
                    },
                ),
            });
            rivals.push(proxy);
        }
        let shop_at = plain.address();
        Ok(Self {
            at: node.at,
            shop_at,
            arms,
            shop,
            node,
            _fronts: fronts,
            _rivals: rivals,
            _folder: folder,
        })
    }

    /// Returns the drill that sends `traffic` to all four.
    pub(crate) fn drill(&self, traffic: Traffic, ends: Option<Instant>) -> anyhow::Result<Demo> {
        Ok(Demo {
            arms: self.arms.clone(),
            plan: traffic.plan,
            oracle: Arc::new(ShopTruth(self.shop.truth())),
            writer: Arc::new(ShopWriter { shop: self.shop.clone(), script: self.shop.script()? }),
            contracts: Contracts::default(),
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
