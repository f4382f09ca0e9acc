//! Certificates that change while a node runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use harness::Certificates;

use super::client::{Client, presented, request_on};
use crate::echo::Echo;
use crate::stack::{DEADLINE, Node, gateway_started_by, start};

/// A gateway whose pair of files a test replaces.
struct Renewed {
    node: Node,
    files: [PathBuf; 2],
    _echo: Echo,
    _folders: [tempfile::TempDir; 2],
}

impl Renewed {
    fn start(certificates: &Certificates, name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let files = ["cert", "key"].map(|file| folder.path().join(file));
        install(certificates, name, &files);
        let [cert, key] = files.each_ref().map(|path| path.display().to_string());
        let listen = format!("gateway_tls = {{ cert = \"{cert}\", key = \"{key}\" }}\n");
        let echo = Echo::start();
        let (node, other) =
            gateway_started_by(echo.address, "", &listen, |config| start(config, &[]));
        Self { node, files, _echo: echo, _folders: [folder, other] }
    }

    fn lines_with(&self, text: &str) -> usize {
        self.node.process.lines().iter().filter(|line| line.contains(text)).count()
    }

    /// The state in `/readyz`.
    fn state(&self) -> String {
        let ready = harness::http::get(self.node.admin, "/readyz", DEADLINE).expect("an answer");
        assert_eq!(ready.status, 200, "a certificate takes no node out of traffic");
        let ready: serde_json::Value = serde_json::from_slice(&ready.body).expect("JSON");
        ready["components"]["gateway_tls"].to_string()
    }
}

/// Writes the certificate and then the key, as `certbot` does.
fn install(certificates: &Certificates, name: &str, [cert, key]: &[PathBuf; 2]) {
    for (kind, path) in [("pem", cert), ("key", key)] {
        replace(&certificates.path(&format!("{name}.{kind}")), path);
    }
}

fn replace(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    fs::copy(from, &new).expect("copied");
    fs::rename(&new, to).expect("renamed");
}

