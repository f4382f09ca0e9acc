//! The storm's stage: one database whose stock moves all the time, and two Tidegates before two
//! shops that can bear little, one with its governor and one without.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use drill::plan::{Goods, Storm};
use drill::{Arm, Contracts, Demo, Page, Report, StormReport, warm};
use shop::{Catalogue, Front, Shop, ShopOptions};

use super::node::DemoNode;
use super::stage::{StageError, loopback, requests};
use super::truth::{ShopTruth, ShopWriter};
use crate::config::{GovernorMode, Listen};

/// Products, and shelves they stand on: a movement on one shelf makes all recommendations for it
/// old.
const PRODUCTS: usize = 800;
const SHELVES: usize = 4;
/// Each shop has so few workers, and takes so long for a page: 200 a second.
const WORKERS: usize = 4;
const RENDER: Duration = Duration::from_millis(20);
/// So many may wait for a worker; the shop turns the others away.
const BACKLOG: usize = 16;
/// A shop sells once in a hundred reads; here ten times as often.
const READS_PER_MOVEMENT: f64 = 10.0;

/// Two Tidegates before two shops.
pub(crate) struct StormStage {
    pub(crate) at: Listen,
    shop: Shop,
    catalogue: Catalogue,
    nodes: [DemoNode; 2],
    fronts: [Front; 2],
    _folder: tempfile::TempDir,
}

impl StormStage {
    /// Opens the shops, starts everything, and lets both Tidegates fill on a quiet morning.
    pub(crate) async fn set(listen: Listen, seed: u64) -> Result<Self, StageError> {
        let mut catalogue = Catalogue::generated(PRODUCTS, seed);
        for (at, product) in catalogue.products.iter_mut().enumerate() {
            product.category = format!("Shelf {}", at % SHELVES + 1);
        }
        let folder = tempfile::tempdir().context("no temporary folder can be made")?;
        let database = folder.path().join("shop.db");
        let options = ShopOptions {
            render: RENDER,
            workers: WORKERS,
            backlog: Some(BACKLOG),
            ..ShopOptions::at(&database)
        };
        let shop = Shop::open(options, &catalogue).context("the shop can't open")?;
        let fronts = [shop.serve(loopback().await?), shop.serve(loopback().await?)];
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let elsewhere = Listen { gateway: any, data: any, admin: any };
        let nodes = [
            DemoNode::start(&database, fronts[0].address(), listen, GovernorMode::On).await?,
            DemoNode::start(&database, fronts[1].address(), elsewhere, GovernorMode::Off).await?,
        ];
        let pages = || (1..).take(PRODUCTS).map(Page::Recommended);
        let [ours, theirs] = &nodes;
        tokio::try_join!(
            warm(ours.at.gateway, pages(), WORKERS),
            warm(theirs.at.gateway, pages(), WORKERS)
        )?;
        Ok(Self { at: ours.at, shop, catalogue, nodes, fronts, _folder: folder })
    }

    /// The drill: the same reads for both.
    pub(crate) fn drill(
        &self,
        goods: Goods,
        reads_per_second: f64,
        seed: u64,
        ends: Instant,
    ) -> anyhow::Result<Demo> {
        let titles = [("tidegate", "with governor"), ("without_governor", "without")];
        let arms = titles.iter().zip(self.nodes.iter().zip(&self.fronts));
        let arms = arms.map(|((key, title), (node, front))| Arm {
            key: (*key).into(),
            title: (*title).into(),
            address: node.at.gateway,
            origin_requests: requests(front.counter()),
            inside: Some(node.node.inside()),
        });
        let movements = reads_per_second / READS_PER_MOVEMENT;
        Ok(Demo {
            arms: arms.collect(),
            plan: Box::new(Storm::new(goods, reads_per_second, movements, seed)),
            oracle: Arc::new(ShopTruth(self.shop.truth())),
            writer: Arc::new(ShopWriter { shop: self.shop.clone(), script: self.shop.script()? }),
            contracts: Contracts::default(),
            ends: Some(ends),
            notes: Vec::new(),
        })
    }

    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The report, with what the governor counted.
    pub(crate) fn report(&self, mut report: Report) -> StormReport {
        let (marked, merged) = self.nodes[0].node.softened();
        report.notes.push(format!(
            "With the governor {marked} invalidations marked an entry and {merged} more were merged with \
             an earlier one."
        ));
        StormReport {
            report,
            limit_per_second: WORKERS as f64 / RENDER.as_secs_f64(),
            budget_seconds: Contracts::default().recommended.as_secs_f64(),
            entries_per_write: (PRODUCTS / SHELVES) as u64,
        }
    }

    /// Stops both and says how they ended.
    pub(crate) async fn strike(self) -> Result<(), StageError> {
        for node in self.nodes {
            node.strike().await?;
        }
        Ok(())
    }
}
