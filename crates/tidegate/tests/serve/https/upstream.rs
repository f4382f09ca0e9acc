//! Upstreams and services over HTTPS and sockets of Unix.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;

use harness::http;
use harness::{Certificates, Nginx};

use super::gateway::nginx_pair;
use super::{Behind, Shop, pair};
use crate::echo::Echo;
use crate::stack::{DEADLINE, Stack};

/// nginx with TLS before an application that shows its requests; `None` if nginx is not installed.
fn encrypted(application: SocketAddr, tls: &str) -> Option<Nginx> {
    let conf = |site: &harness::Site| {
        format!(
            "server {{ listen {} ssl; {tls} location / {{ proxy_pass http://{}; \
             proxy_set_header x-sni $ssl_server_name; proxy_set_header x-client $ssl_client_s_dn; \
             proxy_set_header x-host $http_host; }} }}",
            site.listen, application
        )
    };
    match Nginx::start(1, conf) {
        Err(err) if err.to_string().contains("nginx not found") => None,
        nginx => Some(nginx.expect("nginx starts")),
    }
}

fn get(node: &crate::stack::Node, path: &str) -> http::Response {
    http::get(node.gateway, path, DEADLINE).expect("a response")
}

#[test]
fn upstream_over_https_verified() {
    let certificates = Certificates::make().expect("certificates");
    let echo = Echo::start();
    let ca = certificates.path("ca.pem").display().to_string();
    let mutual = format!(
        "{} ssl_verify_client on; ssl_client_certificate {ca};",
        nginx_pair(&certificates, "server")
    );
    let Some(nginx) = encrypted(echo.address, &mutual) else { return };
    let url = format!("https://localhost:{}", nginx.addr().port());
    let pair = pair(&certificates, "client").replace(", ", "\n");
    let site = Behind::new(&url, &format!("ca = \"{ca}\"\n{pair}\n"));
    let page = get(&site.node, "/page");
    assert_eq!(page.status, 200, "{}", page.text());
    let seen = page.text();
    for line in ["x-sni: localhost\r\n", "x-client: CN=shop\r\n", "x-forwarded-proto: http\r\n"] {
        assert!(seen.contains(line), "{line:?} is not in {seen}");
    }
    assert!(seen.contains(&format!("x-host: {}\r\n", site.node.gateway)), "the client's: {seen}");
    assert_eq!(get(&site.node, "/page").header("cache-status"), Some("tidegate; hit"));
    for number in 0..20 {
        assert_eq!(get(&site.node, &format!("/private/{number}")).status, 200);
    }
}

#[test]
fn large_bodies_pass_both_ways() {
    let certificates = Certificates::make().expect("certificates");
    let application = harness::Application::start().expect("a free port");
    let server = nginx_pair(&certificates, "server") + " client_max_body_size 8m;";
    let Some(nginx) = encrypted(application.addr(), &server) else { return };
    let url = format!("https://localhost:{}", nginx.addr().port());
    let site = Behind::new(&url, &format!("ca = \"{}\"\n", certificates.path("ca.pem").display()));
    let body = vec![b'x'; 3_000_000];
    let posted = http::request(site.node.gateway, "POST", "/upload", &[], &body, DEADLINE);
    assert_eq!(posted.expect("a response").text().trim(), "3000000");
    assert_eq!(get(&site.node, "/page/3000000").body.len(), 3_000_000);
}

#[test]
fn server_name_replaces_host_of_url() {
    let certificates = Certificates::make().expect("certificates");
    let echo = Echo::start();
    let Some(nginx) = encrypted(echo.address, &nginx_pair(&certificates, "other-name")) else {
        return;
    };
    let ca = certificates.path("ca.pem").display().to_string();
    let url = format!("https://{}", nginx.addr());
    let options = format!("ca = \"{ca}\"\nserver_name = \"db.example.com\"\nhost = \"upstream\"\n");
    let site = Behind::new(&url, &options);
    let seen = get(&site.node, "/page").text();
    assert!(seen.contains("x-sni: db.example.com\r\n"), "{seen}");
    assert!(seen.contains(&format!("x-host: {}\r\n", nginx.addr())), "{seen}");
}

