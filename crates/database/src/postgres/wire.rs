//! Messages of PostgreSQL's protocol on an open stream, and the login. Sessions have the driver for this; it knows no
//! replication.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::backend::{
    AuthenticationSaslBody, ErrorResponseBody, Header, Message,
};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_postgres::config::ChannelBinding;

use super::stream::Stream;
use crate::error::{DatabaseError, Failure, ServerCode};

/// PostgreSQL's own limit of a message.
const MAX_MESSAGE_BYTES: usize = 1 << 30;

/// The tag of `CopyBothResponse`, which ends the answer to `START_REPLICATION`.
pub(super) const COPY_BOTH_TAG: u8 = b'W';

/// The unused bytes for which memory is reserved at once.
const READ_BYTES: usize = 128 << 10;

const HEADER_BYTES: usize = 5;

/// The messages that arrive on a stream, or on its half.
pub(super) struct Incoming<S> {
    stream: S,
    bytes: BytesMut,
}

impl<S: AsyncRead + Unpin> Incoming<S> {
    pub(super) fn new(stream: S) -> Self {
        Self::with_bytes(stream, BytesMut::new())
    }

    /// `bytes` have already arrived.
    pub(super) fn with_bytes(stream: S, bytes: BytesMut) -> Self {
        Self { stream, bytes }
    }

    /// Waits for the next message, and returns its tag. Cancel safe.
    pub(super) async fn tag(&mut self) -> io::Result<u8> {
        loop {
            let header = Header::parse(&self.bytes)?;
            let length = header.map_or(HEADER_BYTES, |header| {
                usize::try_from(header.len()).unwrap_or(usize::MAX).saturating_add(1)
            });
            if length > MAX_MESSAGE_BYTES {
                return Err(invalid(format!("a message of {length} bytes")));
            }
            if let Some(header) = header.filter(|_| self.bytes.len() >= length) {
                return Ok(header.tag());
            }
            // Not the whole length: the bytes may never come.
            self.bytes.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Waits for the next message. Cancel safe.
    pub(super) async fn message(&mut self) -> io::Result<Message> {
        self.tag().await?;
        let message = Message::parse(&mut self.bytes)?;
        message.ok_or_else(|| invalid("a message without an end".to_owned()))
    }

    /// Skips the message whose [`tag`](Self::tag) has just been returned.
    pub(super) fn skip(&mut self) -> io::Result<()> {
        let length = Header::parse(&self.bytes)?.map_or(0, |header| header.len());
        let length = usize::try_from(length).unwrap_or_default().saturating_add(1);
        self.bytes.advance(length.min(self.bytes.len()));
        Ok(())
    }
}

/// A stream in both directions, before and after its login.
pub(super) struct Wire {
    pub(super) incoming: Incoming<Stream>,
    operation: &'static str,
}

/// The login of a session.
pub(super) struct Login<'a> {
    pub(super) user: &'a str,
    pub(super) password: Option<&'a [u8]>,
    pub(super) binding: ChannelBinding,
}

impl Wire {
    pub(super) fn new(stream: Stream, operation: &'static str) -> Self {
        Self { incoming: Incoming::new(stream), operation }
    }

    /// Returns the stream and the bytes that have already arrived.
    pub(super) fn into_parts(self) -> (Stream, BytesMut) {
        (self.incoming.stream, self.incoming.bytes)
    }

    /// Starts a session and logs in.
    pub(super) async fn log_in(
        &mut self,
        parameters: &[(&str, &str)],
        login: &Login<'_>,
    ) -> Result<(), DatabaseError> {
        let parameters = parameters.iter().copied();
        self.send(|buffer| frontend::startup_message(parameters, buffer)).await?;
        self.authenticate(login).await?;
        loop {
            match self.receive().await? {
                Message::ReadyForQuery(_) => return Ok(()),
                Message::BackendKeyData(_)
                | Message::ParameterStatus(_)
                | Message::NoticeResponse(_) => {}
                _ => return Err(self.unexpected()),
            }
        }
    }

    async fn authenticate(&mut self, login: &Login<'_>) -> Result<(), DatabaseError> {
        let password = login.password.unwrap_or_default();
        match self.receive().await? {
            Message::AuthenticationSasl(body) => return self.authenticate_sasl(&body, login).await,
            _ if login.binding == ChannelBinding::Require => return Err(self.unbound()),
            Message::AuthenticationOk => return Ok(()),
            Message::AuthenticationCleartextPassword => {
                self.send(|buffer| frontend::password_message(password, buffer)).await?;
            }
            Message::AuthenticationMd5Password(body) => {
                let hash = md5_hash(login.user.as_bytes(), password, body.salt());
                self.send(|buffer| frontend::password_message(hash.as_bytes(), buffer)).await?;
            }
            _ => {
                return Err(
                    self.error("the server asks for an authentication that is not supported")
                );
            }
        }
        self.expect_authenticated().await
    }

