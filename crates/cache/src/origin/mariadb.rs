//! A SQL statement on a MariaDB as origin.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use coherence::Lsn;
use contract::{Cell, Contract, Key, Row};
use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable;
use mysql_async::{
    Column, Conn, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts, Value as Told,
};
use tokio::time::timeout;

use super::{
    Ask, Loaded, LoadedMany, Origin, OriginError, OriginErrorKind, absent_row, loaded,
    no_such_table, side_by_side, source, statement,
};
use crate::entry::{Content, Value};

/// A pool of connections to one server.
#[derive(Clone)]
pub struct MariaDbPool {
    pool: Pool,
    database: Arc<str>,
    timeout: Duration,
    /// Tells pools apart.
    same: Arc<()>,
}

impl MariaDbPool {
    /// Opens lazily: no connection is made before the first load. `timeout` bounds each statement
    /// in the server as well (`max_statement_time`).
    ///
    /// # Errors
    /// The URL can't be read, or names no database.
    pub fn new(url: &str, connections: usize, timeout: Duration) -> Result<Self, OriginError> {
        let url = match url.strip_prefix("mariadb://") {
            Some(rest) => format!("mysql://{rest}"),
            None => url.to_owned(),
        };
        let opts = Opts::from_url(&url)
            .map_err(|err| broken(format!("the source's url can't be read: {err}")))?;
        let database: Arc<str> = opts.db_name().unwrap_or_default().into();
        if database.is_empty() {
            return Err(broken("the source's url names no database".into()));
        }
        let constraints = PoolConstraints::new(0, connections)
            .ok_or_else(|| broken("a pool needs at least one connection".into()))?;
        let pool_opts =
            PoolOpts::default().with_constraints(constraints).with_reset_connection(false);
        let session = [
            "set names utf8mb4".to_owned(),
            "set session transaction isolation level repeatable read, read only".to_owned(),
            format!("set session max_statement_time = {}", timeout.as_secs_f64()),
        ];
        let opts = OptsBuilder::from_opts(opts)
            .prefer_socket(false)
            .pool_opts(pool_opts)
            .init(session.into());
        Ok(Self { pool: Pool::new(opts), database, timeout, same: Arc::default() })
    }

    /// One round trip, over a connection of the pool.
    async fn ask(&self, sql: &str) -> Result<Vec<Answer>, OriginError> {
        let asked = async {
            let mut conn = self.pool.get_conn().await.map_err(classify)?;
            answers(&mut conn, sql).await.map_err(classify)
        };
        timeout(self.timeout, asked).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// Has the server read one statement without running it.
    async fn try_statement(&self, sql: &str) -> Result<(), OriginError> {
        let tried = async {
            let mut conn = self.pool.get_conn().await.map_err(classify)?;
            let statement = conn.prep(sql).await.map_err(classify)?;
            conn.close(statement).await.map_err(classify)
        };
        timeout(self.timeout, tried).await.unwrap_or_else(|_| Err(self.late()))
    }

    fn late(&self) -> OriginError {
        let message = format!("the database did not answer within {:?}", self.timeout);
        OriginError { kind: OriginErrorKind::Timeout, message }
    }

    /// Runs the statements in one transaction with one snapshot, sent as one packet, and asks at its end
    /// where the log ends.
    async fn snapshot(
        &self,
        statements: &[String],
    ) -> Result<(Vec<Answer>, Option<Lsn>), OriginError> {
        let sql = format!(
            "start transaction;\n{};\nshow status like 'binlog_snapshot_%';\ncommit",
            statements.join(";\n")
        );
        let answers = self.ask(&sql).await?;
        let mut answers = answers.into_iter().skip(1);
        let found: Vec<Answer> = answers.by_ref().take(statements.len()).collect();
        // Whatever a snapshot shows has been in the log before.
        let end = answers.next().map(|answer| answer.rows).unwrap_or_default();
        let told = |name: &str| {
            let row = end.iter().find(|row| row.first().and_then(text).as_deref() == Some(name))?;
            text(row.get(1)?)
        };
        let seen = told("Binlog_snapshot_file").zip(told("Binlog_snapshot_position"));
        let seen = seen.and_then(|(file, offset)| Lsn::in_binlog(&file, offset.parse().ok()?));
        Ok((found, seen))
    }
}

/// What one statement brought.
#[derive(Default)]
struct Answer {
    columns: Arc<[Column]>,
    rows: Vec<Vec<Told>>,
}

async fn answers(conn: &mut Conn, sql: &str) -> Result<Vec<Answer>, mysql_async::Error> {
    let mut result = conn.query_iter(sql).await?;
    let mut answers = Vec::new();
    while !result.is_empty() {
        let columns = result.columns().unwrap_or_default();
        let rows: Vec<mysql_async::Row> = result.collect().await?;
        let rows = rows.into_iter().map(mysql_async::Row::unwrap).collect();
        answers.push(Answer { columns, rows });
    }
    Ok(answers)
}

/// Loads one contract's values, each in one transaction.
pub struct MariaDbOrigin {
    contract: Contract,
    pool: MariaDbPool,
    value: String,
    columns: String,
    key: KeyType,
}

/// How ids look to the database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum KeyType {
    /// A number of so many bits.
    Integer { bits: u32, unsigned: bool },
    /// Text that is compared byte by byte.
    Text,
}

