//! The shop on a port: HTTP/1.1, a bounded number of workers, and a count of what was asked.

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
use crate::pages::{Answer, done, refusal, see_other};
use crate::route::{Route, field};
use crate::shop::Shop;
use crate::write::{Line, Outcome};

/// Longest form or JSON that is read.
const BODY_LIMIT: usize = 64 * 1024;

/// One port of the shop, with workers and a counter of its own. Dropping it closes the port and
/// its connections.
pub struct Front {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Front {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that have arrived here since it opened.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The same count for whoever outlives this borrow.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.requests)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shop {
    /// Answers on `listener` until the returned front is dropped. Call it inside a Tokio runtime.
    ///
    /// # Panics
    /// When `listener` has no local address.
    pub fn serve(&self, listener: TcpListener) -> Front {
        let address = listener.local_addr().expect("a bound listener has an address");
        let requests = Arc::new(AtomicU64::new(0));
        let counter = Counter {
            shop: self.clone(),
            workers: Arc::new(Semaphore::new(self.0.options.workers.max(1))),
            requests: Arc::clone(&requests),
            waiting: Arc::default(),
        };
        Front { address, requests, task: tokio::spawn(accept(listener, counter)) }
    }
}

/// Where shoppers are served: what the connections of one port share.
#[derive(Clone)]
struct Counter {
    shop: Shop,
    workers: Arc<Semaphore>,
    requests: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
}

impl Counter {
    /// A worker, as soon as one is free; `None`: too many wait for one already.
    async fn worker(&self) -> Option<SemaphorePermit<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        let free = self.workers.available_permits() > 0;
        if !free && self.shop.0.options.backlog.is_some_and(|most| before >= most) {
            return None;
        }
        Some(self.workers.acquire().await.expect("the semaphore is never closed"))
    }
}

/// Somebody who waits; no longer when dropped.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn accept(listener: TcpListener, counter: Counter) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let counter = counter.clone();
                    connections.spawn(async move {
                        let service = service_fn(move |request| answer(counter.clone(), request));
                        // A client that goes away mid-answer is none of the shop's business.
                        let _ = hyper::server::conn::http1::Builder::new()
                            .timer(TokioTimer::new())
                            .header_read_timeout(Duration::from_secs(75))
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
                // Out of file descriptors, most likely: let some connections end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(counter: Counter, request: Request<Incoming>) -> Result<Answer, Infallible> {
    counter.requests.fetch_add(1, Ordering::Relaxed);
    let Some(_worker) = counter.worker().await else {
        return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "too many wait already"));
    };
    let route = Route::of(request.method(), request.uri());
    let answer = match route {
        Route::Order | Route::Return | Route::Reprice(_) => {
            post(&counter.shop, route, request).await
        }
        reads => {
            // Read first, render afterwards: what the database says may change while a page is
            // being made, as in every application.
            let answer = counter.shop.show(&reads);
            if !counter.shop.0.options.render.is_zero() {
                tokio::time::sleep(counter.shop.0.options.render).await;
            }
            answer
        }
    };
    Ok(answer.unwrap_or_else(|error| {
        let reason = format!("{error}, try again");
        refusal(StatusCode::INTERNAL_SERVER_ERROR, &reason)
    }))
}

async fn post(shop: &Shop, route: Route, request: Request<Incoming>) -> Result<Answer, ShopError> {
    let Ok(body) = Limited::new(request.into_body(), BODY_LIMIT).collect().await else {
        return Ok(refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long or broke off"));
    };
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let from_browser = !body.trim_start().starts_with('{');
    let (lines, price) = if from_browser { read_form(&body) } else { read_json(&body) };
    let back_to =
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
        _ if from_browser => see_other(&back_to),
        Outcome::Done => done(),
        Outcome::SoldOut(product) => {
            refusal(StatusCode::CONFLICT, &format!("product {product} is sold out"))
        }
        Outcome::Unknown => refusal(StatusCode::BAD_REQUEST, "no such product, price or quantity"),
    })
}

/// What a browser posts: `product=42&quantity=2` or `price_cents=995`.
fn read_form(form: &str) -> (Vec<Line>, Option<i64>) {
    let number = |name| field(form, name).and_then(|value| value.parse::<u32>().ok());
    let lines = number("product")
        .map(|product| Line { product, quantity: number("quantity").unwrap_or(1) })
        .into_iter()
        .collect();
    (lines, number("price_cents").map(i64::from))
}

/// What a program posts: `{"lines":[{"product":42,"quantity":2}]}` or `{"price_cents":995}`.
fn read_json(body: &str) -> (Vec<Line>, Option<i64>) {
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let number =
        |value: &serde_json::Value| value.as_u64().and_then(|value| u32::try_from(value).ok());
    let line = |line: &serde_json::Value| {
        Some(Line { product: number(&line["product"])?, quantity: number(&line["quantity"])? })
    };
    let lines = match body["lines"].as_array() {
        Some(lines) => lines.iter().map(line).collect::<Option<Vec<_>>>().unwrap_or_default(),
        None => Vec::new(),
    };
    (lines, body["price_cents"].as_i64())
}
