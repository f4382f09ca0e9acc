//! The loads of one contract from the primary.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;
use coherence::bound::ServerLog;
use contract::{Contract, Item, Key, SqlDialect};
use database::postgres::{ColumnType, PooledConnection, SessionId};
use database::quoting::identifier;
use parking_lot::RwLock;
use tokio_postgres::types::Type;

use super::column::{NameColumns, check_joined, typed_parameter};
use super::key_scan::{TablePages, TableScan};
use super::pool::{PostgresPool, log_of, origin_error, table_identifier};
use super::query::{AsText, LOG_END, Parameters, in_one_snapshot};
use super::reader::{ReadRow, RowReader, id_text};
use super::timed_changes::TimedChanges;
use crate::origin::error::{OriginError, OriginErrorKind};
use crate::origin::key_scan::KeyScan;
use crate::origin::load::{LoadItem, Loaded, LoadedMany, Origin, load_separately};
use crate::origin::row::{loaded_rows, needs_each_row, row_limit, source};
use crate::origin::sql::{ValueStatement, item, not_loadable};

/// Loads the values of one contract. Every load is one statement, so all of it is from one snapshot.
pub struct PostgresOrigin {
    contract: Contract,
    pool: PostgresPool,
    pub(super) statements: Arc<PreparedStatements>,
    scan: TableScan,
    pub(super) standbys: Vec<Arc<dyn Origin>>,
}

/// The session that answers a load, and the log that its server writes.
#[derive(Clone, Copy)]
struct Answerer {
    session: SessionId,
    log: Option<ServerLog>,
}

impl Answerer {
    fn of(connection: &PooledConnection) -> Self {
        Self { session: connection.id(), log: log_of(connection) }
    }
}

/// The statements that fit the database at present; or why there are none.
pub(super) struct PreparedStatements(RwLock<Result<Arc<Statements>, OriginError>>);

impl PreparedStatements {
    pub(super) fn get(&self) -> Result<Arc<Statements>, OriginError> {
        self.0.read().clone()
    }
}

/// The statements of one contract.
pub(super) struct Statements {
    pub(super) reader: RowReader,
    /// The load before and after its last column, the server's report on itself.
    parts: [String; 2],
    load: String,
    value: ValueStatement,
    pages: Arc<TablePages>,
}

impl Statements {
    /// Returns the parameters of a load: those of the value's statement, the id and the variants; and those in the
    /// types of the columns of the table.
    pub(super) fn parameters<'i>(&self, item: &'i Item<'_>) -> Parameters<'i> {
        let of_value = [&*item.id].into_iter().chain(self.value.values(item));
        let of_table = self.reader.of_table(item);
        Parameters(of_value.chain(of_table).map(AsText).collect())
    }

    /// Returns the load with `report` as the server's report on itself.
    pub(super) fn with_report(&self, report: &str) -> String {
        self.parts.join(report)
    }
}

impl PostgresOrigin {
    /// Reads the types of the columns from the catalogue and builds the statement.
    ///
    /// # Errors
    /// The database can't be reached, or the contract does not fit it: no such table or column, or a column
    /// of its key or tags whose values have no one text.
    pub async fn prepare(contract: Contract, pool: PostgresPool) -> Result<Self, OriginError> {
        let statements = Statements::prepare(&contract, &pool).await?;
        let scan = TableScan::new(pool.clone(), Arc::clone(&statements.pages));
        let statements = Arc::new(PreparedStatements(RwLock::new(Ok(Arc::new(statements)))));
        Ok(Self { contract, pool, statements, scan, standbys: Vec::new() })
    }
}

