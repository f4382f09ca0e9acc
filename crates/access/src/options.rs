//! `[access]`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use contract::Problem;
use contract::config::{TableReader, ValueError};

use crate::certificates::Certificates;
use crate::hosts::Hosts;
use crate::tokens::TokenFile;

const AUDIT_LOG_KEYS: &[&str] = &["file", "rotate"];

/// The default size at which the audit log begins a new file.
const ROTATE_BYTES: u64 = 64 << 20;

/// The access rules of the private listeners.
#[derive(Clone, Debug, Default)]
pub struct AccessOptions {
    /// The names of the listeners.
    pub hosts: Hosts,
    /// The file of access tokens; `None`: none are needed.
    pub tokens: Option<TokenFile>,
    /// The authorities of client certificates; `None`: no certificates are accepted.
    pub client_ca: Option<PathBuf>,
    /// The lists of revoked client certificates; `None`: none is revoked.
    pub client_crl: Option<PathBuf>,
    /// The accepted certificates.
    pub clients: Certificates,
    /// The audit log; `None`: there is none.
    pub audit_log: Option<AuditLogOptions>,
}

/// The audit log's settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditLogOptions {
    /// The file.
    pub file: PathBuf,
    /// The size in bytes at which a new file begins.
    pub rotate_bytes: u64,
}

impl AccessOptions {
    /// The keys of `[access]`.
    pub const KEYS: &[&str] =
        &["hosts", "tokens", "client_ca", "client_crl_file", "client", "audit_log"];

    /// Reads `[access]`. `folder`: the base of relative file names. With problems, the values are defaults
    /// where they could not be read.
    pub fn read(table: &mut TableReader<'_>, folder: &Path) -> Self {
        let hosts = table.list_with("hosts", Hosts::check_name);
        let tokens = table.file("tokens", folder).map(TokenFile::new);
        let client_ca = table.file("client_ca", folder);
        let client_crl = table.file("client_crl_file", folder);
        if table.has("client_crl_file") && !table.has("client_ca") {
            let help = "name the authorities whose lists it has in `client_ca`, or remove it";
            let message = "has no effect without `client_ca`".to_owned();
            table.problem("conflict", "client_crl_file", message, help);
        }
        let clients = Certificates::read(table);
        for (key, is_missing, other) in [
            ("client_ca", table.has("client_ca") && !table.has("client"), "[[access.client]]"),
            ("client", table.has("client") && !table.has("client_ca"), "`client_ca`"),
        ] {
            if is_missing {
                let help = "name the authorities of client certificates in `client_ca`, and each client's rights \
                            in `[[access.client]]`";
                table.problem("conflict", key, format!("has no effect without {other}"), help);
            }
        }
        let audit_log = table.nested("audit_log", AUDIT_LOG_KEYS, |table| {
            let file = table.file("file", folder);
            if !table.has("file") {
                let help = "name a file, such as file = \"audit.log\"";
                table.problem("missing", "file", "is missing", help);
            }
            let rotate = table.size("rotate", (64 << 10)..=(64 << 30)).unwrap_or(ROTATE_BYTES);
            Some(AuditLogOptions { file: file?, rotate_bytes: rotate })
        });
        Self {
            hosts: Hosts::new(hosts.into_iter().map(|(_, name)| name).collect()),
            tokens,
            client_ca,
            client_crl,
            clients,
            audit_log,
        }
    }

    /// Returns the problem of a private listener that other machines reach and that needs neither token nor
    /// certificate, or that can't ask for the certificates. `key`: the key of its address. `is_tls`: whether it is
    /// encrypted.
    #[must_use]
    pub fn unprotected(&self, key: &str, address: SocketAddr, is_tls: bool) -> Option<Problem> {
        if self.client_ca.is_some() && self.tokens.is_none() && !is_tls {
            let name = key.rsplit('.').next().unwrap_or(key);
            let err = ValueError {
                rule: "no-tls",
                message: "is not encrypted, so no client can show a certificate".to_owned(),
                help: format!(
                    "add `cert` and `key` to `[listen.tls]` or `[listen.{name}_tls]`, and keep it in                      `listen.tls.listeners`"
                ),
            };
            return Some(err.at(key));
        }
        let knows_senders = self.tokens.is_some() || self.client_ca.is_some();
        if address.ip().to_canonical().is_loopback() || knows_senders {
            return None;
        }
        let err = ValueError {
            rule: "no-tokens",
            message: format!("other machines reach {address}, and it needs no access token"),
            help: format!(
                "listen on 127.0.0.1:{}, or set `tokens = \"tokens.toml\"` in `[access]` and run `tidegate \
                 token create NAME --role viewer`, or `client_ca` for client certificates",
                address.port()
            ),
        };
        Some(err.at(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_address_needs_tokens() {
        let open = AccessOptions::default();
        let tokens = Some(TokenFile::new("tokens.toml"));
        let closed = AccessOptions { tokens, ..AccessOptions::default() };
        let client_ca = Some("ca.pem".into());
        let mutual = AccessOptions { client_ca, ..AccessOptions::default() };
        for loopback in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            let address = loopback.parse().expect("an address");
            assert_eq!(open.unprotected("listen.admin", address, false), None, "{loopback}");
        }
        for reachable in ["0.0.0.0:9180", "[::]:9180", "10.0.0.1:9180", "[fe80::1]:9180"] {
            let address = reachable.parse().expect("an address");
            let problem = open.unprotected("listen.admin", address, true).expect(reachable);
            assert!(problem.help.contains("tidegate token create"), "{problem}");
            assert!(problem.help.contains(":9180"), "{problem}");
            assert_eq!(closed.unprotected("listen.admin", address, false), None);
            assert_eq!(mutual.unprotected("listen.admin", address, true), None);
            let problem = mutual.unprotected("listen.admin", address, false).expect(reachable);
            assert!(problem.help.contains("listen.admin_tls"), "{problem}");
        }
    }
}
