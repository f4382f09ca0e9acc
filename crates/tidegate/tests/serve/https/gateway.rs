//! The gateway over TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use harness::{Certificates, Nginx};

use super::client::{Client, presented};
use super::{Shop, curl, gateway_tls, pair};
use crate::echo::Echo;
use crate::stack::{DEADLINE, gateway_started_by, start};

/// The failed handshakes of the gateway with this reason.
fn failures(shop: &Shop, reason: &str) -> f64 {
    let labels = format!("listener=\"gateway\",reason=\"{reason}\"");
    shop.node.metric_with("tidegate_listener_tls_failures_total", &labels)
}

#[test]
fn requests_over_tls_have_scheme_https() {
    let shop = Shop::start();
    let client = shop.client();
    let page = client.get(shop.node.gateway, "/page");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("x-forwarded-proto: https\r\n"), "{}", page.text());
    let again = client.get(shop.node.gateway, "/page");
    assert_eq!(again.header("cache-status"), Some("tidegate; hit"));
    assert_eq!(client.get(shop.node.gateway, "/secure").status, 200, "no redirect to https");
    let forged = [("x-forwarded-proto", "http"), ("forwarded", "proto=http")];
    let sent =
        client.send(shop.node.gateway, ("GET", "/private"), &forged, b"").expect("a response");
    assert!(sent.text().contains("x-forwarded-proto: https\r\n"), "{}", sent.text());
    let written =
        client.send(shop.node.gateway, ("POST", "/write"), &[], b"x").expect("a response");
    let cookie = written.header("set-cookie").expect("a cookie with the token");
    assert!(cookie.ends_with("; Secure"), "{cookie}");
}

#[test]
fn alpn_selects_version_of_http() {
    let shop = Shop::start();
    let ca = shop.certificates.path("ca.pem");
    let url = format!("https://localhost:{}/private", shop.node.gateway.port());
    for (option, version) in
        [("--http2", "200 2"), ("--http1.1", "200 1.1"), ("--http1.0", "200 1")]
    {
        let answer = curl(&ca, &[option, &url]);
        assert!(answer.ends_with(version), "{option}: {answer}");
        assert!(answer.contains("x-forwarded-proto: https\r\n"), "{option}: {answer}");
    }
    let application = harness::Application::start().expect("a free port");
    let listen = gateway_tls(&shop.certificates, "server", "");
    let (node, _folder) =
        gateway_started_by(application.addr(), "", &listen, |config| start(config, &[]));
    let url = format!("https://localhost:{}/upload", node.gateway.port());
    let upload = "x".repeat(1 << 20);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("body");
    std::fs::write(&file, upload).expect("written");
    let data = format!("@{}", file.display());
    for option in ["--http2", "--http1.1"] {
        let answer = curl(&ca, &[option, "--data-binary", &data, &url]);
        assert!(answer.starts_with("1048576"), "{option}: {answer}");
    }
}

#[test]
fn certificate_selected_by_name() {
    let certificates = Certificates::make().expect("certificates");
    certificates
        .sign("wild", "wild", "2", "subjectAltName=DNS:*.shop.example,DNS:Shop.Example")
        .expect("signed");
    let others = format!(
        ", certificate = [{{ {} }}, {{ {} }}]",
        pair(&certificates, "other-name"),
        pair(&certificates, "wild")
    );
    let echo = Echo::start();
    let listen = gateway_tls(&certificates, "server", &others);
    let (node, _folder) =
        gateway_started_by(echo.address, "", &listen, |config| start(config, &[]));
    let client = Client::trusting(&[&certificates]);
    let of = |name: &str| client.connect(node.gateway, name).map(|stream| presented(&stream));
    let [first, second, third] =
        ["localhost", "db.example.com", "www.shop.example"].map(|name| of(name).expect(name));
    assert!(first != second && second != third && first != third);
    assert_eq!(of("shop.example").expect("in lower case"), third);
    assert_eq!(of("WWW.Shop.Example").expect("in any case"), third);
    assert_eq!(of("127.0.0.1").expect("no name is sent"), first);
    for name in ["other.example", "a.www.shop.example"] {
        let refused = of(name).expect_err("the first certificate is for another name").to_string();
        assert!(refused.contains("certificate"), "{name}: {refused}");
    }
    node.wait("the client's alert", |node| {
        let labels = "listener=\"gateway\",reason=\"distrusted\"";
        node.metric_with("tidegate_listener_tls_failures_total", labels) == 2.0
    });
    let is_warning = |line: &String| line.contains("clients refuse the certificate");
    assert_eq!(node.process.lines().iter().filter(|line| is_warning(line)).count(), 1);
}

/// Sends bytes on a new connection, and reads until the server closes it.
fn exchange(server: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(server).expect("connects");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    socket.write_all(bytes).expect("writes");
    let mut all = Vec::new();
    socket.read_to_end(&mut all).expect("the end, and no reset");
    String::from_utf8_lossy(&all).into_owned()
}

