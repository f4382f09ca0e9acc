//! Getting hold of the lock, and finding the place to go on from.

use std::sync::Arc;

use super::catalog;
use super::options::MariaDbOptions;
use super::place::Place;
use super::prepare::{may_not_follow, prepare_on};
use super::server::{Control, Server, digest, quote_text};
use super::session::Session;
use super::stream::{self, Refused, Stream};
use crate::Bookmark;
use crate::error::FeedError;
use crate::event::{Identity, LogEnd, Start};
use crate::turns::Claim;

/// A stream that began.
pub(super) struct Leads {
    pub(super) control: Arc<Control>,
    pub(super) stream: Stream,
    pub(super) start: Start,
    pub(super) place: Place,
}

/// The lock, for which one node after another reaches.
#[derive(Clone)]
pub(super) struct LockClaim {
    options: Arc<MariaDbOptions>,
    server: Server,
    pub(super) bookmark: Option<Arc<dyn Bookmark>>,
    /// The last connection that was open while we led or waited. It may still hold the lock.
    witness: Option<Arc<Control>>,
    /// How the server was then.
    seen: Option<Identity>,
    /// The place that was gone on from is of no use.
    anew: bool,
}

/// Where a stream begins.
struct From {
    place: Place,
    file: String,
    /// Whether what came before it is not known.
    anew: bool,
}

impl Claim for LockClaim {
    type Session = Session;

    async fn attempt(&mut self) -> Result<Option<(Start, Session)>, FeedError> {
        let control = match &self.witness {
            Some(witness) if witness.end().await.is_ok() => witness.clone(),
            _ => Arc::new(self.server.connect().await?),
        };
        prepare_on(&control, &self.server, &self.options).await?;
        let (identity, _) = control.end().await?;
        let leads = match lock(&control, &self.server, &self.options.slot).await? {
            true => Some(self.lead(&control, &identity).await?),
            false => None,
        };
        self.witness = Some(control);
        self.seen = Some(identity);
        let Some(leads) = leads else { return Ok(None) };
        self.anew = false;
        let start = leads.start.clone();
        Ok(Some((start, Session::new(self.options.clone(), self.server.database(), leads))))
    }

    async fn is_free(&self) -> Result<bool, FeedError> {
        match &self.witness {
            // It is this connection's then.
            Some(control) => lock(control, &self.server, &self.options.slot).await,
            None => Ok(true),
        }
    }

    fn lost(&mut self, session: &Session) {
        self.anew = session.place_is_unusable();
    }
}

impl LockClaim {
    pub(super) fn new(options: Arc<MariaDbOptions>, server: Server) -> Self {
        Self { options, server, bookmark: None, witness: None, seen: None, anew: false }
    }

    /// Begins the stream; the lock is ours.
    async fn lead(&self, control: &Arc<Control>, identity: &Identity) -> Result<Leads, FeedError> {
        let mut from = self.from(control, identity).await?;
        let stream = loop {
            let conn = self.server.connection().await?;
            match stream::open(conn, &from.file, from.place).await {
                Ok(stream) => break stream,
                Err(Refused::Gone(why)) if !from.anew => {
                    tracing::warn!(source = %self.options.source, why, "the log has lost the place to go on from");
                    from = anew(control).await?;
                }
                Err(Refused::Gone(why)) => {
                    return Err(FeedError::unavailable("following the log", why));
                }
                Err(Refused::Forbidden) => {
                    return Err(may_not_follow(control, &self.server).await?.into());
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
            unbroken: self.seen.as_ref() == Some(identity),
            server_started: identity.server_started.clone(),
        };
        Ok(Leads { control: control.clone(), stream, start, place: from.place })
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
async fn lock(control: &Control, server: &Server, slot: &str) -> Result<bool, FeedError> {
    // Names of locks are the server's, and short.
    let name = format!("tidegate {:016x}", digest(&format!("{}\0{slot}", server.database())));
    let sql = format!("select get_lock({}, 0)", quote_text(&name));
    Ok(control.value("asking for the lock", &sql).await? == "1")
}
