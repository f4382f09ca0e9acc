//! `[listen.tls]`, and the tables of single listeners in its place.

use std::path::{Path, PathBuf};

use acme::{AcmeOptions, CertificateKeeper};
use contract::config::TableReader;
use tls::{Identity, MinVersion};

const KEYS: &[&str] = &["cert", "key", "certificate", "min_version", "listeners"];
const LISTENER_KEYS: &[&str] = &["cert", "key", "certificate", "min_version"];
const GATEWAY_KEYS: &[&str] = &["cert", "key", "certificate", "min_version", "acme"];
const CERTIFICATE_KEYS: &[&str] = &["cert", "key"];

const VERSIONS: [(&str, MinVersion); 2] = [("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)];

/// The names of the listeners, each with its place in a list of them.
const LISTENERS: [(&str, usize); 4] = [("gateway", 0), ("data", 1), ("admin", 2), ("sale", 3)];

/// The certificates of a listener.
#[derive(Clone, Debug)]
pub(crate) struct ListenerTls {
    /// The first is for clients that name no known host. At least one, unless there is `acme`.
    pub(crate) certificates: Vec<Identity>,
    /// Certificates that an authority issues.
    pub(crate) acme: Option<AcmeOptions>,
    /// The lowest accepted version.
    pub(crate) min_version: MinVersion,
}

/// The certificates of all listeners. `None`: the listener is not encrypted.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenTls {
    pub(crate) gateway: Option<ListenerTls>,
    pub(crate) data: Option<ListenerTls>,
    pub(crate) admin: Option<ListenerTls>,
    pub(crate) sale: Option<ListenerTls>,
}

impl ListenTls {
    /// Reads the tables from `[listen]`. `folder`: the base of relative file names.
    pub(super) fn read(table: &mut TableReader<'_>, folder: &Path) -> Self {
        let shared = table.nested("tls", KEYS, |table| {
            let chosen = table.choices("listeners", &LISTENERS);
            let is_all = !table.has("listeners");
            let tls = ListenerTls::read(table, folder, None)?;
            Some((tls, (0..LISTENERS.len()).filter(|at| is_all || chosen.contains(at)).collect()))
        });
        let (shared, chosen): (_, Option<Vec<usize>>) = shared.unzip();
        let chosen = chosen.unwrap_or_default();
        let or_shared = |own: Option<ListenerTls>, at: usize| {
            own.or_else(|| shared.clone().filter(|_| chosen.contains(&at)))
        };
        let gateway = table.nested("gateway_tls", GATEWAY_KEYS, |table| {
            let read = |table: &mut TableReader<'_>| AcmeOptions::read(table, folder);
            let acme = table.nested("acme", &AcmeOptions::KEYS, read);
            ListenerTls::read(table, folder, acme)
        });
        let mut own = |at: usize, key: &str| {
            let read = |table: &mut TableReader<'_>| ListenerTls::read(table, folder, None);
            or_shared(table.nested(key, LISTENER_KEYS, read), at)
        };
        Self {
            gateway: or_shared(gateway, 0),
            data: own(1, "data_tls"),
            admin: own(2, "admin_tls"),
            sale: own(3, "sale_tls"),
        }
    }
}

impl ListenerTls {
    fn read(table: &mut TableReader<'_>, folder: &Path, acme: Option<AcmeOptions>) -> Option<Self> {
        let has_pair = !table.has("acme") || table.has("cert") || table.has("key");
        let first = has_pair.then(|| read_pair(table, folder));
        let others =
            table.tables("certificate", CERTIFICATE_KEYS, |table| read_pair(table, folder));
        let min_version = table.choice("min_version", &VERSIONS).unwrap_or_default();
        let first = match first {
            None => None,
            Some(pair) => Some(pair?),
        };
        Some(Self { certificates: first.into_iter().chain(others).collect(), acme, min_version })
    }

    /// Returns the files of the certificates that an authority issues.
    pub(crate) fn managed(&self) -> Vec<PathBuf> {
        self.acme.as_ref().map(CertificateKeeper::certificate_files).unwrap_or_default()
    }
}

fn read_pair(table: &mut TableReader<'_>, folder: &Path) -> Option<Identity> {
    for (key, content) in [("cert", "the certificate and its chain"), ("key", "its private key")] {
        if !table.has(key) {
            let help =
                format!("name the PEM file with {content}, such as {key} = \"shop.{key}.pem\"");
            table.problem("missing", key, "is missing", help);
        }
    }
    let certificate = table.file("cert", folder);
    let key = table.file("key", folder);
    Some(Identity { certificate: certificate?, key: key? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ListenTls, String> {
        let table: toml::Table = text.parse().expect("TOML");
        let keys = &["tls", "gateway_tls", "data_tls", "admin_tls", "sale_tls"];
        let mut reader = TableReader::new("listen", &table, keys);
        let tls = ListenTls::read(&mut reader, Path::new("/etc"));
        reader.finish(Some(tls)).map_err(|problems| problems[0].to_string())
    }

    #[test]
    fn table_of_a_listener_replaces_the_shared_one() {
        let tls = read(
            "tls = { cert = \"a.pem\", key = \"a.key\", listeners = [\"gateway\", \"admin\"] }\n\
             admin_tls = { cert = \"/b.pem\", key = \"/b.key\", min_version = \"1.3\" }",
        )
        .expect("valid");
        let file = |tls: &Option<ListenerTls>| {
            let certificate = &tls.as_ref()?.certificates[0].certificate;
            Some(certificate.display().to_string())
        };
        assert_eq!(file(&tls.gateway).as_deref(), Some("/etc/a.pem"));
        assert_eq!(file(&tls.admin).as_deref(), Some("/b.pem"));
        assert!(tls.data.is_none() && tls.sale.is_none());
        assert_eq!(tls.admin.expect("there").min_version, MinVersion::Tls13);
        let all = read("tls = { cert = \"a.pem\", key = \"a.key\" }").expect("valid");
        assert!(all.gateway.is_some() && all.data.is_some() && all.sale.is_some());
    }

    #[test]
    fn files_and_authority_beside_each_other() {
        let acme =
            "acme = { domains = [\"shop.example\"], storage = \"acme\", terms_agreed = true }";
        let issued = read(&format!("gateway_tls = {{ {acme} }}")).expect("valid");
        let issued = issued.gateway.expect("there");
        assert!(issued.certificates.is_empty());
        let file = "/etc/acme/acme-v02.api.letsencrypt.org-directory/shop.example.pem";
        assert_eq!(issued.managed(), [Path::new(file)]);
        let both = format!("gateway_tls = {{ cert = \"a.pem\", key = \"a.key\", {acme} }}");
        let both = read(&both).expect("valid").gateway.expect("there");
        assert_eq!((both.certificates.len(), both.managed().len()), (1, 1));
    }

    #[test]
    fn invalid_tls_names_remedy() {
        for (text, problem) in [
            ("tls = { cert = \"a.pem\" }", "listen.tls.key: is missing; name the PEM file"),
            ("gateway_tls = {}", "listen.gateway_tls.cert: is missing"),
            (
                "tls = { cert = \"a\", key = \"b\", min_version = \"1.1\" }",
                "listen.tls.min_version: `1.1`",
            ),
            ("tls = { cert = \"a\", key = \"b\", listeners = [\"web\"] }", "listen.tls.listeners"),
            (
                "tls = { cert = \"a\", key = \"b\", certificate = [{ cert = \"c\" }] }",
                "listen.tls.certificate[0].key: is missing",
            ),
            ("tls = { cert = \"a\", kye = \"b\" }", "listen.tls.kye: is not a known key"),
            ("gateway_tls = { acme = {} }", "listen.gateway_tls.acme.terms_agreed: is not true"),
            ("admin_tls = { acme = {} }", "listen.admin_tls.acme: is not a known key"),
        ] {
            let err = read(text).expect_err(text);
            assert!(err.contains(problem), "{text}: {err}");
        }
    }
}
