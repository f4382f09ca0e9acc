//! A shop whose certificates Pebble issues, and a certificate authority that alters its answers.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use harness::http::Response;
use harness::{Pebble, PebbleBuilder, Port, http};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::client::{Client, presented};
use crate::echo::Echo;
use crate::stack::{DEADLINE, Node, gateway_started_by, start};

/// The time limit of a renewal.
const LONG: Duration = Duration::from_secs(90);

/// The parts of a shop that a test chooses.
pub(super) struct Choice<'a> {
    /// More lines of `acme`.
    pub(super) acme: &'a str,
    /// The URL of the directory in place of Pebble's.
    pub(super) directory: Option<&'a dyn Fn(&Pebble) -> String>,
    pub(super) pebble: fn(PebbleBuilder) -> PebbleBuilder,
    /// The storage in place of a folder of its own.
    pub(super) storage: Option<&'a Path>,
}

impl Default for Choice<'_> {
    fn default() -> Self {
        let pebble = |pebble| pebble;
        Self { acme: "", directory: None, pebble, storage: None }
    }
}

/// A gateway for `localhost` without files of certificates, and its authority.
pub(super) struct IssuedShop {
    pub(super) node: Node,
    pub(super) pebble: Pebble,
    /// The plain listener.
    pub(super) plain: SocketAddr,
    pub(super) storage: tempfile::TempDir,
    /// The URL of the directory.
    pub(super) directory: String,
    _echo: Echo,
    _plain: Port,
    pub(super) folder: tempfile::TempDir,
}

impl IssuedShop {
    pub(super) fn with(choice: &Choice<'_>) -> Self {
        let storage = tempfile::tempdir().expect("a folder");
        let plain = Port::reserve().expect("a free port");
        let at = choice.storage.unwrap_or(storage.path());
        let listen = acme_lines(&plain, at, choice.acme);
        let (echo, mut pebble, mut directory) = (Echo::start(), None, String::new());
        let (node, folder) = gateway_started_by(echo.address, "", &listen, |config| {
            let builder =
                Pebble::builder().http_port(plain.number()).tls_port(gateway_port(config));
            let started = (choice.pebble)(builder).start().expect("Pebble starts");
            directory = choice.directory.map_or_else(|| started.directory(), |made| made(&started));
            name_authority(config, &directory, &started);
            pebble = Some(started);
            start(config, &[])
        });
        let pebble = pebble.expect("started");
        let address = plain.addr();
        Self {
            node,
            pebble,
            plain: address,
            storage,
            directory,
            _echo: echo,
            _plain: plain,
            folder,
        }
    }

    /// Starts a second node on the same storage.
    pub(super) fn second_node(&self, acme: &str) -> (Node, SocketAddr, impl Sized + use<>) {
        let plain = Port::reserve().expect("a free port");
        let listen = acme_lines(&plain, self.storage.path(), acme);
        let echo = Echo::start();
        let (node, folder) = gateway_started_by(echo.address, "", &listen, |config| {
            name_authority(config, &self.pebble.directory(), &self.pebble);
            start(config, &[])
        });
        let address = plain.addr();
        (node, address, (plain, echo, folder))
    }

    /// Ends the node by SIGKILL, and starts it again.
    pub(super) fn restart(&mut self) {
        self.node.process.kill9().expect("killed");
        self.node.process = start(&self.folder.path().join("tidegate.toml"), &[]);
        self.node.process.wait_for_http(self.node.admin, "/readyz", DEADLINE).expect("ready");
    }

    pub(super) fn client(&self) -> Client {
        Client::trusting_pem(&[self.pebble.root().expect("a root")])
    }

    pub(super) fn wait_for_certificate(&self) {
        wait_for_certificate(&self.node);
    }

    /// The certificate that clients get now, as DER.
    pub(super) fn presented(&self) -> Vec<u8> {
        let stream = self.client().connect(self.node.gateway, "localhost").expect("connects");
        presented(&stream)
    }

    /// The number of certificates that the authority has signed.
    pub(super) fn issued(&self) -> usize {
        self.pebble.logged("Issued certificate serial")
    }

    pub(super) fn state(&self) -> serde_json::Value {
        state(&self.node)
    }

    /// Waits for a renewal: seconds are the shortest life of a certificate.
    pub(super) fn wait_long(&self, event: &str, holds: impl Fn() -> bool) {
        harness::until(event, LONG, || Ok(holds().then_some(()))).expect(event);
    }

    pub(super) fn wait_for_failure(&self, text: &str) {
        let fails = |_: &Node| {
            let state = self.state();
            state["detail"].as_str().is_some_and(|detail| detail.contains(text))
        };
        self.node.wait(text, fails);
    }
}

