//! Client certificates on the private listeners.

use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;

use harness::{Certificates, Process};

use super::client::{Client, request_on};
use super::pair;
use crate::site::wait_for;
use crate::stack::{DEADLINE, Stack, start};

/// Four callers: a viewer and an operator by host name, a reader by URI, and an admin by common name.
const CLIENTS: &str = r#"
client = [
  { name = "monitoring", certificate = "dns:monitoring.internal", role = "viewer" },
  { name = "deploy", certificate = "dns:deploy.internal", role = "operator" },
  { name = "web", certificate = "uri:spiffe://shop/web", reads = ["product_price"] },
  { name = "root", certificate = "cn:shop", role = "admin", reads = ["*"] },
]
"#;

/// A node whose private listeners need a client certificate.
struct Guarded {
    stack: Stack,
    certificates: Certificates,
    folder: tempfile::TempDir,
    admin: SocketAddr,
    data: SocketAddr,
    process: Process,
}

fn make() -> Certificates {
    let certificates = Certificates::make().expect("certificates");
    for (name, names) in [
        ("monitoring", "DNS:monitoring.internal"),
        ("deploy", "DNS:Deploy.internal"),
        ("web", "URI:spiffe://shop/web"),
        ("stranger", "DNS:stranger.internal"),
    ] {
        let extensions = format!("extendedKeyUsage=clientAuth\nsubjectAltName={names}");
        certificates.sign(name, name, "2", &extensions).expect("signed");
    }
    certificates
}

/// Returns the configuration with certificates for the private listeners. `access`: more lines of `[access]`.
fn guarded(config: &str, certificates: &Certificates, access: &str) -> String {
    let tls =
        format!("tls = {{ {}, listeners = [\"admin\", \"data\"] }}", pair(certificates, "server"));
    let ca = certificates.path("ca.pem");
    let access = format!("[access]\nclient_ca = \"{}\"\n{access}\n", ca.display());
    config.replace("[listen]", &format!("{access}[listen]\n{tls}"))
}

impl Guarded {
    fn start(access: &str, more: &str) -> Self {
        let (stack, certificates) = (Stack::start(), make());
        let folder = tempfile::tempdir().expect("a folder");
        publish(folder.path(), &certificates.revoke(&[], 2).expect("a list"));
        let access = access.replace("FOLDER", &folder.path().display().to_string());
        let access = format!("{CLIENTS}{access}");
        let node = stack.launch(|config| guarded(&config, &certificates, &access) + more);
        let crate::stack::Node { process, admin, data, .. } = node;
        let guarded = Self { stack, certificates, folder, admin, data, process };
        let root = guarded.client("client");
        harness::until("a proven bound", DEADLINE, || {
            let Ok(status) = root.send(guarded.admin, ("GET", "/api/v1/status"), &[], b"") else {
                return Ok(None);
            };
            let status: serde_json::Value = serde_json::from_slice(&status.body)?;
            Ok(status["bound_ms"].as_f64())
        })
        .unwrap_or_else(|err| panic!("{err}: {}", guarded.process.lines().join("\n")));
        guarded
    }

    fn client(&self, name: &str) -> Client {
        Client::with_certificate(&self.certificates, (&self.certificates, name))
    }

    fn purge(&self, name: &str, body: &str) -> u16 {
        let headers =
            [("content-type", "application/json"), ("content-length", &body.len().to_string())];
        let sent = self.client(name).send(
            self.admin,
            ("POST", "/api/v1/purge"),
            &headers[..1],
            body.as_bytes(),
        );
        sent.expect("a response").status
    }

    fn run(&self, args: &[&str]) -> Output {
        std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(args)
            .output()
            .expect("the binary runs")
    }
}