impl Statements {
    async fn prepare(contract: &Contract, pool: &PostgresPool) -> Result<Self, OriginError> {
        let (Some(value), Some(from)) = (contract.value.clone(), contract.from.clone()) else {
            return Err(not_loadable(contract));
        };
        let table = table_identifier(&from.table);
        let client = pool.connection().await?;
        let columns = NameColumns::read(&client, contract, &table).await?;
        check_joined(&client, contract).await?;
        let value = ValueStatement::new(contract, &value, SqlDialect::Postgres)?;
        let changes = TimedChanges::prepare(&client, contract, &value).await?;
        let parts = load_parts(contract, &table, &columns, (&value, changes.as_ref()));
        let load = parts.join(LOG_END);
        let prepared = client.prepare_cached(&load).await.map_err(|err| {
            let OriginError { kind, message } = origin_error(&err);
            match kind {
                OriginErrorKind::Broken | OriginErrorKind::BadRequest => {
                    OriginError::broken(format!(
                        "contract {}: its `value` is refused by the database: {message}",
                        contract.name
                    ))
                }
                kind => OriginError { kind, message },
            }
        })?;
        check_variants(contract, &value, prepared.params())?;
        let pages = Arc::new(TablePages::new(&table, &from.key, columns.key()));
        let reader = RowReader::new(contract.clone(), &columns);
        Ok(Self { reader, parts, load, value, pages })
    }

    fn read(
        &self,
        by: Answerer,
        item: &Item<'_>,
        rows: &[tokio_postgres::Row],
    ) -> Result<Loaded, OriginError> {
        let ReadRow { content, rows, report, change } = self.reader.read(by.session, item, rows)?;
        let seen = report.map(str::parse::<Lsn>).transpose();
        let seen = seen.map_err(|err| OriginError::broken(err.to_string()))?;
        let loaded = loaded_rows(self.reader.contract(), item, content, &rows, seen)?;
        Ok(Loaded { log: by.log, change, ..loaded })
    }
}

/// Returns the SQL of a load before and after the server's report on itself.
fn load_parts(
    contract: &Contract,
    table: &str,
    columns: &NameColumns,
    (value, changes): (&ValueStatement, Option<&TimedChanges>),
) -> [String; 2] {
    let sql = value.sql(|number| format!("${}", number + 1));
    // After the parameters of the value, those of the table, in the types of their columns.
    let typed = || (value.variants().len() + 2..).zip(columns.of_item(contract));
    let item: Vec<String> = typed().map(|(number, column)| id_text(column, number)).collect();
    let condition = |(number, column): (usize, &ColumnType)| {
        format!("{} = {}", identifier(&column.column), typed_parameter(column, number))
    };
    let conditions: Vec<String> = typed().map(condition).collect();
    let (item, conditions) = (item.join(", "), conditions.join(" and "));
    let texts = columns.texts();
    // All rows of a list as one text; for one row an array is less work for the server.
    let rows = match needs_each_row(contract) {
        true => format!(
            "select json_agg(x.texts)::text as columns from (select {texts} as texts from {table} \
             where {conditions} limit {}) x",
            row_limit(contract)
        ),
        false => format!("select {texts} as columns from {table} where {conditions} limit 1"),
    };
    // No lateral joins: a column that the contract misspells must not resolve to one of this statement. The
    // line break ends a comment at the end of the contract's statement. `x.*` is the row, also where a column
    // of the value is named `x`.
    let (change, change_table) = match changes {
        None => (String::new(), String::new()),
        Some(changes) => (format!(", {}", TimedChanges::COLUMNS), changes.join()),
    };
    let from = format!(
        ", pg_backend_pid(){change} from (select array[{item}]::text[] as item) k \
         left join (select row_to_json(x.*)::text as value from ({sql}\n) x limit 2) v on true \
         left join ({rows}) t on true{change_table}"
    );
    ["select k.item, v.value, t.columns, ".to_owned(), from]
}

