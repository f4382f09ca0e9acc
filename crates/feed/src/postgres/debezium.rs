//! The same database, where Debezium reads its log already: change events over HTTP.
//!
//! Debezium Server posts each message of its PostgreSQL connector, in order, and goes on when it was
//! answered. An [`Inbox`] takes what was posted, a [`DebeziumFeed`] makes commits of it. What is not
//! about changes is asked of the database itself, as ever: where its log ends, and what new snapshots see.
//!
//! - **One node takes events**: the holder of an advisory lock. The others refuse, so that whoever posts
//!   tries the next. The server ends the session of a node that is not heard of for ten seconds.
//! - **Whether anything is missing** is decided by [`coherence::Relay`]; with transaction metadata, which is
//!   asked for, and with beats that the node writes into the log and that have to come back. A break
//!   begins a new history.
//! - **A transaction is told twice**: its events as they come, at the first position that it may have
//!   ([`coherence::chain::Link::behind`]), so that nothing is acknowledged before the tiers know of it; and as a
//!   whole, at its own position, when its end has come.
//! - **A commit's position** is the end of its record, which only the message `END` names. `source.lsn` of an
//!   event lies before it, and before ends of other transactions that were told earlier.
//! - **What can't be read** of a table's row counts as a change of everything in it. A body that can't be
//!   read at all is refused, and so comes again.

mod feed;
mod inbox;
mod lead;
mod metrics;
mod options;
mod row;
mod session;
mod told;
mod value;

pub use feed::DebeziumFeed;
pub use inbox::{Inbox, Refused};
pub use metrics::DebeziumMetrics;
pub use options::DebeziumOptions;

use value::Kind;

use super::catalog;
use super::server::Server;
use crate::error::{FeedError, Problem};

/// Checks that the database can be followed in this way, as far as that can be said before Debezium runs.
/// Answers warnings for people.
///
/// # Errors
/// [`FeedError::Setup`] with everything that is missing and what a database administrator has to
/// run, or [`FeedError::Unavailable`].
pub async fn prepare(options: &DebeziumOptions) -> Result<Vec<Problem>, FeedError> {
    let server = Server::parse(&options.url)?;
    let control = server.connect().await?;
    let mut warnings = super::prepare::relayed(&control, &server, &options.log()).await?;
    for (table, columns) in &options.named {
        let types = catalog::types(&control, table).await?;
        let known = |column: &&String| {
            types.get(*column).is_some_and(|(oid, category)| Kind::of(*oid, category).is_some())
        };
        for column in columns.iter().filter(|column| !known(column)) {
            let what = format!(
                "Keys or tags are made of `{table}.{column}`, whose values Debezium writes in another \
                 form than the database: each change of a row counts as a change of everything."
            );
            let fix = ["-- make them of a number, a text, a date or a boolean".to_owned()];
            warnings.push(Problem::new(what, fix));
        }
    }
    Ok(warnings)
}