/// Replaces the revocation list.
fn publish(folder: &Path, list: &[u8]) {
    let new = folder.join("new");
    fs::write(&new, list).expect("written");
    fs::rename(&new, folder.join("clients.crl")).expect("renamed");
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

#[test]
fn certificate_decides_on_private_listeners() {
    let shop = Guarded::start("audit_log = { file = \"FOLDER/audit.log\" }", "");
    let of = |name: &str, server, path: &str| shop.client(name).get(server, path).status;
    for path in ["/metrics", "/api/v1/status"] {
        let names = ["monitoring", "deploy", "client", "web", "stranger"];
        assert_eq!(names.map(|name| of(name, shop.admin, path)), [200, 200, 200, 403, 403]);
    }
    let one = r#"{"tags":["product-1"]}"#;
    let all = r#"{"all":true}"#;
    let purge = |body| ["monitoring", "deploy", "client"].map(|name| shop.purge(name, body));
    assert_eq!((purge(one), purge(all)), ([403, 200, 200], [403, 403, 200]));
    let price = "/data/product_price/42";
    let names = ["web", "client", "monitoring", "stranger"];
    assert_eq!(names.map(|name| of(name, shop.data, price)), [200, 200, 403, 403]);

    let none = Client::trusting(&[&shop.certificates]);
    for (server, path) in [(shop.admin, "/metrics"), (shop.data, price)] {
        let refused = none.get(server, path);
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.text().contains("client certificate"), "{}", refused.text());
    }
    let ready = none.get(shop.admin, "/readyz");
    assert_eq!(ready.status, 200, "probes have no certificate");
    assert!(!ready.text().contains("detail"), "{}", ready.text());
    let unknown = shop.client("stranger").get(shop.admin, "/metrics").text();
    assert!(unknown.contains("stranger.internal"), "{unknown}");

    let log = fs::read_to_string(shop.folder.path().join("audit.log")).expect("readable");
    assert!(log.contains("\"by\":\"deploy\"") && log.contains("\"by\":\"root\""), "{log}");
    drop(shop.stack);
}

/// A certificate of another authority, of the same name, and one that has expired end the handshake.
#[test]
fn untrusted_certificate_refused_in_handshake() {
    let shop = Guarded::start("", "");
    let others = make();
    // A server's certificate is none of a client.
    shop.certificates
        .sign("wrong-use", "shop", "2", "extendedKeyUsage=serverAuth")
        .expect("signed");
    for own in
        [(&others, "client"), (&shop.certificates, "expired"), (&shop.certificates, "wrong-use")]
    {
        let client = Client::with_certificate(&shop.certificates, own);
        let refused = client.send(shop.admin, ("GET", "/metrics"), &[], b"");
        let refused = format!("{:#}", refused.expect_err("an alert"));
        assert!(refused.contains("alert") || refused.contains("fatal"), "{refused}");
    }
    let root = shop.client("client");
    let metrics = root.get(shop.admin, "/metrics").text();
    let failures =
        "tidegate_listener_tls_failures_total{listener=\"admin\",reason=\"client_certificate\"} 3";
    assert!(metrics.contains(failures), "{metrics}");
}

