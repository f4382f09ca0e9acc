//! The storm: one database whose stock changes all the time, and two Tidegates in server of two shops of low
//! capacity, one with its governor and one without.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use cache::GovernorMode;
use drill::plan::{Inventory, Storm};
use drill::{Demo, Page, RunReport, StalenessBudgets, StormReport, Target, warm};
use edge::UpstreamLimits;
use shop::{Catalogue, Shop, ShopOptions, ShopServer};

use super::error::StageError;
use super::node::DemoNode;
use super::oracle::{ShopOracle, ShopWriter};
use super::stage::{loopback, requests};
use crate::config::Listen;

/// Products, and the shelves they are on: a stock change invalidates all recommendations of its shelf.
const PRODUCTS: usize = 800;
const SHELVES: usize = 4;
/// Each shop has this many workers and takes this long per page: 200 pages per second.
const WORKERS: usize = 4;
const RENDER_TIME: Duration = Duration::from_millis(20);
/// Requests that may wait for a worker; the shop refuses further ones.
const BACKLOG: usize = 16;
/// Requests that wait for the shop in each Tidegate, and for how long.
const QUEUE: usize = 64;
const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);
/// An ordinary shop sells once in 100 reads; here stock changes ten times as often.
const READS_PER_CHANGE: f64 = 10.0;

/// Two Tidegates in server of two shops.
pub(crate) struct StormStage {
    pub(crate) at: Listen,
    shop: Shop,
    catalogue: Catalogue,
    nodes: [DemoNode; 2],
    servers: [ShopServer; 2],
    _folder: tempfile::TempDir,
}

impl StormStage {
    /// Starts the shops and both Tidegates, and warms their caches.
    pub(crate) async fn start(listen: Listen, seed: u64) -> Result<Self, StageError> {
        let mut catalogue = Catalogue::generated(PRODUCTS, seed);
        for (at, product) in catalogue.products.iter_mut().enumerate() {
            product.category = format!("Shelf {}", at % SHELVES + 1);
        }
        let folder = tempfile::tempdir().context("no temporary folder can be created")?;
        let database = folder.path().join("shop.db");
        let options = ShopOptions {
            render_time: RENDER_TIME,
            workers: WORKERS,
            backlog: Some(BACKLOG),
            ..ShopOptions::at(&database)
        };
        let shop = Shop::open(options, &catalogue).context("the shop can't open")?;
        let servers = [shop.serve(loopback().await?), shop.serve(loopback().await?)];
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let elsewhere =
            Listen { gateway: any, data: any, admin: any, sale: any, ..Listen::default() };
        let nodes = [
            node(&database, &servers[0], listen, GovernorMode::On).await?,
            node(&database, &servers[1], elsewhere, GovernorMode::Off).await?,
        ];
        let pages = || (1..).take(PRODUCTS).map(Page::Recommended);
        let [ours, theirs] = &nodes;
        tokio::try_join!(
            warm(ours.at.gateway, pages(), WORKERS),
            warm(theirs.at.gateway, pages(), WORKERS)
        )?;
        Ok(Self { at: ours.at.clone(), shop, catalogue, nodes, servers, _folder: folder })
    }

    /// Returns the drill, with the same reads for both.
    pub(crate) fn drill(
        &self,
        inventory: Inventory,
        reads_per_second: f64,
        seed: u64,
        ends: Instant,
    ) -> anyhow::Result<Demo> {
        let titles = [("tidegate", "with governor"), ("without_governor", "without")];
        let targets = titles.iter().zip(self.nodes.iter().zip(&self.servers));
        let targets = targets.map(|((key, title), (node, server))| Target {
            key: (*key).into(),
            title: (*title).into(),
            address: node.at.gateway,
            origin_requests: requests(server.request_counter()),
            metrics: Some(node.node.drill_metrics()),
        });
        let changes = reads_per_second / READS_PER_CHANGE;
        Ok(Demo {
            targets: targets.collect(),
            plan: Box::new(Storm::new(inventory, reads_per_second, changes, seed)),
            oracle: Arc::new(ShopOracle(self.shop.ground_truth())),
            writer: Arc::new(ShopWriter { shop: self.shop.clone(), script: self.shop.script()? }),
            budgets: StalenessBudgets::default(),
            ends: Some(ends),
            notes: Vec::new(),
        })
    }

    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Adds the governor's counts to the report.
    pub(crate) fn report(&self, mut report: RunReport) -> StormReport {
        let (soft, merged) = self.nodes[0].node.soft_invalidations();
        report.notes.push(format!(
            "With the governor {soft} invalidations made an entry soft-stale and {merged} more were merged \
             with an earlier one."
        ));
        StormReport {
            report,
            limit_per_second: WORKERS as f64 / RENDER_TIME.as_secs_f64(),
            budget_seconds: StalenessBudgets::default().recommended.as_secs_f64(),
            entries_per_write: (PRODUCTS / SHELVES) as u64,
        }
    }

    /// Stops both and returns their results.
    pub(crate) async fn stop(self) -> Result<(), StageError> {
        for node in self.nodes {
            node.stop().await?;
        }
        Ok(())
    }
}

/// Starts a Tidegate that knows how many requests its shop takes.
async fn node(
    database: &Path,
    shop: &ShopServer,
    listen: Listen,
    governor: GovernorMode,
) -> Result<DemoNode, StageError> {
    let limits = UpstreamLimits {
        concurrency: WORKERS + BACKLOG,
        queue: QUEUE,
        queue_timeout: QUEUE_TIMEOUT,
        ..UpstreamLimits::default()
    };
    DemoNode::start(database, shop.address(), listen, governor, limits).await
}