    async fn authenticate_sasl(
        &mut self,
        body: &AuthenticationSaslBody,
        login: &Login<'_>,
    ) -> Result<(), DatabaseError> {
        let offered: Vec<&str> = body.mechanisms().collect().map_err(|err| self.lost(err))?;
        let end_point = self.incoming.stream.end_point();
        let end_point = end_point.filter(|_| login.binding != ChannelBinding::Disable);
        let (binding, mechanism) = match end_point {
            Some(hash) if offered.contains(&sasl::SCRAM_SHA_256_PLUS) => {
                (sasl::ChannelBinding::tls_server_end_point(hash), sasl::SCRAM_SHA_256_PLUS)
            }
            _ if !offered.contains(&sasl::SCRAM_SHA_256) => {
                return Err(self.error("the server offers no SCRAM-SHA-256"));
            }
            _ if login.binding == ChannelBinding::Require => return Err(self.unbound()),
            // The server learns that its offer of a binding was removed on the way.
            Some(_) => (sasl::ChannelBinding::unrequested(), sasl::SCRAM_SHA_256),
            None => (sasl::ChannelBinding::unsupported(), sasl::SCRAM_SHA_256),
        };
        let mut scram = sasl::ScramSha256::new(login.password.unwrap_or_default(), binding);
        let first = scram.message().to_vec();
        self.send(|buffer| frontend::sasl_initial_response(mechanism, &first, buffer)).await?;
        let Message::AuthenticationSaslContinue(body) = self.receive().await? else {
            return Err(self.unexpected());
        };
        scram.update(body.data()).map_err(|err| self.lost(err))?;
        self.send(|buffer| frontend::sasl_response(scram.message(), buffer)).await?;
        let Message::AuthenticationSaslFinal(body) = self.receive().await? else {
            return Err(self.unexpected());
        };
        scram.finish(body.data()).map_err(|err| self.lost(err))?;
        self.expect_authenticated().await
    }

    async fn expect_authenticated(&mut self) -> Result<(), DatabaseError> {
        match self.receive().await? {
            Message::AuthenticationOk => Ok(()),
            _ => Err(self.unexpected()),
        }
    }

    /// Sends a message.
    pub(super) async fn send(
        &mut self,
        encode: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), DatabaseError> {
        let mut buffer = BytesMut::new();
        let encoded = encode(&mut buffer);
        let sending = async {
            encoded?;
            self.incoming.stream.write_all(&buffer).await?;
            self.incoming.stream.flush().await
        };
        sending.await.map_err(|err| lost(self.operation, err))
    }

    /// Waits for the next message. The server's error is an error.
    pub(super) async fn receive(&mut self) -> Result<Message, DatabaseError> {
        match self.incoming.message().await {
            Ok(Message::ErrorResponse(body)) => Err(rejected(self.operation, &body)),
            Ok(message) => Ok(message),
            Err(err) => Err(self.lost(err)),
        }
    }

    pub(super) fn lost(&self, err: io::Error) -> DatabaseError {
        lost(self.operation, err)
    }

    pub(super) fn unexpected(&self) -> DatabaseError {
        self.error("the server sent a message that does not belong here")
    }

    fn unbound(&self) -> DatabaseError {
        self.error("the server offers no channel binding, and the url has channel_binding=require")
    }

    fn error(&self, problem: &str) -> DatabaseError {
        DatabaseError::unexpected(self.operation, problem)
    }
}

/// The error of a stream.
pub(super) fn lost(operation: &'static str, err: io::Error) -> DatabaseError {
    DatabaseError::unreachable(operation, err)
}

/// The server's error.
pub(super) fn rejected(operation: &'static str, body: &ErrorResponseBody) -> DatabaseError {
    let (mut message, mut code) = (String::new(), String::new());
    // An error without its fields is still the server's.
    let _ = body.fields().for_each(|field| {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'M' => message = value,
            b'C' => code = value,
            _ => {}
        }
        Ok(())
    });
    let failure = Failure::Rejected { message, code: ServerCode::SqlState(code) };
    DatabaseError { operation, failure }
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// Returns the content of `CopyData`, if the message is that.
pub(super) fn copied(message: Message) -> Option<Bytes> {
    match message {
        Message::CopyData(body) => Some(body.into_bytes()),
        _ => None,
    }
}
