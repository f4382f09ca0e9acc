//! A connection that follows a log: commands of the replication protocol, then a stream in both directions.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Message};
use postgres_protocol::message::frontend::{self, CopyData};
use tls::alert_of;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::timeout;

use super::attempts::Attempts;
use super::config::ConnectConfig;
use super::stream::{OPERATION, Stream, tls_error};
use super::url::Address;
use super::url_options::NAMES;
use super::wire::{COPY_BOTH_TAG, Incoming, Login, Wire, copied, lost, rejected};
use crate::error::{DatabaseError, Failure};

const FOLLOWING: &str = "following the log";

/// A connection in the replication protocol.
pub struct ReplicationConnection {
    wire: Wire,
    /// The time limit of an answer.
    timeout: Duration,
}

/// The half of a started stream that the server writes.
pub struct LogReader {
    incoming: Incoming<ReadHalf<Stream>>,
}

/// The half of a started stream that the server reads.
pub struct LogWriter {
    stream: WriteHalf<Stream>,
}

impl ConnectConfig {
    /// Connects to `address`, one of the URL's hosts, in the replication protocol. `options` are its startup options;
    /// this configuration's own settings do not apply. `limit` is the time limit of connecting, and later of each
    /// answer.
    ///
    /// # Errors
    /// The server was not reached in time, or refused.
    pub async fn connect_to_log(
        &self,
        address: &Address,
        options: &str,
        application_name: &str,
        limit: Duration,
    ) -> Result<ReplicationConnection, DatabaseError> {
        let connecting = self.log_in_to_log(address, options, application_name);
        let wire = timeout(limit, connecting).await;
        let wire = wire.unwrap_or_else(|_| Err(DatabaseError::timed_out(OPERATION, limit)))?;
        Ok(ReplicationConnection { wire, timeout: limit })
    }

    async fn log_in_to_log(
        &self,
        address: &Address,
        options: &str,
        application_name: &str,
    ) -> Result<Wire, DatabaseError> {
        let hosts = self.url.hosts();
        let at = hosts.iter().position(|host| host == address).unwrap_or_default();
        let parameters = [
            ("user", self.url.user()),
            ("database", self.url.database()),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", application_name),
            ("options", options),
        ];
        let mut attempts = Attempts::new(&self.url, at);
        loop {
            let mut wire = Wire::new(attempts.open().await?, OPERATION);
            let login = Login {
                user: self.url.user(),
                password: attempts.password(),
                binding: self.url.config.get_channel_binding(),
            };
            match wire.log_in(&parameters, &login).await {
                Ok(()) => return Ok(wire),
                Err(err) if attempts.can_retry(&err).await => {}
                Err(err) => return Err(self.explained(at, err)),
            }
        }
    }

    /// Explains a refused client certificate, see [`alert_of`].
    fn explained(&self, at: usize, err: DatabaseError) -> DatabaseError {
        let alert = match &err.failure {
            Failure::Unreachable(source) => {
                source.downcast_ref::<io::Error>().and_then(|err| alert_of(err, &NAMES))
            }
            _ => None,
        };
        match alert {
            Some(failure) => tls_error(&self.url, &self.url.hosts()[at], failure),
            None => err,
        }
    }
}

impl ReplicationConnection {
    /// Runs a command, and returns its rows.
    ///
    /// # Errors
    /// The server did not answer in time, or rejected the command.
    pub async fn query(
        &mut self,
        command: &str,
    ) -> Result<Vec<Vec<Option<String>>>, DatabaseError> {
        let limit = self.timeout;
        let answer = timeout(limit, self.rows(command)).await;
        answer.unwrap_or_else(|_| Err(DatabaseError::timed_out(FOLLOWING, limit)))
    }

    async fn rows(&mut self, command: &str) -> Result<Vec<Vec<Option<String>>>, DatabaseError> {
        self.wire.send(|buffer| frontend::query(command, buffer)).await?;
        let (mut rows, mut refused) = (Vec::new(), None);
        loop {
            // After an error, the server is ready again.
            match self.wire.incoming.message().await.map_err(|err| self.wire.lost(err))? {
                Message::ErrorResponse(body) => refused = Some(rejected(FOLLOWING, &body)),
                Message::DataRow(body) => {
                    rows.push(texts(&body).map_err(|err| self.wire.lost(err))?);
                }
                Message::ReadyForQuery(_) => return refused.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    /// Runs the command that starts a stream.
    ///
    /// # Errors
    /// The server did not answer in time, or rejected the command.
    pub async fn start(mut self, command: &str) -> Result<(LogReader, LogWriter), DatabaseError> {
        let limit = self.timeout;
        let started = timeout(limit, self.wait_started(command)).await;
        started.unwrap_or_else(|_| Err(DatabaseError::timed_out(FOLLOWING, limit)))?;
        let (stream, bytes) = self.wire.into_parts();
        let (read, write) = split(stream);
        Ok((LogReader { incoming: Incoming::with_bytes(read, bytes) }, LogWriter { stream: write }))
    }

    async fn wait_started(&mut self, command: &str) -> Result<(), DatabaseError> {
        self.wire.send(|buffer| frontend::query(command, buffer)).await?;
        loop {
            // The driver's parser does not know this message.
            let tag = self.wire.incoming.tag().await.map_err(|err| self.wire.lost(err))?;
            if tag == COPY_BOTH_TAG {
                return self.wire.incoming.skip().map_err(|err| self.wire.lost(err));
            }
            match self.wire.receive().await? {
                Message::NoticeResponse(_) | Message::ParameterStatus(_) => {}
                _ => return Err(self.wire.unexpected()),
            }
        }
    }
}

fn texts(row: &DataRowBody) -> io::Result<Vec<Option<String>>> {
    let text = |range: Option<std::ops::Range<usize>>| {
        let bytes = row.buffer().get(range?)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    };
    row.ranges().map(|range| Ok(text(range))).collect()
}

impl LogReader {
    /// Waits for the next piece of the stream; `None`: the server has ended it. Cancel safe.
    ///
    /// # Errors
    /// The connection was lost, or the server reports an error.
    pub async fn receive(&mut self) -> Result<Option<Bytes>, DatabaseError> {
        loop {
            match self.incoming.message().await.map_err(|err| lost(FOLLOWING, err))? {
                Message::ErrorResponse(body) => return Err(rejected(FOLLOWING, &body)),
                Message::CopyDone | Message::CommandComplete(_) | Message::ReadyForQuery(_) => {
                    return Ok(None);
                }
                message => {
                    if let Some(piece) = copied(message) {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }
}

impl LogWriter {
    /// Sends a piece to the server.
    ///
    /// # Errors
    /// The connection was lost.
    pub async fn send(&mut self, piece: &[u8]) -> Result<(), DatabaseError> {
        let mut buffer = BytesMut::new();
        let sending = async {
            CopyData::new(piece)?.write(&mut buffer);
            self.stream.write_all(&buffer).await?;
            self.stream.flush().await
        };
        sending.await.map_err(|err| lost(FOLLOWING, err))
    }
}
