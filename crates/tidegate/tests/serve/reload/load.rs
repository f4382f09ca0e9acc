//! Clients that go on while a node reloads. Each request has to be answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use harness::http;

use crate::stack::{DEADLINE, Node};

/// A connection that is kept for all requests.
pub(super) struct Kept {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Kept {
    pub(super) fn connect(to: SocketAddr) -> Self {
        Self::with_header(to, "")
    }

    /// `header`: a line of each request, with its end.
    pub(super) fn with_header(to: SocketAddr, header: &str) -> Self {
        let stream = TcpStream::connect(to).expect("connects");
        stream.set_read_timeout(Some(DEADLINE)).expect("set");
        stream.set_nodelay(true).expect("set");
        Self { stream: BufReader::new(stream), head: format!("host: {to}\r\n{header}") }
    }

    /// Returns the status and the body of an answer after which the connection stays open.
    pub(super) fn get(&mut self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\n{}\r\n", self.head);
        self.stream.get_mut().write_all(request.as_bytes()).expect("sent");
        let (mut line, mut status, mut length) = (String::new(), 0, None);
        loop {
            line.clear();
            assert!(
                self.stream.read_line(&mut line).expect("a line") > 0,
                "the connection was closed"
            );
            let text = line.trim_end().to_ascii_lowercase();
            if text.is_empty() {
                break;
            }
            if let Some(rest) = text.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().expect("a status");
            }
            if let Some(rest) = text.strip_prefix("content-length: ") {
                length = Some(rest.parse().expect("a length"));
            }
            assert_ne!(text, "connection: close", "the connection stays open");
        }
        let mut body = vec![0; length.expect("a length")];
        self.stream.read_exact(&mut body).expect("a body");
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}

/// The pause of a client: the node needs the processors, too.
const PAUSE: Duration = Duration::from_millis(4);

/// Clients of the data API and of the gateway.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Two clients that keep their connections, and two with a connection for each request.
    pub(super) fn on(node: &Node) -> Self {
        let (stop, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let targets = [(node.data, "/data/product_price/42"), (node.gateway, "/p/42")];
        let client = |(number, (to, path)): (usize, (SocketAddr, &'static str))| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            thread::spawn(move || {
                let mut kept = Kept::connect(to);
                while !stop.load(Ordering::Relaxed) {
                    let (status, body) = match number {
                        0 | 1 => kept.get(path),
                        _ => {
                            let answer = http::get(to, path, DEADLINE).expect("an answer");
                            (answer.status, answer.text())
                        }
                    };
                    assert_eq!(status, 200, "{path}: {body}");
                    served.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(PAUSE);
                }
            })
        };
        let clients = targets.into_iter().cycle().take(4).enumerate().map(client).collect();
        Self { stop, served, clients }
    }

    /// Waits for further answers.
    pub(super) fn goes_on(&self, node: &Node) {
        let before = self.served.load(Ordering::Relaxed);
        node.wait("further answers", |_| self.served.load(Ordering::Relaxed) > before + 20);
    }

    /// Ends the clients. Fails if a request had no answer.
    pub(super) fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("every request was answered");
        }
        self.served.load(Ordering::Relaxed)
    }
}
