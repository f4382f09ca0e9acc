//! Durable holds of one hot SKU by 64 clients: the crate and the HTTP API, beside the usual statements on the same
//! PostgreSQL and a script in Redis.

mod checkout;
mod clients;
mod rivals;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Port, Postgres, Process, Redis};
use prometheus_client::registry::Registry;
use sale::request::SetStock;
use sale::{Sale, SaleMetrics, SaleOptions};

use self::checkout::{Catalogue, CatalogueClient, CheckoutClient, NaiveCheckout};
use self::clients::{ConfirmClient, HoldClient, HttpClient, RefusedClient};
use self::rivals::{ForUpdate, PlainTransaction, RedisScript};
use crate::figure::{Figure, Part, Table, median};
use crate::output::log_line;
use crate::stack::DEADLINE;

/// As many clients as in the figures that the design started from.
const CLIENTS: usize = 64;
const SPAN: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;
/// More than any contender sells.
const UNITS: i64 = 1_000_000_000;
const CONTENDERS: [&str; 12] = [
    "for update",
    "redis",
    "crate",
    "http",
    "confirm",
    "one",
    "plain",
    "refused",
    "redis refused",
    "checkout",
    "naive checkout",
    "catalogue",
];
/// The SKUs of the catalogue.
const SKUS: usize = 1_000;
/// The limit of the 99th percentile.
const P99_MS: f64 = 50.0;

/// Requests per second, and the times of requests in ms.
struct Measured {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// CPU time of all processes of the machine for each request.
    cpu_us: f64,
}

/// The servers of all contenders.
struct Servers {
    postgres: Postgres,
    redis: Redis,
    /// The sale of a node.
    node: SocketAddr,
    /// A payment provider that answers at once.
    provider: SocketAddr,
}

pub(crate) fn measure() -> Result<Part> {
    let runtime = tokio::runtime::Runtime::new()?;
    let postgres = Postgres::builder()
        .setting("max_connections", "200")
        .setting("shared_buffers", "256MB")
        .setting("max_wal_size", "4GB")
        .start()?;
    let redis = Redis::start()?;
    let folder = tempfile::tempdir()?;
    let provider = runtime.block_on(provider())?;
    let (_process, node) = node(&postgres, folder.path(), &runtime, provider)?;
    let servers = Servers { postgres, redis, node, provider };
    let mut rounds = BTreeMap::<&str, Vec<Measured>>::new();
    for round in 0..ROUNDS {
        // Each round begins with another one.
        for at_turn in 0..CONTENDERS.len() {
            let contender = CONTENDERS[(at_turn + 2 * round) % CONTENDERS.len()];
            let measured = runtime.block_on(contend(contender, round, &servers))?;
            log_line(&format!(
                "  {contender}: {:.0}/s, median {:.2} ms, p99 {:.2} ms",
                measured.per_second, measured.p50_ms, measured.p99_ms
            ));
            rounds.entry(contender).or_default().push(measured);
        }
    }
    report(&rounds)
}

/// Starts a node whose ledger is in this PostgreSQL; its source is an SQLite file.
fn node(
    postgres: &Postgres,
    folder: &std::path::Path,
    runtime: &tokio::runtime::Runtime,
    provider: SocketAddr,
) -> Result<(Process, SocketAddr)> {
    runtime.block_on(options(postgres)?.migrate())?;
    let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
    let [data, admin, at] = ports.each_ref().map(Port::addr);
    let source = folder.join("shop.db");
    rusqlite::Connection::open(&source)?
        .execute_batch("pragma journal_mode = wal; create table t(id integer primary key)")?;
    let config = format!(
        "[listen]\ndata = \"{data}\"\nadmin = \"{admin}\"\nsale = \"{at}\"\n\
         [source.shop]\nurl = \"sqlite:{}\"\n[sale]\nurl = \"{}\"\n\
         [sale.payment.card]\nkind = \"http\"\nurl = \"http://{provider}\"\nkey_file = \"key\"\n\
         calls_per_second = 100000\n",
        source.display(),
        postgres.url("postgres")
    );
    std::fs::write(folder.join("key"), "sk_bench\n")?;
    let path = folder.join("tidegate.toml");
    std::fs::write(&path, config)?;
    let binary = env!("CARGO_BIN_EXE_tidegate");
    let mut process = Process::builder(binary).arg("serve").arg("--config").arg(path).start()?;
    process.wait_for_http(admin, "/readyz", DEADLINE)?;
    Ok((process, at))
}

