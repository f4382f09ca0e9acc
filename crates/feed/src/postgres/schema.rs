//! The definitions that a source's contracts depend on: reading them, and asking for their digest.

use std::sync::Arc;

use coherence::ObjectDigests;
use database::postgres::{ConnectConfig, Connection, PostgresUrl};
use database::quoting::identifier;

use super::connection::{connect, connect_config};
use super::schema_digest::WatchedObjects;
use super::schema_reads::{self, Reads};
use crate::error::{FeedError, SetupError, SetupIssue};
use crate::schema::{Schema, ScopedContract, ScopedTable};

const OPERATION: &str = "reading the schema";

/// The number of times that a schema is read again because it was altered, by the feed itself too, while the
/// setup was checked.
pub(super) const SCHEMA_ATTEMPTS: usize = 5;

/// The contracts whose definitions are followed, and where.
#[derive(Clone)]
pub struct SchemaScope {
    config: ConnectConfig,
    publication: String,
    contracts: Vec<ScopedContract>,
}

/// A schema that was read, and the objects to ask for from now on.
#[derive(Clone, Debug)]
pub(super) struct FollowedSchema {
    pub(super) schema: Arc<Schema>,
    objects: WatchedObjects,
}

impl SchemaScope {
    /// Follows the definitions that `contracts` depend on in the database of `url`.
    #[must_use]
    pub fn new(url: &PostgresUrl, publication: &str, contracts: Vec<ScopedContract>) -> Self {
        Self { config: connect_config(url), publication: publication.to_owned(), contracts }
    }

    /// Reads the schema on a connection of its own, which has the present settings of the role.
    ///
    /// # Errors
    /// [`FeedError::Setup`] if a value can't be analysed, or a name means another table than before.
    pub(super) async fn read(&self) -> Result<FollowedSchema, FeedError> {
        let connection = connect(&self.config).await?;
        // One snapshot for the dependencies and the digests.
        connection.run("begin isolation level repeatable read").await?;
        let read = self.read_on(&connection).await;
        // Its locks would last until the server notices that the connection is closed.
        let ended = connection.run("rollback").await.map_err(FeedError::from);
        read.and_then(|schema| ended.map(|()| schema))
    }

    async fn read_on(&self, connection: &Connection) -> Result<FollowedSchema, FeedError> {
        let Reads { mut objects, dependents, unfollowed, mut issues } =
            schema_reads::read(connection, &self.contracts).await?;
        for contract in &self.contracts {
            issues.extend(check_name(connection, contract).await?);
        }
        if !issues.is_empty() {
            return Err(SetupError { database: self.config.url.name(), issues }.into());
        }
        let version = "select current_setting('server_version_num')::int";
        objects.version = connection.row(OPERATION, version, &[]).await?.get(0);
        objects.publication.clone_from(&self.publication);
        objects.session = self.config.url.options().to_owned();
        let digests = digests(connection, &objects).await?;
        let schema = Schema::new(digests, dependents, unfollowed).with_reads(&self.contracts);
        Ok(FollowedSchema { schema: Arc::new(schema), objects })
    }
}

async fn digests(
    connection: &Connection,
    objects: &WatchedObjects,
) -> Result<ObjectDigests, FeedError> {
    let rows = connection.rows(OPERATION, &objects.objects_sql(), &[]).await?;
    rows.iter().map(|row| Ok((row.get(0), parse_digest(row.get(1))?))).collect()
}

/// Returns an issue if the session would now read another table under a name of the contract.
async fn check_name(
    connection: &Connection,
    contract: &ScopedContract,
) -> Result<Option<SetupIssue>, FeedError> {
    for ScopedTable { name: table, bare_name, .. } in &contract.tables {
        let Some(bare) = bare_name else { continue };
        let followed = schema_reads::relation(connection, &table.quoted()).await?;
        if schema_reads::relation(connection, &identifier(bare)).await? == followed {
            continue;
        }
        let description = format!(
            "Contract `{}` follows `{table}`, but the role's `search_path` no longer leads from `{bare}` to \
             that table, so its value may be read from another one.",
            contract.name
        );
        let remedy = [
            "-- restart the nodes, which then follow the other table;".to_owned(),
            format!("-- or write the schema in the contract: table = \"{table}\""),
        ];
        return Ok(Some(SetupIssue::new(description, remedy)));
    }
    Ok(None)
}

impl FollowedSchema {
    /// Returns the statement for the digest of this schema, if the database still has this schema.
    pub(super) async fn confirm(
        &self,
        connection: &Connection,
    ) -> Result<Option<DigestStatement>, FeedError> {
        let statement = self.prepare(connection, "", "").await?;
        let digest = parse_digest(&statement.execute(OPERATION, connection).await?)?;
        Ok((digest == self.schema.digest()).then_some(statement))
    }

    /// Prepares a statement on `connection` that returns `columns` and the digest, separated by spaces.
    pub(super) async fn prepare(
        &self,
        connection: &Connection,
        columns: &str,
        from: &str,
    ) -> Result<DigestStatement, FeedError> {
        // The session keeps the statements for earlier schemas until it ends.
        let name = format!("tidegate_schema_{:x}", rand::random::<u64>());
        let total = self.objects.total_sql();
        let sql = format!("prepare {name} as select concat_ws(' ', {columns}{total}) {from}");
        connection.run(&sql).await?;
        Ok(DigestStatement(name))
    }
}

/// A prepared statement of one session.
#[derive(Clone)]
pub(super) struct DigestStatement(String);

impl DigestStatement {
    /// Returns the result's text.
    pub(super) async fn execute(
        &self,
        operation: &'static str,
        connection: &Connection,
    ) -> Result<String, FeedError> {
        Ok(connection.text(operation, &format!("execute {}", self.0)).await?)
    }
}

/// Parses a sum of digests, which are 64 bits with a sign. The sum wraps around.
pub(super) fn parse_digest(text: &str) -> Result<u64, FeedError> {
    let sum: i128 =
        text.parse().map_err(|_| FeedError::Malformed(format!("the schema's digest {text:?}")))?;
    Ok(sum as u64)
}

/// The error after [`SCHEMA_ATTEMPTS`].
pub(super) fn keeps_changing() -> FeedError {
    FeedError::unavailable(OPERATION, "it keeps being altered")
}

/// Returns the tables that bare names mean in a session of the role.
///
/// # Errors
/// [`FeedError::Unavailable`].
pub async fn resolve_table(
    url: &PostgresUrl,
    bare_name: &str,
) -> Result<Option<String>, FeedError> {
    let connection = connect(&connect_config(url)).await?;
    let sql = "select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace \
               where c.oid = to_regclass($1)";
    let rows = connection.rows(OPERATION, sql, &[&identifier(bare_name)]).await?;
    Ok(rows.first().map(|row| row.get(0)))
}
