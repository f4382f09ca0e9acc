//! An address that can come to lead to another server.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Forwards connections to an address that can be changed; open ones stay where they are.
pub(crate) struct Forwarder {
    pub(crate) at: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
}

impl Forwarder {
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let at = listener.local_addr().expect("an address");
        let target = Arc::new(Mutex::new(target));
        let shared = Arc::clone(&target);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let target = *shared.lock().expect("the target");
                let Ok(server) = TcpStream::connect(target) else { continue };
                let clones = (client.try_clone(), server.try_clone());
                let (Ok(from_client), Ok(from_server)) = clones else { continue };
                thread::spawn(move || pump(from_client, server));
                thread::spawn(move || pump(from_server, client));
            }
        });
        Self { at, target }
    }

    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().expect("the target") = target;
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
