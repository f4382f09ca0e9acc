//! The rivals.

use anyhow::{Context, Result, ensure};
use harness::{Postgres, Redis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::{NoTls, Statement};

use super::clients::Client;

async fn connect(postgres: &Postgres) -> Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(&postgres.url("postgres"), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// `SELECT … FOR UPDATE`, a check in the client, then `UPDATE`.
pub(super) struct ForUpdate {
    client: tokio_postgres::Client,
    select: Statement,
    update: Statement,
    sku: String,
}

impl ForUpdate {
    pub(super) fn open(postgres: &Postgres, sku: &str) -> impl AsyncFn(usize) -> Result<Self> {
        async move |number| {
            let client = connect(postgres).await?;
            if number == 0 {
                let table = "create table if not exists naive(sku text primary key, units bigint) \
                             with (fillfactor = 50)";
                client.batch_execute(table).await?;
                let units = super::UNITS;
                client.execute("insert into naive values ($1, $2)", &[&sku, &units]).await?;
            }
            let select =
                client.prepare("select units from naive where sku = $1 for update").await?;
            let update =
                client.prepare("update naive set units = units - 1 where sku = $1").await?;
            Ok(Self { client, select, update, sku: sku.to_owned() })
        }
    }
}

impl Client for ForUpdate {
    async fn act(&mut self) -> Result<Option<()>> {
        let transaction = self.client.transaction().await?;
        let row = transaction.query_one(&self.select, &[&self.sku]).await?;
        ensure!(row.get::<_, i64>(0) > 0, "sold out");
        transaction.execute(&self.update, &[&self.sku]).await?;
        transaction.commit().await?;
        Ok(Some(()))
    }
}

/// One row inserted in a transaction of its own.
pub(super) struct PlainTransaction {
    client: tokio_postgres::Client,
    insert: Statement,
}

impl PlainTransaction {
    pub(super) fn open(postgres: &Postgres) -> impl AsyncFn(usize) -> Result<Self> {
        async move |_| {
            let client = connect(postgres).await?;
            client.batch_execute("create table if not exists plain(at timestamptz)").await?;
            let insert = client.prepare("insert into plain values (now())").await?;
            Ok(Self { client, insert })
        }
    }
}

impl Client for PlainTransaction {
    async fn act(&mut self) -> Result<Option<()>> {
        self.client.execute(&self.insert, &[]).await?;
        Ok(Some(()))
    }
}

/// A script that decrements a counter and stores the hold.
pub(super) struct RedisScript {
    stream: TcpStream,
    script: String,
    counter: String,
    number: usize,
    calls: u64,
    buffer: Vec<u8>,
    /// The reply while there are units, or after.
    expected: &'static str,
}

const SCRIPT: &str = "local left = tonumber(redis.call('get', KEYS[1]) or '0') \
    if left < 1 then return 0 end \
    redis.call('decr', KEYS[1]) redis.call('hset', KEYS[2], ARGV[1], ARGV[2]) return 1";

impl RedisScript {
    pub(super) fn open(
        redis: &Redis,
        sku: &str,
        units: i64,
    ) -> impl AsyncFn(usize) -> Result<Self> {
        let expected = if units > 0 { ":1\r\n" } else { ":0\r\n" };
        let counter = format!("units:{}", sku.replace(' ', ":"));
        async move |number| {
            if number == 0 {
                redis.cli(&["set", &counter, &units.to_string()])?;
            }
            let script = redis.cli(&["script", "load", SCRIPT])?.trim().to_owned();
            let stream = TcpStream::connect(redis.addr()).await?;
            stream.set_nodelay(true)?;
            let counter = counter.clone();
            Ok(Self { stream, script, counter, number, calls: 0, buffer: Vec::new(), expected })
        }
    }
}

impl Client for RedisScript {
    async fn act(&mut self) -> Result<Option<()>> {
        self.calls += 1;
        let (hold, holds) =
            (format!("{}:{}", self.number, self.calls), format!("holds:{}", self.counter));
        let words = ["evalsha", &self.script, "2", &self.counter, &holds, &hold, "customer"];
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.write_all(command.as_bytes()).await?;
        self.buffer.clear();
        while !self.buffer.ends_with(b"\r\n") {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "Redis closed the connection");
        }
        let reply = std::str::from_utf8(&self.buffer).context("a reply")?;
        ensure!(reply == self.expected, "{reply}");
        Ok(Some(()))
    }
}
