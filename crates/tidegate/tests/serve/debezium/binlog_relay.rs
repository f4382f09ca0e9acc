//! A stand-in for Debezium Server with its connector for MariaDB: it reads the binary log with the driver's own
//! decoder, which the product does not use, and writes the messages of the connector.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use mysql_async::binlog::events::{Event, EventData, QueryEvent, RowsEventData, TableMapEvent};
use mysql_async::binlog::row::BinlogRow;
use mysql_async::binlog::value::BinlogValue;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStreamRequest, Conn, OptsBuilder, Value as SqlValue};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::relay::{Relay, RelayState, Shared, StreamError, Transmission};

/// How the connector is configured.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connector {
    /// `include.schema.changes`
    pub(super) reports_definitions: bool,
    /// `skipped.operations` without `t`
    pub(super) reports_truncates: bool,
    /// Rows have the position of their transaction's begin, as those of MariaDB 11.4 and later.
    pub(super) positions_of_begins: bool,
}

/// Starts a relay that reads from the position in `memory`; see [`position`].
pub(super) fn start(
    server: SocketAddr,
    nodes: &[SocketAddr],
    memory: &Arc<Mutex<RelayState>>,
    connector: Connector,
) -> Relay {
    Relay::run(nodes, memory, move |shared| async move { follow(&shared, server, connector).await })
}

/// Returns a position in the log as one number. `text`: the file and the offset, separated by a tab.
pub(super) fn position(text: &str) -> u64 {
    let mut parts = text.split('\t');
    let number = parts.next().and_then(|file| file.rsplit_once('.')?.1.parse::<u64>().ok());
    let offset = parts.next().and_then(|offset| offset.parse::<u64>().ok());
    number.expect("a file") << 32 | offset.expect("an offset")
}

async fn follow(
    shared: &Shared,
    server: SocketAddr,
    connector: Connector,
) -> Result<(), StreamError> {
    let opts = OptsBuilder::default()
        .ip_or_hostname(server.ip().to_string())
        .tcp_port(server.port())
        .user(Some("root"))
        .prefer_socket(false);
    let mut catalog = Conn::new(opts.clone()).await?;
    let mut conn = Conn::new(opts).await?;
    conn.query_drop("set @mariadb_slave_capability = 4, @master_heartbeat_period = 100000000")
        .await?;
    let from = shared.memory.lock().last_commit.ok_or("no position to start from")?;
    let file = format!("binlog.{:06}", from >> 32);
    let request = BinlogStreamRequest::new(rand::random::<u32>() | 1 << 31)
        .with_filename(file.as_bytes())
        .with_pos(from & 0xffff_ffff);
    let mut stream = conn.get_binlog_stream(request).await?;
    // It only names the file, with a checksum that the driver can't interpret yet.
    stream.next().await.ok_or("the stream has ended")??;
    let mut writer = EnvelopeWriter { file, connector, ..EnvelopeWriter::default() };
    let mut transmission = Transmission::new(shared);
    loop {
        let event = tokio::time::timeout(Duration::from_millis(20), stream.next()).await;
        if shared.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Ok(event) = event else { continue };
        let event = event.ok_or("the stream has ended")??;
        let table = match event.read_data()? {
            Some(EventData::RowsEvent(rows)) => {
                stream.get_tme(rows.table_id()).map(|table| (rows.into_owned(), table))
            }
            _ => None,
        };
        let messages = match table {
            Some((rows, table)) => writer.rows(&event, &rows, table, &mut catalog).await?,
            None => writer.messages(&event)?,
        };
        let ended = writer.ended.take();
        for message in messages {
            transmission.pass(message, ended.is_some())?;
        }
        if let Some(end) = ended {
            shared.upto.store(end, Ordering::Relaxed);
            if shared.confirming.load(Ordering::Relaxed) {
                shared.memory.lock().last_commit = Some(end);
            }
        }
    }
}

/// Converts events of the log to Debezium's messages.
struct EnvelopeWriter {
    connector: Connector,
    file: String,
    gtid: String,
    /// The position of the transaction's begin.
    begin: u32,
    count: u64,
    /// The end of the transaction that has just ended.
    ended: Option<u64>,
}

impl Default for EnvelopeWriter {
    fn default() -> Self {
        let connector = Connector::default();
        let (file, gtid) = (String::new(), String::new());
        Self { connector, file, gtid, begin: 0, count: 0, ended: None }
    }
}

