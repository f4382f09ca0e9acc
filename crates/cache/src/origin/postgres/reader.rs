//! The rows of a load.

use bytes::Bytes;
use contract::{Cell, Contract, Item, JsonForm, Row};
use database::postgres::{ColumnType, SessionId};
use tokio_postgres::error::SqlState;

use super::column::{NameColumns, canonical, form, logged_text, typed_parameter};
use super::pool::{PostgresPool, column_error, origin_error};
use super::query::{AsText, Parameters};
use super::timed_changes::TimedChanges;
use crate::entry::{Content, Value};
use crate::origin::error::{OriginError, OriginErrorKind};
use crate::origin::load::TimedChange;
use crate::origin::row::needs_each_row;
use crate::origin::sql::more_than_one_row;

/// Reads the rows of one contract's loads. Their columns are the id, the value, the [texts](NameColumns::texts) of
/// the columns of its names, the server's report on itself, the session's process, and those of [`TimedChanges`] if the
/// contract has them.
pub(super) struct RowReader {
    contract: Contract,
    /// The columns of its names, with the forms of their texts.
    forms: Vec<(String, Option<JsonForm>)>,
    /// The names and forms of the columns of the item: the id, and the variants that are columns.
    item: Vec<(String, Option<JsonForm>)>,
    /// A statement that fails if one of its parameters is no value of its column.
    check: String,
    /// Whether the load returns all rows of the table.
    each_row: bool,
}

/// The row of a load.
pub(super) struct ReadRow<'a> {
    pub(super) content: Content,
    /// The columns of its names in each row, in canonical texts.
    pub(super) rows: Vec<Row>,
    pub(super) report: Option<&'a str>,
    pub(super) change: Option<TimedChange>,
}

impl RowReader {
    pub(super) fn new(contract: Contract, columns: &NameColumns) -> Self {
        let item = || columns.of_item(&contract);
        let texts = (1..).zip(item()).map(|(number, column)| id_text(column, number));
        let check = format!("select {}", texts.collect::<Vec<_>>().join(", "));
        let item = item().map(|column| (column.column.clone(), form(column))).collect();
        let each_row = needs_each_row(&contract);
        Self { contract, forms: columns.forms(), item, check, each_row }
    }

    /// Returns the values of the columns of an item: its id, and the variants that are columns.
    pub(super) fn of_table<'i>(&self, item: &'i Item<'_>) -> impl Iterator<Item = &'i str> {
        let variants = item.variants.iter().map(|(_, value)| value.as_str());
        [&*item.id].into_iter().chain(variants).take(self.item.len())
    }

    pub(super) fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Reads the rows that a statement returned in `session` for `item`.
    ///
    /// # Errors
    /// The id is written in another way, or the rows are not those of the statement.
    pub(super) fn read<'a>(
        &self,
        session: SessionId,
        item: &Item<'_>,
        rows: &'a [tokio_postgres::Row],
    ) -> Result<ReadRow<'a>, OriginError> {
        let first =
            rows.first().ok_or_else(|| OriginError::broken("the statement returned nothing"))?;
        // First: another session may know another statement under this name.
        session.check(first.try_get(4).map_err(|err| column_error(&err))?)?;
        let written: Vec<&str> = first.try_get(0).map_err(|err| column_error(&err))?;
        for (((column, form), written), given) in
            self.item.iter().zip(written).zip(self.of_table(item))
        {
            let written = canonical(*form, written);
            if written != given {
                let name = if *column == self.item[0].0 { "id" } else { column };
                return Err(OriginError::bad_request(format!("write the {name} as {written:?}")));
            }
        }
        if rows.len() > 1 {
            return Err(more_than_one_row(&self.contract));
        }
        let value: Option<String> = first.try_get(1).map_err(|err| column_error(&err))?;
        let content = match value {
            Some(json) => Content::Present(Value { head: Bytes::new(), body: Bytes::from(json) }),
            None => Content::Absent,
        };
        let rows = match self.each_row {
            true => {
                let json: Option<&str> = first.try_get(2).map_err(|err| column_error(&err))?;
                let rows = serde_json::from_str::<Option<Vec<Vec<Option<String>>>>>(
                    json.unwrap_or("null"),
                );
                rows.map_err(|err| OriginError::broken(err.to_string()))?.unwrap_or_default()
            }
            false => {
                let row: Option<Vec<Option<String>>> =
                    first.try_get(2).map_err(|err| column_error(&err))?;
                row.into_iter().collect()
            }
        };
        let rows = rows.iter().map(|texts| self.columns(texts)).collect::<Result<_, _>>()?;
        let report = first.try_get(3).map_err(|err| column_error(&err))?;
        let change = match self.contract.changes_at {
            Some(_) => TimedChanges::read(first, 5)?,
            None => None,
        };
        Ok(ReadRow { content, rows, report, change })
    }

    fn columns(&self, texts: &[Option<String>]) -> Result<Row, OriginError> {
        if texts.len() != self.forms.len() {
            return Err(OriginError::broken("the statement returned other columns than it names"));
        }
        let cell = |form, text: &Option<String>| match text {
            Some(text) => Cell::Text(canonical(form, text).to_owned()),
            None => Cell::Null,
        };
        let columns = self.forms.iter().zip(texts);
        Ok(columns.map(|((name, form), text)| (name.as_str(), cell(*form, text))).collect())
    }

    /// Returns the error of a load of `item` that the server rejected with `err`. The item is at fault only if the
    /// server rejects it alone, too: a data exception may as well come from the rows.
    pub(super) async fn failure(
        &self,
        pool: &PostgresPool,
        item: &Item<'_>,
        err: &tokio_postgres::Error,
    ) -> OriginError {
        let failure = origin_error(err);
        if !is_data_exception(err) {
            return failure;
        }
        let Ok(client) = pool.connection().await else { return failure };
        let Ok(statement) = client.prepare_cached(&self.check).await else { return failure };
        let parameters = Parameters(self.of_table(item).map(AsText).collect());
        match client.query(&statement, &parameters.as_sql()).await {
            Err(of_id) if is_data_exception(&of_id) => {
                OriginError { kind: OriginErrorKind::BadRequest, ..origin_error(&of_id) }
            }
            // The row is at fault, or nothing is known about the item.
            Ok(_) | Err(_) => failure,
        }
    }
}

/// Returns SQL for the text of an id or variant, which is a text parameter.
pub(super) fn id_text(key: &ColumnType, number: usize) -> String {
    logged_text(&typed_parameter(key, number), key)
}

fn is_data_exception(err: &tokio_postgres::Error) -> bool {
    err.code().map(SqlState::code).is_some_and(|code| code.starts_with("22"))
}