/// The state of `acme` in `/readyz`.
pub(super) fn state(node: &Node) -> serde_json::Value {
    let ready = http::get(node.admin, "/readyz", DEADLINE).expect("an answer");
    assert_eq!(ready.status, 200, "a certificate takes no node out of traffic");
    let ready: serde_json::Value = serde_json::from_slice(&ready.body).expect("JSON");
    ready["components"]["acme"].clone()
}

pub(super) fn wait_for_certificate(node: &Node) {
    node.wait("a certificate", |node| {
        node.metric_with("tidegate_listener_certificate_expires_seconds", "gateway") > 0.0
    });
}

fn acme_lines(plain: &Port, storage: &Path, more: &str) -> String {
    let storage = storage.display();
    format!(
        "redirect = \"{}\"\ngateway_tls = {{ acme = {{ directory = \"DIRECTORY\", ca = \"AUTHORITY\", \
         domains = [\"localhost\"], terms_agreed = true, storage = \"{storage}\"{more} }} }}\n",
        plain.addr()
    )
}

fn gateway_port(config: &Path) -> u16 {
    let text = fs::read_to_string(config).expect("readable");
    let table: toml::Table = text.parse().expect("TOML");
    let address = table["listen"]["gateway"].as_str().expect("an address");
    address.parse::<SocketAddr>().expect("an address").port()
}

fn name_authority(config: &Path, directory: &str, pebble: &Pebble) {
    let text = fs::read_to_string(config).expect("readable");
    let ca = pebble.certificates().path("ca.pem").display().to_string();
    fs::write(config, text.replace("DIRECTORY", directory).replace("AUTHORITY", &ca))
        .expect("written");
}

/// A request to an authority.
pub(super) struct Call<'a> {
    pub(super) path: &'a str,
    pub(super) body: &'a [u8],
}

/// Alters the response of the authority to a request; it may wait.
pub(super) type Alter = Arc<dyn Fn(&Call<'_>, &mut Response) + Send + Sync>;

/// Stands between a node and Pebble for the rest of the process. Returns the URL of its directory.
pub(super) fn altered(pebble: &Pebble, alter: Alter) -> String {
    let own = pebble.certificates();
    let pem = |name: &str| own.pem(name).expect("it is there");
    let chain = CertificateDer::from_pem_slice(&pem("server.pem")).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(&pem("server.key")).expect("PEM");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .expect("a pair");
    let (config, client, server) = (Arc::new(config), Client::trusting(&[own]), pebble.addr());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (config, client, alter) = (Arc::clone(&config), client.clone(), Arc::clone(&alter));
            thread::spawn(move || forward(socket, config, &client, server, &alter));
        }
    });
    format!("https://{address}/dir")
}

/// Forwards one request. Its URLs keep the host of the node's request, so that they lead here again.
fn forward(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    client: &Client,
    server: SocketAddr,
    alter: &Alter,
) -> anyhow::Result<()> {
    use std::io::{Read as _, Write as _};
    let mut stream = StreamOwned::new(ServerConnection::new(config)?, socket);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head)?;
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
    let header = |name: &str| headers.iter().find(|header| header.0 == name).map(|header| header.1);
    let size = header("content-length").and_then(|size| size.parse().ok()).unwrap_or(0);
    let mut body = vec![0; size];
    stream.read_exact(&mut body)?;
    let sent: Vec<_> =
        headers.iter().copied().filter(|header| header.0 != "content-length").collect();
    let mut response = client.send_as(server, (method, path), &sent, &body)?;
    alter(&Call { path, body: &body }, &mut response);
    let mut text = format!("HTTP/1.1 {} X\r\n", response.status);
    for (name, value) in &response.headers {
        if !["content-length", "connection", "transfer-encoding"].contains(&name.as_str()) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    let size = response.body.len();
    text.push_str(&format!("content-length: {size}\r\nconnection: close\r\n\r\n"));
    stream.write_all(text.as_bytes())?;
    if method != "HEAD" {
        stream.write_all(&response.body)?;
    }
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}

/// Turns a response into a problem of ACME.
pub(super) fn refuse(response: &mut Response, status: u16, problem: &str, retry_after: &str) {
    response.status = status;
    response.headers.push(("retry-after".to_owned(), retry_after.to_owned()));
    let problem = format!(
        r#"{{"type":"urn:ietf:params:acme:error:{problem}","detail":"as the test wants","status":{status}}}"#
    );
    response.body = problem.into_bytes();
}
