//! A client with TLS, one request per connection unless a test does more.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use harness::Certificates;
use harness::http::{self, Response};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::stack::DEADLINE;

pub(super) type Stream = StreamOwned<ClientConnection, TcpStream>;

#[derive(Clone)]
pub(super) struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    /// Trusts the authorities of all `certificates`.
    pub(super) fn trusting(certificates: &[&Certificates]) -> Self {
        Self::new(certificates, None)
    }

    /// Trusts the authority of `certificates`, and has the client certificate `name` of `own`.
    pub(super) fn with_certificate(
        certificates: &Certificates,
        (own, name): (&Certificates, &str),
    ) -> Self {
        Self::new(&[certificates], Some((own, name)))
    }

    /// Trusts these authorities.
    pub(super) fn trusting_pem(authorities: &[Vec<u8>]) -> Self {
        Self::of_roots(authorities, None)
    }

    fn new(trusted: &[&Certificates], own: Option<(&Certificates, &str)>) -> Self {
        let pem = |certificates: &&Certificates| certificates.pem("ca.pem").expect("it is there");
        Self::of_roots(&trusted.iter().map(pem).collect::<Vec<_>>(), own)
    }

    fn of_roots(authorities: &[Vec<u8>], own: Option<(&Certificates, &str)>) -> Self {
        let mut roots = RootCertStore::empty();
        for pem in authorities {
            roots.add(CertificateDer::from_pem_slice(pem).expect("PEM")).expect("an authority");
        }
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((own, name)) => {
                let pem = |kind: &str| own.pem(&format!("{name}.{kind}")).expect("it is there");
                let chain = CertificateDer::from_pem_slice(&pem("pem")).expect("PEM");
                let key = PrivateKeyDer::from_pem_slice(&pem("key")).expect("PEM");
                builder.with_client_auth_cert(vec![chain], key).expect("a pair")
            }
        };
        Self { config: Arc::new(config) }
    }

    /// Returns the client with these protocols of ALPN.
    pub(super) fn with_alpn(mut self, protocols: &[&str]) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Connects, and completes the handshake.
    pub(super) fn connect(&self, server: SocketAddr, name: &str) -> io::Result<Stream> {
        self.secure(TcpStream::connect(server)?, name)
    }

    /// Completes the handshake on a connection.
    pub(super) fn secure(&self, socket: TcpStream, name: &str) -> io::Result<Stream> {
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connection = ClientConnection::new(Arc::clone(&self.config), name);
        let mut stream = StreamOwned::new(connection.map_err(io::Error::other)?, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    /// Returns a connection before its handshake, and the first message of it.
    pub(super) fn first_message(&self, name: &str) -> (ClientConnection, Vec<u8>) {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connection = ClientConnection::new(Arc::clone(&self.config), name);
        let (mut connection, mut message) = (connection.expect("a connection"), Vec::new());
        connection.write_tls(&mut message).expect("a message");
        (connection, message)
    }

    pub(super) fn get(&self, server: SocketAddr, path: &str) -> Response {
        self.send(server, ("GET", path), &[], b"").expect("a response")
    }

    pub(super) fn send(
        &self,
        server: SocketAddr,
        request: (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Response> {
        let host = format!("localhost:{}", server.port());
        let headers: Vec<_> = headers.iter().copied().chain([("host", host.as_str())]).collect();
        self.send_as(server, request, &headers, body)
    }

    /// Sends a request whose headers have its host.
    pub(super) fn send_as(
        &self,
        server: SocketAddr,
        request: (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Response> {
        let mut stream = self.connect(server, "localhost")?;
        http::exchange(&mut stream, "localhost", request, headers, body)
    }
}

/// Returns the certificate that a server has presented, as DER.
pub(super) fn presented(stream: &Stream) -> Vec<u8> {
    stream.conn.peer_certificates().expect("the handshake is over")[0].to_vec()
}

/// Sends one request with keep-alive on an open connection, and reads its response, which has a length.
pub(super) fn request_on(stream: &mut Stream, path: &str) -> io::Result<u16> {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let number = |text: Option<&str>| -> Option<usize> { text?.trim().parse().ok() };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let invalid = || io::Error::new(ErrorKind::InvalidData, head.clone());
    let mut body = vec![0; number(length).ok_or_else(invalid)?];
    stream.read_exact(&mut body)?;
    number(head.get(9..12)).and_then(|status| u16::try_from(status).ok()).ok_or_else(invalid)
}
