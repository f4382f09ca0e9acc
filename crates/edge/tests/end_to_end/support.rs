//! A gateway on a real socket, in front of a test upstream.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cache::shared::{LeadRequest, Led, MemoryTier, SharedTier};
use cache::{Engine, EngineOptions, SystemClock};
use coherence::{
    Batch, Cause, Claim, Clock, Coverage, CoverageDigest, Epoch, Event, History, Lsn, Subject,
};
use contract::{Contracts, Tag, TextForms};
use edge::{Gateway, GatewayOptions, Metrics};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use listen::{Acceptor, ConnectionLimits};
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// An upstream that counts its requests.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Upstream {
    /// Responds to each request with the result of `respond`.
    pub(crate) async fn start<F, A>(respond: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let requests = Arc::new(AtomicUsize::new(0));
        let (respond, counted) = (Arc::new(respond), Arc::clone(&requests));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.expect("accepts");
                let (respond, counted) = (Arc::clone(&respond), Arc::clone(&counted));
                let service = service_fn(move |request| {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let response = respond(request);
                    async move { Ok::<_, Infallible>(response.await) }
                });
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { address, requests }
    }

    /// Responds to every request with the same page and headers.
    pub(crate) async fn page(
        body: &'static str,
        headers: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self::start(move |_| async move { respond(200, headers, body) }).await
    }

    /// Sends these bytes on every connection after a request head, and closes the connection.
    pub(crate) async fn raw(bytes: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.expect("accepts");
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    read_head(&mut socket).await;
                    counted.fetch_add(1, Ordering::SeqCst);
                    let _ = socket.write_all(bytes).await;
                });
            }
        });
        Self { address, requests }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

pub(crate) fn respond(
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into())).expect("a response")
}

/// A gateway with an engine, whose change feed is the test.
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    pub(crate) gateway: Gateway,
    pub(crate) clock: Arc<dyn Clock>,
    tier: Arc<dyn SharedTier>,
    registry: Registry,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) stopped: tokio::task::JoinHandle<()>,
}

impl Edge {
    pub(crate) async fn start(upstream: &Upstream) -> Self {
        Self::with_options(upstream.address, |_| {}).await
    }

    pub(crate) async fn with_options(
        upstream: SocketAddr,
        change: impl FnOnce(&mut GatewayOptions),
    ) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let tier = Arc::new(MemoryTier::new(Arc::clone(&clock), 64 << 20));
        Self::on_tier(tier, clock, upstream, change).await
    }

    /// Starts a gateway on a shared tier, which other gateways may use too.
    pub(crate) async fn on_tier(
        tier: Arc<dyn SharedTier>,
        clock: Arc<dyn Clock>,
        upstream: SocketAddr,
        change: impl FnOnce(&mut GatewayOptions),
    ) -> Self {
        let metrics = cache::Metrics::detached();
        let options = EngineOptions { coverage: coverage(), ..EngineOptions::default() };
        let engine = Engine::new(options, Arc::clone(&tier), Arc::clone(&clock), metrics);
        let follower = engine.clone();
        tokio::spawn(async move { follower.follow(std::future::pending()).await });
        if tier.position().await.expect("the tier is reachable").is_none() {
            tier.reset_epoch(epoch(), Lsn(1), Lsn(1)).await.expect("the tier is reachable");
            let claim = Claim { node: 1, log: epoch().log(), slot: 1, label: "the shop".into() };
            let (history, from) = (History::default(), CoverageDigest::NONE);
            let request = LeadRequest { claim, history, from, coverage: coverage(), upto: None };
            assert_eq!(tier.lead(&request).await.expect("the tier is reachable"), Led::Granted);
        }
        // Sends heartbeats until the follower has subscribed and received one.
        while engine.status().epoch.is_none() {
            tier.apply(&batch(1, 1, Vec::new()))
                .await
                .expect("the tier is reachable")
                .expect("no gap");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        engine.sample(epoch().log(), clock.mono(), Lsn(1));

        let uri = format!("http://{upstream}").parse().expect("a URI");
        let mut options = GatewayOptions::new(uri);
        change(&mut options);
        options.routes = options.routes.with_contracts(&contracts(), &TextForms::default());
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let gateway = Gateway::new(options, engine.clone(), metrics, Arc::clone(&clock))
            .expect("valid options");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopping) = oneshot::channel();
        let serving = gateway.clone();
        let stopped = tokio::spawn(async move {
            let shutdown = async { drop(stopping.await) };
            let limits = ConnectionLimits::of(10_000);
            let acceptor = Acceptor::unshared("gateway", listener, limits);
            serving.serve(acceptor, shutdown).await;
        });
        Self { address, engine, gateway, clock, tier, registry, stop: Some(stop), stopped }
    }

    /// Applies the event of a commit at `lsn` that changed `tag`.
    pub(crate) async fn commit(&self, lsn: u64, tag: &str) {
        self.invalidate(lsn, Cause::Commit, tag).await;
    }

    pub(crate) async fn invalidate(&self, lsn: u64, cause: Cause, tag: &str) {
        let subjects = vec![Subject::Tag(Tag::parse(tag).expect("a tag"))];
        let renewals = Vec::new();
        let event = Event { lsn: Lsn(lsn), cause, committed_us: 0, subjects, renewals };
        let batch = batch(lsn - 1, lsn, vec![event]);
        self.tier.apply(&batch).await.expect("the tier is reachable").expect("no gap");
        self.engine.applied(&batch);
        self.engine.sample(epoch().log(), self.clock.mono(), Lsn(lsn));
    }

    /// Starts the shutdown of the gateway.
    pub(crate) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    pub(crate) async fn get(&self, target: &str) -> ClientResponse {
        self.send(request("GET", target, &[])).await
    }

    pub(crate) async fn get_with(&self, target: &str, headers: &[(&str, &str)]) -> ClientResponse {
        self.send(request("GET", target, headers)).await
    }

    /// Sends a request over a new connection.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> ClientResponse {
        self.try_send(request).await.expect("a response")
    }

    pub(crate) async fn try_send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<ClientResponse, String> {
        let target = request.uri().path_and_query().expect("a path").clone();
        *request.uri_mut() = format!("http://{}{target}", self.address).parse().expect("a URI");
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await.map_err(|err| format!("{err:?}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|err| format!("body: {err:?}"))?.to_bytes();
        Ok(ClientResponse { status: head.status, headers: head.headers, body })
    }

    /// Sends raw bytes and reads until the gateway closes or pauses for a second.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut socket = TcpStream::connect(self.address).await.expect("connects");
        socket.write_all(bytes).await.expect("writes");
        read_all(&mut socket).await
    }

    /// The metrics in the Prometheus text format.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("encodes");
        text
    }
}