impl EnvelopeWriter {
    fn messages(&mut self, event: &Event) -> Result<Vec<Value>, StreamError> {
        const QUERY: u8 = 2;
        const ROTATE: u8 = 4;
        const XID: u8 = 16;
        const GTID: u8 = 162;
        let header = event.header();
        let data = event.data();
        match header.event_type_raw() {
            ROTATE => {
                self.file = String::from_utf8(data[8..8 + "binlog.000001".len()].to_vec())?;
            }
            GTID => {
                let sequence = u64::from_le_bytes(data[..8].try_into()?);
                let domain = u32::from_le_bytes(data[8..12].try_into()?);
                self.gtid = format!("{domain}-{}-{sequence}", header.server_id());
                self.count = 0;
                self.begin = header.log_pos() - header.event_size();
                return Ok(vec![
                    json!({ "status": "BEGIN", "id": self.gtid, "ts_ms": self.ts_ms(event),
                                       "event_count": null, "data_collections": null }),
                ]);
            }
            XID => return Ok(self.end(event)),
            QUERY => {
                let query: QueryEvent<'_> = event.read_event()?;
                let text = query.query().into_owned();
                if text == "COMMIT" {
                    return Ok(self.end(event));
                }
                return Ok(self.statement(event, &query.schema(), &text));
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    fn ts_ms(&self, event: &Event) -> u64 {
        u64::from(event.header().timestamp()) * 1_000
    }

    fn end(&mut self, event: &Event) -> Vec<Value> {
        self.ended = Some(position(&format!("{}\t{}", self.file, event.header().log_pos())));
        vec![json!({ "status": "END", "id": self.gtid, "ts_ms": self.ts_ms(event),
                     "event_count": self.count, "data_collections": [] })]
    }

    fn source(&self, event: &Event, db: &str, table: &str, row: usize) -> Value {
        let header = event.header();
        let pos = match self.connector.positions_of_begins {
            true => self.begin,
            false => header.log_pos() - header.event_size(),
        };
        json!({ "version": "3.0.5.Final", "connector": "mariadb", "name": "shop",
                "ts_ms": self.ts_ms(event), "snapshot": "false", "db": db, "sequence": null,
                "table": table, "server_id": header.server_id(), "gtid": self.gtid, "file": self.file,
                "pos": pos, "row": row, "thread": 7, "query": null })
    }

    fn transaction(&mut self) -> Value {
        self.count += 1;
        json!({ "id": self.gtid, "total_order": self.count, "data_collection_order": self.count })
    }

    /// The connector ends no transaction after a statement.
    fn statement(&mut self, event: &Event, database: &str, text: &str) -> Vec<Value> {
        let first = text.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        if first == "truncate" && self.connector.reports_truncates {
            let table = text.split_whitespace().last().unwrap_or_default().replace('`', "");
            let source = self.source(event, database, &table, 0);
            return vec![json!({ "op": "t", "before": null, "after": null, "source": source,
                                "ts_ms": self.ts_ms(event), "transaction": self.transaction() })];
        }
        let reported = ["create", "alter", "drop", "rename"].contains(&&*first)
            && text.to_ascii_lowercase().contains(" table");
        if !reported || !self.connector.reports_definitions {
            return Vec::new();
        }
        let mut source = self.source(event, database, "", 0);
        source["table"] = Value::Null;
        vec![json!({ "source": source, "ts_ms": self.ts_ms(event), "databaseName": database,
                     "schemaName": null, "ddl": text, "tableChanges": [] })]
    }

    async fn rows(
        &mut self,
        event: &Event,
        rows: &RowsEventData<'_>,
        table: &TableMapEvent<'_>,
        catalog: &mut Conn,
    ) -> Result<Vec<Value>, StreamError> {
        let (db, name) = (table.database_name().into_owned(), table.table_name().into_owned());
        let columns: Vec<String> = catalog
            .query(format!(
                "select column_name from information_schema.columns \
                 where table_schema = '{db}' and table_name = '{name}' order by ordinal_position"
            ))
            .await?;
        let mut messages = Vec::new();
        for (at, row) in rows.rows(table).enumerate() {
            let image = |row: Option<BinlogRow>| row.map(|row| values(&columns, &row));
            let (before, after) = row?;
            let (before, after) = (image(before), image(after));
            let op = match (&before, &after) {
                (None, _) => "c",
                (Some(_), Some(_)) => "u",
                (Some(_), None) => "d",
            };
            // A changed key comes as a deletion and an insertion.
            let moved = op == "u"
                && before.as_ref().zip(after.as_ref()).is_some_and(|(b, a)| b["id"] != a["id"]);
            let parts = match moved {
                true => vec![("d", before, None), ("c", None, after)],
                false => vec![(op, before, after)],
            };
            for (op, before, after) in parts {
                let payload = json!({ "before": before, "after": after, "op": op,
                                      "source": self.source(event, &db, &name, at),
                                      "ts_ms": self.ts_ms(event), "transaction": self.transaction() });
                messages.push(payload);
                if op == "d" {
                    messages.push(Value::Null);
                }
            }
        }
        Ok(messages)
    }
}

fn values(columns: &[String], row: &BinlogRow) -> Value {
    let value = |at: usize| match row.as_ref(at) {
        Some(BinlogValue::Value(SqlValue::Int(number))) => json!(number),
        Some(BinlogValue::Value(SqlValue::UInt(number))) => json!(number),
        Some(BinlogValue::Value(SqlValue::Bytes(bytes))) => json!(String::from_utf8_lossy(bytes)),
        _ => Value::Null,
    };
    let named = columns.iter().enumerate().map(|(at, name)| (name.clone(), value(at)));
    Value::Object(named.collect())
}
