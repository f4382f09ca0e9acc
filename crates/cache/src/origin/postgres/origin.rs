//! The loads of one contract from the primary.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;
use contract::{Contract, Key};
use database::quoting::identifier;
use parking_lot::RwLock;

use super::key_scan::{TablePages, TableScan};
use super::pool::{PostgresPool, origin_error, table_name};
use super::query::{AsText, LOG_END, in_one_snapshot, read_row};
use crate::origin::error::{OriginError, OriginErrorKind};
use crate::origin::key_scan::KeyScan;
use crate::origin::load::{LoadItem, Loaded, LoadedMany, Origin, load_separately};
use crate::origin::row::{loaded_row, source};
use crate::origin::sql::{no_such_table, not_loadable, numbered_statement};

/// Key types whose equal values have one text form.
const CANONICAL: [&str; 6] = ["smallint", "integer", "bigint", "uuid", "text", "character varying"];

/// Loads the values of one contract. Every load is one statement, so all of it is from one snapshot.
pub struct PostgresOrigin {
    pub(super) contract: Contract,
    pool: PostgresPool,
    pub(super) statements: Arc<PreparedStatements>,
    scan: TableScan,
    pub(super) standbys: Vec<Arc<dyn Origin>>,
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
    /// The load before and after its last column, the server's report on itself.
    parts: [String; 2],
    load: String,
    pages: Arc<TablePages>,
}

impl Statements {
    /// Returns the load with `report` as the server's report on itself.
    pub(super) fn with_report(&self, report: &str) -> String {
        self.parts.join(report)
    }
}

impl PostgresOrigin {
    /// Reads the key column's type from the catalogue and builds the statement.
    ///
    /// # Errors
    /// The database can't be reached, or the contract does not fit it: no such table or column, or a key
    /// column whose values can be written in several ways.
    pub async fn prepare(contract: Contract, pool: PostgresPool) -> Result<Self, OriginError> {
        let statements = Statements::prepare(&contract, &pool).await?;
        let scan = TableScan::new(pool.clone(), Arc::clone(&statements.pages));
        let statements = Arc::new(PreparedStatements(RwLock::new(Ok(Arc::new(statements)))));
        Ok(Self { contract, pool, statements, scan, standbys: Vec::new() })
    }

    fn read(&self, id: &str, rows: &[tokio_postgres::Row]) -> Result<Loaded, OriginError> {
        let (content, columns, end) = read_row(&self.contract, id, rows)?;
        let seen = end.map(str::parse::<Lsn>).transpose();
        let seen = seen.map_err(|err| OriginError::broken(err.to_string()))?;
        loaded_row(&self.contract, id, content, &columns, seen)
    }

    async fn query(&self, id: &str) -> Result<Vec<tokio_postgres::Row>, OriginError> {
        let statements = self.statements.get()?;
        let client = self.pool.connection().await?;
        let statement =
            client.prepare_cached(&statements.load).await.map_err(|err| origin_error(&err))?;
        let id = AsText(id);
        client.query(&statement, &[&id, &id]).await.map_err(|err| origin_error(&err))
    }
}

impl Statements {
    async fn prepare(contract: &Contract, pool: &PostgresPool) -> Result<Self, OriginError> {
        let (Some(value), Some(from)) = (contract.value.clone(), contract.from.clone()) else {
            return Err(not_loadable(contract));
        };
        let table = table_name(&from.table);
        let client = pool.connection().await?;
        let key_type = client
            .query_opt(
                "select format_type(a.atttypid, null) from pg_attribute a \
                 where a.attrelid = to_regclass($1) and a.attname = $2 and not a.attisdropped",
                &[&table, &from.key],
            )
            .await
            .map_err(|err| origin_error(&err))?
            .map(|row| row.get::<_, String>(0))
            .ok_or_else(|| no_such_table(&contract.name, &from.table, &from.key))?;
        if !CANONICAL.contains(&key_type.as_str()) {
            return Err(OriginError::broken(format!(
                "contract {}: {}.{} is of type {key_type}; equal values of that type can be written \
                 in several ways, so one row could be stored under several keys. Use a key column of \
                 type {}",
                contract.name,
                from.table,
                from.key,
                CANONICAL.join(", "),
            )));
        }
        // As text, the form in which the log contains them.
        let as_text = |column: &str| format!("{0}::text as {0}", identifier(column));
        let columns: Vec<String> = contract.load_columns().into_iter().map(as_text).collect();
        let (columns, key) = (columns.join(", "), identifier(&from.key));
        let value = numbered_statement(contract, &value)?;
        // No lateral joins: a column that the contract misspells must not resolve to one of this statement.
        // The line break ends a comment at the end of the contract's statement.
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
        let pages = Arc::new(TablePages::new(&table, &from.key, &key, &key_type));
        Ok(Self { parts, load, pages })
    }
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
        let rows = self.query(id).await?;
        self.read(id, &rows)
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
        let connection = self.pool.borrow().await?;
        let queries: Vec<_> = statements
            .iter()
            .zip(items)
            .map(|(statements, item)| (&*statements.load, AsText(item.id)))
            .collect();
        let (_, answers) = in_one_snapshot(connection, None, &queries).await?;
        let items =
            items.iter().zip(origins).zip(answers).map(|((item, origin), rows)| match rows {
                Ok(rows) => origin.read(item.id, &rows),
                Err(err) => Err(origin_error(&err)),
            });
        Ok(LoadedMany { items: items.collect(), one_snapshot: true })
    }
}
