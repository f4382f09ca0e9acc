//! Connections: bursts, limits of the listeners, and file descriptors that are used up.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use harness::{Process, http};

use crate::site::{Site, open, status, wait_for};
use crate::stack::{DEADLINE, now};

/// A request that keeps its connection open for an event stream.
const STREAM: &[u8] = b"GET /open HTTP/1.1\r\nhost: shop\r\n\r\n";

/// While the process is stopped, connections are established up to the length of the queue, and no further one.
#[test]
fn burst_of_connections_fits_the_queue() {
    let mut site = Site::start();
    site.node.process.pause().expect("stopped");
    let connect = |_| TcpStream::connect_timeout(&site.node.gateway, Duration::from_millis(900));
    let burst: Vec<_> = (0..3_000).map(connect).map_while(Result::ok).collect();
    site.node.process.resume().expect("continues");
    assert_eq!(burst.len(), 3_000, "the next SYN was lost, which costs a second");
    assert_eq!(status(site.node.gateway, "GET", "/page/10"), 200, "after 3,000 others");
}

#[test]
fn burst_of_requests_served() {
    let site = Site::start();
    site.beside_nginx(|server| {
        assert_eq!(status(server, "GET", "/page/100"), 200);
        let begun = now();
        let taken: Vec<(u16, Duration)> = thread::scope(|scope| {
            let get = || (status(server, "GET", "/page/100"), begun.elapsed());
            let sent: Vec<_> = (0..1_000).map(|_| scope.spawn(get)).collect();
            sent.into_iter().map(|sent| sent.join().expect("no panic")).collect()
        });
        let failed = taken.iter().filter(|(status, _)| *status != 200).count();
        let last = taken.iter().map(|(_, took)| *took).max();
        println!("{server}: 1,000 requests at once took {last:?}");
        assert_eq!(failed, 0);
    });
}

/// Whether the server has closed a connection.
fn is_closed(mut socket: &TcpStream) -> bool {
    socket.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout");
    match socket.read(&mut [0]) {
        Ok(size) => size == 0,
        Err(err) => {
            !matches!(err.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        }
    }
}

/// The connections of this process are of one client.
#[test]
fn client_leaves_connections_for_others() {
    let limits = "gateway_connections = 20\ndata_connections = 20\nadmin_connections = 20\n";
    let site = Site::started_by("", limits, |config| crate::stack::start(config, &[]));
    let node = &site.node;
    for server in [node.gateway, node.data, node.admin] {
        let mut open: Vec<TcpStream> = Vec::new();
        // Connections of the checks before may not have ended yet.
        while open.len() < 10 {
            let socket = TcpStream::connect(server).expect("connects");
            if !is_closed(&socket) {
                open.push(socket);
            }
        }
        let more = TcpStream::connect(server).expect("connects");
        wait_for("a closed connection", || is_closed(&more));
        assert!(open.iter().all(|socket| !is_closed(socket)), "{server}: the first 10 stay");
        drop(open);
        wait_for("a free connection", || {
            http::get(server, "/", DEADLINE).is_ok_and(|answer| answer.status > 0)
        });
    }
    let lines = node.process.lines();
    let told = lines.iter().filter(|line| line.contains("as many as one client may have"));
    assert_eq!(told.count(), 3, "one line of each listener: {lines:#?}");
    assert!(node.metric("tidegate_listener_refused_connections_total") >= 3.0);
}

#[test]
fn trusted_proxy_has_connections_of_many() {
    let proxies = "[edge]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let limits = "gateway_connections = 40\ngateway_connections_per_client = 5\n";
    let site = Site::started_by(proxies, limits, |config| crate::stack::start(config, &[]));
    let gateway = site.node.gateway;
    let request = b"GET /page/10 HTTP/1.1\r\nhost: shop\r\n\r\n";
    let mut open: Vec<TcpStream> = (0..20).map(|_| open(gateway, request)).collect();
    for socket in &mut open {
        let mut answer = [0; 12];
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        socket.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    assert!(site.node.metric("tidegate_listener_refused_connections_total") < 1.0);
}

/// A node whose process may open few files.
fn with_descriptors(most: u32) -> Site {
    let limits = "gateway_connections_per_client = 100000\ndata_connections_per_client = 100000\n";
    Site::started_by("", limits, |config| {
        let limited = format!("ulimit -n {most}; exec \"$0\" serve --config \"$1\"");
        let sh = Process::builder("/bin/sh").arg("-c").arg(limited);
        let sh = sh.arg(env!("CARGO_BIN_EXE_tidegate")).arg(config);
        sh.start().expect("the binary starts")
    })
}

fn answers(server: SocketAddr, path: &str) -> bool {
    http::get(server, path, DEADLINE).is_ok()
}

#[test]
fn admin_answers_without_descriptors() {
    let site = with_descriptors(256);
    let node = &site.node;
    let starved = |node: &crate::stack::Node| {
        node.metric("tidegate_listener_descriptors_missing_total") > 0.0
    };
    // Each event stream takes a connection of its client and one to the application.
    let mut open: Vec<TcpStream> = (0..120).map(|_| open(node.gateway, STREAM)).collect();
    open.extend((0..120).map(|_| TcpStream::connect(node.data).expect("connects")));
    node.wait("a lack of descriptors", starved);
    for _ in 0..50 {
        for path in ["/healthz", "/readyz", "/metrics", "/api/v1/status"] {
            assert!(answers(node.admin, path), "{path}");
        }
    }
    let lines = node.process.lines();
    let told = lines.iter().filter(|line| line.contains("no file descriptors left")).count();
    assert!((1..=3).contains(&told), "one line of each listener: {lines:#?}");
    drop(open);
    let freed = now();
    // The gateway closes its ends first.
    node.wait("pages are served again", |node| status(node.gateway, "GET", "/page/10") == 200);
    println!("served {:?} after descriptors were freed", freed.elapsed());
    assert_eq!(status(node.gateway, "GET", "/private/10"), 200);
}