/// Also of a request whose body is on its way, and as nginx does.
#[test]
fn plain_request_answered_400() {
    let shop = Shop::start();
    let upload =
        format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9999\r\n\r\n{}", "x".repeat(9999));
    let requests = ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", &upload];
    for request in requests {
        let answer = exchange(shop.node.gateway, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("https"), "{answer}");
    }
    shop.node.wait("both counts", |_| failures(&shop, "plaintext") == 2.0);
    let conf = |site: &harness::Site| {
        format!(
            "server {{ listen {} ssl; {} }}",
            site.listen,
            nginx_pair(&shop.certificates, "server")
        )
    };
    match Nginx::start(1, conf) {
        Err(err) if err.to_string().contains("nginx not found") => {}
        nginx => {
            let answer = exchange(nginx.expect("nginx starts").addr(), requests[0].as_bytes());
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        }
    }
    assert_eq!(shop.client().get(shop.node.gateway, "/page").status, 200);
}

pub(super) fn nginx_pair(certificates: &Certificates, name: &str) -> String {
    let file = |kind: &str| certificates.path(&format!("{name}.{kind}")).display().to_string();
    format!("ssl_certificate {}; ssl_certificate_key {};", file("pem"), file("key"))
}

/// A client without a byte, one with half of its first message, and one that drips: each ends with the timeout, and
/// the places of connections are free again.
#[test]
fn stalled_handshakes_end_and_others_are_served() {
    let limits =
        "handshake_timeout = \"1s\"\ngateway_connections = 6\ngateway_connections_per_client = 6\n";
    let shop = Shop::with(limits, "");
    let start: &[u8] = &[0x16, 3, 1, 0, 200, 1, 0, 0];
    let connect = |bytes: &[u8]| {
        let mut socket = TcpStream::connect(shop.node.gateway).expect("connects");
        socket.write_all(bytes).expect("writes");
        socket
    };
    let mut stalled: Vec<TcpStream> =
        [&[][..], &[], start, start, &start[..1], &start[..1]].map(connect).into();
    let dripping = stalled.pop().expect("six");
    let drip = thread::spawn(move || {
        let mut socket = dripping;
        let message = [&start[1..], &[0xc0, 3, 3], &[7; 180]].concat();
        let write = |byte: &u8| {
            thread::sleep(Duration::from_millis(50));
            socket.write_all(&[*byte]).is_ok()
        };
        message.iter().map(write).take_while(|written| *written).count()
    });
    let page = shop.client().get(shop.node.gateway, "/page");
    assert_eq!(page.status, 200, "the seventh connection waits for one of the six");
    assert!(drip.join().expect("no panic") < 200, "it was cut off");
    shop.node.wait("all timeouts", |_| failures(&shop, "timeout") == 6.0);
    drop(stalled);
    // Checks of a port count for nothing.
    drop(TcpStream::connect(shop.node.gateway).expect("connects"));
    assert_eq!(shop.client().get(shop.node.gateway, "/page").status, 200);
    assert_eq!(failures(&shop, "lost"), 0.0);
}

/// The first message of a client is longer than a segment where it has keys against quantum computers.
#[test]
fn first_message_in_pieces_accepted() {
    let shop = Shop::start();
    let client = shop.client();
    for size in [1, 5, 200] {
        let mut socket = TcpStream::connect(shop.node.gateway).expect("connects");
        socket.set_nodelay(true).expect("an option");
        let (mut connection, first) = client.first_message("localhost");
        for piece in first.chunks(size) {
            socket.write_all(piece).expect("writes");
            thread::sleep(Duration::from_millis(1));
        }
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).expect("a handshake");
        }
    }
}

/// As over plain HTTP.
#[test]
fn half_closed_client_gets_its_response() {
    let shop = Shop::start();
    let mut stream = shop.client().connect(shop.node.gateway, "localhost").expect("connects");
    let request = "GET /failing HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("writes");
    stream.conn.send_close_notify();
    stream.flush().expect("writes");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response, and an orderly end");
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
}

/// Bytes that are no TLS, and truncated or damaged messages, harm no other client.
#[test]
fn malformed_handshakes_refused() {
    let shop = Shop::start();
    for bytes in [
        &[0x16, 3, 1, 0, 4, 9, 9, 9, 9][..],
        &[0x16, 0xff, 0xff, 0xff, 0xff, 0, 0],
        &[0x80, 0x2e, 1, 3, 1, 0, 0x15],
        &[0; 64],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut socket = TcpStream::connect(shop.node.gateway).expect("connects");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let _ = socket.write_all(bytes);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
    }
    assert_eq!(shop.client().get(shop.node.gateway, "/page").status, 200);
}

