//! A SQL statement on a PostgreSQL primary, or on one of its standbys, as origin.

mod roll;
mod standby;

use std::any::Any;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use coherence::Lsn;
use contract::{Cell, Contract, Key, Row};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use tokio_postgres::{Config, NoTls, Statement};

pub use self::standby::Standby;
use super::{
    Ask, Loaded, LoadedMany, Origin, OriginError, OriginErrorKind, Roll, absent_row, loaded,
    no_such_table, quoted, side_by_side, source, statement,
};
use crate::entry::{Content, Value};
use crate::together::together;

/// A pool of connections to one server.
#[derive(Clone)]
pub struct PostgresPool {
    pool: Pool,
    /// Tells pools apart.
    same: Arc<()>,
}

impl PostgresPool {
    /// Opens lazily: no connection is made before the first load. `timeout` bounds each statement
    /// in the server as well (`statement_timeout`).
    ///
    /// # Errors
    /// The URL can't be read.
    pub fn new(url: &str, connections: usize, timeout: Duration) -> Result<Self, OriginError> {
        let broken = |message: String| OriginError { kind: OriginErrorKind::Broken, message };
        let mut config: Config =
            url.parse().map_err(|err| broken(format!("the source's url can't be read: {err}")))?;
        config.application_name("tidegate-origin");
        config.connect_timeout(timeout);
        config.options(format!(
            "{} -c statement_timeout={} -c default_transaction_read_only=on",
            config.get_options().unwrap_or_default(),
            timeout.as_millis(),
        ));
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method });
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(timeout))
            .create_timeout(Some(timeout))
            .build()
            .map_err(|err| broken(format!("the connection pool can't be built: {err}")))?;
        Ok(Self { pool, same: Arc::default() })
    }
}

impl PostgresPool {
    /// Whether what the log says of one row of the contract's table is what a reader of that row is
    /// told: its key is unique (else several rows would answer), no row security hides it, and no
    /// other table inherits from it.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn row_is_the_answer(&self, contract: &Contract) -> Result<bool, OriginError> {
        let Some(from) = &contract.from else { return Ok(false) };
        let table = from.table.split('.').map(quoted).collect::<Vec<_>>().join(".");
        let client = self.pool.get().await.map_err(|err| unavailable(&err))?;
        let sql = "select c.relkind in ('r', 'p') and not c.relrowsecurity \
                     and (c.relkind = 'p' or not c.relhassubclass) \
                     and exists (select from pg_index i join pg_attribute a \
                       on a.attrelid = c.oid and a.attnum = i.indkey[0] \
                       where i.indrelid = c.oid and i.indisunique and i.indisvalid \
                       and i.indnkeyatts = 1 and i.indpred is null and i.indexprs is null \
                       and a.attname = $2) \
                   from pg_class c where c.oid = to_regclass($1)";
        let row =
            client.query_opt(sql, &[&table, &from.key]).await.map_err(|err| classify(&err))?;
        Ok(row.is_some_and(|row| row.get(0)))
    }
}

/// Loads one contract's values. Every load is one statement, so all of it has one snapshot.
pub struct PostgresOrigin {
    contract: Contract,
    pool: PostgresPool,
    /// The statement, but for its last column: what the server says of itself.
    parts: [String; 2],
    load: String,
    roll: roll::Statements,
    standbys: Vec<Arc<dyn Origin>>,
}

impl PostgresOrigin {
    /// Asks the catalogue for the key column's type and builds the statement.
    ///
    /// # Errors
    /// The database can't be reached, or the contract doesn't fit it (no such table or column, a
    /// key column whose values can be written in several ways).
    pub async fn prepare(contract: Contract, pool: PostgresPool) -> Result<Self, OriginError> {
        let broken = |message: String| OriginError { kind: OriginErrorKind::Broken, message };
        let (Some(value), Some(from)) = (contract.value.clone(), contract.from.clone()) else {
            return Err(broken(format!(
                "contract {}: needs `value` and `from` to be loaded from a database",
                contract.name
            )));
        };
        let table = from.table.split('.').map(quoted).collect::<Vec<_>>().join(".");
        let client = pool.pool.get().await.map_err(|err| unavailable(&err))?;
        let key_type = client
            .query_opt(
                "select format_type(a.atttypid, null) from pg_attribute a \
                 where a.attrelid = to_regclass($1) and a.attname = $2 and not a.attisdropped",
                &[&table, &from.key],
            )
            .await
            .map_err(|err| classify(&err))?
            .map(|row| row.get::<_, String>(0))
            .ok_or_else(|| no_such_table(&contract.name, &from.table, &from.key))?;
        if !CANONICAL.contains(&key_type.as_str()) {
            return Err(broken(format!(
                "contract {}: {}.{} is of type {key_type}; equal values of that type can be written \
                 in several ways, so one row could hide under several keys. Use a key column of \
                 type {}",
                contract.name,
                from.table,
                from.key,
                CANONICAL.join(", "),
            )));
        }
        // As text, which is the form in which the log carries them.
        let as_text = |column: &str| format!("{0}::text as {0}", quoted(column));
        let columns: Vec<String> = contract.load_columns().into_iter().map(as_text).collect();
        let (columns, key) = (columns.join(", "), quoted(&from.key));
        let value = statement(&contract, &value)?;
        // No lateral joins: a column that the contract misspells must not find one of ours. The
        // line break ends a comment that the contract may end with.
        let parts = [
            "select k.id, v.value, t.columns, ".to_owned(),
            format!(
                " from (select ($2::{key_type})::text as id) k \
             left join (select row_to_json(x)::text as value from ({value}\n) x limit 2) v on true \
             left join (select row_to_json(y)::text as columns from (select {columns} from {table} \
             where {key} = $2::{key_type} limit 1) y) t on true"
            ),
        ];
        let load = parts.join(LOG_END);
        client.prepare_cached(&load).await.map_err(|err| {
            let cause = err.as_db_error().map_or_else(|| err.to_string(), ToString::to_string);
            broken(format!(
                "contract {}: its `value` is refused by the database: {cause}",
                contract.name
            ))
        })?;
        drop(client);
        let roll = roll::Statements::new(&table, &key, &key_type);
        Ok(Self { contract, pool, parts, load, roll, standbys: Vec::new() })
    }