/// Beside tokens: a sender that shows a token is judged by it, with a certificate or without.
#[test]
fn token_and_certificate_accepted_beside_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("tidegate.toml"), config_with_tokens(folder.path()))
        .expect("written");
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["token", "create", "viewer", "--role", "viewer"])
        .current_dir(folder.path())
        .output()
        .expect("the binary runs");
    let token = String::from_utf8(made.stdout.clone()).expect("text");
    assert!(token.starts_with("tgt_"), "{}", text(&made));
    let tokens = format!("tokens = \"{}/tokens.toml\"", folder.path().display());
    let shop = Guarded::start(&tokens, "");
    let bearer = format!("Bearer {}", token.trim());
    let send = |client: &Client, bearer: &str| {
        let headers = [("authorization", bearer), ("content-type", "application/json")];
        let body = br#"{"tags":["product-1"]}"#;
        let sent = client.send(shop.admin, ("POST", "/api/v1/purge"), &headers, body);
        sent.expect("a response").status
    };
    let none = Client::trusting(&[&shop.certificates]);
    let headers = [("authorization", bearer.as_str())];
    let metrics = none.send(shop.admin, ("GET", "/metrics"), &headers, b"").expect("a response");
    assert_eq!(metrics.status, 200);
    assert_eq!(shop.purge("deploy", r#"{"tags":["product-1"]}"#), 200);
    assert_eq!(send(&shop.client("deploy"), &bearer), 403, "the token is the viewer's");
    assert_eq!(send(&shop.client("deploy"), "Bearer tgt_wrong"), 401);
    assert_eq!(none.get(shop.admin, "/metrics").status, 401);
}

fn config_with_tokens(folder: &Path) -> String {
    format!(
        "[source.shop]\nurl = \"sqlite:{}/a.db\"\n[access]\ntokens = \"tokens.toml\"\n",
        folder.display()
    )
}

#[test]
fn reachable_listener_starts_with_client_certificates() {
    let (stack, certificates) = (Stack::start(), make());
    let reachable = |config: String| config.replace("admin   = \"127.0.0.1", "admin   = \"0.0.0.0");
    let mut plain = stack.launch(|config| {
        let text = guarded(&reachable(config), &certificates, CLIENTS);
        text.replace("listeners = [\"admin\", \"data\"]", "listeners = [\"data\"]")
    });
    let status = plain.process.wait(DEADLINE).expect("exited");
    let output = plain.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("listen.admin: is not encrypted"), "{output}");

    let node = stack.launch(|config| guarded(&reachable(config), &certificates, CLIENTS));
    let root = Client::with_certificate(&certificates, (&certificates, "client"));
    let admin = SocketAddr::from(([127, 0, 0, 1], node.admin.port()));
    harness::until("an answer", DEADLINE, || {
        Ok(root.send(admin, ("GET", "/metrics"), &[], b"").ok().filter(|sent| sent.status == 200))
    })
    .unwrap_or_else(|err| panic!("{err}: {}", node.process.lines().join("\n")));
}

