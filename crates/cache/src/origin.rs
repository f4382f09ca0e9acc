//! Where values come from when no tier has them.

pub mod function;
pub mod mariadb;
pub mod postgres;
pub mod sqlite;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use coherence::{Lsn, Replayed};
use contract::{Cell, Contract, Key, Row, Tag};
use thiserror::Error;

use crate::entry::{Content, Value};
use crate::together::together;

/// A finished load.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was found.
    pub content: Content,
    /// The surrogate keys it was made from.
    pub tags: Vec<Tag>,
    /// A life other than the contract's (HTTP: `s-maxage`).
    pub ttl: Option<Duration>,
    /// Where the log ended after the last of its snapshots was taken, so that no commit beyond is in
    /// it. `None`: it does not say, and the value is never found to be [of one
    /// moment](coherence::atomic) with another in a tier.
    pub seen: Option<Lsn>,
    /// For what a standby answered: how far it said that it was, in a statement before the one that
    /// read. τ comes from there. `None`: it was read from the primary, and τ is W as it was known
    /// before the load.
    pub replayed: Option<Replayed>,
    /// By how much the answer may be older than the beginning of its load, as far as only the answer
    /// itself could tell (HTTP: `Age`). A [lag](contract::Contract::lag) that the contract tells of
    /// comes on top.
    pub behind: Duration,
}

impl Loaded {
    /// A value of which only the body is said.
    #[must_use]
    pub fn value(body: impl Into<Bytes>) -> Self {
        Self::of(Content::Present(Value { head: Bytes::new(), body: body.into() }))
    }

    /// There is no such thing, which is remembered too.
    #[must_use]
    pub fn absent() -> Self {
        Self::of(Content::Absent)
    }

    /// Something of which nothing else is known.
    #[must_use]
    pub fn of(content: Content) -> Self {
        let (ttl, seen, replayed) = (None, None, None);
        Self { content, tags: Vec::new(), ttl, seen, replayed, behind: Duration::ZERO }
    }
}

/// An origin did not answer.
#[derive(Clone, Debug, Error)]
#[error("origin: {message}")]
pub struct OriginError {
    /// What kind of failure.
    pub kind: OriginErrorKind,
    /// For people: what, where, how to mend it.
    pub message: String,
}

/// Kinds of [`OriginError`], and with them whether another try can help.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OriginErrorKind {
    /// Could not be reached, or the connection broke. A retry may help.
    Unavailable,
    /// Took longer than it may. A retry may help, later.
    Timeout,
    /// Not asked at all: breaker open, or too much already under way. Retry later.
    Refused,
    /// It answered that the question is wrong (such as an id of the wrong type). No retry helps.
    BadRequest,
    /// It answered something unusable. No retry helps until it is mended.
    Broken,
}

impl OriginErrorKind {
    /// The name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::BadRequest => "bad-request",
            Self::Broken => "broken",
        }
    }
}

/// One of several questions.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// Whom.
    pub origin: &'a dyn Origin,
    /// The key of the value.
    pub key: &'a Key,
    /// What the caller named.
    pub id: &'a str,
}

/// What several questions brought.
#[derive(Debug)]
pub struct LoadedMany {
    /// In the order of the questions.
    pub items: Vec<Result<Loaded, OriginError>>,
    /// Whether one snapshot answered all of them.
    pub one_snapshot: bool,
}

/// How many rows there are that ids name.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// About so many.
    pub about: u64,
    /// Why ids that are not on the roll may have a value all the same, for people.
    pub unfit: Option<String>,
}

/// Some of the ids, in the order of the roll.
#[derive(Clone, Debug)]
pub struct Page {
    /// As the log writes them.
    pub ids: Vec<String>,
    /// As [`Loaded::seen`].
    pub seen: Option<Lsn>,
}

/// The roll of an origin's ids: all that have a value are on it.
#[async_trait]
pub trait Roll: Send + Sync {
    /// About how many ids there are, and whether what is said above holds.
    async fn rows(&self) -> Result<Rows, OriginError>;

    /// The first `most` ids after `after`, in an order of the roll's own; fewer: there are no more.
    /// Its snapshot begins after the call.
    async fn page(&self, after: Option<&str>, most: usize) -> Result<Page, OriginError>;
}