/// Starts a payment provider in this process.
async fn provider() -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    tokio::spawn(drill::provider::serve(listener));
    Ok(at)
}

fn options(postgres: &Postgres) -> Result<SaleOptions> {
    let url = postgres.url("postgres").parse()?;
    Ok(SaleOptions { timeout: DEADLINE, ..SaleOptions::new(url) })
}

async fn sale(postgres: &Postgres, sku: &str, units: i64) -> Result<Sale> {
    let ledger = options(postgres)?.open().await?;
    let clock = Arc::new(cache::SystemClock::start());
    let sale = Sale::new(ledger, clock, SaleMetrics::new(&mut Registry::default()))
        .with_early_refusals(sale::EARLY_REFUSALS);
    sale.set_stock(&SetStock::new(sku, None, units, None, None)?).await?;
    Ok(sale)
}

async fn contend(contender: &str, round: usize, servers: &Servers) -> Result<Measured> {
    let Servers { postgres, redis, node, provider } = servers;
    let at = *node;
    // A SKU of its own: no contender finds the dead rows of another.
    let sku = format!("{contender} {round}");
    match contender {
        "for update" => clients::run(CLIENTS, SPAN, ForUpdate::open(postgres, &sku)).await,
        "plain" => clients::run(1, SPAN, PlainTransaction::open(postgres)).await,
        "redis" => clients::run(CLIENTS, SPAN, RedisScript::open(redis, &sku, UNITS)).await,
        "redis refused" => clients::run(CLIENTS, SPAN, RedisScript::open(redis, &sku, 0)).await,
        "refused" => {
            let sale = sale(postgres, &sku, 0).await?;
            clients::run(CLIENTS, SPAN, RefusedClient::open(&sale, &sku)).await
        }
        "http" => {
            sale(postgres, &sku, UNITS).await?;
            clients::run(CLIENTS, SPAN, HttpClient::open(at, &sku)).await
        }
        "checkout" => {
            let sale = sale(postgres, &sku, UNITS).await?;
            let price = sale::request::price("price", checkout::PRICE, "EUR")?;
            let request = SetStock::new(&sku, None, UNITS, None, None)?;
            sale.set_stock(&request.with_price(Some(price))).await?;
            clients::run(CLIENTS, SPAN, CheckoutClient::open(at, &sku)).await
        }
        "naive checkout" => {
            let open = NaiveCheckout::open(postgres, *provider, &sku);
            clients::run(CLIENTS, SPAN, open).await
        }
        "catalogue" => {
            let catalogue = Catalogue::new(&sku, SKUS);
            let sale = sale(postgres, &sku, UNITS).await?;
            for sku in catalogue.skus() {
                sale.set_stock(&SetStock::new(&sku, None, UNITS, None, None)?).await?;
            }
            clients::run(CLIENTS, SPAN, CatalogueClient::open(at, &catalogue)).await
        }
        "confirm" => {
            let sale = sale(postgres, &sku, UNITS).await?;
            let holds = clients::holds(&sale, &sku, CLIENTS, SPAN).await?;
            clients::run(CLIENTS, SPAN, ConfirmClient::open(&sale, holds)).await
        }
        "one" => {
            let sale = sale(postgres, &sku, UNITS).await?;
            clients::run(1, SPAN, HoldClient::open(&sale, &sku)).await
        }
        _ => {
            let sale = sale(postgres, &sku, UNITS).await?;
            clients::run(CLIENTS, SPAN, HoldClient::open(&sale, &sku)).await
        }
    }
}

