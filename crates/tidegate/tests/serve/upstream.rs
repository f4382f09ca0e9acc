//! A minimal application behind the gateway.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The response of the application to its next requests.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A page with this text, shareable for a minute, with the surrogate key of product 42.
    Page(String),
    /// As `Page`, with these surrogate keys; empty: none.
    Tagged(&'static str, String),
    /// Bytes that are not HTTP.
    Malformed,
    /// A body shorter than its content-length.
    Truncated,
    /// No response until the client closes the connection.
    Never,
}

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    reply: Arc<Mutex<Reply>>,
    requests: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let reply = Arc::new(Mutex::new(Reply::Page("first".into())));
        let requests = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (next, count, ended) = (Arc::clone(&reply), Arc::clone(&requests), Arc::clone(&stop));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), next) = (stream, next.lock().expect("sound").clone()) else {
                    continue;
                };
                let count = Arc::clone(&count);
                thread::spawn(move || answer(stream, &next, &count));
            }
        });
        Self { address, reply, requests, stop }
    }

    pub(crate) fn reply_with(&self, next: Reply) {
        *self.reply.lock().expect("sound") = next;
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn answer(mut stream: TcpStream, reply: &Reply, count: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) && !line.ends_with("\r\n\r\n") {}
    if line.is_empty() {
        return;
    }
    count.fetch_add(1, Ordering::Relaxed);
    let tags = match reply {
        Reply::Tagged(tags, _) => tags,
        _ => "product-42",
    };
    let head = |length: usize| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncache-control: public, s-maxage=60\r\n\
             surrogate-key: {tags}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let text = match reply {
        Reply::Page(text) | Reply::Tagged(_, text) => format!("{}{text}", head(text.len())),
        Reply::Malformed => "\u{1}\u{2} not HTTP\r\n\r\n\r\n".into(),
        Reply::Truncated => format!("{}half", head(4_000)),
        Reply::Never => {
            let _ = reader.read_line(&mut line);
            return;
        }
    };
    let _ = stream.write_all(text.as_bytes());
}