/// Checks the types of the variants that are no columns of the table. Else a reader's text could be one that the type
/// refuses, which would look like a broken origin.
fn check_variants(
    contract: &Contract,
    value: &ValueStatement,
    parameters: &[Type],
) -> Result<(), OriginError> {
    let columns = contract.from.iter().flat_map(|from| &from.variants);
    let names = contract.key.variants();
    let of_columns: Vec<&str> = names.into_iter().zip(columns).map(|(name, _)| name).collect();
    for (variant, kind) in value.variants().iter().zip(parameters.iter().skip(1)) {
        let is_text = [Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::NAME].contains(kind);
        if !is_text && !of_columns.contains(&variant.as_str()) {
            return Err(OriginError::broken(format!(
                "contract {}: `${variant}` in `value` is compared as {kind}; compare texts, such as \
                 `{variant}::text = ${variant}`",
                contract.name
            )));
        }
    }
    Ok(())
}

#[async_trait]
impl Origin for PostgresOrigin {
    fn name(&self) -> &str {
        source(&self.contract)
    }

    fn standbys(&self) -> &[Arc<dyn Origin>] {
        &self.standbys
    }

    async fn load(&self, _key: &Key, id: &str) -> Result<Loaded, OriginError> {
        let statements = self.statements.get()?;
        let item = item(&self.contract, id)?;
        let (by, rows) = {
            let client = self.pool.connection().await?;
            let statement =
                client.prepare_cached(&statements.load).await.map_err(|err| origin_error(&err))?;
            let parameters = statements.parameters(&item);
            (Answerer::of(&client), client.query(&statement, &parameters.as_sql()).await)
        };
        match rows {
            Ok(rows) => statements.read(by, &item, &rows),
            Err(err) => Err(statements.reader.failure(&self.pool, &item, &err).await),
        }
    }

    /// On new connections: open ones keep the settings that they began with, and the types of their prepared
    /// statements.
    async fn prepare_again(&self, schema: u64) -> Result<(), OriginError> {
        self.pool.renew(schema);
        for standby in &self.standbys {
            standby.prepare_again(schema).await?;
        }
        let prepared = Statements::prepare(&self.contract, &self.pool).await;
        match prepared {
            Ok(statements) => {
                self.scan.replace(Arc::clone(&statements.pages));
                *self.statements.0.write() = Ok(Arc::new(statements));
                Ok(())
            }
            Err(err) => {
                if err.kind == OriginErrorKind::Broken {
                    *self.statements.0.write() = Err(err.clone());
                }
                Err(err)
            }
        }
    }

    fn key_scan(&self) -> Option<&dyn KeyScan> {
        Some(&self.scan)
    }

    /// One transaction with one snapshot.
    async fn load_many(&self, items: &[LoadItem<'_>]) -> Result<LoadedMany, OriginError> {
        let same_pool = items.iter().map(|item| {
            let origin: &dyn Any = item.origin;
            let origin = origin.downcast_ref::<Self>();
            origin.filter(|other| other.pool.is_same(&self.pool))
        });
        let Some(origins) = same_pool.collect::<Option<Vec<_>>>() else {
            return Ok(load_separately(items).await);
        };
        let statements = origins.iter().map(|origin| origin.statements.get());
        let Ok(statements) = statements.collect::<Result<Vec<_>, _>>() else {
            return Ok(load_separately(items).await);
        };
        let named =
            origins.iter().zip(items).map(|(origin, named)| item(&origin.contract, named.id));
        let Ok(named) = named.collect::<Result<Vec<_>, _>>() else {
            return Ok(load_separately(items).await);
        };
        let connection = self.pool.borrow().await?;
        let queries: Vec<_> = statements
            .iter()
            .zip(&named)
            .map(|(statements, item)| (&*statements.load, statements.parameters(item)))
            .collect();
        let by = Answerer::of(connection.client());
        let (_, answers) = in_one_snapshot(connection, None, &queries).await?;
        let mut loaded = Vec::with_capacity(items.len());
        for ((item, statements), rows) in named.iter().zip(&statements).zip(answers) {
            loaded.push(match rows {
                Ok(rows) => statements.read(by, item, &rows),
                Err(err) => Err(statements.reader.failure(&self.pool, item, &err).await),
            });
        }
        Ok(LoadedMany { items: loaded, one_snapshot: true })
    }
}
