//! A stand-in for Debezium Server with its HTTP sink: it reads a slot with `pgoutput` and posts each message
//! until it is accepted. Faults can be set.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::http;
use parking_lot::Mutex;
use pgwire_replication::{ReplicationClient, ReplicationConfig, ReplicationEvent};
use serde_json::{Value, json};

use crate::stack::{DEADLINE, Stack};

/// The secret of the events.
pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8=";

/// The relay's fault, until another one is set.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum RelayFault {
    /// Every message is posted once, in order.
    #[default]
    None,
    /// Every message is posted twice.
    Duplicates,
    /// Nothing is posted.
    Silent,
    /// The ends of transactions that changed rows are held back.
    HoldsEnds,
    /// The next change of a row is lost.
    LosesRow,
    /// The next transaction that changes rows is lost.
    LosesTransaction,
    /// Two changes of rows are swapped.
    SwapsRows,
    /// The relay restarts from its last confirmed position.
    Restarts,
}

/// The relay's state, which survives its restart.
#[derive(Default)]
pub(super) struct RelayState {
    pub(super) last_commit: Option<u64>,
}

impl RelayState {
    /// Returns the end of the last commit that was accepted.
    pub(super) fn last_commit(&self) -> u64 {
        self.last_commit.expect("a commit was accepted")
    }
}

pub(super) struct Relay {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

pub(super) struct Shared {
    pub(super) stop: AtomicBool,
    fault: Mutex<RelayFault>,
    nodes: Mutex<Vec<SocketAddr>>,
    /// The index of the node that accepted the last message.
    accepting: AtomicUsize,
    /// The accepted messages of transactions that changed rows.
    delivered: AtomicU64,
    /// The end of the last transaction that was processed.
    pub(super) upto: AtomicU64,
    /// Whether accepted positions are confirmed to the server.
    pub(super) confirming: AtomicBool,
    refusals: Mutex<Vec<String>>,
    pub(super) memory: Arc<Mutex<RelayState>>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the relay failed");
        }
    }
}

impl Relay {
    /// Creates the publication and the slot, as Debezium does at its first start.
    pub(super) fn set_up(stack: &Stack) {
        stack.sql("create publication dbz_publication for table products");
        stack.sql("select pg_create_logical_replication_slot('debezium', 'pgoutput')");
    }

    pub(super) fn start(
        stack: &Stack,
        nodes: &[SocketAddr],
        memory: &Arc<Mutex<RelayState>>,
    ) -> Self {
        let address = stack.postgres.addr();
        Self::run(nodes, memory, move |shared| async move { follow(&shared, address).await })
    }

    /// Runs `follow`, again whenever it fails.
    pub(super) fn run<F: Future<Output = Result<(), StreamError>>>(
        nodes: &[SocketAddr],
        memory: &Arc<Mutex<RelayState>>,
        follow: impl Fn(Arc<Shared>) -> F + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            fault: Mutex::default(),
            nodes: Mutex::new(nodes.to_vec()),
            accepting: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
            upto: AtomicU64::new(0),
            confirming: AtomicBool::new(true),
            refusals: Mutex::default(),
            memory: memory.clone(),
        });
        let own = shared.clone();
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
            while !own.stop.load(Ordering::Relaxed) {
                // The server may be down, or the slot still held by the previous connection.
                if runtime.block_on(follow(own.clone())).is_err() {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        });
        Self { shared, thread: Some(thread) }
    }

    pub(super) fn set_fault(&self, fault: RelayFault) {
        *self.shared.fault.lock() = fault;
    }

    pub(super) fn fault(&self) -> RelayFault {
        *self.shared.fault.lock()
    }

    pub(super) fn set_confirming(&self, confirming: bool) {
        self.shared.confirming.store(confirming, Ordering::Relaxed);
    }

    /// Waits until the present end of the log is processed. Something has to be written to the log meanwhile.
    pub(super) fn catch_up(&self, stack: &Stack) {
        let end = stack.sql("select pg_current_wal_flush_lsn() - '0/0'::pg_lsn");
        self.reach(end.parse().expect("a position"));
    }

    /// Waits until the log is processed up to `end`.
    pub(super) fn reach(&self, end: u64) {
        let reached = || Ok((self.shared.upto.load(Ordering::Relaxed) >= end).then_some(()));
        harness::until("the relay", DEADLINE, reached).expect("it catches up");
    }

    pub(super) fn delivered(&self) -> u64 {
        self.shared.delivered.load(Ordering::Relaxed)
    }

    pub(super) fn refusals(&self) -> Vec<String> {
        self.shared.refusals.lock().clone()
    }
}

