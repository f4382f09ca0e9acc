//! The stream of a client: a socket, encrypted or not.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tls::ClientTrust;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::tls_stream::TlsStream;

/// The stream of a client.
#[derive(Debug)]
pub struct ClientStream {
    stream: Stream,
    /// Bytes that were read and given back.
    unread: Bytes,
    /// The trust in the client's certificate, if it has shown one.
    trust: Option<Box<ClientTrust>>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

impl ClientStream {
    /// Whether it is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Returns the certificate that the client has proven to have, verified by the listener's authorities, as DER.
    #[must_use]
    pub fn client_certificate(&self) -> Option<&[u8]> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => stream.peer_certificates()?.first().map(AsRef::as_ref),
        }
    }

    /// Gives bytes back that were read: the next reads return them first.
    pub fn unread(&mut self, bytes: Bytes) {
        // A copy: a part of a buffer, even an empty one, would keep the whole buffer.
        self.unread = match bytes.is_empty() {
            true => return,
            false => [bytes, std::mem::take(&mut self.unread)].concat().into(),
        };
    }

    /// Takes the trust in the certificate that the client has shown; `None`: it has not shown one.
    pub fn take_client_trust(&mut self) -> Option<Box<ClientTrust>> {
        self.trust.take()
    }

    pub(crate) fn encrypted(stream: TlsStream, trust: ClientTrust) -> Self {
        let has_certificate = stream.peer_certificates().is_some();
        let trust = has_certificate.then(|| Box::new(trust));
        Self { stream: Stream::Tls(Box::new(stream)), unread: Bytes::new(), trust }
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.socket(),
        }
    }

    /// Sends small writes at once.
    pub fn set_nodelay(&self) {
        // Fails only on a closed socket, which the first read reports.
        let _ = self.tcp().set_nodelay(true);
    }
}

impl From<TcpStream> for ClientStream {
    fn from(socket: TcpStream) -> Self {
        Self { stream: Stream::Plain(socket), unread: Bytes::new(), trust: None }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if !self.unread.is_empty() {
            let size = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread[..size]);
            self.unread.advance(size);
            if self.unread.is_empty() {
                self.unread = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        match &mut self.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        match &mut self.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(socket) => socket.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn unread_bytes_come_first_and_in_order() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        client.expect("connects").try_write(b"GET / HTTP").expect("written");
        let mut stream = ClientStream::from(accepted.expect("accepted").0);
        let mut first = [0; 3];
        stream.read_exact(&mut first).await.expect("read");
        stream.unread(Bytes::copy_from_slice(&first[1..]));
        stream.unread(Bytes::copy_from_slice(&first[..1]));
        let mut all = [0; 10];
        stream.read_exact(&mut all).await.expect("read");
        assert_eq!(&all, b"GET / HTTP");
    }
}