impl MariaDbOrigin {
    /// Asks the catalogue for the key column's type and builds the statements.
    ///
    /// # Errors
    /// The database can't be reached, or the contract doesn't fit it (no such table or column, a
    /// key column whose values can be written in several ways).
    pub async fn prepare(contract: Contract, pool: MariaDbPool) -> Result<Self, OriginError> {
        let (Some(value), Some(from)) = (contract.value.clone(), contract.from.clone()) else {
            return Err(broken(format!(
                "contract {}: needs `value` and `from` to be loaded from a database",
                contract.name
            )));
        };
        let value = statement(&contract, &value)?;
        let (database, table) = from.table.split_once('.').unwrap_or((&pool.database, &from.table));
        let (database, table) = (database.to_owned(), table.to_owned());
        let as_text =
            |column: &str| format!("cast({} as char character set utf8mb4)", quoted(column));
        let columns: Vec<String> = contract.load_columns().into_iter().map(as_text).collect();
        let columns = format!(
            "select {} from {}.{} where {} = $1 limit 1",
            columns.join(", "),
            quoted(&database),
            quoted(&table),
            quoted(&from.key)
        );
        let asked = format!(
            "select column_type, coalesce(collation_name, '') from information_schema.columns \
             where binary table_schema = {} and binary table_name = {} and binary column_name = {}",
            literal(&database),
            literal(&table),
            literal(&from.key)
        );
        let found = pool.ask(&asked).await?;
        let row = found.into_iter().next().and_then(|answer| answer.rows.into_iter().next());
        let Some([kind, collation]) = row.and_then(|row| <[Told; 2]>::try_from(row).ok()) else {
            return Err(no_such_table(&contract.name, &from.table, &from.key));
        };
        let (kind, collation) =
            (text(&kind).unwrap_or_default(), text(&collation).unwrap_or_default());
        let key = KeyType::of(&kind, &collation).ok_or_else(|| {
            broken(format!(
                "contract {}: {}.{} is of type {kind} {collation}; equal values of that type can be \
                 written in several ways, so one row could hide under several keys. Use a key column \
                 that is an integer (not zerofill), or a text with a binary collation such as \
                 utf8mb4_bin",
                contract.name, from.table, from.key,
            ))
        })?;
        // Refused as a whole where it is more than one statement.
        let probe =
            contract::filled(&value, &key.literal(if key == KeyType::Text { "" } else { "1" }));
        pool.try_statement(&probe).await.map_err(|err| match err.kind {
            OriginErrorKind::Unavailable | OriginErrorKind::Timeout => err,
            _ => broken(format!(
                "contract {}: its `value` is refused by the database: {}",
                contract.name, err.message
            )),
        })?;
        Ok(Self { contract, pool, value, columns, key })
    }

    /// The two statements for one id.
    ///
    /// # Errors
    /// The database would not write the id like this.
    fn statements(&self, id: &str) -> Result<[String; 2], OriginError> {
        if !self.key.writes(id) {
            let message = format!("{id:?} is not an id as the database writes it");
            return Err(OriginError { kind: OriginErrorKind::BadRequest, message });
        }
        let literal = self.key.literal(id);
        // The line break ends a comment that the contract may end with.
        let fill = |sql: &str| format!("{}\n", contract::filled(sql, &literal));
        Ok([fill(&self.value), fill(&self.columns)])
    }

