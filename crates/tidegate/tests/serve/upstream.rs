//! An application behind the gateway, as small as it can be.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the application answers next.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// A page with this text, shared for a minute, made from product 42.
    Page(String),
    /// Bytes that are no HTTP.
    Rubbish,
    /// Half of what it announces.
    Half,
    /// Nothing, until the other side gives up.
    Never,
}

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    says: Arc<Mutex<Says>>,
    requests: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let says = Arc::new(Mutex::new(Says::Page("first".into())));
        let requests = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (next, count, ended) = (Arc::clone(&says), Arc::clone(&requests), Arc::clone(&stop));
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
        Self { address, says, requests, stop }
    }

    pub(crate) fn says(&self, next: Says) {
        *self.says.lock().expect("sound") = next;
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

fn answer(mut stream: TcpStream, says: &Says, count: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) && !line.ends_with("\r\n\r\n") {}
    if line.is_empty() {
        return;
    }
    count.fetch_add(1, Ordering::Relaxed);
    let head = |length: usize| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncache-control: public, s-maxage=60\r\n\
             surrogate-key: product-42\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let text = match says {
        Says::Page(text) => format!("{}{text}", head(text.len())),
        Says::Rubbish => "\u{1}\u{2} what is this\r\n\r\n\r\n".into(),
        Says::Half => format!("{}half", head(4_000)),
        Says::Never => {
            let _ = reader.read_line(&mut line);
            return;
        }
    };
    let _ = stream.write_all(text.as_bytes());
}