pub(super) type StreamError = Box<dyn std::error::Error>;

async fn follow(shared: &Shared, address: SocketAddr) -> Result<(), StreamError> {
    let (host, port) = (address.ip().to_string(), address.port());
    let config = ReplicationConfig::new(host, "shop", "", "shop", "debezium", "dbz_publication");
    let config = config.with_port(port).with_status_interval(Duration::from_millis(50));
    let mut stream = ReplicationClient::connect(config).await?;
    let mut writer = EnvelopeWriter {
        last_commit: shared.memory.lock().last_commit,
        ..EnvelopeWriter::default()
    };
    let mut transmission = Transmission::new(shared);
    loop {
        let event = tokio::time::timeout(Duration::from_millis(20), stream.recv()).await;
        if shared.stop.load(Ordering::Relaxed) {
            stream.abort();
            return Ok(());
        }
        let Ok(event) = event else { continue };
        let event = event?.ok_or("the stream has ended")?;
        let ended = match &event {
            ReplicationEvent::Commit { end_lsn, .. } => Some(*end_lsn),
            _ => None,
        };
        for message in writer.messages(event) {
            if let Err(err) = transmission.pass(message, ended.is_some()) {
                stream.abort();
                return Err(err);
            }
        }
        if let Some(end) = ended {
            shared.upto.store(end.as_u64(), Ordering::Relaxed);
            if shared.confirming.load(Ordering::Relaxed) {
                shared.memory.lock().last_commit = Some(end.as_u64());
                stream.update_applied_lsn(end);
            }
        }
    }
}

/// Passes messages on, with the relay's faults.
pub(super) struct Transmission<'a> {
    shared: &'a Shared,
    /// Whether the transaction has changed rows of the shop.
    rows: bool,
    swapped: Option<Value>,
}

impl<'a> Transmission<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, rows: false, swapped: None }
    }

    /// Passes on a message. `ends`: it is the last one of its transaction.
    pub(super) fn pass(&mut self, message: Value, ends: bool) -> Result<(), StreamError> {
        let passed = self.pass_with_fault(&message, ends);
        self.rows &= !ends;
        passed
    }

    fn pass_with_fault(&mut self, message: &Value, ends: bool) -> Result<(), StreamError> {
        let shared = self.shared;
        let payload = if message["payload"].is_object() { &message["payload"] } else { message };
        let row = matches!(payload["op"].as_str(), Some("c" | "u" | "d" | "t"))
            && payload["source"]["table"] != "tidegate_orders";
        self.rows |= row;
        let fault = *shared.fault.lock();
        let heal = || *shared.fault.lock() = RelayFault::None;
        match fault {
            RelayFault::Restarts => {
                heal();
                return Err("the relay restarts".into());
            }
            RelayFault::LosesRow if row => {
                heal();
                return Ok(());
            }
            RelayFault::LosesTransaction if self.rows => {
                if ends {
                    heal();
                }
                return Ok(());
            }
            RelayFault::SwapsRows if row && self.swapped.is_none() => {
                self.swapped = Some(message.clone());
                return Ok(());
            }
            RelayFault::SwapsRows if row => {
                heal();
                deliver(shared, message, true, ends)?;
                if let Some(first) = self.swapped.take() {
                    deliver(shared, &first, true, ends)?;
                }
                return Ok(());
            }
            _ => {}
        }
        deliver(shared, message, self.rows, ends)
    }
}

