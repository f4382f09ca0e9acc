//! Where the database is, and ordinary connections to it.

use std::time::Duration;

use coherence::Lsn;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Row, Value};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::place::Place;
use crate::error::{FeedError, Problem, Setup};
use crate::event::Identity;

/// How long a server may take to answer a small question.
const PATIENCE: Duration = Duration::from_secs(5);

/// After so much silence the server closes a connection, and with it frees what it holds: the node
/// behind it may have been cut off or stopped. In seconds.
const SILENCE_S: u32 = 10;

/// The most that the protocol and the server allow for an event, in bytes; in ordinary sessions the
/// server's own limit holds.
const LARGEST_EVENT: usize = 1 << 30;

/// Where a server is, and who we are there.
#[derive(Clone)]
pub(super) struct Server {
    opts: Opts,
}

/// What a question brought: rows of texts.
pub(super) type Table = Vec<Vec<Option<String>>>;

impl Server {
    pub(super) fn parse(url: &str) -> Result<Self, FeedError> {
        let refuse = |what: String, fix: &str| {
            let problems = vec![Problem::new(what, [fix.to_owned()])];
            FeedError::from(Setup { database: "The source's URL".to_owned(), problems })
        };
        let form = "-- write: url = \"mysql://user:password@host:3306/database\"";
        let url = match url.strip_prefix("mariadb://") {
            Some(rest) => format!("mysql://{rest}"),
            None => url.to_owned(),
        };
        // The parser's own words may repeat what it does not understand, but never the password.
        let opts = Opts::from_url(&url).map_err(|err| refuse(format!("{err}."), form))?;
        if opts.db_name().is_none_or(str::is_empty) {
            return Err(refuse("The URL names no database.".to_owned(), form));
        }
        if opts.ssl_opts().is_some() {
            let what = "TLS is not supported for following a MariaDB.".to_owned();
            return Err(refuse(what, "-- follow it over a trusted network, or through a tunnel"));
        }
        let opts = OptsBuilder::from_opts(opts)
            .prefer_socket(false)
            .max_allowed_packet(Some(LARGEST_EVENT))
            .tcp_keepalive(Some(Duration::from_secs(10)))
            .into();
        Ok(Self { opts })
    }

    /// For people; no secrets.
    pub(super) fn name(&self) -> String {
        let (host, port) = (self.opts.ip_or_hostname(), self.opts.tcp_port());
        format!("MariaDB database `{}` at {host}:{port}", self.database())
    }

    pub(super) fn database(&self) -> &str {
        self.opts.db_name().unwrap_or_default()
    }

    /// A connection as it comes.
    pub(super) async fn connection(&self) -> Result<Conn, FeedError> {
        match timeout(PATIENCE, Conn::new(self.opts.clone())).await {
            Ok(conn) => conn.map_err(|err| unavailable("connecting", err)),
            Err(err) => Err(FeedError::unavailable("connecting", err)),
        }
    }

    /// A connection for questions. Refuses what is no MariaDB.
    pub(super) async fn connect(&self) -> Result<Control, FeedError> {
        const DOING: &str = "connecting";
        let control = Control::new(self.connection().await?);
        let version = control.value(DOING, "select version()").await?;
        if !version.contains("MariaDB") {
            let what = format!("The server is no MariaDB but calls itself {version:?}.");
            let fix = "-- MySQL's binary log is not followed yet; MariaDB 10.5 or later is needed";
            let problems = vec![Problem::new(what, [fix.to_owned()])];
            return Err(Setup { database: self.name(), problems }.into());
        }
        // What administrators set for applications is not meant for these questions.
        let session = format!(
            "set session wait_timeout = {SILENCE_S}, max_statement_time = 10, lock_wait_timeout = 5, \
             innodb_lock_wait_timeout = 5, sql_mode = '', autocommit = 1, time_zone = '+00:00'"
        );
        control.run(DOING, &session).await?;
        let who = "select (select group_concat(variable_value order by variable_name separator ' ') \
                     from information_schema.global_variables where variable_name in \
                     ('DATADIR', 'LOG_BIN_BASENAME', 'SERVER_ID', 'SERVER_UID')), \
                   unix_timestamp() - variable_value \
                   from information_schema.global_status where variable_name = 'UPTIME'";
        let row = control.row(DOING, who).await?;
        let told = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
        Ok(Control { system: digest(&told(0)), started: told(1), ..control })
    }
}

/// An ordinary connection. Closed on drop, and after a question that was given up.
pub(super) struct Control {
    conn: Mutex<Option<Conn>>,
    system: u64,
    /// When the server started; the same as long as it runs.
    started: String,
}

impl Control {
    fn new(conn: Conn) -> Self {
        Self { conn: Mutex::new(Some(conn)), system: 0, started: String::new() }
    }

    /// All answers to all statements, in one round trip. Dropping the future closes the connection.
    pub(super) async fn ask(
        &self,
        doing: &'static str,
        sql: &str,
    ) -> Result<Vec<Table>, FeedError> {
        let mut slot = self.conn.lock().await;
        let Some(mut conn) = slot.take() else {
            return Err(FeedError::unavailable(doing, "the connection was lost"));
        };
        let answer = match timeout(PATIENCE, tables(&mut conn, sql)).await {
            Ok(answer) => answer,
            Err(err) => return Err(FeedError::unavailable(doing, err)),
        };
        if !matches!(&answer, Err(err) if err.is_fatal()) {
            *slot = Some(conn);
        }
        answer.map_err(|err| unavailable(doing, err))
    }

