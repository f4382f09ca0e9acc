//! Certificates for servers on 127.0.0.1, from `openssl`.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Result;
use tempfile::TempDir;

use crate::{folder, programs};

/// A certificate authority, a server certificate for 127.0.0.1 and localhost, and a client
/// certificate; PEM files, removed with the value.
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
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let (ca, ca_key) = (at("ca.pem"), at("ca.key"));
        let mut root = vec!["req", "-x509", "-subj", "/CN=tidegate tests", "-days", "2"];
        root.extend(key);
        root.extend(["-keyout", &ca_key, "-out", &ca]);
        openssl(&root)?;
        for (name, extensions) in [
            ("server", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            ("client", "extendedKeyUsage=clientAuth"),
        ] {
            let (private, signed) = (at(&format!("{name}.key")), at(&format!("{name}.pem")));
            let (request, wanted) = (at("request"), at("extensions"));
            fs::write(&wanted, extensions)?;
            let subject = format!("/CN={name}");
            let mut signing = vec!["req", "-new", "-subj", &subject];
            signing.extend(key);
            signing.extend(["-keyout", &private, "-out", &request]);
            openssl(&signing)?;
            openssl(&[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                &ca,
                "-CAkey",
                &ca_key,
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                &wanted,
                "-out",
                &signed,
            ])?;
        }
        Ok(certificates)
    }

    /// Returns the path of one of `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`.
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

fn openssl(args: &[&str]) -> Result<()> {
    let program = programs::require("openssl", &[], "openssl")?;
    programs::run(Command::new(program).args(args)).map(drop)
}
