//! The tables that values read through views, from the definitions that the server records.
//!
//! MariaDB has no record of dependencies, and `explain` leaves out the tables that the optimizer removes. So the names of
//! a statement are looked up in the catalogue, and those of each view's definition, in which the server has written the
//! database before every table.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use contract::{SqlDialect, StatementNames, UnwatchedColumns, table_name};
use database::mariadb::{Connection, MariaDbUrl};
use database::quoting::mariadb_literal;

use super::connection::{connect, connect_config};
use crate::error::FeedError;
use crate::schema::{ReadObject, ScopedContract, UnfollowedRead};
use crate::table::TableName;

const OPERATION: &str = "reading the dependencies of contracts";

/// Returns the tables that values read and whose changes do not invalidate them, the stored functions that they call, and
/// the columns outside `from.columns` that a view may read.
///
/// # Errors
/// [`FeedError::Unavailable`], or [`FeedError::Setup`] where the login is refused.
pub async fn unfollowed_reads(
    url: &MariaDbUrl,
    contracts: &[ScopedContract],
) -> Result<BTreeSet<UnfollowedRead>, FeedError> {
    let connection = connect(&connect_config(url)).await?;
    let mut catalogue = Catalogue::read(connection, url.database()).await?;
    let mut unfollowed = BTreeSet::new();
    for contract in contracts {
        let reads = catalogue.reads_of(contract).await?.into_iter();
        let read = |read| UnfollowedRead { contract: contract.name.clone(), read };
        unfollowed.extend(reads.map(read));
    }
    Ok(unfollowed)
}

/// A relation that a statement names.
#[derive(Clone)]
enum Relation {
    Table,
    /// `None`: the user may not read the definition.
    View(Option<StatementNames>),
    /// There is none, or the user has no right on it.
    Invisible,
}

struct Catalogue {
    connection: Connection,
    /// The database of bare names.
    database: String,
    /// The dialect of values.
    dialect: SqlDialect,
    /// Whether the server compares names of databases and tables without case.
    ignores_case: bool,
    /// The stored functions that the user sees, with names in lower case.
    functions: BTreeSet<TableName>,
    relations: BTreeMap<TableName, Relation>,
}

impl Catalogue {
    async fn read(connection: Connection, database: &str) -> Result<Self, FeedError> {
        let case = connection.value(OPERATION, "select @@lower_case_table_names").await?;
        let mode = connection.value(OPERATION, "select @@global.sql_mode").await?;
        let sql = "select routine_schema, lower(routine_name) from information_schema.routines \
                   where routine_type = 'FUNCTION'";
        let rows = connection.rows(OPERATION, sql).await?.into_iter();
        let function = |row: Vec<Option<String>>| {
            let [schema, table] = <[_; 2]>::try_from(row).ok()?;
            Some(TableName { schema: schema?, table: table? })
        };
        Ok(Self {
            functions: rows.filter_map(function).collect(),
            connection,
            database: database.to_owned(),
            dialect: SqlDialect::mariadb(&mode),
            ignores_case: case != "0",
            relations: BTreeMap::new(),
        })
    }

