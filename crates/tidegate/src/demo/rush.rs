//! The rush: a shop that sells through Tidegate, and one that is written as usual, one after the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use drill::buyers::{Buying, Rush, RushResult, ShopClient};
use drill::{RushFigures, RushReport};
use sale::SaleOptions;
use serde_json::{Value, json};
use shop::{Catalogue, Shop, ShopOptions, UsualShop};
use tokio::task::JoinHandle;

use super::error::StageError;
use super::node::DemoNode;
use super::stage::loopback;
use crate::config::{Config, Listen};

const BUYERS: usize = 10_000;
const UNITS: u32 = 100;
const PRICE: i64 = 1_999;
const SKU: &str = "console";
/// Both ends of the connections, and those to the providers, are in this process: fewer than 1024 files.
const CONNECTIONS: usize = 128;
const PROVIDER_DELAY_MS: u64 = 20;
const LOST_PERCENT: u64 = 3;
/// The longest patience of a buyer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sells to the same buyers in both shops, and compares them.
///
/// # Errors
/// A server could not be started, or its books could not be read.
pub(crate) async fn rush() -> Result<RushReport, StageError> {
    let folder = tempfile::tempdir().context("no temporary folder can be created")?;
    let ours = Box::pin(through_tidegate(folder.path())).await?;
    let usual = Box::pin(as_usual(folder.path())).await?;
    Ok(RushReport {
        buyers: BUYERS as u64,
        units: u64::from(UNITS),
        connections: CONNECTIONS as u64,
        lost_percent: LOST_PERCENT,
        shops: vec![ours, usual],
    })
}

async fn through_tidegate(folder: &Path) -> Result<RushFigures, StageError> {
    let provider = Provider::start().await?;
    let node = node(folder, provider.address).await?;
    let client = client(node.at.sale);
    let body = json!({ "on_hand": UNITS, "price": { "amount": PRICE, "currency": "EUR" } });
    let stocked = client.send(0, "PUT", &format!("/v1/stock/{SKU}"), None, &body).await;
    let stocked = stocked.context("the node does not answer")?;
    if stocked.status != 200 {
        return Err(anyhow::anyhow!("{}", stocked.body).into());
    }
    let result = buyers(Buying::HoldAndCheckout).run(&client).await;
    let stock = client.send(0, "GET", &format!("/v1/stock/{SKU}"), None, &Value::Null).await;
    let sold = stock.and_then(|stock| stock.body["sold"].as_u64());
    let sold = sold.context("the stock can't be read")?;
    let owner = |order: &str| owner_of(&result, order);
    let books = provider.ledger().await?;
    let figures = RushFigures::new("tidegate", "Tidegate", sold, &result, &books, owner);
    node.stop().await?;
    Ok(figures)
}

async fn as_usual(folder: &Path) -> Result<RushFigures, StageError> {
    let provider = Provider::start().await?;
    let listener = loopback().await?;
    let at = listener.local_addr().context("an address")?;
    let file = folder.join("usual.db");
    let shop = UsualShop::open(&file, listener, UNITS, PRICE, provider.address);
    let shop = shop.context("the usual shop can't open")?;
    let result = buyers(Buying::OneRequest).run(&client(at)).await;
    let sold = shop.orders().context("the usual shop's orders")?;
    let owner = |payment: &str| payment.split('~').next().map(str::to_owned);
    let books = provider.ledger().await?;
    Ok(RushFigures::new("as_usual", "as usual", sold, &result, &books, owner))
}

fn owner_of(result: &RushResult, order: &str) -> Option<String> {
    let has = |orders: &Vec<String>| orders.iter().any(|other| other == order);
    result.orders.iter().find(|(_, orders)| has(orders)).map(|(name, _)| name.clone())
}

fn buyers(buying: Buying) -> Rush {
    Rush { buyers: BUYERS, sku: SKU.to_owned(), amount: PRICE, buying, patience: PATIENCE }
}

fn client(at: SocketAddr) -> ShopClient {
    ShopClient::new(&[at], CONNECTIONS, PATIENCE, None)
}

/// Starts a node whose ledger is an SQLite file.
async fn node(folder: &Path, provider: SocketAddr) -> Result<DemoNode, StageError> {
    let (source, ledger) = (folder.join("shop.db"), folder.join("sale.db"));
    Shop::open(ShopOptions::at(&source), &Catalogue::generated(1, 1))
        .context("the shop can't open")?;
    let url = format!("sqlite:{}", ledger.display());
    let parsed = url.parse().map_err(|err| anyhow::anyhow!("{url}: {err}"))?;
    SaleOptions::new(parsed).migrate().await.context("the ledger can't be made")?;
    std::fs::write(folder.join("payment.key"), "sk_demo\n").context("the key can't be written")?;
    let text = format!(
        "[source.shop]\nurl = \"sqlite:{}\"\n[sale]\nurl = \"{url}\"\n[sale.payment.card]\nkind = \"http\"\n\
         url = \"http://{provider}\"\nkey_file = \"payment.key\"\ncalls_per_second = 10000\n",
        source.display()
    );
    let mut config = Config::parse(&folder.join("tidegate.toml"), &text)?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.listen = Listen { gateway: any, data: any, admin: any, sale: any, ..Listen::default() };
    DemoNode::serve(&config).await
}

/// A payment provider; closed on drop.
struct Provider {
    address: SocketAddr,
    client: ShopClient,
    task: JoinHandle<()>,
}

impl Provider {
    async fn start() -> anyhow::Result<Self> {
        let listener = loopback().await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // It ends only with its listener; the shops' calls fail then, and the report shows it.
            let _ = drill::provider::serve(listener).await;
        });
        let client = ShopClient::new(&[address], 1, PATIENCE, None);
        let provider = Self { address, client, task };
        let lose_share = LOST_PERCENT as f64 / 100.0;
        let faults = json!({ "lose_share": lose_share, "delay_ms": PROVIDER_DELAY_MS });
        let set = provider.client.send(0, "POST", "/faults", None, &faults).await;
        ensure!(set.is_some_and(|answer| answer.status == 200), "the provider does not answer");
        Ok(provider)
    }

    async fn ledger(&self) -> anyhow::Result<Value> {
        let answer = self.client.send(0, "GET", "/ledger", None, &Value::Null).await;
        let books = answer.filter(|answer| answer.status == 200);
        Ok(books.context("the provider's ledger can't be read")?.body)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}
