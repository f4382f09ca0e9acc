//! An application behind a gateway, whose response depends on the path.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;

/// The stack of a connection's thread.
const STACK_BYTES: usize = 256 << 10;

/// An application that takes one request per connection, each in a thread. The first segment of the path
/// selects the response, the second one is a number N; more segments make pages distinct.
///
/// | path | response |
/// |---|---|
/// | `/page/N` | a page of N bytes, shareable for a minute |
/// | `/private/N` | N bytes for this client only |
/// | `/slow/N` | a shareable page after N ms |
/// | `/trickle/N` | a shareable page in ten parts over N ms |
/// | `/events/N` | a stream: two events with N ms between them |
/// | `/open` | a stream with one event, and no end |
/// | `/hang` | none |
/// | `/close` | none: the connection is closed |
/// | `/early` | 413, before the request body is read |
/// | `/status/N` | status N |
/// | `/upload` | the number of bytes of the request body |
///
/// A request body is read to its end before the response, except by `/early`.
#[derive(Debug)]
pub struct Application {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    stops: AtomicBool,
    requests: Mutex<Vec<String>>,
    connections: Mutex<Vec<TcpStream>>,
}

impl Application {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start() -> Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Starts it at an address, such as that of one that has stopped.
    ///
    /// # Errors
    /// When the address is in use.
    pub fn start_at(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        let (address, state) = (listener.local_addr()?, Arc::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for connection in listener.incoming() {
                if shared.stops.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(connection) = connection else { continue };
                if let Ok(copy) = connection.try_clone() {
                    lock(&shared.connections).push(copy);
                }
                let state = Arc::clone(&shared);
                let serve = move || drop(serve(connection, &state));
                // Without a thread, the connection is closed.
                let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(serve);
            }
        });
        Ok(Self { address, state })
    }

    /// Returns its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of requests whose path starts with `prefix`.
    #[must_use]
    pub fn requests(&self, prefix: &str) -> usize {
        lock(&self.state.requests).iter().filter(|path| path.starts_with(prefix)).count()
    }
}

impl Drop for Application {
    /// Closes the listener and all connections.
    fn drop(&mut self) {
        self.state.stops.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        for connection in lock(&self.state.connections).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(connection: TcpStream, state: &State) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection.try_clone()?);
    let (path, framing) = read_head(&mut reader)?;
    lock(&state.requests).push(path.clone());
    let mut segments = path.split(['/', '?']).skip(1);
    let kind = segments.next().unwrap_or_default();
    let number: u64 = segments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let length = if kind == "early" { 0 } else { read_body(&mut reader, framing)? };
    let responded = respond(&connection, kind, number, length);
    // Its copies would keep it open.
    connection.shutdown(Shutdown::Write)?;
    responded
}

/// The framing of a request body.
enum Framing {
    Length(u64),
    Chunked,
}

fn read_head(reader: &mut impl BufRead) -> io::Result<(String, Framing)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut framing = Framing::Length(0);
    loop {
        line.clear();
        if reader.read_line(&mut line)? <= 2 {
            return Ok((path, framing));
        }
        let line = line.to_ascii_lowercase();
        if let Some(length) = line.strip_prefix("content-length:") {
            framing = Framing::Length(length.trim().parse().unwrap_or(0));
        } else if line.starts_with("transfer-encoding:") {
            framing = Framing::Chunked;
        }
    }
}

fn read_body(reader: &mut impl BufRead, framing: Framing) -> io::Result<u64> {
    if let Framing::Length(length) = framing {
        return io::copy(&mut reader.take(length), &mut io::sink());
    }
    let mut total = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
        // With the line end after it.
        io::copy(&mut reader.take(size + 2), &mut io::sink())?;
        total += size;
        if size == 0 {
            return Ok(total);
        }
    }
}

fn respond(mut to: &TcpStream, kind: &str, number: u64, received: u64) -> io::Result<()> {
    const SHARED: &str = "cache-control: public, s-maxage=60";
    const STREAM: &str = "content-type: text/event-stream\r\ntransfer-encoding: chunked";
    const EVENT: &[u8] = b"7\r\ndata: 1\r\n";
    let pause = Duration::from_millis(number);
    match kind {
        "page" => whole(to, 200, SHARED, &filled(number)),
        "private" => whole(to, 200, "cache-control: private", &filled(number)),
        "slow" => {
            thread::sleep(pause);
            whole(to, 200, SHARED, b"slow")
        }
        "trickle" => {
            head(to, 200, &format!("{SHARED}\r\ncontent-length: 10"))?;
            (0..10).try_for_each(|_| {
                thread::sleep(pause / 10);
                to.write_all(b"x")
            })
        }
        "events" => {
            head(to, 200, STREAM)?;
            to.write_all(EVENT)?;
            thread::sleep(pause);
            to.write_all(EVENT)?;
            to.write_all(b"0\r\n\r\n")
        }
        "open" => {
            head(to, 200, STREAM)?;
            to.write_all(EVENT)?;
            wait_for_end(to)
        }
        "hang" => wait_for_end(to),
        "close" => Ok(()),
        "early" => whole(to, 413, "x-early: 1", b"too large"),
        "status" => whole(to, number, "x-status: 1", b"status"),
        _ => whole(to, 200, "cache-control: no-store", received.to_string().as_bytes()),
    }
}

fn filled(length: u64) -> Vec<u8> {
    vec![b'a'; usize::try_from(length).unwrap_or_default()]
}

fn head(mut to: &TcpStream, status: u64, headers: &str) -> io::Result<()> {
    write!(to, "HTTP/1.1 {status} Status\r\nconnection: close\r\n{headers}\r\n\r\n")
}

fn whole(mut to: &TcpStream, status: u64, header: &str, body: &[u8]) -> io::Result<()> {
    head(to, status, &format!("{header}\r\ncontent-length: {}", body.len()))?;
    to.write_all(body)
}

/// Waits until the peer closes the connection.
fn wait_for_end(mut connection: &TcpStream) -> io::Result<()> {
    io::copy(&mut connection, &mut io::sink()).map(drop)
}