/// Loads one value: with one statement, one request or one call.
#[async_trait]
pub trait Origin: Any + Send + Sync {
    /// Which system it asks, such as the source's or upstream's name. Loads of one name share one
    /// concurrency limit and one breaker, so keep the number of names small.
    fn name(&self) -> &str {
        "origin"
    }

    /// The most loads it takes at once, where that is not what the engine's options say. Of origins
    /// with one name, the first to be asked speaks for all.
    fn concurrency(&self) -> Option<usize> {
        None
    }

    /// Origins that have the same values and may be behind this one, each with a name of its own. What
    /// they load says [how far they were](Loaded::replayed). They are asked first, as long as they are
    /// near enough.
    fn standbys(&self) -> &[Arc<dyn Origin>] {
        &[]
    }

    /// For a standby: how far it was when it was last heard of. `None`: it is not to be asked.
    fn replayed(&self) -> Option<Replayed> {
        None
    }

    /// Reads the value behind `key`; `id` is what the caller named. All of its snapshots begin
    /// after the call.
    async fn load(&self, key: &Key, id: &str) -> Result<Loaded, OriginError>;

    /// Its ids, if it can list them.
    fn roll(&self) -> Option<&dyn Roll> {
        None
    }

    /// Answers several questions to origins of this one's [name](Self::name): from one snapshot and in
    /// one round trip where it can, else side by side. All of their snapshots begin after the call.
    ///
    /// # Errors
    /// None of them could be asked. What is wrong with one of them is its own answer.
    async fn load_many(&self, asks: &[Ask<'_>]) -> Result<LoadedMany, OriginError> {
        Ok(side_by_side(asks).await)
    }
}

/// Each by itself, all at once.
async fn side_by_side(asks: &[Ask<'_>]) -> LoadedMany {
    let items = together(asks.iter().map(|ask| ask.origin.load(ask.key, ask.id))).await;
    LoadedMany { items, one_snapshot: asks.len() < 2 }
}

fn no_such_table(contract: &str, table: &str, column: &str) -> OriginError {
    OriginError {
        kind: OriginErrorKind::Broken,
        message: format!(
            "contract {contract}: the database has no table {table} with a column {column}, or the \
             role may not see it"
        ),
    }
}

/// A name as an SQL identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A contract's `value` with `$1` for its one parameter, and without a closing semicolon.
fn statement(contract: &Contract, value: &str) -> Result<String, OriginError> {
    let numbered = contract::numbered(value.trim_end().trim_end_matches(';'));
    if numbered.names == ["id"] {
        return Ok(numbered.sql);
    }
    Err(OriginError {
        kind: OriginErrorKind::Broken,
        message: format!(
            "contract {}: `value` takes the parameters {:?}; it has to take $id and no other",
            contract.name, numbered.names
        ),
    })
}

/// The database that a contract is loaded from.
fn source(contract: &Contract) -> &str {
    contract.from.as_ref().map_or("origin", |from| &from.source)
}

/// What is known of a row by its id alone.
fn absent_row(contract: &Contract, id: &str) -> Row {
    let key = contract.from.as_ref().map(|from| from.key.clone()).unwrap_or_default();
    Row::from_iter([(key, Cell::Text(id.to_owned()))])
}

/// The tags that an entry has by its id, whatever its origin says.
#[must_use]
pub fn tags_of(contract: &Contract, id: &str) -> Vec<Tag> {
    contract.tags_for(&absent_row(contract, id))
}

/// A load's end: the tags come from the row, and the row must go by the name it was asked for, or
/// its changes would never reach the entry.
fn loaded(
    contract: &Contract,
    id: &str,
    content: Content,
    columns: &Row,
    seen: Option<Lsn>,
) -> Result<Loaded, OriginError> {
    if contract.names_row(id, columns) {
        return Ok(Loaded {
            content,
            tags: contract.tags_for(columns),
            ttl: None,
            seen,
            replayed: None,
            behind: Duration::ZERO,
        });
    }
    Err(OriginError {
        kind: OriginErrorKind::BadRequest,
        message: format!("contract {}: the row goes by another id than {id:?}", contract.name),
    })
}
