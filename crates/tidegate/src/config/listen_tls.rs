//! `[listen.tls]`, and the tables of single listeners in its place.

use std::path::Path;

use contract::config::TableReader;
use tls::{Identity, MinVersion};

const KEYS: &[&str] = &["cert", "key", "certificate", "min_version", "listeners"];
const LISTENER_KEYS: &[&str] = &["cert", "key", "certificate", "min_version"];
const CERTIFICATE_KEYS: &[&str] = &["cert", "key"];

const VERSIONS: [(&str, MinVersion); 2] = [("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)];

/// The names of the listeners, each with its place in a list of them.
const LISTENERS: [(&str, usize); 4] = [("gateway", 0), ("data", 1), ("admin", 2), ("sale", 3)];

/// The certificates of a listener.
#[derive(Clone, Debug)]
pub(crate) struct ListenerTls {
    /// At least one; the first is for clients that name no known host.
    pub(crate) certificates: Vec<Identity>,
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
            let tls = ListenerTls::read(table, folder)?;
            Some((tls, (0..LISTENERS.len()).filter(|at| is_all || chosen.contains(at)).collect()))
        });
        let (shared, chosen): (_, Option<Vec<usize>>) = shared.unzip();
        let chosen = chosen.unwrap_or_default();
        let mut own = |at: usize, key: &str| {
            let own = table.nested(key, LISTENER_KEYS, |table| ListenerTls::read(table, folder));
            own.or_else(|| shared.clone().filter(|_| chosen.contains(&at)))
        };
        Self {
            gateway: own(0, "gateway_tls"),
            data: own(1, "data_tls"),
            admin: own(2, "admin_tls"),
            sale: own(3, "sale_tls"),
        }
    }
}

impl ListenerTls {
    fn read(table: &mut TableReader<'_>, folder: &Path) -> Option<Self> {
        let first = read_pair(table, folder);
        let others =
            table.tables("certificate", CERTIFICATE_KEYS, |table| read_pair(table, folder));
        let min_version = table.choice("min_version", &VERSIONS).unwrap_or_default();
        Some(Self { certificates: std::iter::once(first?).chain(others).collect(), min_version })
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
        ] {
            let err = read(text).expect_err(text);
            assert!(err.contains(problem), "{text}: {err}");
        }
    }
}