fn report(rounds: &BTreeMap<&str, Vec<Measured>>) -> Result<Part> {
    let all = |contender: &str, value: fn(&Measured) -> f64| -> Result<f64> {
        let values = rounds.get(contender).context("a contender")?;
        ensure!(values.len() == ROUNDS, "a round is missing");
        Ok(median(&values.iter().map(value).collect::<Vec<_>>()))
    };
    let rate = |contender: &str| all(contender, |measured| measured.per_second);
    let p50 = |contender: &str| all(contender, |measured| measured.p50_ms);
    let base = rate("for update")?;
    let mut table =
        Table::new(["64 clients, one SKU", "per second", "ratio", "median ms", "p99 ms", "CPU µs"]);
    for (contender, what) in [
        ("for update", "`SELECT … FOR UPDATE`, `UPDATE`"),
        ("redis", "hold script in Redis, not durable"),
        ("crate", "holds through the crate"),
        ("http", "holds through HTTP"),
        ("confirm", "confirmations through the crate"),
        ("plain", "one client: insert and commit"),
        ("one", "one client: a hold through the crate"),
        ("refused", "sold out: refusals through the crate"),
        ("redis refused", "sold out: refusals by the script in Redis"),
        ("checkout", "orders through HTTP: hold, payment, order"),
        ("naive checkout", "orders as usual: read, pay, update, insert"),
        ("catalogue", "holds of 1,000 SKUs through HTTP"),
    ] {
        table.row([
            what.to_owned(),
            format!("{:.0}", rate(contender)?),
            format!("{:.1}×", rate(contender)? / base),
            format!("{:.2}", p50(contender)?),
            format!("{:.2}", all(contender, |measured| measured.p99_ms)?),
            format!("{:.0}", all(contender, |measured| measured.cpu_us)?),
        ]);
    }
    let p99 = all("http", |measured| measured.p99_ms)?;
    let figures = vec![
        Figure::at_least("holds through the crate ÷ FOR UPDATE", rate("crate")? / base, 60.0),
        Figure::at_least(
            "holds through the crate ÷ Redis script",
            rate("crate")? / rate("redis")?,
            1.3,
        ),
        Figure::at_least("holds through HTTP ÷ FOR UPDATE", rate("http")? / base, 25.0),
        Figure::at_least(
            "confirmations through the crate ÷ FOR UPDATE",
            rate("confirm")? / base,
            60.0,
        ),
        Figure {
            what: "p99 of a hold through HTTP".into(),
            measured: format!("{p99:.1} ms"),
            target: format!("at most {P99_MS} ms"),
            met: p99 <= P99_MS,
        },
        Figure::at_least(
            "refusals through the crate ÷ Redis script",
            rate("refused")? / rate("redis refused")?,
            1.0,
        ),
        Figure::at_most("one hold alone ÷ one plain transaction", p50("one")? / p50("plain")?, 1.3),
    ];
    let how = "64 clients hold one unit each of one SKU, again and again, for five seconds; the medians of three rounds, \
               each of which begins with another contender. PostgreSQL runs with `synchronous_commit = on`. *FOR UPDATE* has a \
               connection for each client, prepared statements, and no row for the hold; the Redis script decrements a \
               counter and stores the hold in a hash, one call for each hold, without persistence. The crate and the node \
               have eight connections. Refusals are of a SKU without units: the node repeats the ledger's last refusal, and \
               only asks whether the request is a repeat. Confirmations end holds that were granted before the measurement. The checkouts hold one unit of one SKU and pay \
               for it at a provider that answers at once, with one connection to a node; as usual is a client that reads the stock, calls the provider \
               twice, lowers the stock and inserts the order, without keys and without a server of its own in front. Of the 1,000 SKUs, the nth is \
               asked for with a chance proportional to 1/n. CPU is that of all processes of the machine, the clients' included, for each request. Clients, node and \
               servers share the machine.";
    Ok(Part {
        title: "The sale: one hot SKU".into(),
        arguments: String::new(),
        how: vec![how.into()],
        figures,
        table,
    })
}
