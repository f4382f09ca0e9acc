//! Pebble, a certificate authority for tests of ACME, with a DNS server that names 127.0.0.1 for every host.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    Certificates,
    child::{self, Daemon},
    folder,
    output::Output,
    port::Port,
    programs,
    server::Server,
};

const START_TIMEOUT: Duration = Duration::from_secs(30);

const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The options of a [`Pebble`].
pub struct PebbleBuilder {
    http_port: u16,
    tls_port: u16,
    validity_s: u64,
    external_account: Option<(String, String)>,
    rejected_nonces_percent: u8,
}

impl PebbleBuilder {
    /// Sets the port of checks by requests, in place of 80.
    #[must_use]
    pub fn http_port(self, http_port: u16) -> Self {
        Self { http_port, ..self }
    }

    /// Sets the port of checks by handshakes, in place of 443.
    #[must_use]
    pub fn tls_port(self, tls_port: u16) -> Self {
        Self { tls_port, ..self }
    }

    /// Sets the time of certificates in seconds; 90 days by default.
    #[must_use]
    pub fn validity_s(self, validity_s: u64) -> Self {
        Self { validity_s, ..self }
    }

    /// Requires accounts to be bound to this one: its identifier, and its key in base64url.
    #[must_use]
    pub fn external_account(self, id: &str, key: &str) -> Self {
        Self { external_account: Some((id.to_owned(), key.to_owned())), ..self }
    }

    /// Sets how many of a hundred valid nonces are rejected; 5 by default.
    #[must_use]
    pub fn rejected_nonces_percent(self, rejected_nonces_percent: u8) -> Self {
        Self { rejected_nonces_percent, ..self }
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the Debian package `pebble` is missing, or it does not come up; with its last lines.
    pub fn start(self) -> Result<Pebble> {
        let pebble = programs::require("pebble", &[], "pebble")?;
        let dns = programs::require("pebble-challtestsrv", &[], "pebble")?;
        let (folder, certificates) = (folder::private("pebble")?, Certificates::make()?);
        let (names, management) = (Port::reserve()?, Port::reserve()?);
        let dns = start_dns(&dns, &names)?;
        let launch = Launch {
            pebble,
            folder: folder.path().to_owned(),
            management: management.addr().to_string(),
            names: names.addr().to_string(),
            certificate: certificates.path("server.pem"),
            key: certificates.path("server.key"),
            options: self,
        };
        let server = Server::start("pebble", |port, output| launch.on(port, output))?;
        let _ports = [names, management];
        Ok(Pebble { server, launch, certificates, _dns: dns, _ports, _folder: folder })
    }
}

/// All that a start needs.
struct Launch {
    pebble: PathBuf,
    folder: PathBuf,
    management: String,
    names: String,
    certificate: PathBuf,
    key: PathBuf,
    options: PebbleBuilder,
}

impl Launch {
    fn on(&self, port: &Port, output: &Output) -> Result<Daemon> {
        let PebbleBuilder { http_port, tls_port, validity_s, external_account, .. } = &self.options;
        let (required, keys) = match external_account {
            None => (false, String::new()),
            Some((id, key)) => (true, format!("\"{id}\": \"{key}\"")),
        };
        let config = format!(
            r#"{{"pebble": {{
              "listenAddress": "{}", "managementListenAddress": "{}",
              "certificate": "{}", "privateKey": "{}",
              "httpPort": {http_port}, "tlsPort": {tls_port}, "ocspResponderURL": "",
              "externalAccountBindingRequired": {required}, "externalAccountMACKeys": {{ {keys} }},
              "certificateValidityPeriod": {validity_s} }} }}"#,
            port.addr(),
            self.management,
            self.certificate.display(),
            self.key.display(),
        );
        let file = self.folder.join("pebble.json");
        fs::write(&file, config)?;
        let mut command = child::command(&self.pebble, None)?;
        command.arg("-config").arg(&file).args(["-dnsserver", &self.names]);
        let rejected = self.options.rejected_nonces_percent.to_string();
        command
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .env("PEBBLE_WFE_NONCEREJECT", rejected);
        let mut daemon = Daemon::spawn("pebble", command, output.clone())?;
        let address = port.addr();
        daemon.wait_until_ready(START_TIMEOUT, || TcpStream::connect(address).is_ok())?;
        Ok(daemon)
    }
}

fn start_dns(program: &Path, port: &Port) -> Result<Daemon> {
    let mut command = child::command(program, None)?;
    let address = port.addr();
    command.arg("-dns01").arg(address.to_string());
    command.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
    command.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-management", ""]);
    let mut daemon = Daemon::spawn("pebble-challtestsrv", command, Output::default())?;
    daemon.wait_until_ready(START_TIMEOUT, || TcpStream::connect(address).is_ok())?;
    Ok(daemon)
}

/// A running Pebble; stopped and wiped on drop. A restart forgets accounts and orders.
pub struct Pebble {
    server: Server,
    launch: Launch,
    certificates: Certificates,
    _dns: Daemon,
    _ports: [Port; 2],
    _folder: TempDir,
}

impl Pebble {
    /// Returns the options with their defaults.
    #[must_use]
    pub fn builder() -> PebbleBuilder {
        PebbleBuilder {
            http_port: 80,
            tls_port: 443,
            validity_s: 90 * 86_400,
            external_account: None,
            rejected_nonces_percent: 5,
        }
    }

    /// Returns its address.
    #[must_use]
    pub fn addr(&self) -> std::net::SocketAddr {
        self.server.addr()
    }

    /// Returns the URL of its directory.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.addr())
    }

    /// Returns the authority of its own certificate, and of other servers on 127.0.0.1.
    #[must_use]
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Returns the root of the certificates that it has signed since its start, as PEM.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn root(&self) -> Result<Vec<u8>> {
        let curl = programs::require("curl", &[], "curl")?;
        let url = format!("https://{}/roots/0", self.launch.management);
        let mut command = Command::new(curl);
        command.args(["--silent", "--show-error", "--fail", "--insecure", &url]);
        Ok(programs::run(&mut command)?.into_bytes())
    }

    /// Returns the number of its log's lines that contain `part`.
    #[must_use]
    pub fn logged(&self, part: &str) -> usize {
        self.server.log().iter().filter(|line| line.contains(part)).count()
    }

    /// Stops it.
    ///
    /// # Errors
    /// When it is not running.
    pub fn stop(&mut self) -> Result<()> {
        self.server.stop(Signal::TERM, STOP_TIMEOUT)
    }

    /// Starts it again on its port.
    ///
    /// # Errors
    /// When it runs, or does not come up.
    pub fn start_again(&mut self) -> Result<()> {
        let launch = &self.launch;
        self.server.start_again(|port, output| launch.on(port, output))
    }
}
