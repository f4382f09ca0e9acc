//! Change feeds: a database's committed changes, in commit order and without gaps.
//!
//! | module | log |
//! |---|---|
//! | [`postgres`] | PostgreSQL's write-ahead log, through a logical replication slot |
//! | [`postgres::debezium`] | the same log, read by Debezium, which posts its events |
//! | [`mariadb`] | MariaDB's binary log |
//! | [`mariadb::debezium`] | the same log, read by Debezium |
//! | [`sqlite`] | a change log that triggers write inside the application's own transactions |
//!
//! A [`Feed`] delivers [`LogBatch`]es: chained by position, at least once, and acknowledged to the
//! database only after the consumer has acknowledged them. A [`Source`] serves requests to the same
//! database that do not concern changes: the end of its log, its identity, and appending a
//! [`LogMessage`] to the log.
//!
//! A feed knows nothing about caches. The contracts decide which entries a changed row invalidates.

mod background_query;
mod cached_connection;
mod changes;
mod debezium;
mod error;
mod event;
mod feed;
mod leader_election;
pub mod mariadb;
mod message;
mod message_keys;
mod metrics;
pub mod postgres;
mod schema;
mod source;
pub mod sqlite;
mod survey;
mod table;
mod unknown_name;

pub use debezium::{DebeziumMetrics, EventInbox, InboxError};
pub use error::{FeedError, SetupError, SetupIssue, Subject};
pub use event::{Commit, FeedEvent, Identity, LogBatch, LogEnd, LogSample, StreamStart};
pub use feed::{Checkpoint, Feed};
pub use leader_election::Candidate;
pub use mariadb::{MariaDbFeed, MariaDbOptions, MariaDbSource};
pub use message::{LogMessage, MalformedMessage, MessageTooLarge};
pub use message_keys::MessageKeys;
pub use metrics::Metrics;
pub use postgres::{PostgresFeed, PostgresOptions, PostgresSource, SchemaScope};
pub use schema::{ReadObject, Schema, ScopedContract, ScopedTable, UnfollowedRead};
pub use source::Source;
pub use sqlite::{SqliteFeed, SqliteOptions, SqliteSource};
pub use survey::{SurveyedColumn, SurveyedTable, TableKind};
pub use table::{TableName, TrackedTable};
