//! HTTPS to the listeners, and to upstreams and services.

mod authority;
mod client;
mod gateway;
mod idle;
mod issued;
mod private;
mod refused;
mod reload;
mod upstream;

use std::path::Path;
use std::process::Command;

use harness::{Application, Certificates};

use crate::echo::Echo;
use crate::stack::{Node, gateway_started_by, start};
use client::Client;

/// A gateway with a certificate for 127.0.0.1 and localhost, in front of an application that shows its requests.
struct Shop {
    certificates: Certificates,
    _echo: Echo,
    node: Node,
    _folder: tempfile::TempDir,
}

impl Shop {
    fn start() -> Self {
        Self::with("", "")
    }

    /// `listen`: more lines of `[listen]`; `options`: more sections.
    fn with(listen: &str, options: &str) -> Self {
        let certificates = Certificates::make().expect("certificates");
        let listen = format!("{}{listen}", gateway_tls(&certificates, "server", ""));
        let echo = Echo::start();
        let (node, folder) =
            gateway_started_by(echo.address, options, &listen, |config| start(config, &[]));
        Self { certificates, _echo: echo, node, _folder: folder }
    }

    fn client(&self) -> Client {
        Client::trusting(&[&self.certificates])
    }
}

/// Returns the line of `[listen]` that encrypts the gateway with the certificate `name`.
fn gateway_tls(certificates: &Certificates, name: &str, more: &str) -> String {
    format!("gateway_tls = {{ {}{more} }}\n", pair(certificates, name))
}

fn pair(certificates: &Certificates, name: &str) -> String {
    let file = |kind: &str| certificates.path(&format!("{name}.{kind}")).display().to_string();
    format!("cert = \"{}\", key = \"{}\"", file("pem"), file("key"))
}

/// Runs curl, which prints the status, the version of HTTP and the body.
fn curl(ca: &Path, args: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--write-out"])
        .arg("%{http_code} %{http_version}")
        .arg("--cacert")
        .arg(ca)
        .args(args)
        .output()
        .expect("curl runs");
    let [out, err] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    format!("{out}{err}")
}

/// An application behind a gateway whose `[upstream]` has another address.
struct Behind {
    node: Node,
    _folder: tempfile::TempDir,
}

impl Behind {
    /// `url`: of the upstream; `options`: more of its lines, and more sections.
    fn new(url: &str, options: &str) -> Self {
        let unused = Application::start().expect("a free port");
        let from = format!("url = \"http://{}\"", unused.addr());
        let (node, folder) = gateway_started_by(unused.addr(), options, "", |config| {
            let text = std::fs::read_to_string(config).expect("readable");
            assert!(text.contains(&from), "{text}");
            let text = text.replace(&from, &format!("url = \"{url}\""));
            std::fs::write(config, text).expect("written");
            start(config, &[])
        });
        Self { node, _folder: folder }
    }
}