#[test]
fn renewal_under_load_drops_no_request() {
    let [first, second] = [(); 2].map(|()| Certificates::make().expect("certificates"));
    let shop = Renewed::start(&first, "server");
    let client = Client::trusting(&[&first, &second]);
    let gateway = shop.node.gateway;
    let (stop, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (client, stop, served) = (client.clone(), Arc::clone(&stop), Arc::clone(&served));
            thread::spawn(move || {
                // Half of the clients keep one connection for the whole test.
                let mut kept = client.connect(gateway, "localhost").expect("connects");
                while !stop.load(Ordering::Relaxed) {
                    let status = match number % 2 {
                        0 => request_on(&mut kept, "/page").expect("the connection stays open"),
                        _ => client.get(gateway, "/page").status,
                    };
                    assert_eq!(status, 200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let now = || presented(&client.connect(gateway, "localhost").expect("connects"));
    let mut before = now();
    for round in 0..6 {
        install(if round % 2 == 0 { &second } else { &first }, "server", &shop.files);
        shop.node.wait("the renewed certificate", |_| now() != before);
        before = now();
        let so_far = served.load(Ordering::Relaxed);
        shop.node.wait("more requests", |_| served.load(Ordering::Relaxed) > so_far + 20);
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("every request was answered");
    }
    assert_eq!(shop.lines_with("certificates read again"), 6);
}

#[test]
fn half_of_a_pair_keeps_the_last_one() {
    let [first, second] = [(); 2].map(|()| Certificates::make().expect("certificates"));
    let shop = Renewed::start(&first, "server");
    let client = Client::trusting(&[&first, &second]);
    let now = || presented(&client.connect(shop.node.gateway, "localhost").expect("connects"));
    let before = now();
    let pem = second.pem("server.pem").expect("it is there");
    // Half of a file, then the whole one, and the key last.
    fs::write(&shop.files[0], &pem[..pem.len() / 2]).expect("written");
    shop.node.wait("the report", |_| shop.state().contains("\"ok\":false"));
    assert_eq!(now(), before);
    fs::write(&shop.files[0], &pem).expect("written");
    shop.node.wait("the cause", |_| shop.state().contains("is not the key of"));
    assert_eq!(now(), before);
    let warnings = shop.lines_with("component=\"gateway_tls\"");
    assert_eq!(warnings, 2, "works, does not work: {:?}", shop.node.process.lines());
    fs::remove_file(&shop.files[1]).expect("removed");
    shop.node.wait("the missing file", |_| shop.state().contains("can't be read"));
    assert_eq!(now(), before);
    replace(&second.path("server.key"), &shop.files[1]);
    shop.node.wait("the new certificate", |_| now() != before);
    shop.node.wait("the end of the report", |_| shop.state().contains("\"ok\":true"));
}

/// Kubernetes replaces the link to a folder; neither the files' names nor their times change.
#[test]
fn replaced_folder_of_secrets_noticed() {
    let [first, second] = [(); 2].map(|()| Certificates::make().expect("certificates"));
    let folder = tempfile::tempdir().expect("a folder");
    let volume = |number: u32, certificates: &Certificates| {
        let data = folder.path().join(format!("..2026_{number}"));
        fs::create_dir(&data).expect("made");
        install(certificates, "server", &["tls.crt", "tls.key"].map(|file| data.join(file)));
        let link = folder.path().join("..data_tmp");
        std::os::unix::fs::symlink(&data, &link).expect("linked");
        fs::rename(link, folder.path().join("..data")).expect("renamed");
    };
    volume(1, &first);
    for file in ["tls.crt", "tls.key"] {
        let target = Path::new("..data").join(file);
        std::os::unix::fs::symlink(target, folder.path().join(file)).expect("linked");
    }
    let at = |file: &str| folder.path().join(file).display().to_string();
    let listen =
        format!("gateway_tls = {{ cert = \"{}\", key = \"{}\" }}\n", at("tls.crt"), at("tls.key"));
    let echo = Echo::start();
    let (node, _other) = gateway_started_by(echo.address, "", &listen, |config| start(config, &[]));
    let client = Client::trusting(&[&first, &second]);
    let now = || presented(&client.connect(node.gateway, "localhost").expect("connects"));
    for (number, certificates) in [(2, &second), (3, &first)] {
        let before = now();
        volume(number, certificates);
        node.wait("the renewed certificate", |_| now() != before);
    }
}

#[test]
fn end_of_certificate_measured_and_warned_of() {
    let made = Certificates::make().expect("certificates");
    made.sign("soon", "soon", "1", "subjectAltName=DNS:localhost").expect("signed");
    made.sign("late", "late", "400", "subjectAltName=DNS:localhost").expect("signed");
    let shop = Renewed::start(&made, "late");
    let left = || {
        let labels = "listener=\"gateway\",certificate=\"localhost\"";
        shop.node.metric_with("tidegate_listener_certificate_expires_seconds", labels)
    };
    let days = |days: f64| (days - 0.1) * 86_400.0..=days * 86_400.0;
    shop.node.wait("the time", |_| days(400.0).contains(&left()));
    install(&made, "soon", &shop.files);
    shop.node.wait("the new time", |_| days(1.0).contains(&left()));
    assert_eq!(shop.lines_with("renew it"), 0, "the first quarters of its day");
    install(&made, "expired", &shop.files);
    shop.node.wait("the warning", |_| shop.lines_with("has expired; renew it") == 1);
    shop.node.wait("the report", |_| shop.state().contains("\"ok\":false"));
    assert!(left() <= 0.0);
    let refused = Client::trusting(&[&made]).connect(shop.node.gateway, "localhost");
    assert!(refused.expect_err("it has expired").to_string().contains("xpired"));
}

#[test]
fn unusable_certificate_refuses_the_start() {
    let made = Certificates::make().expect("certificates");
    let at = |name: &str| made.path(name).display().to_string();
    for (cert, key, problem) in [
        ("server.pem", "client.key", "is not the key of"),
        ("none.pem", "server.key", "can't be read"),
        ("server.key", "server.key", "has no certificate"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("tidegate.toml");
        let text = format!(
            "[listen]\ngateway_tls = {{ cert = \"{}\", key = \"{}\" }}\n[source.shop]\nurl = \"sqlite:{}\"\n",
            at(cert),
            at(key),
            folder.path().join("shop.db").display()
        );
        fs::write(&config, text).expect("written");
        let mut process = start(&config, &[]);
        let status = process.wait(DEADLINE).expect("exited");
        let output = process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{output}");
        assert!(output.contains("TLS of listen.gateway") && output.contains(problem), "{output}");
    }
}
