//! The rows of a load.

use bytes::Bytes;
use contract::{Cell, Contract, JsonForm, Row};
use database::postgres::{ColumnType, SessionId};
use tokio_postgres::error::SqlState;

use super::column::{NameColumns, canonical, form, logged_text, typed_parameter};
use super::pool::{PostgresPool, column_error, origin_error};
use super::query::AsText;
use crate::entry::{Content, Value};
use crate::origin::error::{OriginError, OriginErrorKind};
use crate::origin::row::absent_row;
use crate::origin::sql::more_than_one_row;

/// Reads the rows of one contract's loads. Their columns are the id, the value, the [texts](NameColumns::texts) of
/// the columns of its names, the server's report on itself, and the session's process.
pub(super) struct RowReader {
    contract: Contract,
    /// The columns of its names, with the forms of their texts.
    forms: Vec<(String, Option<JsonForm>)>,
    key_form: Option<JsonForm>,
    /// A statement that fails if its parameter is no id.
    check: String,
}

/// The row of a load.
pub(super) struct ReadRow<'a> {
    pub(super) content: Content,
    /// The columns of its names, in canonical texts.
    pub(super) columns: Row,
    pub(super) report: Option<&'a str>,
}

impl RowReader {
    pub(super) fn new(contract: Contract, columns: &NameColumns) -> Self {
        let key = columns.key();
        let check = format!("select {}", id_text(key, 1));
        Self { contract, forms: columns.forms(), key_form: form(key), check }
    }

    pub(super) fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Reads the rows that a statement returned in `session` for `id`.
    ///
    /// # Errors
    /// The id is written in another way, or the rows are not those of the statement.
    pub(super) fn read<'a>(
        &self,
        session: SessionId,
        id: &str,
        rows: &'a [tokio_postgres::Row],
    ) -> Result<ReadRow<'a>, OriginError> {
        let first =
            rows.first().ok_or_else(|| OriginError::broken("the statement returned nothing"))?;
        // First: another session may know another statement under this name.
        session.check(first.try_get(4).map_err(|err| column_error(&err))?)?;
        let written: &str = first.try_get(0).map_err(|err| column_error(&err))?;
        let written = canonical(self.key_form, written);
        if written != id {
            return Err(OriginError::bad_request(format!("write the id as {written:?}")));
        }
        if rows.len() > 1 {
            return Err(more_than_one_row(&self.contract));
        }
        let value: Option<String> = first.try_get(1).map_err(|err| column_error(&err))?;
        let content = match value {
            Some(json) => Content::Present(Value { head: Bytes::new(), body: Bytes::from(json) }),
            None => Content::Absent,
        };
        let texts: Option<Vec<Option<&str>>> =
            first.try_get(2).map_err(|err| column_error(&err))?;
        let columns = match texts {
            Some(texts) => self.columns(&texts)?,
            None => absent_row(&self.contract, id),
        };
        Ok(ReadRow {
            content,
            columns,
            report: first.try_get(3).map_err(|err| column_error(&err))?,
        })
    }

    fn columns(&self, texts: &[Option<&str>]) -> Result<Row, OriginError> {
        if texts.len() != self.forms.len() {
            return Err(OriginError::broken("the statement returned other columns than it names"));
        }
        let cell = |form, text: &Option<&str>| match text {
            Some(text) => Cell::Text(canonical(form, text).to_owned()),
            None => Cell::Null,
        };
        let columns = self.forms.iter().zip(texts);
        Ok(columns.map(|((name, form), text)| (name.as_str(), cell(*form, text))).collect())
    }

    /// Returns the error of a load of `id` that the server rejected with `err`. The id is at fault only if the
    /// server rejects it alone, too: a data exception may as well come from the rows.
    pub(super) async fn failure(
        &self,
        pool: &PostgresPool,
        id: &str,
        err: &tokio_postgres::Error,
    ) -> OriginError {
        let failure = origin_error(err);
        if !is_data_exception(err) {
            return failure;
        }
        let Ok(client) = pool.connection().await else { return failure };
        let Ok(statement) = client.prepare_cached(&self.check).await else { return failure };
        match client.query(&statement, &[&AsText(id)]).await {
            Err(of_id) if is_data_exception(&of_id) => {
                OriginError { kind: OriginErrorKind::BadRequest, ..origin_error(&of_id) }
            }
            // The row is at fault, or nothing is known about the id.
            Ok(_) | Err(_) => failure,
        }
    }
}

/// Returns SQL for the text of an id, which is a text parameter.
pub(super) fn id_text(key: &ColumnType, number: u32) -> String {
    logged_text(&typed_parameter(key, number), key)
}

fn is_data_exception(err: &tokio_postgres::Error) -> bool {
    err.code().map(SqlState::code).is_some_and(|code| code.starts_with("22"))
}
