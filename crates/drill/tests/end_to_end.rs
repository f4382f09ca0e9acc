//! A short run of the real thing: a shop, traffic, two of the rivals, the auditor.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use drill::plan::{Good, Goods, Pace, Shoppers, Write};
use drill::{
    Arm, Contracts, Demo, Field, Inside, Oracle, Rival, RivalProxy, Value, Version, Writer,
};
use shop::{Catalogue, Line, Outcome, Script, Shop, ShopOptions, Truth};
use tokio::net::TcpListener;

struct Books(Arc<Truth>);

impl Oracle for Books {
    fn settle(&self) -> anyhow::Result<()> {
        Ok(self.0.settle()?)
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

struct Staff {
    shop: Shop,
    script: Script,
}

impl Writer for Staff {
    fn write(&self, write: &Write) -> anyhow::Result<bool> {
        let outcome = match write {
            Write::Purchase { product, quantity } => {
                self.shop.order(&[Line { product: *product, quantity: *quantity }])?
            }
            Write::Return { product, quantity } => {
                self.shop.take_back(&[Line { product: *product, quantity: *quantity }])?
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

/// An arm behind a rival of its own, with a port of the shop of its own.
async fn arm(shop: &Shop, rival: Rival, key: &str) -> (Arm, shop::Front, RivalProxy) {
    let front = shop.serve(port().await);
    let proxy = RivalProxy::start(rival, port().await, front.address());
    if rival == Rival::DeleteOnWrite {
        shop.on_write(proxy.deleter());
    }
    let (counter, deletions) = (front.counter(), proxy.deletions());
    let arm = Arm {
        key: key.into(),
        title: key.into(),
        address: proxy.address(),
        origin_requests: Arc::new(move || counter.load(Ordering::Relaxed)),
        inside: Some(Arc::new(move || Inside { invalidations: deletions(), ..Inside::default() })),
    };
    (arm, front, proxy)
}

fn goods(catalogue: &Catalogue) -> Goods {
    let categories = catalogue.categories();
    let category = |name: &str| {
        let index = categories.iter().position(|known| *known == name).expect("listed");
        u32::try_from(index + 1).expect("few categories")
    };
    let good = |product: &shop::Product| Good {
        name: product.name.clone(),
        category: category(&product.category),
        price_cents: product.price_cents,
        stock: product.stock,
    };
    Goods(catalogue.products.iter().map(good).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_ttl_is_caught_serving_stale_answers_and_no_cache_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalogue = Catalogue::generated(60, 1);
    let mut options = ShopOptions::at(folder.path().join("shop.db"));
    options.render = Duration::from_millis(1);
    let shop = Shop::open(options, &catalogue).expect("a shop");
    let mut kept = Vec::new();
    let mut arms = Vec::new();
    for (rival, key) in [
        (Rival::NoCache, "no_cache"),
        (Rival::TtlOnly(Duration::from_secs(10)), "ttl_only"),
        (Rival::DeleteOnWrite, "delete_on_write"),
    ] {
        let (arm, front, proxy) = arm(&shop, rival, key).await;
        arms.push(arm);
        kept.push((front, proxy));
    }
    let demo = Demo {
        arms,
        plan: Box::new(Shoppers::new(goods(&catalogue), Pace::of(300.0), 1)),
        oracle: Arc::new(Books(shop.truth())),
        writer: Arc::new(Staff { script: shop.script().expect("a script"), shop: shop.clone() }),
        contracts: Contracts::default(),
        ends: Some(in_seconds(8)),
        notes: vec![],
    };
    let running = demo.start().expect("threads");
    let report = running.finish(std::future::pending()).await.expect("a report");
    println!("{report}\n{:#}", report.json());

    let [none, ttl, delete] = &report.arms[..] else { panic!("three arms") };
    assert!(report.writes > 0 && report.audit_failure.is_none());
    assert_eq!(none.report.errors + ttl.report.errors + delete.report.errors, 0);
    assert_eq!(none.report.requests, ttl.report.requests);
    assert_eq!(none.report.origin_requests, none.report.requests);
    assert!(none.report.audited > 0);
    assert_eq!(none.report.stale_beyond_contract, 0, "{:?}", none.examples);
    assert!(ttl.report.stale_beyond_contract > 0);
    assert_eq!(ttl.wrong, 0, "stale is not wrong: {:?}", ttl.examples);
    assert!(delete.report.invalidations > 0);
    assert!(delete.report.stale_beyond_contract > 0, "the script's prices");
    assert!(delete.report.origin_requests < none.report.origin_requests / 2);
}
