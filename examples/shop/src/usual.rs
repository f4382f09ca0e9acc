//! A flash sale as it is often written: the shop reads the stock, takes the payment, and lowers the stock after it. Where
//! the payment service does not answer, it tries again. Nothing is remembered of a request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::error::ShopError;

/// How often the shop tries to take a payment.
const TRIES: usize = 3;
const BODY_LIMIT: usize = 64 * 1024;

/// A shop with one article; its port is closed on drop.
pub struct UsualShop {
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    database: Mutex<Connection>,
    price: i64,
    payment_service: SocketAddr,
    payments: AtomicU64,
}

impl UsualShop {
    /// Opens a shop in a new SQLite file and serves `POST /buy` with `{"customer"}`.
    ///
    /// # Errors
    /// The file can't be used.
    pub fn open(
        path: &Path,
        listener: TcpListener,
        stock: u32,
        price: i64,
        payment_service: SocketAddr,
    ) -> Result<Self, ShopError> {
        let database = Connection::open(path)?;
        database.execute_batch(
            "pragma journal_mode = wal; create table goods(stock integer); \
             create table orders(id integer primary key, customer text)",
        )?;
        database.execute("insert into goods values (?1)", [stock])?;
        let database = Mutex::new(database);
        let state =
            Arc::new(State { database, price, payment_service, payments: AtomicU64::new(0) });
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { state, task })
    }

    /// Returns the number of orders.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn orders(&self) -> Result<u64, ShopError> {
        let database = self.state.database.lock();
        let count: i64 = database.query_row("select count(*) from orders", [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }
}

impl Drop for UsualShop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(&state, request).await) }
            });
            // A disconnect by the client is not an error of the shop.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let body = Limited::new(request.into_body(), BODY_LIMIT).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (status, body) = match body["customer"].as_str() {
        None => (StatusCode::BAD_REQUEST, json!({ "error": "no customer" })),
        Some(customer) => match buy(state, customer).await {
            Ok(Some(order)) => (StatusCode::CREATED, json!({ "order": order.to_string() })),
            Ok(None) => (StatusCode::CONFLICT, json!({ "error": "sold out" })),
            Err(problem) => (StatusCode::BAD_GATEWAY, json!({ "error": problem })),
        },
    };
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response
}

/// Returns the order; `None`: sold out.
async fn buy(state: &State, customer: &str) -> Result<Option<i64>, String> {
    let failed = |err: rusqlite::Error| err.to_string();
    let stock: i64 = state
        .database
        .lock()
        .query_row("select stock from goods", [], |row| row.get(0))
        .map_err(failed)?;
    if stock < 1 {
        return Ok(None);
    }
    take_payment(state, customer).await?;
    let database = state.database.lock();
    database.execute("update goods set stock = stock - 1", []).map_err(failed)?;
    database.execute("insert into orders(customer) values (?1)", [customer]).map_err(failed)?;
    Ok(Some(database.last_insert_rowid()))
}

async fn take_payment(state: &State, customer: &str) -> Result<(), String> {
    for _ in 0..TRIES {
        let number = state.payments.fetch_add(1, Ordering::Relaxed);
        let payment = format!("{customer}~{number}");
        if call(state, &payment, "authorise").await.is_ok()
            && call(state, &payment, "capture").await.is_ok()
        {
            return Ok(());
        }
    }
    Err("the payment service does not answer".to_owned())
}

async fn call(
    state: &State,
    payment: &str,
    operation: &str,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(state.payment_service).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let body = json!({ "amount": state.price, "currency": "EUR", "method": "pm_card" });
    let request = Request::post(format!("/payments/{payment}/{operation}"))
        .header(header::HOST, state.payment_service.to_string())
        .body(Full::<Bytes>::from(body.to_string()))?;
    let response = sender.send_request(request).await?;
    let is_done = response.status() == StatusCode::OK;
    let _ = response.into_body().collect().await?;
    if is_done { Ok(()) } else { Err("refused".into()) }
}
