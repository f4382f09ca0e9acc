//! The shop and the traffic of a comparison, and the rate that the machine bears.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use drill::measure_capacity;
use drill::plan::orders::{Article, OrderBook};
use drill::plan::{Action, Inventory, InventoryItem, Pace, Plan, ReadTrace, Replay, Shoppers};
use shop::{Catalogue, Product};

use super::stage::{Stage, Traffic};

/// Products of the generated shop.
const PRODUCTS: usize = 2_000;

/// The most requests per second at each of the four systems that a run plans by itself. With the four systems,
/// the shop, the load and the audit on two cores of a current server, this leaves half of the machine free.
const MAX_RATE: f64 = 2_000.0;

/// The share of the measured capacity that a run plans: the load varies by 30 %, and latency shows the systems
/// and not a full machine.
const CAPACITY_SHARE: f64 = 0.5;

/// The duration of the measurement.
const MEASURED: Duration = Duration::from_millis(1_300);

/// The shop of a run, and the records that its traffic follows.
pub(crate) struct Source {
    pub(crate) catalogue: Catalogue,
    records: Records,
    notes: Vec<String>,
}

enum Records {
    None,
    Orders { book: OrderBook, speed: Option<f64> },
    Reads(ReadTrace),
}

impl Source {
    /// Returns a generated shop with generated traffic.
    pub(crate) fn generated(seed: u64) -> Self {
        let catalogue = Catalogue::generated(PRODUCTS, seed);
        Self { catalogue, records: Records::None, notes: Vec::new() }
    }

    /// Returns the shop and the traffic of an order book.
    pub(crate) fn orders(path: &Path, speed: Option<f64>) -> Result<Self> {
        let book = OrderBook::open(path).with_context(|| path.display().to_string())?;
        if book.articles.is_empty() {
            bail!("{}: no order line in it can be used", path.display());
        }
        let product = |article: &Article| {
            Product::named(&article.sku, &article.name, article.price_cents, article.stock)
        };
        let catalogue = Catalogue::of("GBP", book.articles.iter().map(product).collect());
        Ok(Self { catalogue, notes: book.notes(), records: Records::Orders { book, speed } })
    }

    /// Returns a generated shop with recorded reads.
    pub(crate) fn reads(path: &Path, seed: u64) -> Result<Self> {
        let trace = ReadTrace::open(path).with_context(|| path.display().to_string())?;
        let catalogue = Catalogue::generated(trace.products() as usize, seed);
        Ok(Self { catalogue, notes: trace.notes(), records: Records::Reads(trace) })
    }

    /// Returns the traffic, arriving at `pace`.
    pub(crate) fn traffic(self, pace: Pace, seed: u64) -> Traffic {
        let inventory = inventory(&self.catalogue);
        let plan: Plan = match self.records {
            Records::None => Box::new(Shoppers::new(inventory, pace, seed)),
            Records::Orders { book, speed } => {
                Box::new(Replay::new(Arc::new(book), inventory, pace, speed, seed))
            }
            Records::Reads(trace) => Box::new(Shoppers::replaying(inventory, trace, pace, seed)),
        };
        Traffic { plan, notes: self.notes }
    }
}

/// Measures the rate that the machine bears, and returns the rate of the run with a note on both.
pub(crate) async fn bearable_rate(
    stage: &Stage,
    catalogue: &Catalogue,
    seed: u64,
) -> Result<(f64, Option<String>)> {
    let shoppers = Shoppers::new(inventory(catalogue), Pace::steady(MAX_RATE), seed);
    let pages = shoppers.filter_map(|event| match event.action {
        Action::Request(page) => Some(page),
        Action::Write(_) => None,
    });
    let targets = stage.addresses();
    let measured = tokio::task::spawn_blocking(move || measure_capacity(&targets, pages, MEASURED));
    let capacity = measured.await.context("the measurement of the machine panicked")??;
    let rate = (capacity * CAPACITY_SHARE).clamp(1.0, MAX_RATE);
    let note = format!(
        "Before the run, all systems together answered {capacity:.0} requests/s each; the run sent {rate:.0}/s."
    );
    Ok((rate, Some(note)))
}

/// Returns the inventory of a catalogue's shop.
pub(crate) fn inventory(catalogue: &Catalogue) -> Inventory {
    let categories = catalogue.categories();
    let category = |name: &str| {
        let index = categories.iter().position(|known| *known == name).unwrap_or_default();
        u32::try_from(index + 1).unwrap_or(u32::MAX)
    };
    let item = |product: &Product| InventoryItem {
        name: product.name.clone(),
        category: category(&product.category),
        price_cents: product.price_cents,
        stock: product.stock,
    };
    Inventory(catalogue.products.iter().map(item).collect())
}
