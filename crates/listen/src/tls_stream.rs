//! A client's stream over TLS that has no buffers while it is idle.
//!
//! The usual stream of rustls keeps 4 KiB for the next record, and the memory of a handshake, for as long as a connection
//! exists. This one has its buffers from the arrival of bytes until they are used.

use std::fmt;
use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The most bytes of a read, where a record is incomplete: the size of a large one.
const RECORD_BYTES: usize = 17 << 10;

/// The most bytes of another read.
const READ_BYTES: usize = 4 << 10;

/// The most received bytes that are kept: rustls refuses records and messages that need more.
const RECEIVED_BYTES_MAX: usize = 80 << 10;

/// The most bytes that are encrypted before they are written.
const WRITE_BYTES: usize = 64 << 10;

/// The most bytes that encryption adds to so many: a header and a tag for each record.
const OVERHEAD_BYTES: usize = 256;

/// The first guess of the size of a message of the handshake.
const MESSAGE_BYTES: usize = 1 << 10;

/// A client's stream over TLS.
pub(crate) struct TlsStream {
    socket: TcpStream,
    tls: UnbufferedServerConnection,
    /// Received and not decrypted.
    received: BytesMut,
    /// Decrypted and not read.
    decrypted: BytesMut,
    /// Encrypted and not written.
    encrypted: BytesMut,
    has_peer_ended: bool,
    has_ended: bool,
    has_failed: bool,
}

/// The action that a step is made for.
enum Action<'a> {
    Receive,
    Write(&'a [u8]),
    End,
}

/// The result of a step.
enum Step {
    /// There is more to do.
    More,
    /// Bytes of the client are needed, or the action has been done.
    Done,
}

impl TlsStream {
    /// Completes the handshake of a client. `received`: the bytes that have been read from the socket.
    pub(crate) async fn accept(
        socket: TcpStream,
        config: Arc<ServerConfig>,
        received: BytesMut,
    ) -> Result<Self> {
        let tls = UnbufferedServerConnection::new(config).map_err(Error::other)?;
        let mut stream = Self {
            socket,
            tls,
            received,
            decrypted: BytesMut::new(),
            encrypted: BytesMut::new(),
            has_peer_ended: false,
            has_ended: false,
            has_failed: false,
        };
        loop {
            let step = stream.act(&Action::Receive);
            // Also after a failure: an alert tells the client.
            let sent = poll_fn(|cx| stream.poll_send(cx)).await;
            step?;
            sent?;
            if !stream.tls.is_handshaking() {
                return Ok(stream);
            }
            poll_fn(|cx| stream.poll_receive(cx)).await?;
        }
    }

    /// Returns the certificates that the client has shown, its own first.
    pub(crate) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.peer_certificates()
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Makes steps until the action has been done, or needs bytes of the client.
    fn act(&mut self, action: &Action<'_>) -> Result<()> {
        if self.has_failed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        loop {
            match self.step(action) {
                Ok(Step::More) => {}
                Ok(Step::Done) => return Ok(()),
                Err(err) => {
                    self.has_failed = true;
                    // One step more encodes the alert, if there is one. Further steps would read the same bytes again.
                    let _ = self.step(&Action::Receive);
                    return Err(err);
                }
            }
        }
    }

