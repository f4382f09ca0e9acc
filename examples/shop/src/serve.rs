//! The shop's HTTP/1.1 server, with a bounded number of workers and a request counter.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::{JoinHandle, JoinSet};

use crate::error::ShopError;
use crate::pages::{HttpResponse, error_response, see_other, write_done};
use crate::route::{Route, field};
use crate::shop::Shop;
use crate::write::{OrderLine, Outcome};

/// Maximum size of a form or JSON body, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// One port of the shop, with its own workers and request counter. Dropping it closes the port and
/// its connections.
pub struct ShopServer {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl ShopServer {
    /// Returns the address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of requests received since it opened.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns the counter behind [`ShopServer::requests`].
    pub fn request_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.requests)
    }
}

impl Drop for ShopServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shop {
    /// Serves on `listener` until the returned server is dropped.
    ///
    /// # Panics
    /// Panics outside a Tokio runtime, or if `listener` has no local address.
    pub fn serve(&self, listener: TcpListener) -> ShopServer {
        let address = listener.local_addr().expect("a bound listener has an address");
        let requests = Arc::new(AtomicU64::new(0));
        let state = ServerState {
            shop: self.clone(),
            workers: Arc::new(Semaphore::new(self.0.options.workers.max(1))),
            requests: Arc::clone(&requests),
            waiting: Arc::default(),
        };
        ShopServer { address, requests, task: tokio::spawn(accept(listener, state)) }
    }
}

/// The state that the connections of one port share.
#[derive(Clone)]
struct ServerState {
    shop: Shop,
    workers: Arc<Semaphore>,
    requests: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
}

impl ServerState {
    /// Waits for a free worker. Returns `None` if the backlog is full.
    async fn worker(&self) -> Option<SemaphorePermit<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = WaitGuard(&self.waiting);
        let free = self.workers.available_permits() > 0;
        if !free && self.shop.0.options.backlog.is_some_and(|limit| before >= limit) {
            return None;
        }
        Some(self.workers.acquire().await.expect("the semaphore is never closed"))
    }
}

/// Counts one waiting request until dropped.
struct WaitGuard<'a>(&'a AtomicUsize);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn accept(listener: TcpListener, state: ServerState) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let state = state.clone();
                    connections.spawn(async move {
                        let service = service_fn(move |request| respond(state.clone(), request));
                        // A disconnect by the client is not an error of the shop.
                        let _ = hyper::server::conn::http1::Builder::new()
                            .timer(TokioTimer::new())
                            .header_read_timeout(Duration::from_secs(75))
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
                // Probably out of file descriptors: wait until some connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn respond(
    state: ServerState,
    request: Request<Incoming>,
) -> Result<HttpResponse, Infallible> {
    state.requests.fetch_add(1, Ordering::Relaxed);
    let Some(_worker) = state.worker().await else {
        return Ok(error_response(StatusCode::SERVICE_UNAVAILABLE, "server overloaded"));
    };
    let route = Route::of(request.method(), request.uri());
    let response = match route {
        Route::Order | Route::Return | Route::Reprice(_) => post(&state.shop, route, request).await,
        read => {
            // Reads first and renders afterwards: as in every application, the database may change
            // while a page is being rendered.
            let response = state.shop.respond(&read);
            if !state.shop.0.options.render_time.is_zero() {
                tokio::time::sleep(state.shop.0.options.render_time).await;
            }
            response
        }
    };
    Ok(response.unwrap_or_else(|error| {
        let reason = format!("{error}, try again");
        error_response(StatusCode::INTERNAL_SERVER_ERROR, &reason)
    }))
}

async fn post(
    shop: &Shop,
    route: Route,
    request: Request<Incoming>,
) -> Result<HttpResponse, ShopError> {
    let Ok(body) = Limited::new(request.into_body(), BODY_LIMIT).collect().await else {
        return Ok(error_response(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too long or incomplete",
        ));
    };
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let from_browser = !body.trim_start().starts_with('{');
    let (lines, price) = if from_browser { parse_form(&body) } else { parse_json(&body) };
    let location =
        lines.first().map_or_else(|| "/".to_owned(), |line| format!("/p/{}", line.product));
    let shop = shop.clone();
    let write = tokio::task::spawn_blocking(move || match route {
        Route::Reprice(product) => match price {
            Some(price) => shop.reprice(product, price),
            None => Ok(Outcome::Unknown),
        },
        Route::Return => shop.take_back(&lines),
        _ => shop.order(&lines),
    });
    let outcome = write.await.map_err(|_| ShopError::Closing)??;
    Ok(match outcome {
        _ if from_browser => see_other(&location),
        Outcome::Done => write_done(),
        Outcome::SoldOut(product) => {
            error_response(StatusCode::CONFLICT, &format!("product {product} is sold out"))
        }
        Outcome::Unknown => {
            error_response(StatusCode::BAD_REQUEST, "unknown product, or invalid price or quantity")
        }
    })
}

/// Parses a form posted by a browser: `product=42&quantity=2` or `price_cents=995`.
fn parse_form(form: &str) -> (Vec<OrderLine>, Option<i64>) {
    let number = |name| field(form, name).and_then(|value| value.parse::<u32>().ok());
    let lines = number("product")
        .map(|product| OrderLine { product, quantity: number("quantity").unwrap_or(1) })
        .into_iter()
        .collect();
    (lines, number("price_cents").map(i64::from))
}

/// Parses JSON posted by a program: `{"lines":[{"product":42,"quantity":2}]}` or
/// `{"price_cents":995}`.
fn parse_json(body: &str) -> (Vec<OrderLine>, Option<i64>) {
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let number =
        |value: &serde_json::Value| value.as_u64().and_then(|value| u32::try_from(value).ok());
    let line = |line: &serde_json::Value| {
        Some(OrderLine { product: number(&line["product"])?, quantity: number(&line["quantity"])? })
    };
    let lines = match body["lines"].as_array() {
        Some(lines) => lines.iter().map(line).collect::<Option<Vec<_>>>().unwrap_or_default(),
        None => Vec::new(),
    };
    (lines, body["price_cents"].as_i64())
}
