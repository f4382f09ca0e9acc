//! Checks of a database before it is followed through Debezium.

use super::options::DebeziumOptions;
use crate::error::{FeedError, SetupIssue};
use crate::mariadb::connection::{connect, connect_config};
use crate::mariadb::prepare::prepare_on;

/// Checks that the database can be followed through Debezium, as far as that is known before
/// Debezium runs. Returns warnings.
///
/// # Errors
/// [`FeedError::Setup`] with every issue and the statements that resolve it, or
/// [`FeedError::Unavailable`].
pub async fn prepare(options: &DebeziumOptions) -> Result<Vec<SetupIssue>, FeedError> {
    let config = connect_config(&options.log.url);
    let connection = connect(&config).await?;
    prepare_on(&connection, &config, &options.log).await
}