    /// The statement, with what the server is to say of itself.
    fn select(&self, standing: &str) -> String {
        self.parts.join(standing)
    }

    fn read(&self, id: &str, rows: &[tokio_postgres::Row]) -> Result<Loaded, OriginError> {
        let (content, columns, end) = read_row(&self.contract, id, rows)?;
        let seen = end.map(str::parse::<Lsn>).transpose();
        let broken = |message: String| OriginError { kind: OriginErrorKind::Broken, message };
        let seen = seen.map_err(|err| broken(err.to_string()))?;
        loaded(&self.contract, id, content, &columns, seen)
    }

    async fn query(&self, id: &str) -> Result<Vec<tokio_postgres::Row>, OriginError> {
        let client = self.pool.pool.get().await.map_err(|err| unavailable(&err))?;
        let statement = client.prepare_cached(&self.load).await.map_err(|err| classify(&err))?;
        let id = AsText(id);
        client.query(&statement, &[&id, &id]).await.map_err(|err| classify(&err))
    }
}

/// What a statement brought: the value, the columns that make its tags, and what the server said of
/// itself.
fn read_row<'a>(
    contract: &Contract,
    id: &str,
    rows: &'a [tokio_postgres::Row],
) -> Result<(Content, Row, Option<&'a str>), OriginError> {
    let broken = |message: String| OriginError { kind: OriginErrorKind::Broken, message };
    let first = rows.first().ok_or_else(|| broken("the statement returned nothing".into()))?;
    let canonical: String = first.get(0);
    if canonical != id {
        return Err(OriginError {
            kind: OriginErrorKind::BadRequest,
            message: format!("write the id as {canonical:?}"),
        });
    }
    if rows.len() > 1 {
        return Err(broken(format!(
            "contract {}: `value` returned more than one row for one id; aggregate them",
            contract.name
        )));
    }
    let content = match first.get::<_, Option<String>>(1) {
        Some(json) => Content::Present(Value { head: Bytes::new(), body: Bytes::from(json) }),
        None => Content::Absent,
    };
    let columns = match first.get::<_, Option<&str>>(2) {
        Some(json) => row_from_json(json).map_err(|err| broken(err.to_string()))?,
        None => absent_row(contract, id),
    };
    Ok((content, columns, first.get(3)))
}

/// Where the log ends, asked by the load itself: the snapshot was taken before any of its statement
/// is executed, and whatever a snapshot shows has been in the log before. A standby can't say.
const LOG_END: &str = "case when pg_is_in_recovery() then null \
                       else pg_current_wal_insert_lsn()::text end";

/// Key types whose equal values have one text form.
const CANONICAL: [&str; 6] = ["smallint", "integer", "bigint", "uuid", "text", "character varying"];

#[async_trait]
impl Origin for PostgresOrigin {
    fn name(&self) -> &str {
        source(&self.contract)
    }

    fn standbys(&self) -> &[Arc<dyn Origin>] {
        &self.standbys
    }

    async fn load(&self, _key: &Key, id: &str) -> Result<Loaded, OriginError> {
        let rows = self.query(id).await?;
        self.read(id, &rows)
    }

    fn roll(&self) -> Option<&dyn Roll> {
        Some(self)
    }