#[test]
fn proxy_header_comes_before_handshake() {
    let options = "[edge]\ntrusted_proxies = [\"127.0.0.0/8\"]\nproxy_protocol = true\n";
    let shop = Shop::with("", options);
    let mut socket = TcpStream::connect(shop.node.gateway).expect("connects");
    socket.write_all(b"PROXY TCP4 203.0.113.9 127.0.0.1 56324 443\r\n").expect("writes");
    let mut stream = shop.client().secure(socket, "localhost").expect("a handshake");
    let seen = harness::http::exchange(&mut stream, "shop", ("GET", "/private"), &[], b"");
    let seen = seen.expect("a response").text();
    for line in ["x-forwarded-for: 203.0.113.9\r\n", "x-forwarded-proto: https\r\n"] {
        assert!(seen.contains(line), "{seen}");
    }
    let ca = shop.certificates.path("ca.pem");
    let url = format!("https://localhost:{}/private", shop.node.gateway.port());
    let answer = curl(&ca, &["--haproxy-protocol", "--http2", &url]);
    assert!(answer.ends_with("200 2"), "{answer}");
}

/// A load balancer that encrypts again knows how the client has come.
#[test]
fn trusted_proxy_behind_tls_describes_client() {
    let shop = Shop::with("", "[edge]\ntrusted_proxies = [\"127.0.0.0/8\"]\n");
    let get = |headers: &[(&str, &str)]| {
        let sent = shop.client().send(shop.node.gateway, ("GET", "/private"), headers, b"");
        sent.expect("a response").text()
    };
    let seen = get(&[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "http")]);
    assert!(seen.contains("x-forwarded-proto: http\r\n"), "{seen}");
    let seen = get(&[("x-forwarded-for", "203.0.113.9")]);
    assert!(seen.contains("x-forwarded-proto: https\r\n"), "{seen}");
}

#[test]
fn older_version_refused_where_configured() {
    let certificates = Certificates::make().expect("certificates");
    let echo = Echo::start();
    let listen = gateway_tls(&certificates, "server", ", min_version = \"1.3\"");
    let (node, _folder) =
        gateway_started_by(echo.address, "", &listen, |config| start(config, &[]));
    let ca = certificates.path("ca.pem");
    let url = format!("https://localhost:{}/page", node.gateway.port());
    assert!(curl(&ca, &["--tls-max", "1.3", &url]).contains("200 2"));
    let refused = curl(&ca, &["--tls-max", "1.2", &url]);
    assert!(refused.contains("protocol version"), "{refused}");
    node.wait("a count", |node| {
        let labels = "listener=\"gateway\",reason=\"incompatible\"";
        node.metric_with("tidegate_listener_tls_failures_total", labels) == 1.0
    });
    let default = Shop::start();
    let url = format!("https://localhost:{}/page", default.node.gateway.port());
    let ca = default.certificates.path("ca.pem");
    assert!(curl(&ca, &["--tls-max", "1.2", &url]).contains("200 2"));
    assert!(!curl(&ca, &["--tls-max", "1.1", &url]).contains("200 2"));
}

/// The last part of a response may be in the buffers of TLS, which the client has to read, too.
#[test]
fn slow_reader_over_tls_cut_off() {
    let certificates = Certificates::make().expect("certificates");
    let application = harness::Application::start().expect("a free port");
    let listen = gateway_tls(&certificates, "server", "");
    let options = "[edge]\nclient_timeout = \"1s\"\n";
    let (node, _folder) =
        gateway_started_by(application.addr(), options, &listen, |config| start(config, &[]));
    let client = Client::trusting(&[&certificates]);
    let mut open = Vec::new();
    for path in ["/page/3000000", "/private/3000000", "/page/200000"] {
        let mut stream = client.connect(node.gateway, "localhost").expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("writes");
        open.push(stream);
    }
    node.wait("the cuts", |node| node.metric("tidegate_gateway_slow_readers_total") >= 2.0);
    let whole = client.get(node.gateway, "/page/3000000");
    assert_eq!((whole.status, whole.body.len()), (200, 3_000_000));
}

#[test]
fn websocket_over_tls_handed_through() {
    let application = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = application.local_addr().expect("bound");
    let echoes = thread::spawn(move || {
        let (mut socket, _) = application.accept()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        socket.write_all(
            b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )?;
        std::io::copy(&mut socket.try_clone()?, &mut socket)
    });
    let certificates = Certificates::make().expect("certificates");
    let listen = gateway_tls(&certificates, "server", "");
    let (node, _folder) = gateway_started_by(address, "", &listen, |config| start(config, &[]));
    let client = Client::trusting(&[&certificates]);
    let mut stream = client.connect(node.gateway, "localhost").expect("connects");
    let upgrade = "GET /chat HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).expect("writes");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a response");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    let sent = vec![7; 200_000];
    let mut back = vec![0; sent.len()];
    for (part, read) in sent.chunks(10_000).zip(back.chunks_mut(10_000)) {
        stream.write_all(part).expect("writes");
        stream.read_exact(read).expect("echoed");
    }
    assert_eq!(back, sent);
    drop(stream);
    echoes.join().expect("no panic").expect("the end of the tunnel");
}