/// Wrong names, authorities and times; each ends with a 502, and the log has cause and remedy, once.
#[test]
fn unverified_upstream_is_502() {
    let certificates = Certificates::make().expect("certificates");
    let echo = Echo::start();
    let ca = certificates.path("ca.pem").display().to_string();
    for (name, ca, cause) in [
        ("other-name", Some(&ca), "not for `localhost`"),
        ("nameless", Some(&ca), "not for `localhost`"),
        ("expired", Some(&ca), "can't be used"),
        ("server", None, "not signed by an authority that this machine trusts"),
        ("self-signed", Some(&ca), "not signed by an authority that"),
    ] {
        let Some(nginx) = encrypted(echo.address, &nginx_pair(&certificates, name)) else { return };
        let url = format!("https://localhost:{}", nginx.addr().port());
        let options = ca.map(|ca| format!("ca = \"{ca}\"\n")).unwrap_or_default();
        let site = Behind::new(&url, &options);
        let refused = get(&site.node, "/private");
        assert_eq!(refused.status, 502, "{name}");
        assert_eq!(
            refused.header("proxy-status"),
            Some("tidegate; error=tls_certificate_error"),
            "{name}"
        );
        assert!(
            !refused.text().contains("localhost:"),
            "no address for clients: {}",
            refused.text()
        );
        let is_warning = |line: &&String| line.contains("[upstream] connections fail");
        site.node
            .wait("the log line", |node| node.process.lines().iter().any(|line| is_warning(&line)));
        let lines = site.node.process.lines();
        let warnings: Vec<_> = lines.iter().filter(is_warning).collect();
        assert!(warnings.len() == 1 && warnings[0].contains(cause), "{name}: {warnings:?}");
    }
    assert_eq!(echo.requests(), 0, "no request was sent");
}

/// The breaker opens, and closes when the authority's file has been corrected; no restart.
#[test]
fn breaker_opens_until_authority_is_trusted() {
    let [right, wrong] = [(); 2].map(|()| Certificates::make().expect("certificates"));
    let echo = Echo::start();
    let Some(nginx) = encrypted(echo.address, &nginx_pair(&right, "server")) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    fs::copy(wrong.path("ca.pem"), &ca).expect("copied");
    let url = format!("https://localhost:{}", nginx.addr().port());
    let site = Behind::new(&url, &format!("ca = \"{}\"\n", ca.display()));
    site.node.wait("the open breaker", |node| get(node, "/private").status == 503);
    fs::copy(right.path("ca.pem"), &ca).expect("copied");
    site.node.wait("an answer", |node| get(node, "/private").status == 200);
    // Half of a file, or none, keeps the last one.
    fs::write(&ca, "-----BEGIN CERTIFICATE-----\n").expect("written");
    site.node.wait("the warning", |node| {
        get(node, "/private");
        node.process.lines().iter().any(|line| line.contains("changed TLS files can't be used"))
    });
    assert_eq!(get(&site.node, "/private").status, 200);
}

#[test]
fn missing_client_certificate_is_502() {
    let certificates = Certificates::make().expect("certificates");
    let echo = Echo::start();
    let ca = certificates.path("ca.pem").display().to_string();
    let mutual = format!(
        "{} ssl_verify_client on; ssl_client_certificate {ca};",
        nginx_pair(&certificates, "server")
    );
    let Some(nginx) = encrypted(echo.address, &mutual) else { return };
    let url = format!("https://localhost:{}", nginx.addr().port());
    let site = Behind::new(&url, &format!("ca = \"{ca}\"\n"));
    // nginx accepts the handshake, and refuses the request.
    assert_eq!(get(&site.node, "/private").status, 400);
    assert_eq!(echo.requests(), 0);
}

/// A connection that is in use would never end otherwise.
#[test]
fn replaced_client_certificate_ends_pooled_connections() {
    let certificates = Certificates::make().expect("certificates");
    certificates.sign("next", "next", "2", "extendedKeyUsage=clientAuth").expect("signed");
    let echo = Echo::start();
    let ca = certificates.path("ca.pem").display().to_string();
    let mutual = format!(
        "{} ssl_verify_client on; ssl_client_certificate {ca};",
        nginx_pair(&certificates, "server")
    );
    let Some(nginx) = encrypted(echo.address, &mutual) else { return };
    let url = format!("https://localhost:{}", nginx.addr().port());
    let pair = pair(&certificates, "client").replace(", ", "\n");
    let site = Behind::new(&url, &format!("ca = \"{ca}\"\n{pair}\n"));
    let client = || {
        let page = get(&site.node, "/private").text();
        let line = page.lines().find_map(|line| line.strip_prefix("x-client: "));
        line.expect("a certificate").to_owned()
    };
    assert_eq!(client(), "CN=shop");
    for kind in ["key", "pem"] {
        let file = |name: &str| certificates.path(&format!("{name}.{kind}"));
        fs::copy(file("next"), file("client")).expect("copied");
    }
    site.node
        .wait("the new certificate on every request", |_| (0..5).all(|_| client() == "CN=next"));
}