    /// One transaction with one snapshot.
    async fn load_many(&self, asks: &[Ask<'_>]) -> Result<LoadedMany, OriginError> {
        let ours = asks.iter().map(|ask| {
            let origin: &dyn Any = ask.origin;
            let origin = origin.downcast_ref::<Self>();
            origin.filter(|other| Arc::ptr_eq(&other.pool.same, &self.pool.same))
        });
        let Some(ours) = ours.collect::<Option<Vec<_>>>() else {
            return Ok(side_by_side(asks).await);
        };
        let lent = Lent(Some(self.pool.pool.get().await.map_err(|err| unavailable(&err))?));
        let questions: Vec<_> =
            ours.iter().zip(asks).map(|(origin, ask)| (&*origin.load, AsText(ask.id))).collect();
        let (_, answers) = in_one_snapshot(lent, None, &questions).await?;
        let items = asks.iter().zip(ours).zip(answers).map(|((ask, origin), rows)| match rows {
            Ok(rows) => origin.read(ask.id, &rows),
            Err(err) => Err(classify(&err)),
        });
        Ok(LoadedMany { items: items.collect(), one_snapshot: true })
    }
}

/// Statements (each with its id) that one snapshot answers; `first` is answered before it is taken. All
/// of it is sent before the first answer is waited for. A statement that fails leaves the others be: a
/// savepoint stands before each.
async fn in_one_snapshot(
    lent: Lent,
    first: Option<&Statement>,
    questions: &[(&str, AsText<'_>)],
) -> Result<(Option<Rows>, Vec<Rows>), OriginError> {
    let client = lent.client();
    let mut statements = Vec::with_capacity(questions.len());
    for (sql, _) in questions {
        statements.push(client.prepare_cached(sql).await.map_err(|err| classify(&err))?);
    }
    let begin = "begin isolation level repeatable read read only; savepoint item";
    let mut steps: Vec<Step<'_>> =
        first.map(|first| query(client, first, None)).into_iter().collect();
    steps.push(command(client, begin));
    for (statement, (_, id)) in statements.iter().zip(questions) {
        steps.push(query(client, statement, Some(id)));
        steps.push(command(client, "rollback to savepoint item"));
    }
    steps.push(command(client, "rollback"));
    let mut answers = together(steps).await.into_iter();
    let first = first.and_then(|_| answers.next());
    let mut items = Vec::with_capacity(questions.len());
    if let Some(Err(err)) = answers.next() {
        return Err(classify(&err));
    }
    for _ in questions {
        items.push(answers.next().unwrap_or_else(|| Ok(Vec::new())));
        if let Some(Err(err)) = answers.next() {
            return Err(classify(&err));
        }
    }
    if let Some(Ok(_)) = answers.next() {
        lent.give_back();
    }
    Ok((first, items))
}

type Rows = Result<Vec<tokio_postgres::Row>, tokio_postgres::Error>;
type Step<'a> = Pin<Box<dyn Future<Output = Rows> + Send + 'a>>;

fn command<'a>(client: &'a Object, sql: &'a str) -> Step<'a> {
    Box::pin(async move { client.batch_execute(sql).await.map(|()| Vec::new()) })
}

fn query<'a>(client: &'a Object, statement: &'a Statement, id: Option<&'a AsText<'a>>) -> Step<'a> {
    Box::pin(async move {
        match id {
            Some(id) => client.query(statement, &[id, id]).await,
            None => client.query(statement, &[]).await,
        }
    })
}

/// A connection that goes back to its pool only when its transaction is known to have ended.
struct Lent(Option<Object>);

impl Lent {
    fn client(&self) -> &Object {
        self.0.as_ref().expect("it is given back last")
    }

    fn give_back(mut self) {
        self.0 = None;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

fn row_from_json(json: &str) -> Result<Row, serde_json::Error> {
    let columns: BTreeMap<String, Option<String>> = serde_json::from_str(json)?;
    Ok(columns
        .into_iter()
        .map(|(column, text)| (column, text.map_or(Cell::Null, Cell::Text)))
        .collect())
}

/// A parameter sent as text, so that the server reads it as whatever type the statement needs.
#[derive(Debug)]
struct AsText<'a>(&'a str);

impl ToSql for AsText<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.to_sql(ty, out)
    }
}

fn unavailable(err: &deadpool_postgres::PoolError) -> OriginError {
    match err {
        deadpool_postgres::PoolError::Timeout(_) => OriginError {
            kind: OriginErrorKind::Timeout,
            message: "no connection to the database became free in time".into(),
        },
        deadpool_postgres::PoolError::Backend(err) => classify(err),
        other => OriginError { kind: OriginErrorKind::Unavailable, message: other.to_string() },
    }
}

/// SQLSTATE class → what a caller can do about it.
fn classify(err: &tokio_postgres::Error) -> OriginError {
    let Some(db) = err.as_db_error() else {
        return OriginError {
            kind: OriginErrorKind::Unavailable,
            message: format!("the database can't be reached: {err}"),
        };
    };
    let state = db.code();
    let kind = match &state.code()[..2] {
        _ if *state == SqlState::QUERY_CANCELED => OriginErrorKind::Timeout,
        // Data exception: such as a letter where the key is a number.
        "22" => OriginErrorKind::BadRequest,
        // Connection exception, insufficient resources, operator intervention, system error.
        "08" | "53" | "57" | "58" => OriginErrorKind::Unavailable,
        _ => OriginErrorKind::Broken,
    };
    OriginError { kind, message: format!("{} (SQLSTATE {})", db.message(), state.code()) }
}
