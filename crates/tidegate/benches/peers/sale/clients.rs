//! The clients of Tidegate, and the run of any contender.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use sale::request::{HoldRequest, IdempotencyKey};
use sale::{HoldId, Sale, SaleError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Measured;
use crate::figure::quantile;
use crate::http1;
use crate::output::now;
use crate::process::machine_cpu_seconds;

/// A client that does one thing at a time.
pub(super) trait Client: Send + 'static {
    /// Does it once; `None`: there is nothing left to do.
    fn act(&mut self) -> impl Future<Output = Result<Option<()>>> + Send;
}

/// Runs as many clients for a while. `open` opens one of them.
pub(super) async fn run<C: Client>(
    count: usize,
    span: Duration,
    open: impl AsyncFn(usize) -> Result<C>,
) -> Result<Measured> {
    let mut clients = Vec::new();
    for number in 0..count {
        clients.push(open(number).await?);
    }
    let (began, cpu_before) = (now(), machine_cpu_seconds()?);
    let tasks = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            let mut times_ms = Vec::new();
            while began.elapsed() < span {
                let asked = now();
                if client.act().await?.is_none() {
                    break;
                }
                times_ms.push(asked.elapsed().as_secs_f64() * 1e3);
            }
            anyhow::Ok(times_ms)
        })
    });
    let mut times_ms = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        times_ms.extend(task.await??);
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu_seconds = machine_cpu_seconds()? - cpu_before;
    ensure!(!times_ms.is_empty(), "nothing was done");
    Ok(Measured {
        per_second: times_ms.len() as f64 / seconds,
        p50_ms: quantile(&times_ms, 0.5),
        p99_ms: quantile(&times_ms, 0.99),
        cpu_us: cpu_seconds * 1e6 / times_ms.len() as f64,
    })
}

/// A name for a key, different in each process and call.
fn unique(what: &str, number: usize) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{what} {number} {}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn request(sku: &str, customer: &str) -> Result<HoldRequest> {
    Ok(HoldRequest::new(customer, [(sku.to_owned(), None, 1)], Some(3_600))?)
}

/// Holds through the crate.
pub(super) struct HoldClient {
    sale: Sale,
    sku: String,
    number: usize,
}

impl HoldClient {
    pub(super) fn open(sale: &Sale, sku: &str) -> impl AsyncFn(usize) -> Result<Self> {
        move |number| {
            let client = Self { sale: sale.clone(), sku: sku.to_owned(), number };
            std::future::ready(Ok(client))
        }
    }

    async fn hold(&self) -> Result<HoldId> {
        Ok(self.try_hold().await??)
    }

    async fn try_hold(&self) -> Result<Result<HoldId, SaleError>> {
        let key = IdempotencyKey::new(&unique(&self.sku, self.number))?;
        let customer = format!("customer {}", self.number);
        let held = self.sale.hold(request(&self.sku, &customer)?, &key).await;
        Ok(held.map(|receipt| receipt.hold))
    }
}

/// Asks for a SKU that is sold out.
pub(super) struct RefusedClient(HoldClient);

impl RefusedClient {
    pub(super) fn open(sale: &Sale, sku: &str) -> impl AsyncFn(usize) -> Result<Self> {
        let open = HoldClient::open(sale, sku);
        async move |number| Ok(Self(open(number).await?))
    }
}

impl Client for RefusedClient {
    async fn act(&mut self) -> Result<Option<()>> {
        match self.0.try_hold().await? {
            Err(SaleError::SoldOut(_)) => Ok(Some(())),
            other => bail!("{other:?}"),
        }
    }
}

impl Client for HoldClient {
    async fn act(&mut self) -> Result<Option<()>> {
        self.hold().await.map(|_| Some(()))
    }
}

/// Makes holds to be confirmed: as many as are granted in the time.
pub(super) async fn holds(
    sale: &Sale,
    sku: &str,
    count: usize,
    span: Duration,
) -> Result<Arc<Mutex<Vec<HoldId>>>> {
    let made = Arc::<Mutex<Vec<HoldId>>>::default();
    let began = now();
    let tasks = (0..count).map(|number| {
        let client = HoldClient { sale: sale.clone(), sku: sku.to_owned(), number };
        let made = Arc::clone(&made);
        tokio::spawn(async move {
            while began.elapsed() < span {
                let hold = client.hold().await?;
                made.lock().push(hold);
            }
            anyhow::Ok(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    Ok(made)
}

/// Confirms holds through the crate.
pub(super) struct ConfirmClient {
    sale: Sale,
    holds: Arc<Mutex<Vec<HoldId>>>,
}

impl ConfirmClient {
    pub(super) fn open(
        sale: &Sale,
        holds: Arc<Mutex<Vec<HoldId>>>,
    ) -> impl AsyncFn(usize) -> Result<Self> {
        move |_| {
            let client = Self { sale: sale.clone(), holds: Arc::clone(&holds) };
            std::future::ready(Ok(client))
        }
    }
}

impl Client for ConfirmClient {
    async fn act(&mut self) -> Result<Option<()>> {
        let Some(hold) = self.holds.lock().pop() else { return Ok(None) };
        self.sale.confirm(hold, &IdempotencyKey::new(&hold.to_string())?).await?;
        Ok(Some(()))
    }
}

/// Holds through HTTP, on a connection that stays open.
pub(super) struct HttpClient {
    stream: TcpStream,
    at: SocketAddr,
    sku: String,
    number: usize,
    buffer: Vec<u8>,
}

impl HttpClient {
    pub(super) fn open(at: SocketAddr, sku: &str) -> impl AsyncFn(usize) -> Result<Self> {
        async move |number| {
            let stream = TcpStream::connect(at).await?;
            stream.set_nodelay(true)?;
            Ok(Self { stream, at, sku: sku.to_owned(), number, buffer: Vec::new() })
        }
    }
}

impl Client for HttpClient {
    async fn act(&mut self) -> Result<Option<()>> {
        let (key, sku) = (unique(&self.sku, self.number), &self.sku);
        let body = format!(
            "{{\"customer\":\"customer {}\",\"lines\":[{{\"sku\":\"{sku}\",\"quantity\":1}}],\"ttl_seconds\":3600}}",
            self.number
        );
        let request = format!(
            "POST /v1/holds HTTP/1.1\r\nhost: {}\r\nidempotency-key: {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.at,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        while !http1::is_complete(&self.buffer)? {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the node closed the connection");
        }
        let answer = http1::parse(&self.buffer).context("an answer")?;
        ensure!(answer.status == 201, "{}", String::from_utf8_lossy(answer.body));
        Ok(Some(()))
    }
}
