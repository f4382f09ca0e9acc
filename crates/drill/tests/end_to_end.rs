//! A short run of all parts: a shop, traffic, the baselines and the auditor.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use drill::plan::{Inventory, InventoryItem, Pace, Shoppers, Write};
use drill::{
    Baseline, BaselineProxy, Demo, Field, Oracle, StalenessBudgets, Target, TargetMetrics, Value,
    Version, Writer,
};
use shop::{Catalogue, GroundTruth, OrderLine, Outcome, Script, Shop, ShopOptions, ShopServer};
use tokio::net::TcpListener;

struct ShopOracle(Arc<GroundTruth>);

impl Oracle for ShopOracle {
    fn catch_up(&self) -> anyhow::Result<()> {
        Ok(self.0.catch_up()?)
    }

    fn versions(
        &self,
        product: u32,
        field: Field,
        visit: &mut dyn FnMut(Version<'_>) -> ControlFlow<()>,
    ) {
        let mut number = |version: &shop::Version<i64>| {
            let value = Value::Number(version.value);
            visit(Version { value, from: version.from, until: version.until })
        };
        match field {
            Field::Price => self.0.prices(product, &mut number),
            Field::Stock => self.0.stocks(product, &mut number),
            Field::Name => self.0.names(product, &mut |version| {
                let value = Value::Text(&version.value);
                visit(Version { value, from: version.from, until: version.until })
            }),
        }
    }
}

struct ShopWriter {
    shop: Shop,
    script: Script,
}

impl Writer for ShopWriter {
    fn write(&self, write: &Write) -> anyhow::Result<bool> {
        let outcome = match write {
            Write::Purchase { product, quantity } => {
                self.shop.order(&[OrderLine { product: *product, quantity: *quantity }])?
            }
            Write::Return { product, quantity } => {
                self.shop.take_back(&[OrderLine { product: *product, quantity: *quantity }])?
            }
            Write::Reprice { product, price_cents } => self.shop.reprice(*product, *price_cents)?,
            Write::Rename { product, name } => self.shop.rename(*product, name)?,
            Write::ScriptReprice(prices) => return Ok(self.script.reprice(prices)? > 0),
            Write::ScriptDelivery(rows) => return Ok(self.script.import_stock(rows)? > 0),
        };
        Ok(outcome == Outcome::Done)
    }
}

#[expect(clippy::disallowed_methods, reason = "a run takes real time")]
fn in_seconds(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

async fn port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// Starts a target: a baseline with its own server of the shop behind it.
async fn target(shop: &Shop, baseline: Baseline, key: &str) -> (Target, ShopServer, BaselineProxy) {
    let server = shop.serve(port().await);
    let proxy = BaselineProxy::start(baseline, port().await, server.address());
    if baseline == Baseline::DeleteOnWrite {
        shop.on_write(proxy.delete_hook());
    }
    let (counter, deletions) = (server.request_counter(), proxy.deletions());
    let target = Target {
        key: key.into(),
        title: key.into(),
        address: proxy.address(),
        origin_requests: Arc::new(move || counter.load(Ordering::Relaxed)),
        metrics: Some(Arc::new(move || TargetMetrics {
            invalidations: deletions(),
            ..TargetMetrics::default()
        })),
    };
    (target, server, proxy)
}

fn inventory(catalogue: &Catalogue) -> Inventory {
    let categories = catalogue.categories();
    let category = |name: &str| {
        let index = categories.iter().position(|known| *known == name).expect("listed");
        u32::try_from(index + 1).expect("few categories")
    };
    let item = |product: &shop::Product| InventoryItem {
        name: product.name.clone(),
        category: category(&product.category),
        price_cents: product.price_cents,
        stock: product.stock,
    };
    Inventory(catalogue.products.iter().map(item).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auditor_finds_stale_answers_of_ttl_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalogue = Catalogue::generated(60, 1);
    let mut options = ShopOptions::at(folder.path().join("shop.db"));
    options.render_time = Duration::from_millis(1);
    let shop = Shop::open(options, &catalogue).expect("a shop");
    let mut running_servers = Vec::new();
    let mut targets = Vec::new();
    for (baseline, key) in [
        (Baseline::NoCache, "no_cache"),
        (Baseline::TtlOnly(Duration::from_secs(10)), "ttl_only"),
        (Baseline::DeleteOnWrite, "delete_on_write"),
    ] {
        let (target, server, proxy) = target(&shop, baseline, key).await;
        targets.push(target);
        running_servers.push((server, proxy));
    }
    let demo = Demo {
        targets,
        plan: Box::new(Shoppers::new(inventory(&catalogue), Pace::of(100.0), 1)),
        oracle: Arc::new(ShopOracle(shop.ground_truth())),
        writer: Arc::new(ShopWriter {
            script: shop.script().expect("a script"),
            shop: shop.clone(),
        }),
        budgets: StalenessBudgets::default(),
        ends: Some(in_seconds(8)),
        notes: vec![],
    };
    let running = demo.start().expect("threads");
    let report = running.finish(std::future::pending()).await.expect("a report");
    println!("{report}\n{:#}", report.json());

    let [none, ttl, delete] = &report.targets[..] else { panic!("three targets") };
    assert!(report.writes > 0 && report.audit_failure.is_none());
    assert_eq!(none.figures.errors + ttl.figures.errors + delete.figures.errors, 0);
    assert_eq!(none.figures.requests, ttl.figures.requests);
    assert_eq!(none.figures.origin_requests, none.figures.requests);
    assert!(none.figures.audited > 0);
    assert_eq!(none.figures.stale_beyond_contract, 0, "{:?}", none.examples);
    assert!(ttl.figures.stale_beyond_contract > 0);
    assert_eq!(ttl.wrong, 0, "stale is not wrong: {:?}", ttl.examples);
    assert!(delete.figures.invalidations > 0);
    assert!(delete.figures.stale_beyond_contract > 0, "prices set by the script");
    assert!(delete.figures.origin_requests < none.figures.origin_requests / 2);
}
