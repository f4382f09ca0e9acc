//! The stream of the binary log.

use database::mariadb::driver_error;
use database::{DatabaseError, Failure, ServerCode};
use futures_util::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStreamRequest, Conn};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::parser::RawEvent;
use super::position::BinlogPosition;

/// Events read ahead of the consumer.
const READ_AHEAD: usize = 1_024;

/// ER_SPECIFIC_ACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR.
const ACCESS_DENIED: [u16; 2] = [1227, 1045];
/// ER_MASTER_FATAL_ERROR_READING_BINLOG.
const NO_SUCH_POSITION: u16 = 1236;

const OPERATION: &str = "following the log";
const ENDED: &str = "the server ended the stream";

/// An open stream. It reads on a task of its own, so that a panic of the driver over malformed bytes
/// ends only the stream.
pub(super) struct Stream {
    events: mpsc::Receiver<Result<RawEvent, DatabaseError>>,
    reader: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The reason why a stream was not opened.
pub(super) enum OpenError {
    /// The log does not contain the position (any more); the server's message.
    PositionLost(String),
    /// The user lacks the privilege.
    AccessDenied,
    Failed(DatabaseError),
}

/// Opens the log at `position`; `file` is the full name of its file.
pub(super) async fn open(
    mut conn: Conn,
    file: &str,
    position: BinlogPosition,
) -> Result<Stream, OpenError> {
    // Transaction events as MariaDB writes them, and a heartbeat while nothing is written (in ns).
    let session = "set @mariadb_slave_capability = 4, @master_heartbeat_period = 200000000";
    let failed = |err| OpenError::Failed(driver_error(OPERATION, err));
    conn.query_drop(session).await.map_err(failed)?;
    // The server allows one reader per server id; its replicas have small ones.
    let server_id = rand::random::<u32>() | 1 << 31;
    let request = BinlogStreamRequest::new(server_id)
        .with_filename(file.as_bytes())
        .with_pos(position.offset());
    let mut stream = conn.get_binlog_stream(request).await.map_err(open_error)?;
    // The first event only names the file, with a checksum that the driver can't interpret yet. Its
    // arrival shows that the server accepts the request.
    match stream.next().await {
        Some(Ok(_)) => {}
        Some(Err(err)) => return Err(open_error(err)),
        None => return Err(OpenError::Failed(ended())),
    }
    let (sender, events) = mpsc::channel(READ_AHEAD);
    let reader = tokio::spawn(async move {
        loop {
            let event = match stream.next().await {
                Some(Ok(event)) => Ok(raw_event(&event)),
                Some(Err(err)) => Err(driver_error(OPERATION, err)),
                None => return,
            };
            let failed = event.is_err();
            if sender.send(event).await.is_err() || failed {
                return;
            }
        }
    });
    Ok(Stream { events, reader })
}

impl Stream {
    /// Waits for the next event. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<RawEvent, DatabaseError> {
        self.events.recv().await.unwrap_or_else(|| Err(ended()))
    }

    /// Returns the next event if it has already arrived.
    pub(super) fn try_next(&mut self) -> Option<Result<RawEvent, DatabaseError>> {
        self.events.try_recv().ok()
    }
}

/// Whether the server does not have the requested position.
pub(super) fn is_position_lost(err: &DatabaseError) -> bool {
    err.has_number(NO_SUCH_POSITION)
}

fn ended() -> DatabaseError {
    DatabaseError::unreachable(OPERATION, ENDED)
}

fn raw_event(event: &mysql_async::binlog::events::Event) -> RawEvent {
    let header = event.header();
    RawEvent {
        kind: header.event_type_raw(),
        flags: header.flags_raw(),
        timestamp: header.timestamp(),
        end: header.log_pos(),
        data: event.data().to_vec(),
    }
}

fn open_error(err: mysql_async::Error) -> OpenError {
    let err = driver_error(OPERATION, err);
    if ACCESS_DENIED.iter().any(|number| err.has_number(*number)) {
        return OpenError::AccessDenied;
    }
    match err.failure {
        Failure::Rejected { message, code: ServerCode::Number(NO_SUCH_POSITION) } => {
            OpenError::PositionLost(message)
        }
        failure => OpenError::Failed(DatabaseError { operation: OPERATION, failure }),
    }
}
