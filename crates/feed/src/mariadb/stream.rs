//! The binary log as the server sends it.

use futures_util::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStreamRequest, Conn, Error};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::log::Raw;
use super::place::Place;
use super::server::unavailable;
use crate::error::FeedError;

/// Events read ahead of the consumer.
const READ_AHEAD: usize = 1_024;

const DOING: &str = "following the log";

/// An open stream. It reads on a task of its own, so that the driver's opinion of strange bytes ends
/// the stream and nothing else.
pub(super) struct Stream {
    events: mpsc::Receiver<Result<Raw, FeedError>>,
    reader: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Why a stream could not be opened.
pub(super) enum Refused {
    /// The log does not have that place (any more).
    Gone(String),
    /// The user may not.
    Forbidden,
    Failed(FeedError),
}

/// Opens the log at `place`; `file` is the full name of its file.
pub(super) async fn open(mut conn: Conn, file: &str, place: Place) -> Result<Stream, Refused> {
    // Transactions with their marks as MariaDB writes them, and a heartbeat when all was sent and
    // nothing is written (in ns).
    let session = "set @mariadb_slave_capability = 4, @master_heartbeat_period = 200000000";
    let failed = |err| Refused::Failed(unavailable(DOING, err));
    conn.query_drop(session).await.map_err(failed)?;
    // The server allows one reader of a number: its replicas have small ones.
    let number = rand::random::<u32>() | 1 << 31;
    let request =
        BinlogStreamRequest::new(number).with_filename(file.as_bytes()).with_pos(place.offset());
    let mut stream = conn.get_binlog_stream(request).await.map_err(refused)?;
    // The first event only names the file, with a checksum that the driver can't know of yet; that it
    // comes says that the rest will.
    match stream.next().await {
        Some(Ok(_)) => {}
        Some(Err(err)) => return Err(refused(err)),
        None => return Err(Refused::Failed(FeedError::unavailable(DOING, ENDED))),
    }
    let (tell, events) = mpsc::channel(READ_AHEAD);
    let reader = tokio::spawn(async move {
        loop {
            let event = match stream.next().await {
                Some(Ok(event)) => Ok(raw(&event)),
                Some(Err(err)) => Err(unavailable(DOING, err)),
                None => return,
            };
            let failed = event.is_err();
            if tell.send(event).await.is_err() || failed {
                return;
            }
        }
    });
    Ok(Stream { events, reader })
}

const ENDED: &str = "the server ended the stream";

impl Stream {
    /// The next event. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Raw, FeedError> {
        let event = self.events.recv().await;
        event.unwrap_or_else(|| Err(FeedError::unavailable(DOING, ENDED)))
    }

    /// The next event, if it is there already.
    pub(super) fn ready(&mut self) -> Option<Result<Raw, FeedError>> {
        self.events.try_recv().ok()
    }
}

fn raw(event: &mysql_async::binlog::events::Event) -> Raw {
    let header = event.header();
    Raw {
        kind: header.event_type_raw(),
        flags: header.flags_raw(),
        timestamp: header.timestamp(),
        end: header.log_pos(),
        data: event.data().to_vec(),
    }
}

fn refused(err: Error) -> Refused {
    /// ER_SPECIFIC_ACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR.
    const DENIED: [u16; 2] = [1227, 1045];
    /// ER_MASTER_FATAL_ERROR_READING_BINLOG.
    const NO_SUCH_PLACE: u16 = 1236;
    match err {
        Error::Server(err) if err.code == NO_SUCH_PLACE => Refused::Gone(err.message),
        Error::Server(err) if DENIED.contains(&err.code) => Refused::Forbidden,
        err => Refused::Failed(unavailable(DOING, err)),
    }
}
