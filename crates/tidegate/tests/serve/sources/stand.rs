//! A shop's PostgreSQL, the database of its stock, Redis, and nodes that follow both.

use harness::http::{self, Response};
use harness::{MariaDb, Postgres};
use serde_json::Value;

use crate::stack::{DEADLINE, Node, Stack, bound_ms, tier};
use crate::upstream::Reply;

/// The contract of the stock, and a page tag that both databases raise.
const STOCK: &str = r#"
[data.stock_level]
key       = "v1:stock:level:{id}"
value     = "select level from stock where id = $id"
from      = { source = "stock", table = "stock", key = "id" }
tags      = ["stock-{id}", "row-{id}"]
staleness = "5s"
owner     = "warehouse"
approved  = { by = ["product"], on = 2026-11-02 }
"#;

/// Pages end soon where their age proves them, and where a log does not.
pub(super) const ROUTE: &str = "\n[[edge.route]]\npath = \"/p/\"\nstaleness = \"5s\"\n";

/// The budget of the contracts and pages, in ms: a busy machine samples late.
pub(super) const BUDGET_MS: f64 = 5_000.0;

/// The database of the stock.
pub(super) enum StockDatabase {
    Postgres(Postgres),
    MariaDb(MariaDb),
}

/// Returns the configuration of a node that a busy machine does not disturb.
pub(super) fn patient(config: &str) -> String {
    config
        .replace("staleness = \"1s\"", "staleness = \"5s\"\nttl = \"10m\"")
        .replace("[shared]", "[shared]\ntimeout = \"2s\"")
}

pub(super) struct Stand {
    pub(super) shop: Stack,
    pub(super) stock: StockDatabase,
}

impl Stand {
    /// Starts two PostgreSQL servers.
    pub(super) fn start() -> Self {
        let stock = Postgres::builder().own_identity().start().expect("PostgreSQL starts");
        stock.psql("create role shop login replication").expect("a role");
        stock.psql("create database stock owner shop").expect("a database");
        Self::of(StockDatabase::Postgres(stock))
    }

    /// Starts a PostgreSQL and a MariaDB.
    pub(super) fn with_mariadb() -> Self {
        let stock = MariaDb::builder().start().expect("MariaDB starts");
        let setup = "create database stock; use stock; \
            create user shop identified by 'secret'; \
            grant binlog monitor, replication slave on *.* to shop; \
            grant select on stock.* to shop; \
            create table tidegate_orders(id bigint unsigned auto_increment primary key, \
              message mediumtext character set utf8mb4 not null) engine=InnoDB; \
            grant insert, delete on stock.tidegate_orders to shop";
        stock.sql(setup).expect("a user");
        Self::of(StockDatabase::MariaDb(stock))
    }

    fn of(stock: StockDatabase) -> Self {
        let stand = Self { shop: Stack::start(), stock };
        stand.stock_sql("create table stock(id int primary key, level int)");
        let rows: Vec<String> = (1..=100).map(|id| format!("({id}, {id})")).collect();
        stand.stock_sql(&format!("insert into stock values {}", rows.join(", ")));
        stand
    }

    pub(super) fn stock_sql(&self, sql: &str) -> String {
        match &self.stock {
            StockDatabase::Postgres(server) => server.psql_as("shop", "stock", sql),
            StockDatabase::MariaDb(server) => server.sql_in("stock", sql),
        }
        .expect("the statement runs")
    }

    pub(super) fn level(&self, id: u32, level: u32) {
        self.stock_sql(&format!("update stock set level = {level} where id = {id}"));
    }

    /// Returns the configuration of the shop's node with the second source.
    pub(super) fn config(&self, config: &str) -> String {
        let url = match &self.stock {
            StockDatabase::Postgres(server) => server.url_as("shop", "stock"),
            StockDatabase::MariaDb(server) => {
                format!("mysql://shop:secret@{}/stock", server.addr())
            }
        };
        let config = patient(config).replace("[source.shop]", "[source.shop]\nmain = true");
        // Some tests count the upstream's requests: without those of the auditor.
        let audit = "[audit]\npages_per_second = 0\n";
        format!("{config}\n{STOCK}\n{ROUTE}\n{audit}\n[source.stock]\nurl = \"{url}\"\n")
    }

    /// Starts a node with both sources and waits until both are proven.
    pub(super) fn node(&self) -> Node {
        self.shop.node_with(|config| self.config(&config))
    }

    pub(super) fn stop_stock(&mut self) {
        match &mut self.stock {
            StockDatabase::Postgres(server) => server.stop(),
            StockDatabase::MariaDb(server) => server.stop(),
        }
        .expect("stopped");
    }

    pub(super) fn start_stock(&mut self) {
        match &mut self.stock {
            StockDatabase::Postgres(server) => server.start_again(),
            StockDatabase::MariaDb(server) => server.start_again(),
        }
        .expect("started");
    }

    /// The page of the application from now on, with these tags.
    pub(super) fn page(&self, tags: &'static str, text: &str) {
        self.shop.upstream.reply_with(Reply::Tagged(tags, text.into()));
    }
}

impl Node {
    pub(super) fn stock(&self, id: u32) -> Response {
        http::get(self.data, &format!("/data/stock_level/{id}"), DEADLINE).expect("an answer")
    }

    /// Returns the level of an answer with status 200.
    pub(super) fn stock_level(&self, id: u32) -> Option<u64> {
        let answer = self.stock(id);
        let body: Value = serde_json::from_slice(&answer.body).ok()?;
        (answer.status == 200).then(|| body["level"].as_u64())?
    }

    /// Waits until an answer comes from this process with a bound.
    pub(super) fn wait_stock_cached(&self, id: u32) {
        self.wait("a cached level", |node| is_proven(&node.stock(id)));
    }

    pub(super) fn wait_price_cached(&self, id: u32) {
        self.wait("a cached price", |node| is_proven(&node.get(id)));
    }

    /// Waits for a page from this process that the logs prove.
    pub(super) fn wait_page_cached(&self) {
        self.wait("a cached page", |node| is_logged(&node.page()));
    }

    pub(super) fn source_bound_ms(&self, source: &str) -> Option<f64> {
        self.status()["sources"][source]["bound_ms"].as_f64()
    }
}

/// Whether the in-process tier has answered with a bound.
pub(super) fn is_proven(answer: &Response) -> bool {
    answer.status == 200
        && tier(answer) == Some("local")
        && bound_ms(answer).is_some_and(|bound| bound <= BUDGET_MS)
}

/// Whether the page is from the in-process tier, fresh, and proven by logs.
pub(super) fn is_logged(page: &Response) -> bool {
    let freshness = page.header("tidegate-freshness").unwrap_or_default();
    tier(page) == Some("edge")
        && bound_ms(page).is_some()
        && !freshness.contains("proof=")
        && !freshness.contains("stale=")
}
