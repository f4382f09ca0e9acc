//! Getting hold of the lock, and finding the place to go on from.

use std::sync::Arc;

use super::catalog;
use super::options::MariaDbOptions;
use super::place::Place;
use super::prepare::{may_not_follow, prepare_on};
use super::server::{Control, Server, digest, quote_text};
use super::stream::{self, Refused, Stream};
use crate::Bookmark;
use crate::error::FeedError;
use crate::event::{Identity, LogEnd, Start};

/// What comes of one attempt.
pub(super) enum Outcome {
    /// We hold the lock.
    Leads(Box<Leads>),
    /// Somebody else does.
    Held(Arc<Control>, Identity),
}

/// A stream that began.
pub(super) struct Leads {
    pub(super) control: Arc<Control>,
    pub(super) stream: Stream,
    pub(super) start: Start,
    pub(super) place: Place,
}

/// One attempt.
pub(super) struct Attempt {
    pub(super) options: Arc<MariaDbOptions>,
    pub(super) server: Server,
    pub(super) bookmark: Option<Arc<dyn Bookmark>>,
    /// From an earlier time of leading or waiting. It may still hold the lock.
    pub(super) witness: Option<Arc<Control>>,
    /// How the server was last seen.
    pub(super) seen: Option<Identity>,
    /// The place that was gone on from is of no use.
    pub(super) anew: bool,
}

/// Where a stream begins.
struct From {
    place: Place,
    file: String,
    /// Whether what came before it is not known.
    anew: bool,
}

impl Attempt {
    /// Tries once.
    pub(super) async fn run(self) -> Result<Outcome, FeedError> {
        let control = match &self.witness {
            Some(witness) if witness.end().await.is_ok() => witness.clone(),
            _ => Arc::new(self.server.connect().await?),
        };
        prepare_on(&control, &self.server, &self.options).await?;
        let (identity, _) = control.end().await?;
        if !lock(&control, &self.server, &self.options.slot).await? {
            return Ok(Outcome::Held(control, identity));
        }
        let mut from = self.from(&control, &identity).await?;
        let stream = loop {
            let conn = self.server.connection().await?;
            match stream::open(conn, &from.file, from.place).await {
                Ok(stream) => break stream,
                Err(Refused::Gone(why)) if !from.anew => {
                    tracing::warn!(source = %self.options.source, why, "the log has lost the place to go on from");
                    from = anew(&control).await?;
                }
                Err(Refused::Gone(why)) => {
                    return Err(FeedError::unavailable("following the log", why));
                }
                Err(Refused::Forbidden) => {
                    return Err(may_not_follow(&control, &self.server).await?.into());
                }
                Err(Refused::Failed(err)) => return Err(err),
            }
        };
        if from.anew {
            self.options.metrics.slots_made.inc();
        }
        let start = Start {
            system: identity.system,
            timeline: identity.timeline,
            slot_generation: from.anew.then(rand::random),
            position: from.place.lsn(),
            // A server that crashed starts again at another time.
            unbroken: self.seen.as_ref() == Some(&identity),
            server_started: identity.server_started,
        };
        Ok(Outcome::Leads(Box::new(Leads { control, stream, start, place: from.place })))
    }

    /// Where the consumer stands, if that is a place in this log; else its end.
    async fn from(&self, control: &Control, identity: &Identity) -> Result<From, FeedError> {
        let applied = match &self.bookmark {
            Some(bookmark) if !self.anew => bookmark.applied().await?,
            _ => None,
        };
        let of_this_log =
            |end: &LogEnd| (end.system, end.timeline) == (identity.system, identity.timeline);
        let Some(applied) = applied.filter(of_this_log) else { return anew(control).await };
        // Commits that nobody sees yet are told again, so that W does not pass over them.
        let place = Place::of(applied.lsn.min(control.shown().await?));
        match file_of(control, place).await? {
            Some(file) if place.offset() <= file.bytes => {
                Ok(From { place, file: file.name, anew: false })
            }
            _ => anew(control).await,
        }
    }
}

/// A place before which everything is visible, and after which everything will be told.
async fn anew(control: &Control) -> Result<From, FeedError> {
    let place = Place::of(control.shown().await?);
    let missing = || FeedError::unavailable("looking for the end of the log", "its file is gone");
    let file = file_of(control, place).await?.ok_or_else(missing)?.name;
    Ok(From { place, file, anew: true })
}

async fn file_of(control: &Control, place: Place) -> Result<Option<catalog::File>, FeedError> {
    let files = catalog::files(control).await?.unwrap_or_default();
    Ok(files.into_iter().find(|file| place.is_in(&file.name)))
}

/// Tries to get the lock; its holder's connection keeps it. False: somebody else has it.
pub(super) async fn lock(
    control: &Control,
    server: &Server,
    slot: &str,
) -> Result<bool, FeedError> {
    // Names of locks are the server's, and short.
    let name = format!("tidegate {:016x}", digest(&format!("{}\0{slot}", server.database())));
    let sql = format!("select get_lock({}, 0)", quote_text(&name));
    Ok(control.value("asking for the lock", &sql).await? == "1")
}