    /// The rows of the last answer.
    pub(super) async fn rows(&self, doing: &'static str, sql: &str) -> Result<Table, FeedError> {
        Ok(self.ask(doing, sql).await?.pop().unwrap_or_default())
    }

    pub(super) async fn row(
        &self,
        doing: &'static str,
        sql: &str,
    ) -> Result<Vec<Option<String>>, FeedError> {
        let row = self.rows(doing, sql).await?.into_iter().next();
        row.ok_or_else(|| FeedError::unavailable(doing, "no row came back"))
    }

    pub(super) async fn value(&self, doing: &'static str, sql: &str) -> Result<String, FeedError> {
        let value = self.row(doing, sql).await?.into_iter().next().flatten();
        value.ok_or_else(|| FeedError::unavailable(doing, "no value came back"))
    }

    pub(super) async fn run(&self, doing: &'static str, sql: &str) -> Result<(), FeedError> {
        self.ask(doing, sql).await.map(drop)
    }

    /// Up to where commits are visible to every snapshot from now on.
    pub(super) async fn shown(&self) -> Result<Lsn, FeedError> {
        // The server takes the snapshot and notes its position while nothing can commit.
        let sql = format!("start transaction with consistent snapshot; {SNAPSHOT}; commit");
        let answers = self.ask(ASKING, &sql).await?;
        Ok(place(answers.get(1))?.lsn())
    }

    /// Where the log ends, and which log that is.
    pub(super) async fn end(&self) -> Result<(Identity, Place), FeedError> {
        // The position first: were the log begun anew in between, it would count for the new one, where
        // it proves nothing.
        let sql = format!("{SNAPSHOT}; show global status like 'com_reset'");
        let answers = self.ask("asking for the end of the log", &sql).await?;
        let resets = answers.get(1).and_then(|table| table.first()?.get(1)?.clone());
        let resets = resets.ok_or_else(|| FeedError::Malformed("no count of resets".into()))?;
        let server_started = format!("{} {resets}", self.started);
        let timeline = digest(&server_started) as u32;
        Ok((Identity { system: self.system, timeline, server_started }, place(answers.first())?))
    }
}

/// The position of the session's consistent snapshot; of the last commit, where it has none.
const SNAPSHOT: &str = "show status like 'binlog_snapshot_%'";
const ASKING: &str = "asking what new snapshots see";

fn place(answer: Option<&Table>) -> Result<Place, FeedError> {
    let told = |name: &str| {
        let row = answer?.iter().find(|row| row.first() == Some(&Some(name.to_owned())))?;
        row.get(1)?.clone()
    };
    let file = told("Binlog_snapshot_file").unwrap_or_default();
    let offset = told("Binlog_snapshot_position").unwrap_or_default();
    let place = offset.parse().ok().and_then(|offset| Place::new(&file, offset));
    place.ok_or_else(|| FeedError::Malformed(format!("the position {offset:?} in file {file:?}")))
}

async fn tables(conn: &mut Conn, sql: &str) -> Result<Vec<Table>, mysql_async::Error> {
    let mut result = conn.query_iter(sql).await?;
    let mut tables = Vec::new();
    while !result.is_empty() {
        let rows: Vec<Row> = result.collect().await?;
        tables.push(rows.into_iter().map(texts).collect());
    }
    Ok(tables)
}

fn texts(row: Row) -> Vec<Option<String>> {
    let text = |value: Value| match value {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    };
    row.unwrap().into_iter().map(text).collect()
}

/// The driver's errors repeat no secrets.
pub(super) fn unavailable(doing: &'static str, err: mysql_async::Error) -> FeedError {
    match err {
        mysql_async::Error::Server(err) => {
            FeedError::unavailable(doing, format!("{} (error {})", err.message, err.code))
        }
        err => FeedError::unavailable(doing, err),
    }
}

/// FNV-1a: the same in every build.
pub(super) fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// An SQL identifier, safe whatever is in it.
pub(super) fn quote_name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// An SQL string, safe whatever is in it and whatever `sql_mode` says.
pub(super) fn quote_text(text: &str) -> String {
    let digits = text.bytes().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"));
    format!("_utf8mb4 x'{digits}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_url_is_explained_without_its_password() {
        for url in [
            "mysql://u:secret@h:port/d",
            "mysql://u:secret@h",
            "mysql://u:secret@h/d?require_ssl=true",
            "mysql://u:secret@h/d?nonsense=1",
        ] {
            let err = Server::parse(url).err().expect(url).to_string();
            assert!(!err.contains("secret"), "{err}");
        }
        let server = Server::parse("mariadb://shop:secret@db/shop").unwrap();
        assert_eq!(server.name(), "MariaDB database `shop` at db:3306");
    }

    #[test]
    fn quoted_texts_are_safe() {
        assert_eq!(quote_text("it's"), "_utf8mb4 x'69742773'");
        assert_eq!(quote_name("a`b"), "`a``b`");
    }
}
