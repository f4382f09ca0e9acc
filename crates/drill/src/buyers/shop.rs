//! A client of a sale's nodes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use serde_json::{Value, json};

use super::journal::Journal;
use crate::clock::{now, unix_ms};
use crate::load::client::Pool;

/// The pauses between the repeats of a request.
const PAUSES_MS: std::ops::Range<u64> = 40..250;

/// A definite or indefinite answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The JSON body; null: it is none.
    pub body: Value,
}

impl Answer {
    /// Returns a text of the body; empty: it has none of that name.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// Whether a repeat of the request would get the same answer, or had no effect.
    fn is_definite(&self) -> bool {
        let is_in_flight = self.text("type").ends_with(":request-in-flight");
        self.status < 500 && self.status != 202 && self.status != 429 && !is_in_flight
    }
}

/// A client of one or more nodes. Clones share connections and the journal.
#[derive(Clone)]
pub struct ShopClient {
    nodes: Arc<[Pool]>,
    journal: Option<Arc<Journal>>,
    answer_timeout: Duration,
}

impl ShopClient {
    /// Creates a client with at most `connections` to each node. `answer_timeout`: the patience with one request, the
    /// wait for a connection included.
    ///
    /// # Panics
    /// There is no node.
    #[must_use]
    pub fn new(
        nodes: &[SocketAddr],
        connections: usize,
        answer_timeout: Duration,
        journal: Option<Arc<Journal>>,
    ) -> Self {
        assert!(!nodes.is_empty(), "a shop has a node");
        let pools = nodes.iter().map(|address| Pool::of(*address, connections));
        Self { nodes: pools.collect(), journal, answer_timeout }
    }

    /// Sends a request once to one of the nodes; `None`: there is no answer.
    pub async fn send(
        &self,
        node: usize,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Option<Answer> {
        let sent_ms = unix_ms();
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Full::from(text)).ok()?;
        let sent = self.nodes[node % self.nodes.len()].send(request);
        let answered = tokio::time::timeout(self.answer_timeout, sent).await;
        let answer = answered.ok().and_then(Result::ok).map(read);
        if let Some(journal) = &self.journal {
            journal.record(&json!({
                "method": method, "path": path, "key": key, "body": body, "sent_ms": sent_ms,
                "answered_ms": answer.as_ref().map(|_| unix_ms().max(sent_ms)),
                "status": answer.as_ref().map(|answer| answer.status),
                "answer": answer.as_ref().map(|answer| &answer.body),
            }));
        }
        answer
    }

    /// Repeats a request with its key, at each node in turn, until there is a definite answer; `None`: there was none
    /// until `give_up`.
    pub async fn persist(
        &self,
        give_up: Instant,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Option<Answer> {
        let mut node = rand::random_range(0..self.nodes.len());
        while now() < give_up {
            let answer = self.send(node, method, path, key, body).await;
            if let Some(answer) = answer.filter(Answer::is_definite) {
                return Some(answer);
            }
            node += 1;
            let pause = Duration::from_millis(rand::random_range(PAUSES_MS));
            tokio::time::sleep(pause).await;
        }
        None
    }
}

fn read(response: Response<Bytes>) -> Answer {
    let body = serde_json::from_slice(response.body()).unwrap_or_default();
    Answer { status: response.status().as_u16(), body }
}
