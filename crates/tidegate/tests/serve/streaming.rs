//! A page that is stored reaches its readers while it is loaded.

use std::io::Read;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use harness::{Nginx, http};

use crate::site::{Site, open};
use crate::stack::{DEADLINE, now};

/// Reads a page of ten bytes that its application sends over 4 s. Returns the time between its first byte and its
/// end.
fn spread(server: SocketAddr, path: &str) -> Duration {
    let get = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n");
    let mut socket = open(server, get.as_bytes());
    let (mut all, mut part, mut first) = (Vec::new(), [0; 512], None);
    loop {
        let size = socket.read(&mut part).expect("no error");
        all.extend_from_slice(&part[..size]);
        if first.is_none() && all.windows(5).any(|bytes| bytes == b"\r\n\r\nx") {
            first = Some(now());
        }
        if size == 0 {
            assert!(all.ends_with(b"xxxxxxxxxx"), "{}", String::from_utf8_lossy(&all));
            return first.expect("a body").elapsed();
        }
    }
}

#[test]
fn first_byte_comes_before_the_last() {
    let site = Site::start();
    let upstream = site.application.addr();
    let conf = |at: &harness::Site| {
        format!(
            "proxy_cache_path {}/cache keys_zone=pages:1m; server {{ listen {}; location / {{ \
             proxy_pass http://{upstream}; proxy_cache pages; proxy_cache_lock on; }} }}",
            at.folder.display(),
            at.listen
        )
    };
    let nginx = Nginx::start(1, conf).ok();
    let peer = nginx.as_ref().map(Nginx::addr);
    for server in peer.into_iter().chain([site.node.gateway]) {
        let path = format!("/trickle/4000/{server}");
        let spread = thread::scope(|scope| {
            let readers = [(); 3].map(|()| {
                thread::sleep(Duration::from_millis(200));
                scope.spawn(|| spread(server, &path))
            });
            readers.map(|reader| reader.join().expect("no panic"))
        });
        println!("{server}: between the first and the last byte: {spread:?}");
        if server == site.node.gateway {
            assert!(spread.iter().all(|spread| *spread > Duration::from_secs(1)), "{spread:?}");
            // Before the hit, since the auditor may ask for the page of a hit.
            assert_eq!(site.application.requests(&path), 1);
            let stored = http::get(server, &path, DEADLINE).expect("a page");
            assert_eq!(stored.header("cache-status"), Some("tidegate; hit"));
        }
    }
}