    fn read(
        &self,
        id: &str,
        value: Answer,
        columns: Answer,
        seen: Option<Lsn>,
    ) -> Result<Loaded, OriginError> {
        let contract = &self.contract;
        if value.rows.len() > 1 {
            return Err(broken(format!(
                "contract {}: `value` returned more than one row for one id; aggregate them",
                contract.name
            )));
        }
        let content = match value.rows.first() {
            Some(row) => {
                let body = Bytes::from(self.json(&value.columns, row)?);
                Content::Present(Value { head: Bytes::new(), body })
            }
            None => Content::Absent,
        };
        let names = contract.load_columns().into_iter();
        let columns = match columns.rows.into_iter().next() {
            Some(row) => {
                let cell = |told: Told| text(&told).map_or(Cell::Null, Cell::Text);
                names.zip(row).map(|(name, told)| (name, cell(told))).collect::<Row>()
            }
            None => absent_row(contract, id),
        };
        loaded(contract, id, content, &columns, seen)
    }

    fn json(&self, columns: &[Column], row: &[Told]) -> Result<String, OriginError> {
        let mut json = String::from("{");
        for (column, told) in columns.iter().zip(row) {
            if json.len() > 1 {
                json.push(',');
            }
            json += &json_text(&column.name_str());
            json.push(':');
            match text(told) {
                None => json += "null",
                Some(text) if is_number(column, &text) => json += &text,
                Some(_) if is_binary(column) => {
                    return Err(broken(format!(
                        "contract {}: column {:?} of its `value` is binary; write hex(…) or \
                         to_base64(…)",
                        self.contract.name,
                        column.name_str()
                    )));
                }
                Some(text) => json += &json_text(&text),
            }
        }
        json.push('}');
        Ok(json)
    }
}

impl KeyType {
    /// `None` for types whose equal values can be written in several ways.
    fn of(kind: &str, collation: &str) -> Option<Self> {
        if kind.contains("zerofill") {
            return None;
        }
        let name = kind.split(['(', ' ']).next().unwrap_or_default();
        let unsigned = kind.ends_with("unsigned");
        let integer = |bits| Some(Self::Integer { bits, unsigned });
        match name {
            "tinyint" => integer(8),
            "smallint" => integer(16),
            "mediumint" => integer(24),
            "int" => integer(32),
            "bigint" => integer(64),
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext"
                if collation.ends_with("_bin") =>
            {
                Some(Self::Text)
            }
            _ => None,
        }
    }

    /// Whether the database writes the id exactly like this.
    fn writes(self, id: &str) -> bool {
        match self {
            // It ignores them at the end, and so do its comparisons.
            Self::Text => !id.ends_with(' '),
            Self::Integer { bits, unsigned } => {
                let Ok(number) = id.parse::<i128>() else { return false };
                let (least, most) = match unsigned {
                    true => (0, (1 << bits) - 1),
                    false => (-(1_i128 << (bits - 1)), (1 << (bits - 1)) - 1),
                };
                number.to_string() == id && (least..=most).contains(&number)
            }
        }
    }

    /// The id in SQL, which was [written](Self::writes) like that by the database.
    fn literal(self, id: &str) -> String {
        match self {
            Self::Integer { .. } => format!("({id})"),
            Self::Text => literal(id),
        }
    }
}

#[async_trait]
impl Origin for MariaDbOrigin {
    fn name(&self) -> &str {
        source(&self.contract)
    }

    async fn load(&self, _key: &Key, id: &str) -> Result<Loaded, OriginError> {
        let statements = self.statements(id)?;
        let (found, seen) = self.pool.snapshot(&statements).await?;
        let mut found = found.into_iter();
        let mut next = || found.next().unwrap_or_default();
        self.read(id, next(), next(), seen)
    }

