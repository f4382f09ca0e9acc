//! A proxy for HTTP that loses replies of executed requests, and counts connections.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Forwards requests, and loses the reply of the first `POST` to each of some paths: the client's connection is closed
/// after the server has answered.
pub(super) struct LossyProxy {
    pub(super) at: SocketAddr,
    state: Arc<State>,
}

struct State {
    target: SocketAddr,
    /// The paths whose next reply is lost.
    losing: Mutex<HashSet<String>>,
    lost: AtomicUsize,
    connections: AtomicUsize,
}

impl LossyProxy {
    pub(super) fn start(target: SocketAddr, losing: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let at = listener.local_addr().expect("an address");
        let losing = losing.iter().map(|path| format!("POST {path}")).collect();
        let (lost, connections) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let state = Arc::new(State { target, losing: Mutex::new(losing), lost, connections });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                state.connections.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || forward(&state, client));
            }
        });
        Self { at, state }
    }

    /// Returns the number of lost replies.
    pub(super) fn lost(&self) -> usize {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// Returns the number of the clients' connections.
    pub(super) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }
}

/// Forwards messages until one side ends, or a reply is lost.
fn forward(state: &State, client: TcpStream) -> Option<()> {
    let server = TcpStream::connect(state.target).ok()?;
    let (mut to_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    let (mut client, mut server) = (BufReader::new(client), BufReader::new(server));
    loop {
        let request = message(&mut client)?;
        to_server.write_all(&request).ok()?;
        let reply = message(&mut server)?;
        let line = request.split(|byte| *byte == b'\r').next()?;
        let line = String::from_utf8_lossy(line);
        let named = line.rsplit_once(' ').map(|(request, _)| request.to_owned())?;
        if state.losing.lock().expect("the paths").remove(&named) {
            state.lost.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        to_client.write_all(&reply).ok()?;
    }
}

/// Reads a head, and a body with a length.
fn message(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    loop {
        let mut line = Vec::new();
        if from.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        bytes.extend_from_slice(&line);
        let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    let head = bytes.len();
    bytes.resize(head + length, 0);
    from.read_exact(&mut bytes[head..]).ok()?;
    Some(bytes)
}
