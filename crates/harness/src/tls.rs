//! Certificates for servers on 127.0.0.1, from `openssl`.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Result;
use tempfile::TempDir;

use crate::{folder, programs};

/// The kind of all keys.
const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/// A certificate authority, a server certificate for 127.0.0.1 and localhost, a client certificate whose user is
/// `shop`, and server certificates that clients should refuse; PEM files, removed with the value.
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Generates them.
    ///
    /// # Errors
    /// When openssl is missing or fails.
    pub fn make() -> Result<Self> {
        let folder = folder::private("tls")?;
        let certificates = Self { folder };
        let at = |name: &str| certificates.path(name).display().to_string();
        let (ca, ca_key) = (at("ca.pem"), at("ca.key"));
        let mut root = vec!["req", "-x509", "-subj", "/CN=tidegate tests", "-days", "2"];
        root.extend(KEY);
        root.extend(["-keyout", &ca_key, "-out", &ca]);
        openssl(&root)?;
        // As the manual of PostgreSQL makes one: an authority by its form.
        let (own, own_key) = (at("self-signed.pem"), at("self-signed.key"));
        let mut alone = vec!["req", "-x509", "-subj", "/CN=localhost", "-days", "2"];
        alone.extend(KEY);
        alone.extend(["-addext", "subjectAltName=DNS:localhost"]);
        alone.extend(["-keyout", &own_key, "-out", &own]);
        openssl(&alone)?;
        for (name, user, days, extensions) in [
            ("server", "server", "2", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            ("client", "shop", "2", "extendedKeyUsage=clientAuth"),
            ("other-name", "db.example.com", "2", "subjectAltName=DNS:db.example.com"),
            ("nameless", "localhost", "2", "extendedKeyUsage=serverAuth"),
        ] {
            certificates.sign(name, user, days, extensions)?;
        }
        certificates.sign_for_the_past("expired", "server")?;
        Ok(certificates)
    }

    /// Signs a certificate `name.pem` with the key `name.key`, for the common name `user` and `days` from now.
    /// `extensions`: lines of openssl's format.
    ///
    /// # Errors
    /// When openssl fails.
    pub fn sign(&self, name: &str, user: &str, days: &str, extensions: &str) -> Result<()> {
        let at = |name: &str| self.path(name).display().to_string();
        let (request, wanted) = (self.request(name, user)?, at("extensions"));
        fs::write(&wanted, extensions)?;
        let signed = at(&format!("{name}.pem"));
        let (ca, ca_key) = (at("ca.pem"), at("ca.key"));
        let mut issuing = vec!["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key];
        let serial = serial(name).to_string();
        issuing.extend(["-set_serial", &serial]);
        issuing.extend(["-days", days, "-extfile", &wanted, "-out", &signed]);
        openssl(&issuing)
    }

    /// Signs a certificate for 127.0.0.1 and localhost that was valid on one day of 2020.
    fn sign_for_the_past(&self, name: &str, user: &str) -> Result<()> {
        let at = |name: &str| self.path(name).display().to_string();
        let (request, wanted) = (self.request(name, user)?, at("extensions"));
        fs::write(&wanted, "subjectAltName=IP:127.0.0.1,DNS:localhost")?;
        let options = "rand_serial = yes\npolicy = any\n[any]\ncommonName = supplied\n";
        let (index, config) = (self.path("index"), self.configure(options)?);
        fs::write(&index, "")?;
        let (ca, ca_key, signed) = (at("ca.pem"), at("ca.key"), at(&format!("{name}.pem")));
        let mut issuing = vec!["ca", "-batch", "-notext", "-config", &config, "-in", &request];
        issuing.extend(["-cert", &ca, "-keyfile", &ca_key, "-extfile", &wanted, "-out", &signed]);
        issuing.extend(["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]);
        openssl(&issuing)
    }

    /// Makes the key `name.key`, and returns the path of a request for the common name `user`.
    fn request(&self, name: &str, user: &str) -> Result<String> {
        let at = |name: &str| self.path(name).display().to_string();
        let (private, request) = (at(&format!("{name}.key")), at("request"));
        let subject = format!("/CN={user}");
        let mut signing = vec!["req", "-new", "-subj", &subject];
        signing.extend(KEY);
        signing.extend(["-keyout", &private, "-out", &request]);
        openssl(&signing)?;
        Ok(request)
    }

    /// Writes the configuration of openssl's authority, and returns its path.
    fn configure(&self, options: &str) -> Result<String> {
        let (index, folder) = (self.path("index"), self.folder.path());
        let config = self.path("config");
        fs::write(
            &config,
            format!(
                "[ca]\ndefault_ca = own\n[own]\ndatabase = {}\nnew_certs_dir = {}\n\
                 default_md = sha256\n{options}",
                index.display(),
                folder.display()
            ),
        )?;
        Ok(config.display().to_string())
    }

    /// Returns a revocation list of the authority, as PEM, with the certificates of these names, which ends `days` from
    /// now. With 0 days, it ends at once.
    ///
    /// # Errors
    /// When openssl fails.
    pub fn revoke(&self, names: &[&str], days: u32) -> Result<Vec<u8>> {
        let number = self.path("crlnumber");
        fs::write(&number, "01\n")?;
        let number = format!(
            "crlnumber = {}\ncrl_extensions = list\n[list]\nauthorityKeyIdentifier = keyid:always\n",
            number.display()
        );
        self.issue_list(names, days, &number)
    }

    /// Returns an empty revocation list as openssl makes it by default.
    ///
    /// # Errors
    /// When openssl fails.
    pub fn revoke_by_version_1(&self) -> Result<Vec<u8>> {
        self.issue_list(&[], 2, "")
    }

    fn issue_list(&self, names: &[&str], days: u32, options: &str) -> Result<Vec<u8>> {
        let at = |name: &str| self.path(name).display().to_string();
        let (index, config, list) = (at("index"), self.configure(options)?, at("list.crl"));
        let row = |name: &&str| {
            format!("R\t491231235959Z\t260101000000Z\t{:08X}\tunknown\t/CN={name}\n", serial(name))
        };
        fs::write(&index, names.iter().map(row).collect::<String>())?;
        let (ca, ca_key, days) = (at("ca.pem"), at("ca.key"), days.to_string());
        let mut issuing = vec!["ca", "-gencrl", "-config", &config, "-cert", &ca];
        issuing.extend(["-keyfile", &ca_key, "-out", &list]);
        // A list without an end is none: one second is the shortest.
        issuing.extend(if days == "0" { ["-crlsec", "1"] } else { ["-crldays", &days] });
        openssl(&issuing)?;
        self.pem("list.crl")
    }

    /// Returns the path of `ca.pem`, or of the `.pem` and `.key` of `server`, `client`, `other-name` (for
    /// db.example.com), `nameless` (without alternative names), `self-signed` and
    /// `expired`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the content of that file.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn pem(&self, name: &str) -> Result<Vec<u8>> {
        Ok(fs::read(self.path(name))?)
    }
}

/// The serial number of a certificate.
fn serial(name: &str) -> u32 {
    match name {
        // Cloud SQL's first authorities have this number.
        "nameless" => 0,
        name => {
            name.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) | 1
        }
    }
}

fn openssl(args: &[&str]) -> Result<()> {
    let program = programs::require("openssl", &[], "openssl")?;
    programs::run(Command::new(program).args(args)).map(drop)
}
