//! Whole purchases: a hold and its checkout through HTTP, and the same steps written as usual. And holds of many SKUs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use harness::Postgres;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::{NoTls, Statement};

use super::clients::Client;
use crate::http1;

pub(super) const PRICE: i64 = 1_999;

/// A connection that stays open.
struct Connection {
    stream: TcpStream,
    at: SocketAddr,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(at: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, at, buffer: Vec::new() })
    }

    async fn post(&mut self, path: &str, key: &str, body: &Value) -> Result<(u16, Value)> {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nidempotency-key: {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.at,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        while !http1::is_complete(&self.buffer)? {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the connection was closed");
        }
        let answer = http1::parse(&self.buffer).context("an answer")?;
        Ok((answer.status, serde_json::from_slice(answer.body).unwrap_or_default()))
    }
}

/// A name that no other call has got.
fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let started = std::process::id();
    format!("{started}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A hold and its checkout through a node.
pub(super) struct CheckoutClient {
    node: Connection,
    sku: String,
}

impl CheckoutClient {
    pub(super) fn open(at: SocketAddr, sku: &str) -> impl AsyncFn(usize) -> Result<Self> {
        async move |_| Ok(Self { node: Connection::open(at).await?, sku: sku.to_owned() })
    }
}

impl Client for CheckoutClient {
    async fn act(&mut self) -> Result<Option<()>> {
        let name = unique();
        let lines = json!([{ "sku": self.sku, "quantity": 1 }]);
        let body = json!({ "customer": name, "lines": lines });
        let (status, held) = self.node.post("/v1/holds", &format!("{name} hold"), &body).await?;
        ensure!(status == 201, "{held}");
        let payment = json!({ "method": "pm_card", "amount": PRICE, "currency": "EUR" });
        let body = json!({ "hold": held["hold"], "payment": payment });
        let (status, order) =
            self.node.post("/v1/checkouts", &format!("{name} pay"), &body).await?;
        ensure!(status == 201, "{status}: {order}");
        Ok(Some(()))
    }
}

/// Reads the stock, takes the payment, lowers the stock, and inserts the order: four steps without a key, and without an
/// HTTP server in front.
pub(super) struct NaiveCheckout {
    database: tokio_postgres::Client,
    provider: Connection,
    select: Statement,
    update: Statement,
    insert: Statement,
    sku: String,
}

impl NaiveCheckout {
    pub(super) fn open(
        postgres: &Postgres,
        provider: SocketAddr,
        sku: &str,
    ) -> impl AsyncFn(usize) -> Result<Self> {
        async move |number| {
            let (database, connection) =
                tokio_postgres::connect(&postgres.url("postgres"), NoTls).await?;
            tokio::spawn(connection);
            if number == 0 {
                let tables = "create table if not exists shelf(sku text primary key, units bigint) \
                     with (fillfactor = 50); \
                     create table if not exists orders(id bigserial primary key, sku text, customer text)";
                database.batch_execute(tables).await?;
                let units = super::UNITS;
                database.execute("insert into shelf values ($1, $2)", &[&sku, &units]).await?;
            }
            let prepare = |sql: &'static str| database.prepare(sql);
            let select = prepare("select units from shelf where sku = $1").await?;
            let update = prepare("update shelf set units = units - 1 where sku = $1").await?;
            let insert = prepare("insert into orders(sku, customer) values ($1, $2)").await?;
            let provider = Connection::open(provider).await?;
            Ok(Self { database, provider, select, update, insert, sku: sku.to_owned() })
        }
    }
}

impl Client for NaiveCheckout {
    async fn act(&mut self) -> Result<Option<()>> {
        let row = self.database.query_one(&self.select, &[&self.sku]).await?;
        ensure!(row.get::<_, i64>(0) > 0, "sold out");
        let customer = unique();
        let body = json!({ "amount": PRICE, "currency": "EUR", "method": "pm_card" });
        for operation in ["authorise", "capture"] {
            let (path, key) = (format!("/payments/{customer}/{operation}"), unique());
            let (status, answer) = self.provider.post(&path, &key, &body).await?;
            ensure!(status == 200, "{answer}");
        }
        self.database.execute(&self.update, &[&self.sku]).await?;
        self.database.execute(&self.insert, &[&self.sku, &customer]).await?;
        Ok(Some(()))
    }
}

/// The SKUs of a catalogue, by popularity: the chance of the nth is proportional to 1/n.
#[derive(Clone)]
pub(super) struct Catalogue {
    prefix: String,
    /// The sums of the chances.
    sums: Arc<[f64]>,
}

impl Catalogue {
    pub(super) fn new(prefix: &str, skus: usize) -> Self {
        let mut sum = 0.0;
        let add = |n: usize| {
            sum += 1.0 / n as f64;
            sum
        };
        Self { prefix: prefix.to_owned(), sums: (1..=skus).map(add).collect() }
    }

    pub(super) fn skus(&self) -> impl Iterator<Item = String> {
        (0..self.sums.len()).map(|number| self.sku(number))
    }

    fn sku(&self, number: usize) -> String {
        format!("{}-{number}", self.prefix)
    }

    fn draw(&self) -> String {
        let all = self.sums.last().copied().unwrap_or_default();
        let drawn = rand::rng().random_range(0.0..all);
        self.sku(self.sums.partition_point(|sum| *sum <= drawn))
    }
}

/// Holds of a catalogue's SKUs through a node.
pub(super) struct CatalogueClient {
    node: Connection,
    catalogue: Catalogue,
}

impl CatalogueClient {
    pub(super) fn open(
        at: SocketAddr,
        catalogue: &Catalogue,
    ) -> impl AsyncFn(usize) -> Result<Self> {
        async move |_| Ok(Self { node: Connection::open(at).await?, catalogue: catalogue.clone() })
    }
}

impl Client for CatalogueClient {
    async fn act(&mut self) -> Result<Option<()>> {
        let name = unique();
        let lines = json!([{ "sku": self.catalogue.draw(), "quantity": 1 }]);
        let body = json!({ "customer": name, "lines": lines });
        let (status, held) = self.node.post("/v1/holds", &name, &body).await?;
        ensure!(status == 201, "{held}");
        Ok(Some(()))
    }
}
