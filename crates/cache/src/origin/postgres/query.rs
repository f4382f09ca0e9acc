//! Statements with text parameters, alone or several in one snapshot.

use std::pin::Pin;

use bytes::BytesMut;
use database::postgres::{BorrowedConnection, PooledConnection};
use futures_util::future::join_all;
use tokio_postgres::Statement;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use super::pool::origin_error;
use crate::origin::error::OriginError;

/// A column for the end of the log. The load itself reads it: the snapshot is taken before any part of the
/// statement is executed, and the log contains every commit that a snapshot shows. A standby can't tell.
pub(super) const LOG_END: &str = "case when pg_is_in_recovery() then null \
                                  else pg_current_wal_insert_lsn()::text end";

/// The rows of a statement.
pub(super) type Rows = Result<Vec<tokio_postgres::Row>, tokio_postgres::Error>;
type Step<'a> = Pin<Box<dyn Future<Output = Rows> + Send + 'a>>;

/// Runs statements, each with its parameters, in one snapshot. `first` runs before the snapshot is taken. All
/// statements are sent before the first answer is awaited. A savepoint before each statement keeps the
/// failure of one from the others.
pub(super) async fn in_one_snapshot(
    connection: BorrowedConnection,
    first: Option<&Statement>,
    queries: &[(&str, Parameters<'_>)],
) -> Result<(Option<Rows>, Vec<Rows>), OriginError> {
    let client = connection.client();
    let mut statements = Vec::with_capacity(queries.len());
    for (sql, _) in queries {
        statements.push(client.prepare_cached(sql).await.map_err(|err| origin_error(&err))?);
    }
    let begin = "begin isolation level repeatable read read only; savepoint item";
    let mut steps: Vec<Step<'_>> =
        first.map(|first| query(client, first, None)).into_iter().collect();
    steps.push(command(client, begin));
    for (statement, (_, parameters)) in statements.iter().zip(queries) {
        steps.push(query(client, statement, Some(parameters)));
        steps.push(command(client, "rollback to savepoint item"));
    }
    steps.push(command(client, "rollback"));
    let mut answers = join_all(steps).await.into_iter();
    let first = first.and_then(|_| answers.next());
    let mut items = Vec::with_capacity(queries.len());
    if let Some(Err(err)) = answers.next() {
        return Err(origin_error(&err));
    }
    for _ in queries {
        let missing = || OriginError::broken("a statement has no result");
        items.push(answers.next().ok_or_else(missing)?);
        if let Some(Err(err)) = answers.next() {
            return Err(origin_error(&err));
        }
    }
    if let Some(Ok(_)) = answers.next() {
        connection.release();
    }
    Ok((first, items))
}

fn command<'a>(client: &'a PooledConnection, sql: &'a str) -> Step<'a> {
    Box::pin(async move { client.batch_execute(sql).await.map(|()| Vec::new()) })
}

/// Runs a prepared statement.
pub(super) fn query<'a>(
    client: &'a PooledConnection,
    statement: &'a Statement,
    parameters: Option<&'a Parameters<'a>>,
) -> Step<'a> {
    Box::pin(async move {
        match parameters {
            Some(parameters) => client.query(statement, &parameters.as_sql()).await,
            None => client.query(statement, &[]).await,
        }
    })
}

/// The parameters of a load: the id twice, and the values of variants.
pub(super) struct Parameters<'a>(pub(super) Vec<AsText<'a>>);

impl Parameters<'_> {
    pub(super) fn as_sql(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.0.iter().map(|text| text as &(dyn ToSql + Sync)).collect()
    }
}

/// A parameter that is sent as text, so that the server parses it as the type that the statement needs.
#[derive(Debug)]
pub(super) struct AsText<'a>(pub(super) &'a str);

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
