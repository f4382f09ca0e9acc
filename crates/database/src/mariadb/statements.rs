//! Several statements in one packet.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn, Row, Value};

use super::error::driver_error;
use crate::error::DatabaseError;

/// The result of one statement.
#[derive(Debug)]
pub struct ResultSet {
    /// The columns; none for a statement that returns no rows.
    pub columns: Arc<[Column]>,
    /// The rows. The protocol of texts sends every value as text.
    pub rows: Vec<Vec<Value>>,
}

/// Runs statements in one round trip and returns the result of each. The server runs none after one that
/// fails.
///
/// # Errors
/// A statement failed, or a text holds another number of statements than one.
pub(super) async fn run(
    conn: &mut Conn,
    operation: &'static str,
    statements: &[impl AsRef<str> + Sync],
) -> Result<Vec<ResultSet>, Failed> {
    let texts: Vec<&str> = statements.iter().map(AsRef::as_ref).collect();
    let results = result_sets(conn, &texts.join(";\n")).await;
    let results = results
        .map_err(|err| Failed { is_fatal: err.is_fatal(), error: driver_error(operation, err) })?;
    if results.len() == statements.len() {
        return Ok(results);
    }
    let problem = format!("{} results for {} statements", results.len(), statements.len());
    Err(Failed { is_fatal: false, error: DatabaseError::unexpected(operation, problem) })
}

/// A failure, and whether the connection is lost with it.
pub(super) struct Failed {
    pub(super) is_fatal: bool,
    pub(super) error: DatabaseError,
}

async fn result_sets(conn: &mut Conn, sql: &str) -> Result<Vec<ResultSet>, mysql_async::Error> {
    let mut result = conn.query_iter(sql).await?;
    let mut results = Vec::new();
    while let Some(columns) = result.columns() {
        let rows: Vec<Row> = result.collect().await?;
        results.push(ResultSet { columns, rows: rows.into_iter().map(Row::unwrap).collect() });
    }
    // If the server sent an error in place of a later statement's result, the loop has ended as if there were
    // no more statements; the driver returns the error only here.
    result.drop_result().await?;
    Ok(results)
}