#[test]
fn commands_verify_node_and_show_certificate() {
    let shop = Guarded::start("", "");
    let at = |name: &str| shop.certificates.path(name).display().to_string();
    let (ca, cert, key) = (at("ca.pem"), at("deploy.pem"), at("deploy.key"));
    let admin = format!("https://localhost:{}", shop.admin.port());
    let purge = ["purge", "--tag", "product-1", "--admin", &admin];
    let with = |more: &[&str]| shop.run(&[&purge[..], more].concat());
    let purged = with(&["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key]);
    assert_eq!(purged.status.code(), Some(0), "{}", text(&purged));
    let unverified = with(&["--tls-cert", &cert, "--tls-key", &key]);
    assert_eq!(unverified.status.code(), Some(3));
    assert!(text(&unverified).contains("not signed by an authority"), "{}", text(&unverified));
    let unknown = with(&["--tls-ca", &ca]);
    assert_eq!(unknown.status.code(), Some(3));
    assert!(text(&unknown).contains("client certificate is needed"), "{}", text(&unknown));
    assert_eq!(with(&["--tls-ca", &ca, "--tls-cert", &cert]).status.code(), Some(2));
    let report = ["audit", "--json", "--admin", &admin, "--tls-ca", &ca];
    let report = shop.run(&[&report[..], &["--tls-cert", &cert, "--tls-key", &key]].concat());
    assert_eq!(report.status.code(), Some(0), "{}", text(&report));
}

#[test]
fn auditor_asks_peer_with_its_certificate() {
    let shop = Guarded::start("", "");
    let at = |name: &str| shop.certificates.path(name).display().to_string();
    let auditor = shop.stack.node_with(|config| {
        format!(
            "{config}\n[audit]\nreads_per_second = 200\nsample = 1.0\n\
             peers = [\"https://localhost:{}\"]\n[client_tls]\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n",
            shop.admin.port(),
            at("ca.pem"),
            at("monitoring.pem"),
            at("monitoring.key")
        )
    });
    auditor.wait("an answer", |auditor| {
        auditor.get(42);
        auditor.metric_with("tidegate_audit_peer_looks_total", "\"answered\"") > 0.0
    });
}

#[test]
fn data_listener_alone_encrypted() {
    let (stack, certificates) = (Stack::start(), make());
    let folder = tempfile::tempdir().expect("a folder");
    let ports = [(); 3].map(|()| harness::Port::reserve().expect("a free port"));
    let config = stack.config(ports.each_ref());
    let tls = format!("[listen]\ndata_tls = {{ {} }}", pair(&certificates, "server"));
    let file = folder.path().join("tidegate.toml");
    fs::write(&file, config.replace("[listen]", &tls)).expect("written");
    let mut process = start(&file, &[]);
    process.wait_for_http(ports[2].addr(), "/readyz", DEADLINE).expect("ready");
    let client = Client::trusting(&[&certificates]);
    assert_eq!(
        client.get(ports[1].addr(), "/data/product_price/42").status,
        200,
        "no token is needed"
    );
    let lines = process.lines().join("\n");
    assert!(lines.contains("data     https://") && lines.contains("admin    http://"), "{lines}");
}

/// A list without certificates refuses none. A new one counts without a restart, also for open connections; one that has
/// ended, or is missing for an authority, refuses all; a malformed one changes nothing.
#[test]
fn revoked_certificate_refused_without_a_restart() {
    let shop = Guarded::start("client_crl_file = \"FOLDER/clients.crl\"", "");
    let list = |names: &[&str], days| shop.certificates.revoke(names, days).expect("a list");
    let publish = |list: &[u8]| publish(shop.folder.path(), list);
    let status = |name: &str| {
        let sent = shop.client(name).send(shop.admin, ("GET", "/metrics"), &[], b"");
        sent.ok().map(|response| response.status)
    };
    let open = |name: &str| {
        let mut stream = shop.client(name).connect(shop.admin, "localhost").expect("connects");
        assert_eq!(request_on(&mut stream, "/metrics").expect("an answer"), 200);
        stream
    };
    assert_eq!([status("deploy"), status("monitoring")], [Some(200); 2]);
    let kept = open("deploy");
    publish(&list(&["deploy"], 2));
    wait_for("the revoked certificate is refused", || status("deploy").is_none());
    let kept = RefCell::new(kept);
    wait_for("its open connection is closed", || {
        request_on(&mut kept.borrow_mut(), "/metrics").is_err()
    });
    assert_eq!(status("monitoring"), Some(200));
    // The connection before may have been closed with the open ones, after its handshake.
    assert_eq!(status("deploy"), None);
    let metrics = shop.client("monitoring").get(shop.admin, "/metrics").text();
    let refused = "listener=\"admin\",reason=\"client_certificate\"";
    assert!(metrics.contains(refused), "{metrics}");

    publish(b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n");
    let ready = || Client::trusting(&[&shop.certificates]).get(shop.admin, "/readyz");
    let lines_with = |text: &str| {
        let lines = shop.process.lines();
        lines.iter().filter(|line| line.contains(text)).count()
    };
    let state = || shop.client("monitoring").get(shop.admin, "/readyz").text();
    wait_for("the malformed list is named", || state().contains("client_crl_file"));
    assert_eq!([status("deploy"), status("monitoring")], [None, Some(200)], "the last list counts");

    publish(&list(&[], 0));
    wait_for("the list has ended", || status("monitoring").is_none());
    wait_for("it is named", || lines_with("revocation lists have ended") >= 1);
    assert_eq!(ready().status, 200, "probes have no certificate");
    publish(&list(&[], 2));
    wait_for("a current list", || status("deploy") == Some(200));

    let others = make();
    publish(&others.revoke(&[], 2).expect("a list"));
    wait_for("no list of the authority", || status("monitoring").is_none());
}

#[test]
fn unusable_revocation_list_refuses_the_start() {
    let (stack, certificates) = (Stack::start(), make());
    for (access, problem) in [
        ("client_crl_file = \"none.crl\"", "client_crl_file = "),
        ("client_crl_file = \"CA\"", "has no revocation list"),
    ] {
        let access = access.replace("CA", &certificates.path("ca.pem").display().to_string());
        let ports = [(); 3].map(|()| harness::Port::reserve().expect("a free port"));
        let config = guarded(
            &stack.config(ports.each_ref()),
            &certificates,
            &(CLIENTS.to_owned() + &access),
        );
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tidegate.toml");
        fs::write(&path, config).expect("written");
        let run = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--config"])
            .arg(&path)
            .output()
            .expect("the binary runs");
        assert!(!run.status.success(), "{problem}");
        assert!(text(&run).contains(problem), "{problem}: {}", text(&run));
    }
}