    /// One transaction. Where one of its statements fails they are asked one by one, since the rest was
    /// not run.
    async fn load_many(&self, asks: &[Ask<'_>]) -> Result<LoadedMany, OriginError> {
        let ours = asks.iter().map(|ask| {
            let origin: &dyn Any = ask.origin;
            let origin = origin.downcast_ref::<Self>();
            origin.filter(|other| Arc::ptr_eq(&other.pool.same, &self.pool.same))
        });
        let Some(ours) = ours.collect::<Option<Vec<_>>>() else {
            return Ok(side_by_side(asks).await);
        };
        let asked: Vec<_> =
            asks.iter().zip(&ours).map(|(ask, origin)| origin.statements(ask.id)).collect();
        let statements: Vec<String> =
            asked.iter().filter_map(|asked| asked.as_ref().ok()).flatten().cloned().collect();
        if statements.is_empty() {
            let items = asked.into_iter().filter_map(Result::err).map(Err).collect();
            return Ok(LoadedMany { items, one_snapshot: true });
        }
        let (found, seen) = match self.pool.snapshot(&statements).await {
            Ok(snapshot) => snapshot,
            Err(err) if err.kind == OriginErrorKind::Broken => return Ok(side_by_side(asks).await),
            Err(err) => return Err(err),
        };
        let mut found = found.into_iter();
        let mut next = || found.next().unwrap_or_default();
        let items = asks.iter().zip(ours).zip(asked).map(|((ask, origin), asked)| {
            asked?;
            origin.read(ask.id, next(), next(), seen)
        });
        Ok(LoadedMany { items: items.collect(), one_snapshot: true })
    }
}

fn broken(message: String) -> OriginError {
    OriginError { kind: OriginErrorKind::Broken, message }
}

/// A name as an SQL identifier.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text in SQL, safe whatever is in it and whatever `sql_mode` says.
fn literal(text: &str) -> String {
    let digits = text.bytes().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"));
    format!("_utf8mb4 x'{digits}'")
}

/// Everything comes as text.
fn text(told: &Told) -> Option<String> {
    match told {
        Told::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether the text may stand in JSON as the number that it is; one with leading zeros may not.
fn is_number(column: &Column, text: &str) -> bool {
    use ColumnType::*;
    let number = matches!(
        column.column_type(),
        MYSQL_TYPE_TINY
            | MYSQL_TYPE_SHORT
            | MYSQL_TYPE_INT24
            | MYSQL_TYPE_LONG
            | MYSQL_TYPE_LONGLONG
            | MYSQL_TYPE_YEAR
            | MYSQL_TYPE_FLOAT
            | MYSQL_TYPE_DOUBLE
            | MYSQL_TYPE_DECIMAL
            | MYSQL_TYPE_NEWDECIMAL
    );
    number && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

/// Whether the text is none.
fn is_binary(column: &Column) -> bool {
    use ColumnType::*;
    const BINARY: u16 = 63;
    let bytes = matches!(
        column.column_type(),
        MYSQL_TYPE_STRING
            | MYSQL_TYPE_VAR_STRING
            | MYSQL_TYPE_VARCHAR
            | MYSQL_TYPE_TINY_BLOB
            | MYSQL_TYPE_BLOB
            | MYSQL_TYPE_MEDIUM_BLOB
            | MYSQL_TYPE_LONG_BLOB
            | MYSQL_TYPE_BIT
            | MYSQL_TYPE_GEOMETRY
    );
    bytes && column.character_set() == BINARY
}

/// The server's error number → what a caller can do about it.
fn classify(err: mysql_async::Error) -> OriginError {
    let mysql_async::Error::Server(err) = err else {
        return OriginError {
            kind: OriginErrorKind::Unavailable,
            message: format!("the database can't be reached: {err}"),
        };
    };
    let kind = match err.code {
        // Statement time, lock wait.
        1969 | 3024 | 1205 => OriginErrorKind::Timeout,
        // Connections used up, shutdown, killed.
        1040 | 1053 | 1203 | 1226 | 1317 | 1927 => OriginErrorKind::Unavailable,
        // Values that do not fit: out of range, truncated, incorrect.
        1264 | 1292 | 1366 | 1690 => OriginErrorKind::BadRequest,
        _ => OriginErrorKind::Broken,
    };
    OriginError { kind, message: format!("{} (error {})", err.message, err.code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_only_as_the_database_writes_them() {
        let key = |kind, collation| KeyType::of(kind, collation).expect(kind);
        let int = key("int(11)", "");
        for (id, good) in
            [("42", true), ("-1", true), ("042", false), ("+42", false), ("42 ", false)]
        {
            assert_eq!(int.writes(id), good, "{id:?}");
        }
        assert!(int.writes("2147483647") && !int.writes("2147483648"));
        assert!(!key("tinyint(3) unsigned", "").writes("-1"));
        assert!(key("bigint(20) unsigned", "").writes("18446744073709551615"));
        let text = key("varchar(20)", "utf8mb4_bin");
        assert!(text.writes("A b") && !text.writes("a "));
        assert_eq!(text.literal("a'"), "_utf8mb4 x'6127'");
        assert_eq!(int.literal("-1"), "(-1)");
        for (kind, collation) in [
            ("varchar(20)", "utf8mb4_general_ci"),
            ("int(10) unsigned zerofill", ""),
            ("decimal(10,2)", ""),
            ("datetime", ""),
            ("enum('a')", "utf8mb4_bin"),
        ] {
            assert_eq!(KeyType::of(kind, collation), None, "{kind}");
        }
    }
}