    async fn reads_of(
        &mut self,
        contract: &ScopedContract,
    ) -> Result<BTreeSet<ReadObject>, FeedError> {
        let mut found = BTreeSet::new();
        let Some(value) = &contract.value else { return Ok(found) };
        let names = StatementNames::of(value, self.dialect);
        for function in names.called.iter().filter_map(|parts| self.name(parts)) {
            let function = TableName { table: function.table.to_lowercase(), ..function };
            if self.functions.contains(&function) {
                found.insert(ReadObject::Function(function.to_string()));
            }
        }
        // The tables of a view are not looked up in this database, but a common table expression has a bare name.
        let mut pending: VecDeque<TableName> =
            names.relations.iter().filter_map(|parts| self.name(parts)).collect();
        let mut seen = BTreeSet::new();
        let mut of_views = BTreeSet::new();
        let mut read_by_views = BTreeSet::new();
        while let Some(name) = pending.pop_front() {
            if !seen.insert(name.clone()) {
                continue;
            }
            match self.relation(&name).await? {
                Relation::Invisible if !of_views.contains(&name) => {}
                Relation::Table | Relation::Invisible => {
                    if !self.is_followed(contract, &name) {
                        found.insert(ReadObject::Table(name.to_string()));
                    }
                }
                Relation::View(None) => {
                    found.insert(ReadObject::View(name.to_string()));
                }
                Relation::View(Some(names)) => {
                    let with_database = |parts: &&Vec<String>| parts.len() > 1;
                    let tables = names.relations.iter().filter(with_database);
                    let tables: Vec<TableName> = tables.filter_map(|it| self.name(it)).collect();
                    of_views.extend(tables.iter().cloned());
                    pending.extend(tables);
                    // One of the view's own database may be without it.
                    let function = |parts: &Vec<String>| match &**parts {
                        [.., schema, function] => table_name(Some(schema), function),
                        _ => table_name(Some(&name.schema), &parts.concat()),
                    };
                    let functions = names.quoted_calls.iter().map(function);
                    found.extend(functions.map(ReadObject::Function));
                    read_by_views.extend(names.last_parts.iter().map(|it| it.to_lowercase()));
                }
            }
        }
        for table in contract.tables.iter().filter(|table| !table.watched.is_empty()) {
            let name = self.followed(&table.name);
            if !of_views.contains(&name) {
                continue;
            }
            let columns = self.columns(&name).await?;
            let read: Vec<String> =
                columns.into_iter().filter(|column| read_by_views.contains(column)).collect();
            let watched: Vec<String> = table.watched.iter().map(|it| it.to_lowercase()).collect();
            let unwatched = UnwatchedColumns::find(&contract.name, &watched, &read);
            let unwatched = unwatched.map(|found| found.columns).unwrap_or_default();
            found.extend(unwatched.into_iter().map(ReadObject::Column));
        }
        Ok(found)
    }

    /// Returns the relation's full name; `None` for a name with more parts than a relation has.
    fn name(&self, parts: &[String]) -> Option<TableName> {
        let (schema, table) = match parts {
            [table] => (&self.database, table),
            [schema, table] => (schema, table),
            _ => return None,
        };
        let fold =
            |name: &str| if self.ignores_case { name.to_lowercase() } else { name.to_owned() };
        Some(TableName { schema: fold(schema), table: fold(table) })
    }

    /// Returns the name of a table of a contract, as of one in a statement.
    fn followed(&self, name: &TableName) -> TableName {
        // A bare name was read as one of PostgreSQL's default schema.
        let schema = if name.schema == "public" { &self.database } else { &name.schema };
        let parts = [schema.clone(), name.table.clone()];
        self.name(&parts).unwrap_or_else(|| name.clone())
    }

    fn is_followed(&self, contract: &ScopedContract, name: &TableName) -> bool {
        let tables = contract.tables.iter().map(|table| &table.name);
        tables.chain(&contract.raising).any(|table| self.followed(table) == *name)
    }

    async fn relation(&mut self, name: &TableName) -> Result<Relation, FeedError> {
        if let Some(known) = self.relations.get(name) {
            return Ok(known.clone());
        }
        let lookup = |columns: &str, from: &str| {
            let (schema, table) = (mariadb_literal(&name.schema), mariadb_literal(&name.table));
            // The catalogue compares names without case, also where the server does not.
            let binary = if self.ignores_case { "" } else { "binary" };
            format!(
                "select {columns} from information_schema.{from} \
                 where table_schema = {schema} and table_name = {table} \
                   and {binary} table_schema = {schema} and {binary} table_name = {table}"
            )
        };
        let cell = async |sql: String| -> Result<Option<String>, FeedError> {
            let row = self.connection.rows(OPERATION, &sql).await?.into_iter().next();
            Ok(row.and_then(|row| row.into_iter().next()?))
        };
        let relation = match cell(lookup("table_type", "tables")).await? {
            None => Relation::Invisible,
            Some(kind) if kind == "VIEW" => {
                let definition = cell(lookup("view_definition", "views")).await?;
                let definition = definition.filter(|text| !text.trim().is_empty());
                // In the dialect of this session, which has no `sql_mode`.
                let names = |text: String| StatementNames::of(&text, SqlDialect::mariadb(""));
                Relation::View(definition.map(names))
            }
            Some(_) => Relation::Table,
        };
        self.relations.insert(name.clone(), relation.clone());
        Ok(relation)
    }

    async fn columns(&self, name: &TableName) -> Result<Vec<String>, FeedError> {
        let sql = format!(
            "select lower(column_name) from information_schema.columns \
             where table_schema = {} and table_name = {} order by ordinal_position",
            mariadb_literal(&name.schema),
            mariadb_literal(&name.table)
        );
        let rows = self.connection.rows(OPERATION, &sql).await?.into_iter();
        Ok(rows.filter_map(|row| row.into_iter().next()?).collect())
    }
}
