//! Checks of a database before it is followed through Debezium.

use super::options::DebeziumOptions;
use super::value::ValueKind;
use crate::error::{FeedError, SetupIssue};
use crate::postgres::catalog;
use crate::postgres::connection::{connect, connect_config};
use crate::postgres::prepare::check_relayed;

/// Checks that the database can be followed through Debezium, as far as that is known before
/// Debezium runs. Returns warnings.
///
/// # Errors
/// [`FeedError::Setup`] with every issue and the statements that resolve it, or
/// [`FeedError::Unavailable`].
pub async fn prepare(options: &DebeziumOptions) -> Result<Vec<SetupIssue>, FeedError> {
    let config = connect_config(&options.url);
    let connection = connect(&config).await?;
    let mut warnings = check_relayed(&connection, &config, &options.log_options()).await?;
    for (table, columns) in &options.key_and_tag_columns {
        let types = catalog::types(&connection, table, columns).await?;
        let supported = |column: &&String| types.get(*column).and_then(ValueKind::of).is_some();
        for column in columns.iter().filter(|column| !supported(column)) {
            let description = format!(
                "Keys or tags use `{table}.{column}`, whose values Debezium writes in another form \
                 than the database: each change of a row counts as a change of its whole table."
            );
            let remedy = ["-- use a number, a text, a date or a boolean instead".to_owned()];
            warnings.push(SetupIssue::new(description, remedy));
        }
    }
    Ok(warnings)
}
