//! An application that shows the requests that it has received.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Answers each request with its number and its head, as a page that all may share for a minute. Its first
/// segment may ask for another answer:
///
/// - `/secure`: redirects plain HTTP to HTTPS, for a minute too.
/// - `/private`: `cache-control: private`.
/// - `/vary-X`: with `Vary: X`.
/// - `/failing`: a 503 after 300 ms.
/// - `/open`: the head of a body that does not come.
/// - `/write`: with a causal token of the write.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Echo {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (requests, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counted, ended) = (Arc::clone(&requests), Arc::clone(&stop));
        thread::spawn(move || {
            for connection in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let counted = Arc::clone(&counted);
                thread::spawn(move || connection.map(|connection| answer(&connection, &counted)));
            }
        });
        Self { address, requests, stop }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn answer(mut connection: &TcpStream, requests: &AtomicUsize) {
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    while reader.read_line(&mut head).is_ok_and(|read| read > 0) && !head.ends_with("\r\n\r\n") {}
    if head.is_empty() {
        return;
    }
    let number = requests.fetch_add(1, Ordering::Relaxed);
    let path = head.split(' ').nth(1).unwrap_or_default();
    let kind = path.split('/').nth(1).unwrap_or_default();
    let body = format!("request {number}\n{head}");
    let (status, headers) = match kind {
        "secure" if head.contains("x-forwarded-proto: http\r\n") => (
            "301 Moved",
            "location: https://shop/secure\r\ncache-control: public, s-maxage=60".to_owned(),
        ),
        "private" => ("200 OK", "cache-control: private".to_owned()),
        "failing" => {
            thread::sleep(Duration::from_millis(300));
            ("503 Busy", "retry-after: 7".to_owned())
        }
        "write" => ("200 OK", format!("tidegate-written: {TOKEN}")),
        _ => {
            let vary = kind
                .strip_prefix("vary-")
                .map_or(String::new(), |name| format!("\r\nvary: {name}"));
            ("200 OK", format!("cache-control: public, s-maxage=60{vary}"))
        }
    };
    let length = if kind == "open" { body.len() + 1 } else { body.len() };
    let response = format!(
        "HTTP/1.1 {status}\r\n{headers}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let _ = connection.write_all(response.as_bytes());
    if kind == "open" {
        // Until the gateway closes the connection.
        let _ = reader.read_line(&mut head);
    }
}

/// The causal token of a write.
const TOKEN: &str = "lsn=0/2";
