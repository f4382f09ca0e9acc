//! What Debezium Server does, as far as its HTTP sink shows it: reads a slot with `pgoutput`, and posts
//! each message until it is taken. It can be told to misbehave.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::http;
use parking_lot::Mutex;
use pgwire_replication::{ReplicationClient, ReplicationConfig, ReplicationEvent};
use serde_json::{Value, json};

use super::SECRET;
use crate::stack::{SOON, Stack};

/// How it misbehaves, until it is told otherwise.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Habit {
    #[default]
    Faithful,
    /// Every message is posted twice.
    Twice,
    /// Nothing is posted.
    Silent,
    /// Ends of transactions that changed rows are held back.
    HoldsEnds,
    /// The next change of a row is lost.
    LosesOne,
    /// The next transaction that changes rows is lost.
    LosesTransaction,
    /// Two changes of rows change places.
    Swaps,
    /// It dies, and begins again where it had noted that it was.
    Dies,
}

/// What survives a restart of it.
#[derive(Default)]
pub(super) struct Memory {
    last_commit: Option<u64>,
}

impl Memory {
    /// Where the last commit ended that was taken.
    pub(super) fn last_commit(&self) -> u64 {
        self.last_commit.expect("something was taken")
    }
}

pub(super) struct Relay {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    habit: Mutex<Habit>,
    nodes: Mutex<Vec<SocketAddr>>,
    /// Messages of transactions that changed rows, which were taken.
    taken: AtomicU64,
    /// Where the last transaction ended that was dealt with.
    upto: AtomicU64,
    /// Whether what was taken is confirmed to the server.
    confirms: AtomicBool,
    refusals: Mutex<Vec<String>>,
    memory: Arc<Mutex<Memory>>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the relay has failed");
        }
    }
}

impl Relay {
    /// Makes the publication and the slot, as Debezium does when it starts first.
    pub(super) fn set_up(stack: &Stack) {
        stack.sql("create publication dbz_publication for table products");
        stack.sql("select pg_create_logical_replication_slot('debezium', 'pgoutput')");
    }

    pub(super) fn start(stack: &Stack, nodes: &[SocketAddr], memory: &Arc<Mutex<Memory>>) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            habit: Mutex::default(),
            nodes: Mutex::new(nodes.to_vec()),
            taken: AtomicU64::new(0),
            upto: AtomicU64::new(0),
            confirms: AtomicBool::new(true),
            refusals: Mutex::default(),
            memory: memory.clone(),
        });
        let (address, own) = (stack.postgres.addr(), shared.clone());
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
            while !own.stop.load(Ordering::Relaxed) {
                // The server may be away, or still hold the slot for the one before.
                if runtime.block_on(follow(&own, address)).is_err() {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        });
        Self { shared, thread: Some(thread) }
    }

    pub(super) fn becomes(&self, habit: Habit) {
        *self.shared.habit.lock() = habit;
    }

    pub(super) fn habit(&self) -> Habit {
        *self.shared.habit.lock()
    }

    pub(super) fn confirms(&self, confirms: bool) {
        self.shared.confirms.store(confirms, Ordering::Relaxed);
    }

    /// Waits until everything that is in the log by now was dealt with. Something has to be written
    /// into it meanwhile.
    pub(super) fn catch_up(&self, stack: &Stack) {
        let end = stack.sql("select pg_current_wal_flush_lsn() - '0/0'::pg_lsn");
        let end: u64 = end.parse().expect("a position");
        let there = || Ok((self.shared.upto.load(Ordering::Relaxed) >= end).then_some(()));
        harness::until("the relay", SOON, there).expect("it catches up");
    }

    pub(super) fn taken(&self) -> u64 {
        self.shared.taken.load(Ordering::Relaxed)
    }

    pub(super) fn refusals(&self) -> Vec<String> {
        self.shared.refusals.lock().clone()
    }
}

type Lost = Box<dyn std::error::Error>;

