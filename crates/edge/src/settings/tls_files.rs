//! The files of encrypted connections to servers.

use std::path::{Path, PathBuf};

use contract::config::TableReader;
use tls::{Identity, OptionNames, Roots, TlsClient, TlsOptions, Verification};

/// The names of the keys, for error messages.
pub(crate) const NAMES: OptionNames = OptionNames {
    authorities: "ca",
    certificate: "cert",
    key: "key",
    any_name: "name the host of the certificate in server_name",
};

/// The protocol that is negotiated by ALPN.
const ALPN: &[u8] = b"http/1.1";

/// The files of encrypted connections to servers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsFiles {
    /// The trusted authorities; `None`: those of the operating system.
    pub ca: Option<PathBuf>,
    /// The client certificate.
    pub identity: Option<Identity>,
    /// The name that a server's certificate has to be for; `None`: the host of its address.
    pub server_name: Option<String>,
}

impl TlsFiles {
    /// The keys of the files.
    pub const KEYS: [&str; 3] = ["ca", "cert", "key"];

    /// Reads the files. `folder`: the base of relative names.
    pub fn read(table: &mut TableReader<'_>, folder: &Path) -> Self {
        for (key, other) in [("cert", "key"), ("key", "cert")] {
            if table.has(key) && !table.has(other) {
                let help = format!("name both, as PEM files, or remove `{key}`");
                table.problem("conflict", key, format!("is there without `{other}`"), help);
            }
        }
        let ca = table.file("ca", folder);
        let (certificate, key) = (table.file("cert", folder), table.file("key", folder));
        let pair = certificate.zip(key);
        let identity = pair.map(|(certificate, key)| Identity { certificate, key });
        Self { ca, identity, server_name: None }
    }

    /// Creates a client that has these files.
    pub(crate) fn client(&self) -> TlsClient {
        TlsClient::new(TlsOptions {
            names: &NAMES,
            verification: Verification::Name,
            roots: self.ca.clone().map_or(Roots::System, Roots::File),
            identity: self.identity.clone(),
            alpn: Some(ALPN),
        })
    }
}