/// An application on a socket of Unix. It answers with a number until the value is dropped.
struct OnSocket(PathBuf);

impl OnSocket {
    fn start(path: &Path, number: u32) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(mut connection) = connection else { return };
                let mut reader = BufReader::new(connection.try_clone().expect("cloned"));
                let mut head = String::new();
                while reader.read_line(&mut head).is_ok_and(|n| n > 0)
                    && !head.ends_with("\r\n\r\n")
                {}
                let body = format!("{{\"number\":{number}}}\n{head}");
                let body = if head.starts_with("GET /prices") {
                    format!("{{\"number\":{number}}}")
                } else {
                    body
                };
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: private\r\nconnection: close";
                let _ =
                    write!(connection, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            }
        });
        Self(path.to_owned())
    }
}

impl Drop for OnSocket {
    fn drop(&mut self) {
        // New connections find no socket; the listener's thread ends with the process.
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn unix_socket_vanishes_and_returns() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.sock");
    let first = OnSocket::start(&path, 1);
    let site = Behind::new(&format!("unix:{}", path.display()), "host = \"upstream\"\n");
    let page = get(&site.node, "/page");
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("\"number\":1") && page.text().contains("host: localhost\r\n"));
    drop(first);
    let away = get(&site.node, "/page");
    assert_eq!(away.status, 502, "{}", away.text());
    assert!(!away.text().contains("app.sock"), "{}", away.text());
    site.node.wait("the open breaker", |node| get(node, "/page").status == 503);
    let _second = OnSocket::start(&path, 2);
    site.node.wait("an answer", |node| {
        let page = get(node, "/page");
        page.status == 200 && page.text().contains("\"number\":2")
    });
}

#[test]
fn services_over_https_and_unix() {
    let certificates = Certificates::make().expect("certificates");
    let stack = Stack::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pricing.sock");
    let _service = OnSocket::start(&path, 7);
    let conf = |site: &harness::Site| {
        format!(
            "server {{ listen {} ssl; {} location / {{ default_type application/json; \
             return 200 '{{\"number\":8}}'; }} }}",
            site.listen,
            nginx_pair(&certificates, "server")
        )
    };
    let nginx = match Nginx::start(1, conf) {
        Err(err) if err.to_string().contains("nginx not found") => return,
        nginx => nginx.expect("nginx starts"),
    };
    let contract = |name: &str, url: &str| {
        format!(
            "[data.{name}]\nkey = \"v1:pricing:{name}:{{id}}\"\nvalue = {{ http = \"{url}\", timeout = \"20s\" }}\n\
             staleness = \"60s\"\nunproven = \"read-origin\"\nowner = \"pricing\"\n\
             approved = {{ by = [\"product\"], on = 2026-11-02 }}\n"
        )
    };
    let node = stack.node_with(|config| {
        [
            config,
            contract("by_socket", &format!("unix:{}:/prices/{{id}}", path.display())),
            contract("by_tls", &format!("https://localhost:{}/prices/{{id}}", nginx.addr().port())),
            format!("[client_tls]\nca = \"{}\"\n", certificates.path("ca.pem").display()),
        ]
        .join("\n")
    });
    let of = |name: &str| {
        http::get(node.data, &format!("/data/{name}/42"), DEADLINE).expect("an answer")
    };
    for (name, number) in [("by_socket", 7), ("by_tls", 8)] {
        let answer = of(name);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains(&format!("\"number\":{number}")), "{}", answer.text());
    }
}

#[test]
fn file_of_tls_that_is_missing_refuses_the_start() {
    let shop = Shop::start();
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("tidegate.toml");
    for (lines, problem) in [
        ("url = \"https://localhost:1\"\nca = \"none.pem\"", "none.pem can't be read"),
        (
            "url = \"https://localhost:1\"\ncert = \"a.pem\"",
            "upstream.cert: is there without `key`",
        ),
        ("url = \"http://localhost:1\"\nca = \"a.pem\"", "upstream.ca: is for `https://` only"),
        ("url = \"unix:app.sock\"", "must be absolute"),
    ] {
        fs::copy(shop.certificates.path("server.pem"), folder.path().join("a.pem"))
            .expect("copied");
        let database = folder.path().join("shop.db");
        let text = format!(
            "[source.shop]\nurl = \"sqlite:{}\"\n[upstream]\n{lines}\n",
            database.display()
        );
        rusqlite::Connection::open(&database).expect("a database");
        fs::write(&config, text).expect("written");
        let mut process = crate::stack::start(&config, &[]);
        let status = process.wait(DEADLINE).expect("exited");
        let output = process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{output}");
        assert!(output.contains(problem), "{problem}: {output}");
    }
}
