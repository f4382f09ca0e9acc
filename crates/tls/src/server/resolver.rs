//! Which certificate a client gets.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate::Certificate;

/// Selects a certificate by the host that a client names (SNI, RFC 6066), and by the signatures that it accepts.
#[derive(Debug)]
pub(super) struct ByName {
    /// In the order of the configuration.
    all: Vec<Arc<CertifiedKey>>,
    /// Indices by host name in lower case, and by the rest of a wildcard, such as `.shop.example`.
    names: HashMap<String, Vec<usize>>,
}

impl ByName {
    pub(super) fn new(certificates: Vec<(Arc<CertifiedKey>, &Certificate)>) -> Self {
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        let mut all = Vec::new();
        for (at, (key, certificate)) in certificates.into_iter().enumerate() {
            all.push(key);
            for name in &certificate.dns {
                let name = name.to_ascii_lowercase();
                let name = name.strip_prefix('*').unwrap_or(&name).to_owned();
                names.entry(name).or_default().push(at);
            }
        }
        Self { all, names }
    }

    /// Returns the certificates for a host, the best first.
    fn candidates(&self, host: Option<&str>) -> Vec<&Arc<CertifiedKey>> {
        let host = host.unwrap_or_default().to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let rest = host.find('.').map(|dot| &host[dot..]);
        let named = [Some(host), rest].into_iter().flatten();
        let named = named.filter_map(|name| self.names.get(name)).flatten();
        named.filter_map(|at| self.all.get(*at)).chain(&self.all).collect()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut candidates = self.candidates(hello.server_name()).into_iter();
        let is_usable =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        candidates.find(is_usable).cloned()
    }
}