/// Posts a message to the nodes in turn, as a load balancer would, until one accepts it. It begins with the one that
/// accepted the last message: a refusal of each first would make it slower than the log.
fn deliver(shared: &Shared, message: &Value, counts: bool, ends: bool) -> Result<(), StreamError> {
    let body = message.to_string();
    let (mut at, mut accepted) = (shared.accepting.load(Ordering::Relaxed), 0);
    loop {
        if shared.stop.load(Ordering::Relaxed) {
            return Err("the relay is stopped".into());
        }
        let fault = *shared.fault.lock();
        if fault == RelayFault::Silent || fault == RelayFault::HoldsEnds && ends && counts {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        let nodes = shared.nodes.lock().clone();
        match post(nodes[at % nodes.len()], "shop", SECRET, body.as_bytes()) {
            Ok(answer) if answer.status == 204 => {
                shared.accepting.store(at, Ordering::Relaxed);
                accepted += 1;
                if accepted == 2 || fault != RelayFault::Duplicates {
                    break;
                }
                continue;
            }
            Ok(answer) if answer.status == 503 => {}
            Ok(answer) => shared.refusals.lock().push(format!("{body}: {}", answer.text())),
            // The node is gone or did not answer.
            Err(_) => {}
        }
        at += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    if counts {
        shared.delivered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

pub(super) fn post(
    node: SocketAddr,
    source: &str,
    secret: &str,
    body: &[u8],
) -> anyhow::Result<http::Response> {
    let bearer = format!("Bearer {secret}");
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    http::request(node, "POST", &format!("/api/v1/events/{source}"), &headers, body, DEADLINE)
}

/// Converts `pgoutput` messages to Debezium's envelopes.
#[derive(Default)]
struct EnvelopeWriter {
    relations: HashMap<u32, Relation>,
    last_commit: Option<u64>,
    xid: u32,
    at: u64,
    ts_ms: i64,
    count: u64,
}

struct Relation {
    schema: String,
    table: String,
    columns: Vec<(String, u32)>,
}

impl EnvelopeWriter {
    fn messages(&mut self, event: ReplicationEvent) -> Vec<Value> {
        match event {
            ReplicationEvent::Begin { xid, commit_time_micros, final_lsn } => {
                let ts_ms = commit_time_micros / 1_000 + 946_684_800_000;
                (self.xid, self.ts_ms, self.count) = (xid, ts_ms, 0);
                let id = format!("{xid}:{}", final_lsn.as_u64());
                vec![json!({ "status": "BEGIN", "id": id, "ts_ms": ts_ms, "event_count": null,
                             "data_collections": null })]
            }
            ReplicationEvent::XLogData { wal_start, data, .. } => {
                self.at = wal_start.as_u64();
                self.change(&data)
            }
            ReplicationEvent::Message { lsn, prefix, content, transactional: true } => {
                use base64::Engine as _;
                self.at = lsn.as_u64();
                self.count += 1;
                let content = base64::engine::general_purpose::STANDARD.encode(&content);
                vec![json!({ "op": "m", "ts_ms": self.ts_ms, "source": self.source("", ""),
                             "transaction": self.transaction(),
                             "message": { "prefix": prefix, "content": content } })]
            }
            ReplicationEvent::Commit { end_lsn, .. } => {
                let end = end_lsn.as_u64();
                self.last_commit = Some(end);
                let id = format!("{}:{end}", self.xid);
                vec![json!({ "status": "END", "id": id, "ts_ms": self.ts_ms,
                             "event_count": self.count, "data_collections": [] })]
            }
            _ => Vec::new(),
        }
    }

    fn source(&self, schema: &str, table: &str) -> Value {
        let last = self.last_commit.map(|last| last.to_string());
        let sequence = json!([last, self.at.to_string()]).to_string();
        json!({ "version": "3.0.5.Final", "connector": "postgresql", "name": "shop",
                "ts_ms": self.ts_ms, "snapshot": "false", "db": "shop", "sequence": sequence,
                "schema": schema, "table": table, "txId": self.xid, "lsn": self.at, "xmin": null })
    }

    fn transaction(&self) -> Value {
        json!({ "id": format!("{}:{}", self.xid, self.at), "total_order": self.count,
                "data_collection_order": self.count })
    }

    fn change(&mut self, data: &[u8]) -> Vec<Value> {
        let mut bytes = PgOutput(data);
        let (op, relation, before, after) = match bytes.byte() {
            b'R' => {
                let id = bytes.int();
                let (schema, table) = (bytes.text(), bytes.text());
                bytes.byte();
                let columns = (0..bytes.short()).map(|_| {
                    bytes.byte();
                    let name = bytes.text();
                    let oid = bytes.int();
                    bytes.int();
                    (name, oid)
                });
                let columns = columns.collect();
                self.relations.insert(id, Relation { schema, table, columns });
                return Vec::new();
            }
            b'I' => {
                let relation = &self.relations[&bytes.int()];
                bytes.byte();
                ("c", relation, None, Some(bytes.tuple(relation)))
            }
            b'U' => {
                let relation = &self.relations[&bytes.int()];
                let mut kind = bytes.byte();
                let mut before = None;
                if kind != b'N' {
                    before = Some(bytes.tuple(relation));
                    kind = bytes.byte();
                }
                assert_eq!(kind, b'N');
                ("u", relation, before, Some(bytes.tuple(relation)))
            }
            b'D' => {
                let relation = &self.relations[&bytes.int()];
                bytes.byte();
                ("d", relation, Some(bytes.tuple(relation)), None)
            }
            b'T' => {
                assert_eq!(bytes.int(), 1, "one table");
                bytes.byte();
                ("t", &self.relations[&bytes.int()], None, None)
            }
            _ => return Vec::new(),
        };
        self.count += 1;
        let source = self.source(&relation.schema, &relation.table);
        let payload = json!({ "before": before, "after": after, "source": source, "op": op,
                              "ts_ms": self.ts_ms, "transaction": self.transaction() });
        // Debezium includes the schema by default; every other transaction has one.
        let fields = relation.columns.iter().map(|(name, oid)| {
            let kind = if *oid == 23 { "int32" } else { "string" };
            json!({ "type": kind, "optional": true, "field": name })
        });
        let fields: Vec<Value> = fields.collect();
        let row = |field: &str| json!({ "type": "struct", "field": field, "fields": fields });
        let schema = json!({ "type": "struct", "fields": [row("before"), row("after")] });
        vec![if self.xid.is_multiple_of(2) {
            payload
        } else {
            json!({ "schema": schema, "payload": payload })
        }]
    }
}

struct PgOutput<'a>(&'a [u8]);

impl PgOutput<'_> {
    fn take(&mut self, count: usize) -> &[u8] {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn short(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().expect("two"))
    }

    fn int(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().expect("four"))
    }

    fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).expect("exited");
        let text = String::from_utf8(self.take(end).to_vec()).expect("UTF-8");
        self.byte();
        text
    }

    fn tuple(&mut self, relation: &Relation) -> Value {
        let count = self.short();
        let mut row = serde_json::Map::new();
        for (name, oid) in relation.columns.iter().take(usize::from(count)) {
            let value = match self.byte() {
                b'n' => Value::Null,
                b'u' => "__debezium_unavailable_value".into(),
                _ => {
                    let length = self.int() as usize;
                    let text = String::from_utf8(self.take(length).to_vec()).expect("UTF-8");
                    match oid {
                        23 => text.parse::<i64>().expect("a number").into(),
                        _ => text.into(),
                    }
                }
            };
            row.insert(name.clone(), value);
        }
        row.into()
    }
}
