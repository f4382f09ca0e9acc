//! A minimal pricing service: it reads the shop's database and answers over HTTP.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::{Client, NoTls};

use crate::stack::{Stack, now};

/// The behaviour of the service for its next requests.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Answers with the database's value.
    Reads,
    /// Answers with a value that is up to this old.
    Lags(Duration),
    /// Answers with the database's value and these header fields.
    AddsHeaders(String),
    /// Answers with the database's value after this time.
    Delays(Duration),
    /// Sends these bytes and closes the connection.
    SendsRaw(String),
    /// No response until the client closes the connection.
    Never,
}

pub(crate) struct PricingService {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    // Dropped with the service, so its tasks end, also when a test panics.
    _runtime: tokio::runtime::Runtime,
}

struct State {
    behaviour: Mutex<Behaviour>,
    database: Client,
    requests: AtomicUsize,
    running: AtomicUsize,
    peak: AtomicUsize,
    cached: Mutex<HashMap<i32, (Instant, Option<i32>)>>,
}

impl PricingService {
    pub(crate) fn start(stack: &Stack) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let url = format!("postgres://shop@{}/shop", stack.postgres.addr());
        let (database, connection) =
            runtime.block_on(tokio_postgres::connect(&url, NoTls)).expect("connects");
        runtime.spawn(connection);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            behaviour: Mutex::new(Behaviour::Reads),
            database,
            requests: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            cached: Mutex::default(),
        });
        let served = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&served)));
            }
        });
        Self { address, state, _runtime: runtime }
    }

    pub(crate) fn set_behaviour(&self, next: Behaviour) {
        *self.state.behaviour.lock().expect("sound") = next;
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Returns the highest number of concurrent requests.
    pub(crate) fn peak(&self) -> usize {
        self.state.peak.load(Ordering::SeqCst)
    }
}

/// One request per connection.
async fn serve(stream: TcpStream, state: Arc<State>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    if stream.read_line(&mut line).await.is_err() {
        return;
    }
    let mut rest = String::new();
    while stream.read_line(&mut rest).await.is_ok_and(|read| read > 2) {
        rest.clear();
    }
    let Some(id) = line.split_ascii_whitespace().nth(1).map(|path| path.replace("/prices/", ""))
    else {
        return;
    };
    state.requests.fetch_add(1, Ordering::SeqCst);
    state.peak.fetch_max(state.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    let behaviour = state.behaviour.lock().expect("sound").clone();
    let mut more = String::new();
    let answer = match behaviour {
        Behaviour::Never => {
            // Returns when the client closes.
            let _ = stream.read_line(&mut rest).await;
            None
        }
        Behaviour::SendsRaw(bytes) => Some(bytes),
        Behaviour::Reads => Some(answer(&state, &id, Duration::ZERO, &more).await),
        Behaviour::Lags(lag) => Some(answer(&state, &id, lag, &more).await),
        Behaviour::Delays(time) => {
            tokio::time::sleep(time).await;
            Some(answer(&state, &id, Duration::ZERO, &more).await)
        }
        Behaviour::AddsHeaders(fields) => {
            more.push_str(&fields);
            Some(answer(&state, &id, Duration::ZERO, &more).await)
        }
    };
    state.running.fetch_sub(1, Ordering::SeqCst);
    if let Some(answer) = answer {
        let _ = stream.get_mut().write_all(answer.as_bytes()).await;
        let _ = stream.get_mut().shutdown().await;
    }
}

async fn answer(state: &State, id: &str, lag: Duration, more: &str) -> String {
    let cents = match id.parse() {
        Ok(id) => cents(state, id, lag).await,
        Err(_) => None,
    };
    let (status, body) = match cents {
        Some(cents) => ("200 OK", format!("{{\"price_cents\":{cents}}}")),
        None => ("404 Not Found", "{}".to_owned()),
    };
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json; charset=utf-8\r\n{more}\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Returns the price, which is read again only once the last read is `lag` old.
async fn cents(state: &State, id: i32, lag: Duration) -> Option<i32> {
    let cached = state.cached.lock().expect("sound").get(&id).copied();
    if let Some((_, cents)) = cached.filter(|(read, _)| read.elapsed() < lag) {
        return cents;
    }
    let read = now();
    let sql = "select price_cents from products where id = $1";
    let row = state.database.query_opt(sql, &[&id]).await.expect("the database answers");
    let cents = row.map(|row| row.get(0));
    state.cached.lock().expect("sound").insert(id, (read, cents));
    cents
}