async fn follow(shared: &Shared, address: SocketAddr) -> Result<(), Lost> {
    let (host, port) = (address.ip().to_string(), address.port());
    let config = ReplicationConfig::new(host, "shop", "", "shop", "debezium", "dbz_publication");
    let config = config.with_port(port).with_status_interval(Duration::from_millis(50));
    let mut stream = ReplicationClient::connect(config).await?;
    let mut writer = Writer { last_commit: shared.memory.lock().last_commit, ..Writer::default() };
    let mut swapped: Option<Value> = None;
    loop {
        let event = tokio::time::timeout(Duration::from_millis(20), stream.recv()).await;
        if shared.stop.load(Ordering::Relaxed) {
            stream.abort();
            return Ok(());
        }
        let Ok(event) = event else { continue };
        let event = event?.ok_or("it has ended")?;
        let ended = match &event {
            ReplicationEvent::Commit { end_lsn, .. } => Some(*end_lsn),
            _ => None,
        };
        for message in writer.messages(event) {
            let row = matches!(
                message["payload"]["op"].as_str().or(message["op"].as_str()),
                Some("c" | "u" | "d" | "t")
            );
            writer.rows |= row;
            let habit = *shared.habit.lock();
            match habit {
                Habit::Dies => {
                    *shared.habit.lock() = Habit::Faithful;
                    stream.abort();
                    return Err("it has died".into());
                }
                Habit::LosesOne if row => {
                    *shared.habit.lock() = Habit::Faithful;
                    continue;
                }
                Habit::LosesTransaction if writer.rows => {
                    if ended.is_some() {
                        *shared.habit.lock() = Habit::Faithful;
                    }
                    continue;
                }
                Habit::Swaps if row && swapped.is_none() => {
                    swapped = Some(message);
                    continue;
                }
                Habit::Swaps if row => {
                    *shared.habit.lock() = Habit::Faithful;
                    deliver(shared, &message, true, ended.is_some())?;
                    if let Some(first) = swapped.take() {
                        deliver(shared, &first, true, ended.is_some())?;
                    }
                    continue;
                }
                _ => {}
            }
            deliver(shared, &message, writer.rows, ended.is_some())?;
        }
        if let Some(end) = ended {
            writer.rows = false;
            shared.upto.store(end.as_u64(), Ordering::Relaxed);
            if shared.confirms.load(Ordering::Relaxed) {
                shared.memory.lock().last_commit = Some(end.as_u64());
                stream.update_applied_lsn(end);
            }
        }
    }
}

/// Posts until somebody takes it; the nodes in turn, as a balancer would.
fn deliver(shared: &Shared, message: &Value, counts: bool, ends: bool) -> Result<(), Lost> {
    let body = message.to_string();
    let (mut at, mut taken) = (0, 0);
    loop {
        if shared.stop.load(Ordering::Relaxed) {
            return Err("it is stopped".into());
        }
        let habit = *shared.habit.lock();
        if habit == Habit::Silent || habit == Habit::HoldsEnds && ends && counts {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        let nodes = shared.nodes.lock().clone();
        match post(nodes[at % nodes.len()], "shop", SECRET, body.as_bytes()) {
            Ok(answer) if answer.status == 204 => {
                taken += 1;
                if taken == 2 || habit != Habit::Twice {
                    break;
                }
                continue;
            }
            Ok(answer) if answer.status == 503 => {}
            Ok(answer) => shared.refusals.lock().push(format!("{body}: {}", answer.text())),
            // It is gone, or did not answer.
            Err(_) => {}
        }
        at += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    if counts {
        shared.taken.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

pub(super) fn post(
    node: SocketAddr,
    source: &str,
    secret: &str,
    body: &[u8],
) -> anyhow::Result<http::Answer> {
    let bearer = format!("Bearer {secret}");
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    http::request(node, "POST", &format!("/api/v1/events/{source}"), &headers, body, SOON)
}

/// From `pgoutput` to Debezium's envelopes.
#[derive(Default)]
struct Writer {
    relations: HashMap<u32, Relation>,
    last_commit: Option<u64>,
    xid: u32,
    at: u64,
    ts_ms: i64,
    count: u64,
    rows: bool,
}

struct Relation {
    schema: String,
    table: String,
    columns: Vec<(String, u32)>,
}

impl Writer {
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
        let mut bytes = Bytes(data);
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
        // Debezium writes the schema if it is not told otherwise.
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

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
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
        let end = self.0.iter().position(|byte| *byte == 0).expect("it ends");
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
