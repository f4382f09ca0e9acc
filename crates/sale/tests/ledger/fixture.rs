//! A ledger with its database.

use std::sync::Arc;
use std::time::Duration;

use coherence::{Clock, Mono};
use database::DatabaseUrl;
use harness::{Postgres, PostgresBuilder};
use prometheus_client::registry::Registry;
use sale::ledger::Ledger;
use sale::request::{HoldRequest, IdempotencyKey, SetStock};
use sale::rules::{Policy, Stock};
use sale::{HoldId, HoldReceipt, Sale, SaleError, SaleMetrics, SaleOptions};

/// The time limit of every expected event.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A database with an empty ledger.
pub(crate) struct Fixture {
    pub(crate) options: SaleOptions,
    postgres: Option<Postgres>,
    _folder: tempfile::TempDir,
}

/// The wall clock; a ledger must not use it for anything but names.
pub(crate) struct StoppedClock;

impl Clock for StoppedClock {
    fn mono(&self) -> Mono {
        Mono(0)
    }

    fn wall_ms(&self) -> u64 {
        1
    }
}

impl Fixture {
    pub(crate) async fn postgres() -> Self {
        let fixture = Self::empty_postgres();
        fixture.options.migrate().await.expect("migrated");
        fixture
    }

    pub(crate) fn empty_postgres() -> Self {
        Self::on_postgres(Postgres::builder())
    }

    pub(crate) fn on_postgres(postgres: PostgresBuilder) -> Self {
        let postgres = postgres.start().expect("PostgreSQL starts");
        Self::new(&postgres.url("postgres"), Some(postgres))
    }

    pub(crate) async fn sqlite() -> Self {
        let fixture = Self::empty_sqlite();
        fixture.options.migrate().await.expect("migrated");
        fixture
    }

    pub(crate) fn empty_sqlite() -> Self {
        let mut fixture = Self::new("sqlite:none", None);
        let path = fixture._folder.path().join("sale.db");
        fixture.options.url = DatabaseUrl::Sqlite(path);
        fixture
    }

    fn new(url: &str, postgres: Option<Postgres>) -> Self {
        let url = url.parse().expect("a url");
        let options = SaleOptions {
            timeout: DEADLINE,
            early_refusals: Duration::ZERO,
            ..SaleOptions::new(url)
        };
        Self { options, postgres, _folder: tempfile::tempdir().expect("a folder") }
    }

    /// Runs a test, and then the audit.
    pub(crate) async fn run<F: Future<Output = ()>>(self, test: impl FnOnce(Shop) -> F) {
        let shop = self.shop().await;
        let ledger = Arc::clone(&shop.ledger);
        test(shop).await;
        assert_eq!(ledger.audit().await.expect("audited"), []);
    }

    pub(crate) fn postgres_url(&self) -> String {
        self.postgres.as_ref().expect("a PostgreSQL").url("postgres")
    }

    pub(crate) fn postgres_log(&self) -> Vec<String> {
        self.postgres.as_ref().expect("a PostgreSQL").log()
    }

    /// Opens the ledger as a node of its own.
    pub(crate) async fn shop(&self) -> Shop {
        let ledger = self.options.open().await.expect("opened");
        let metrics = SaleMetrics::new(&mut Registry::default());
        let sale = Sale::new(Arc::clone(&ledger), Arc::new(StoppedClock), metrics);
        Shop { sale, ledger }
    }

    /// Runs statements; `tidegate.` before a table's name is the prefix of either database.
    pub(crate) fn sql(&self, sql: &str) {
        match (&self.postgres, &self.options.url) {
            (Some(postgres), _) => {
                postgres.psql(sql).unwrap_or_else(|err| panic!("{sql}: {err:#}"));
            }
            (None, DatabaseUrl::Sqlite(path)) => {
                let connection = rusqlite::Connection::open(path).expect("it opens");
                let sql = sql.replace("tidegate.", "tidegate_");
                let sql = format!("pragma foreign_keys = off; {sql}");
                connection.execute_batch(&sql).unwrap_or_else(|err| panic!("{sql}: {err}"));
            }
            (None, url) => panic!("{url}"),
        }
    }
}

/// A node's sale, and its ledger.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) sale: Sale,
    pub(crate) ledger: Arc<dyn Ledger>,
}

pub(crate) fn key(text: impl AsRef<str>) -> IdempotencyKey {
    IdempotencyKey::new(text.as_ref()).expect("a key")
}

pub(crate) fn request(customer: &str, lines: &[(&str, i64)], ttl_seconds: u64) -> HoldRequest {
    let lines = lines.iter().map(|(sku, quantity)| ((*sku).to_owned(), None, *quantity));
    HoldRequest::new(customer, lines, Some(ttl_seconds)).expect("valid")
}

impl Shop {
    pub(crate) async fn put(&self, sku: &str, on_hand: i64) {
        self.put_with(sku, on_hand, None, None).await;
    }

    pub(crate) async fn put_with(
        &self,
        sku: &str,
        on_hand: i64,
        policy: Option<Policy>,
        limit: Option<i64>,
    ) {
        let request = SetStock::new(sku, None, on_hand, policy, limit.map(Some)).expect("valid");
        self.sale.set_stock(&request).await.expect("set");
    }

    /// Holds for ten minutes.
    pub(crate) async fn hold(
        &self,
        name: &str,
        customer: &str,
        lines: &[(&str, i64)],
    ) -> Result<HoldReceipt, SaleError> {
        self.sale.hold(request(customer, lines, 600), &key(name)).await
    }

    pub(crate) async fn confirm(&self, hold: HoldId) -> Result<i64, SaleError> {
        self.sale.confirm(hold, &key(format!("confirm {hold}"))).await
    }

    /// Returns the counters of a SKU at its only location.
    pub(crate) async fn stock(&self, sku: &str) -> Stock {
        let stock = self.sale.stock(sku).await.expect("known");
        assert_eq!(stock.locations.len(), 1, "{stock:?}");
        stock.locations[0].stock
    }

    pub(crate) async fn assert_stock(&self, sku: &str, on_hand: i64, held: i64, sold: i64) {
        assert_eq!(self.stock(sku).await, Stock { on_hand, held, sold }, "{sku}");
    }

    /// Waits until a hold has expired by the database's clock.
    pub(crate) async fn wait_expired(&self, hold: HoldId) {
        use sale::rules::{HoldEnd, HoldState};
        let expired = async {
            while self.sale.find_hold(hold).await.expect("known").state
                != HoldState::Ended(HoldEnd::Expired)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, expired).await.expect("expired in time");
    }
}