/// The contracts of the tests: every column of a product raises `product-42`, its price alone `price-42`.
fn contracts() -> Contracts {
    let toml = r#"
        [product]
        key = "v1:shop:product:{id}"
        from = { source = "shop", table = "products" }
        tags = ["product-{id}"]
        staleness = "60s"
        [price]
        key = "v1:shop:price:{id}"
        from = { source = "shop", table = "products", columns = ["price_cents"] }
        tags = ["price-{id}"]
        staleness = "60s"
        [sale]
        key = "v1:shop:sale:{id}"
        value = "select cents from sales where id = $id and starts <= now()"
        changes_at = "select starts from sales where id = $id"
        from = { source = "shop", table = "sales" }
        tags = ["sale-{id}"]
        staleness = "60s"
    "#;
    Contracts::from_toml(&toml.parse().expect("TOML")).expect("valid contracts")
}

/// The mappings that the leader applies.
fn coverage() -> Coverage {
    Coverage::of(contracts().mappings())
}

pub(crate) fn epoch() -> Epoch {
    Epoch { system: 1, incarnation: 1, ..Epoch::default() }
}

fn batch(prev: u64, upto: u64, events: Vec<Event>) -> Batch {
    Batch {
        epoch: epoch(),
        prev: Lsn(prev),
        upto: Lsn(upto),
        watermark: Lsn(upto),
        coverage: coverage().digest(),
        events,
    }
}

pub(crate) fn request(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(target);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", "shop.example");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).expect("a request")
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct ClientResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl ClientResponse {
    /// The header's values, joined; empty if the header is missing.
    pub(crate) fn header(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter();
        values.map(|value| value.to_str().expect("text")).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn cache_status(&self) -> String {
        self.header("cache-status")
    }
}

/// Reads until the peer closes or pauses for a second.
pub(crate) async fn read_all(socket: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    loop {
        let read = tokio::time::timeout(Duration::from_secs(1), socket.read(&mut part)).await;
        match read {
            Ok(Ok(0) | Err(_)) | Err(_) => break,
            Ok(Ok(size)) => all.extend_from_slice(&part[..size]),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads a head, including the empty line.
pub(crate) async fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}
