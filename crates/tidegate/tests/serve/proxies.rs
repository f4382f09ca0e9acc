//! The gateway behind proxies: the client's address, scheme and host, and the hosts that it serves.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use harness::http::{self, Response};
use harness::{Nginx, Site as NginxSite};

use crate::echo::Echo;
use crate::stack::{DEADLINE, Node, gateway_of, gateway_with_env};

/// The tests' clients connect from this network, as proxies do.
const TRUSTED: &str = "[edge]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";

struct Site {
    echo: Echo,
    node: Node,
    _folder: tempfile::TempDir,
}

impl Site {
    fn with(options: &str) -> Self {
        let echo = Echo::start();
        let (node, folder) = gateway_of(echo.address, options);
        Self { echo, node, _folder: folder }
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send("GET", path, headers)
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        send(self.node.gateway, method, path, headers)
    }
}

fn send(server: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    http::request(server, method, path, headers, b"", DEADLINE).expect("a response")
}

/// Sends bytes on a new connection, and reads until the gateway closes it.
fn exchange(server: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(server).expect("connects");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    socket.write_all(bytes).expect("writes");
    let mut all = Vec::new();
    // A reset is an end, too.
    let _ = socket.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn redirect_of_http_not_served_over_https() {
    let site = Site::with(TRUSTED);
    let by = |scheme| site.get("/secure", &[("x-forwarded-proto", scheme)]);
    assert_eq!(by("http").status, 301);
    let stored = by("http");
    assert_eq!((stored.status, stored.header("cache-status")), (301, Some("tidegate; hit")));
    assert_eq!(by("https").status, 200, "no loop");
    assert_eq!(by("https").header("cache-status"), Some("tidegate; hit"));
    let written = site.send("POST", "/write", &[("x-forwarded-proto", "https")]);
    let cookie = written.header("set-cookie").expect("a cookie with the token");
    assert!(cookie.ends_with("; Secure"), "{cookie}");
}

#[test]
fn scheme_without_header_is_configured() {
    let site = Site::with("[edge]\nscheme = \"https\"\n");
    assert_eq!(site.get("/secure", &[("x-forwarded-proto", "http")]).status, 200);
}

#[test]
fn client_before_trusted_proxies_named() {
    let site = Site::with(TRUSTED);
    let clients = [("x-forwarded-for", "198.51.100.1, 203.0.113.9:4711, 127.0.0.7")];
    let seen = site.get("/private", &clients).text();
    assert!(seen.contains("x-forwarded-for: 203.0.113.9, 127.0.0.7, 127.0.0.1\r\n"), "{seen}");
    assert!(seen.contains("x-forwarded-proto: http\r\n"), "{seen}");
    let others =
        [("forwarded", "for=198.51.100.1;proto=https;host=evil"), ("x-real-ip", "198.51.100.1")];
    let seen = site.get("/private", &others).text();
    assert!(!seen.contains("198.51.100.1") && !seen.contains("evil"), "{seen}");
}

#[test]
fn access_log_names_client() {
    let echo = Echo::start();
    let env = [("RUST_LOG".into(), "info,tidegate::access=debug".into())];
    let (node, _folder) = gateway_with_env(echo.address, TRUSTED, &env);
    for path in ["/page", "/page", "/account%00"] {
        send(node.gateway, "GET", path, &[("x-forwarded-for", "203.0.113.9")]);
    }
    let is_of_client =
        |line: &&String| line.contains("tidegate::access") && line.contains("client=203.0.113.9");
    node.wait("a line for each request", |node| {
        node.process.lines().iter().filter(is_of_client).count() == 3
    });
}

#[test]
fn forwarded_header_read_where_configured() {
    let site = Site::with(&format!("{TRUSTED}forwarded = \"forwarded\"\nforwarded_host = true\n"));
    let headers = [
        (
            "forwarded",
            "for=198.51.100.1, for=\"[2001:db8::9]:80\";proto=https;host=\"Shop.example\"",
        ),
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-host", "evil.example"),
    ];
    let seen = site.get("/private", &headers).text();
    for line in [
        "host: shop.example\r\n",
        "x-forwarded-for: 2001:db8::9, 127.0.0.1\r\n",
        "x-forwarded-host: shop.example\r\n",
        "x-forwarded-proto: https\r\n",
        "forwarded: for=\"[2001:db8::9]\";proto=https;host=\"shop.example\", for=127.0.0.1\r\n",
    ] {
        assert!(seen.contains(line), "{line:?} is not in {seen}");
    }
    assert!(!seen.contains("198.51.100.1") && !seen.contains("evil"), "{seen}");
}

#[test]
fn forged_headers_of_untrusted_client_ignored() {
    let site = Site::with("[edge]\ntrusted_proxies = [\"192.0.2.0/24\"]\n");
    let forged = [
        ("x-forwarded-for", "192.0.2.1"),
        ("x_forwarded_for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("forwarded", "for=192.0.2.1"),
    ];
    let seen = site.get("/private", &forged).text();
    assert!(seen.contains("x-forwarded-for: 127.0.0.1\r\n"), "{seen}");
    assert!(seen.contains("x-forwarded-proto: http\r\n"), "{seen}");
    assert!(!seen.contains("192.0.2.1") && !seen.contains("evil"), "{seen}");
    site.node.wait("a warning", |node| {
        node.process.lines().iter().any(|line| line.contains("name it in edge.trusted_proxies"))
    });
}

#[test]
fn clients_behind_proxy_have_own_budgets() {
    let site = Site::with(&format!("{TRUSTED}responses_per_client = 2\n"));
    let open = |client: &str| {
        let head = format!("GET /open/{client} HTTP/1.1\r\nhost: shop\r\nauthorization: a\r\n");
        let mut socket = TcpStream::connect(site.node.gateway).expect("connects");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let request = format!("{head}x-forwarded-for: {client}\r\n\r\n");
        socket.write_all(request.as_bytes()).expect("writes");
        let mut start = [0; 12];
        socket.read_exact(&mut start).expect("a response");
        (socket, String::from_utf8_lossy(&start[9..]).into_owned())
    };
    let opened = ["203.0.113.1", "203.0.113.1", "203.0.113.1", "203.0.113.2"].map(open);
    let statuses = opened.each_ref().map(|(_, status)| status.as_str());
    assert_eq!(statuses, ["200", "200", "429", "200"]);
    let open = |kind| site.node.metric_with("tidegate_gateway_open_messages", kind);
    assert_eq!(open("responses"), 3.0);
    assert_eq!(site.node.metric_with("tidegate_gateway_open_messages_limit", "uploads"), 2_048.0);
    let refused = "tidegate_gateway_open_messages_refused_total";
    assert_eq!(site.node.metric_with(refused, "limit=\"client\",class=\"standard\""), 1.0);
    drop(opened);
    site.node.wait("the end of all", |_| open("responses") == 0.0);
}

#[test]
fn proxy_protocol_names_client() {
    let site = Site::with(&format!("{TRUSTED}proxy_protocol = true\nhead_timeout = \"500ms\"\n"));
    let get = b"GET /private HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n";
    let v2 = |command: u8, family: u8, rest: &[u8]| {
        let length = u8::try_from(rest.len()).expect("short");
        [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family, 0, length], rest].concat()
    };
    let from = [203, 0, 113, 9, 127, 0, 0, 1, 1, 2, 3, 4];
    let tls = [&from[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
    for (header, client, scheme) in [
        (b"PROXY TCP4 203.0.113.9 127.0.0.1 56324 443\r\n".to_vec(), "203.0.113.9", "http"),
        (b"PROXY TCP6 2001:db8::9 ::1 56324 443\r\n".to_vec(), "2001:db8::9", "http"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1", "http"),
        (v2(0x21, 0x11, &from), "203.0.113.9", "http"),
        (v2(0x21, 0x11, &tls), "203.0.113.9", "https"),
        (v2(0x20, 0x11, &from), "127.0.0.1", "http"),
    ] {
        let seen = exchange(site.node.gateway, &[header, get.to_vec()].concat());
        for line in
            [format!("x-forwarded-for: {client}\r\n"), format!("x-forwarded-proto: {scheme}\r\n")]
        {
            assert!(seen.contains(&line), "{line:?} is not in {seen}");
        }
    }
    // A load balancer names the CDN, and the CDN names the client.
    let by_cdn = b"PROXY TCP4 127.9.9.9 127.0.0.1 1 2\r\nGET /private HTTP/1.1\r\nhost: shop\r\n\
                   x-forwarded-for: 1.2.3.4, 203.0.113.9\r\nconnection: close\r\n\r\n";
    let seen = exchange(site.node.gateway, by_cdn);
    assert!(seen.contains("x-forwarded-for: 203.0.113.9, 127.9.9.9\r\n"), "{seen}");
    for refused in [get.as_slice(), b"PROXY TCP4 nonsense\r\n", b"PROXY TCP4 203.0.113.9 127"] {
        assert_eq!(exchange(site.node.gateway, refused), "");
    }
    assert_eq!(site.node.metric("tidegate_gateway_invalid_proxy_headers_total"), 3.0);
    assert_eq!(site.echo.requests(), 7);
}

#[test]
fn proxy_header_of_untrusted_client_refused() {
    let options = "[edge]\ntrusted_proxies = [\"192.0.2.1\"]\nproxy_protocol = true\n";
    let site = Site::with(options);
    assert_eq!(site.get("/private", &[]).status, 200, "no header is expected");
    let forged = b"PROXY TCP4 192.0.2.9 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = exchange(site.node.gateway, forged);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(site.echo.requests(), 1);
}

#[test]
fn unlisted_host_refused() {
    let options = "host = \"upstream\"\n[edge]\nhosts = [\"shop.example\", \"*.shop.example\"]\n";
    let site = Site::with(options);
    let status = |host: &str| {
        let request = format!("GET /page HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        exchange(site.node.gateway, request.as_bytes())
    };
    for host in ["shop.example", "SHOP.example.", "shop.example:8080", "de.shop.example"] {
        let answer = status(host);
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
        assert!(answer.contains(&format!("\r\nhost: {}\r\n", site.echo.address)), "{answer}");
    }
    for host in ["evil.example", "evilshop.example", "127.0.0.1"] {
        let answer = status(host);
        assert!(answer.starts_with("HTTP/1.1 421"), "{host}: {answer}");
        assert!(answer.contains("does not serve the host"), "{answer}");
    }
    assert!(status("a b").starts_with("HTTP/1.1 400"));
}

/// The usual configuration of nginx in front of an application.
#[test]
fn nginx_in_front_names_client() {
    let site = Site::with(TRUSTED);
    let gateway = site.node.gateway;
    let conf = |nginx: &NginxSite| {
        format!(
            "server {{ listen {}; location / {{ proxy_pass http://{gateway}; \
             proxy_set_header Host shop.example; proxy_set_header X-Forwarded-Proto https; \
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}",
            nginx.listen
        )
    };
    let nginx = match Nginx::start(1, conf) {
        Err(err) if err.to_string().contains("nginx not found") => return,
        started => started.expect("nginx starts"),
    };
    let forged = [("x-forwarded-for", "198.51.100.1, 203.0.113.9"), ("x-forwarded-proto", "http")];
    let seen = send(nginx.addr(), "GET", "/private", &forged).text();
    for line in [
        "host: shop.example\r\n",
        "x-forwarded-for: 203.0.113.9, 127.0.0.1, 127.0.0.1\r\n",
        "x-forwarded-proto: https\r\n",
    ] {
        assert!(seen.contains(line), "{line:?} is not in {seen}");
    }
    assert_eq!(send(nginx.addr(), "GET", "/secure", &[]).status, 200, "no loop");
}