    fn step(&mut self, action: &Action<'_>) -> Result<Step> {
        let Self { tls, received, decrypted, encrypted, has_peer_ended, .. } = self;
        let UnbufferedStatus { mut discard, state } = tls.process_tls_records(&mut received[..]);
        let step = match state.map_err(invalid)? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(invalid)?;
                    discard += record.discard;
                    decrypted.extend_from_slice(record.payload);
                }
                Step::More
            }
            ConnectionState::EncodeTlsData(mut message) => {
                append(encrypted, MESSAGE_BYTES, |to| match message.encode(to) {
                    Err(EncodeError::InsufficientSize(needed)) => Err(needed),
                    Err(EncodeError::AlreadyEncoded) => Ok(0),
                    Ok(size) => Ok(size),
                });
                Step::More
            }
            ConnectionState::TransmitTlsData(transmit) => {
                // It is written before anything else is.
                transmit.done();
                Step::More
            }
            ConnectionState::WriteTraffic(mut traffic) => {
                let (size, is_end) = match action {
                    Action::Receive => (0, false),
                    Action::Write(data) => (data.len() + OVERHEAD_BYTES, false),
                    Action::End => (OVERHEAD_BYTES, true),
                };
                let mut is_exhausted = false;
                let mut encrypt = |to: &mut [u8]| match action {
                    Action::Receive => Ok(0),
                    Action::Write(data) => traffic.encrypt(data, to),
                    Action::End => traffic.queue_close_notify(to),
                };
                if size > 0 {
                    append(encrypted, size, |to| match encrypt(to) {
                        Err(EncryptError::InsufficientSize(needed)) => Err(needed),
                        Err(EncryptError::EncryptExhausted) => {
                            is_exhausted = true;
                            Ok(0)
                        }
                        Ok(size) => Ok(size),
                    });
                }
                if is_exhausted && !is_end {
                    return Err(Error::other("the keys of the connection are used up"));
                }
                Step::Done
            }
            ConnectionState::PeerClosed => {
                *has_peer_ended = true;
                // A client that sends nothing more may read on.
                if matches!(action, Action::Receive) { Step::Done } else { Step::More }
            }
            ConnectionState::Closed if matches!(action, Action::Write(_)) => {
                return Err(ErrorKind::BrokenPipe.into());
            }
            ConnectionState::Closed => {
                *has_peer_ended = true;
                Step::Done
            }
            ConnectionState::BlockedHandshake => Step::Done,
            // Early data, which is not accepted.
            _ => return Err(invalid("an unexpected state of TLS")),
        };
        self.received.advance(discard);
        Ok(step)
    }

    /// Writes all that is encrypted.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.encrypted.is_empty() {
            let written = Pin::new(&mut self.socket).poll_write(cx, &self.encrypted);
            match ready!(written)? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                size => self.encrypted.advance(size),
            }
        }
        self.encrypted = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Receives some bytes. An end without the client's notice is an error: it may be an attacker's.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            if self.received.is_empty() {
                self.received = BytesMut::new();
            }
            ready!(self.socket.poll_read_ready(cx))?;
            if self.received.len() >= RECEIVED_BYTES_MAX {
                return Poll::Ready(Err(invalid("too many bytes without a message")));
            }
            let size = if self.received.is_empty() { READ_BYTES } else { RECORD_BYTES };
            self.received.reserve(size);
            match self.socket.try_read_buf(&mut self.received) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
                Ok(_) => return Poll::Ready(Ok(())),
                Err(err) if err.kind() == ErrorKind::WouldBlock => {}
                Err(err) => return Poll::Ready(Err(err)),
            }
        }
    }
}

fn invalid(err: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::InvalidData, err)
}

/// Appends the bytes that `write` writes, which says how much room it needs.
fn append(
    to: &mut BytesMut,
    mut size: usize,
    mut write: impl FnMut(&mut [u8]) -> std::result::Result<usize, InsufficientSizeError>,
) {
    let start = to.len();
    loop {
        to.resize(start + size, 0);
        match write(&mut to[start..]) {
            Ok(written) => return to.truncate(start + written),
            Err(InsufficientSizeError { required_size }) => size = required_size.max(size + 1),
        }
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = &mut *self;
        loop {
            if !this.decrypted.is_empty() {
                let size = this.decrypted.len().min(buf.remaining());
                buf.put_slice(&this.decrypted[..size]);
                this.decrypted.advance(size);
                if this.decrypted.is_empty() {
                    this.decrypted = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            if this.has_peer_ended {
                return Poll::Ready(Ok(()));
            }
            if !this.received.is_empty() {
                let acted = this.act(&Action::Receive);
                // Answers to the client's messages, such as an alert. Where they can't be written now, they are
                // written before the next response.
                let _ = this.poll_send(cx);
                acted?;
                if !this.decrypted.is_empty() || this.has_peer_ended {
                    continue;
                }
            }
            ready!(this.poll_receive(cx))?;
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_send(cx))?;
        let part = &buf[..buf.len().min(WRITE_BYTES)];
        if part.is_empty() {
            return Poll::Ready(Ok(0));
        }
        this.act(&Action::Write(part))?;
        // The rest is written before the next part.
        if let Poll::Ready(Err(err)) = this.poll_send(cx) {
            return Poll::Ready(Err(err));
        }
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        if !this.has_ended {
            // A connection that has failed needs no notice of its end.
            let _ = this.act(&Action::End);
            this.has_ended = true;
        }
        ready!(this.poll_send(cx))?;
        match ready!(Pin::new(&mut this.socket).poll_shutdown(cx)) {
            Err(err) if err.kind() == ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rustls::ClientConfig;
    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::*;

    type Client = tokio_rustls::client::TlsStream<TcpStream>;

    struct Pair {
        server: Arc<ServerConfig>,
        client: TlsConnector,
    }

    impl Pair {
        fn new() -> Self {
            let made = harness::Certificates::make().expect("certificates");
            let pem = |name: &str| made.pem(name).expect("it is there");
            let certificate =
                |name: &str| CertificateDer::from_pem_slice(&pem(name)).expect("a certificate");
            let key = PrivateKeyDer::from_pem_slice(&pem("server.key")).expect("a key");
            let provider = Arc::new(ring::default_provider());
            let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(vec![certificate("server.pem")], key)
                .expect("a pair");
            let mut roots = rustls::RootCertStore::empty();
            roots.add(certificate("ca.pem")).expect("an authority");
            let client = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
            Self { server: Arc::new(server), client: Arc::new(client).into() }
        }

        /// Connects a client with a server's stream.
        async fn connect(&self) -> (Client, TlsStream) {
            let (listener, address) = listener().await;
            let accept = async {
                let socket = listener.accept().await.expect("a connection").0;
                TlsStream::accept(socket, Arc::clone(&self.server), BytesMut::new()).await
            };
            let connect = async {
                let socket = TcpStream::connect(address).await.expect("connects");
                let name = ServerName::try_from("localhost").expect("a name");
                self.client.connect(name, socket).await
            };
            let (server, client) = tokio::join!(accept, connect);
            (client.expect("a handshake"), server.expect("a handshake"))
        }
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    fn has_buffers(stream: &TlsStream) -> bool {
        [&stream.received, &stream.decrypted, &stream.encrypted].iter().any(|it| it.capacity() > 0)
    }

    #[tokio::test]
    async fn idle_stream_has_no_buffers() {
        let (mut client, mut server) = Pair::new().connect().await;
        for _ in 0..2 {
            client.write_all(b"request").await.expect("written");
            let mut part = [0; 7];
            server.read_exact(&mut part).await.expect("read");
            server.write_all(&part).await.expect("written");
            server.flush().await.expect("written");
            client.read_exact(&mut part).await.expect("read");
            assert_eq!(&part, b"request");
            let mut next = [0];
            let idle = poll_fn(|cx| {
                let mut buf = ReadBuf::new(&mut next);
                Poll::Ready(Pin::new(&mut server).poll_read(cx, &mut buf).is_pending())
            });
            assert!(idle.await, "nothing has been sent");
            assert!(!has_buffers(&server), "{server:?}");
        }
    }

    /// Both directions at once, with new keys on the way.
    #[tokio::test]
    async fn large_bodies_arrive_in_order() {
        let (mut client, server) = Pair::new().connect().await;
        let echo = tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(server);
            tokio::io::copy(&mut from, &mut to).await?;
            to.shutdown().await
        });
        let sent: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_be_bytes).collect();
        let (mut from, mut to) = {
            client.get_mut().1.refresh_traffic_keys().expect("new keys");
            tokio::io::split(client)
        };
        let expected = sent.clone();
        let write = async move {
            to.write_all(&sent).await.expect("written");
            to.shutdown().await.expect("ended");
        };
        let mut got = Vec::new();
        let (_, read) = tokio::join!(write, from.read_to_end(&mut got));
        read.expect("an orderly end");
        assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
        echo.await.expect("no panic").expect("no error");
    }

    #[tokio::test]
    async fn client_that_sends_no_more_reads_on() {
        let (mut client, mut server) = Pair::new().connect().await;
        client.write_all(b"last").await.expect("written");
        client.get_mut().1.send_close_notify();
        client.flush().await.expect("written");
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.expect("an orderly end");
        assert_eq!(all, b"last");
        server.write_all(b"response").await.expect("written");
        server.shutdown().await.expect("ended");
        let mut response = Vec::new();
        client.read_to_end(&mut response).await.expect("an orderly end");
        assert_eq!(response, b"response");
    }

    #[tokio::test]
    async fn cut_connection_is_no_orderly_end() {
        let (mut client, mut server) = Pair::new().connect().await;
        client.get_mut().0.shutdown().await.expect("ended");
        let read = server.read(&mut [0]).await.expect_err("no notice of the end");
        assert_eq!(read.kind(), ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn malformed_bytes_answered_with_an_alert() {
        let pair = Pair::new();
        for bytes in
            [&[0x16, 3, 1, 0, 4, 9, 0, 0, 0][..], &[0x17, 3, 3, 0, 1, 0], &[0x16, 3, 1, 0xff, 0xff]]
        {
            let (listener, address) = listener().await;
            let mut client = TcpStream::connect(address).await.expect("connects");
            client.write_all(bytes).await.expect("written");
            let socket = listener.accept().await.expect("a connection").0;
            let accepted =
                TlsStream::accept(socket, Arc::clone(&pair.server), BytesMut::new()).await;
            accepted.map(drop).expect_err("no handshake");
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("an answer");
            assert_eq!(answer.first(), Some(&0x15), "{bytes:?}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn altered_first_messages_never_panic() {
        let pair = Pair::new();
        let name = ServerName::try_from("localhost").expect("a name");
        let mut client = rustls::ClientConnection::new(Arc::clone(pair.client.config()), name)
            .expect("a connection");
        let mut hello = Vec::new();
        client.write_tls(&mut hello).expect("a message");
        let (listener, address) = listener().await;
        let mut state = 7_u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).expect("31 bits") % below
        };
        for _ in 0..300 {
            let mut bytes = hello.clone();
            for _ in 0..3 {
                let at = next(bytes.len());
                bytes[at] = u8::try_from(next(256)).expect("a byte");
            }
            let split = next(bytes.len());
            let mut client = TcpStream::connect(address).await.expect("connects");
            let socket = listener.accept().await.expect("a connection").0;
            let accept = TlsStream::accept(socket, Arc::clone(&pair.server), BytesMut::new());
            let send = async {
                // The server may have closed the connection.
                let _ = client.write_all(&bytes[..split]).await;
                let _ = client.write_all(&bytes[split..]).await;
                let _ = client.shutdown().await;
            };
            let (accepted, ()) = tokio::join!(accept, send);
            accepted.map(drop).expect_err("no handshake");
        }
    }

    /// Also where the caller goes on.
    #[tokio::test]
    async fn altered_record_ends_the_connection() {
        let (client, mut server) = Pair::new().connect().await;
        let (mut socket, mut connection) = client.into_inner();
        let mut record = Vec::new();
        use std::io::Write as _;
        connection.writer().write_all(b"request").expect("taken");
        connection.write_tls(&mut record).expect("a record");
        if let Some(last) = record.last_mut() {
            *last ^= 1;
        }
        socket.write_all(&record).await.expect("written");
        let read = server.read(&mut [0; 8]).await.expect_err("an altered record");
        assert_eq!(read.kind(), ErrorKind::InvalidData);
        socket.write_all(&record).await.expect("written");
        server.read(&mut [0; 8]).await.expect_err("it is over");
        server.write_all(b"response").await.expect_err("it is over");
        server.shutdown().await.expect("ended");
    }
}
