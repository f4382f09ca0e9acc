//! Client certificates as an alternative to access tokens.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use contract::config::{TableReader, ValueError};
use tls::Certificate;

use crate::caller::Caller;
use crate::peer::Peer;
use crate::refusal::Refusal;
use crate::rights::Rights;
use crate::tokens::{check_name, read_rights};

/// The most entries: each connection is compared with all of them.
const ENTRIES_MAX: usize = 1_000;

/// A name in a certificate. Names are compared as a whole; there are no wildcards.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CertificateName {
    /// A host name among the alternative names, in lower case.
    Dns(String),
    /// A URI among them, such as a SPIFFE ID.
    Uri(String),
    /// An address of mail among them.
    Email(String),
    /// The common name of the subject.
    CommonName(String),
}

impl CertificateName {
    fn is_in(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Dns(name) => certificate.dns.iter().any(|dns| dns.eq_ignore_ascii_case(name)),
            Self::Uri(uri) => certificate.uris.contains(uri),
            Self::Email(email) => certificate.emails.contains(email),
            Self::CommonName(name) => certificate.common_name.as_ref() == Some(name),
        }
    }
}

impl FromStr for CertificateName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write a name of the certificate with its kind, such as \"dns:deploy.internal\", \
                            \"uri:spiffe://shop/deploy\", \"email:ops@shop.example\" or \"cn:deploy\"";
        let refuse = |problem: &str| Err(ValueError::wrong_value(problem.to_owned(), FORM));
        let Some((kind, name)) = text.split_once(':') else {
            return refuse("has no kind of name");
        };
        if name.is_empty() {
            return refuse("has no name");
        }
        if kind == "dns" && name.contains('*') {
            return refuse("has a wildcard, which would be a pattern of names");
        }
        Ok(match kind {
            "dns" => Self::Dns(name.to_ascii_lowercase()),
            "uri" => Self::Uri(name.to_owned()),
            "email" => Self::Email(name.to_owned()),
            "cn" => Self::CommonName(name.to_owned()),
            _ => return refuse("has an unknown kind of name"),
        })
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Uri(name) => write!(f, "uri:{name}"),
            Self::Email(name) => write!(f, "email:{name}"),
            Self::CommonName(name) => write!(f, "cn:{name}"),
        }
    }
}

/// The rights of the holder of a certificate.
#[derive(Clone, Debug)]
pub struct CertificateEntry {
    /// The name in the audit log.
    pub name: Arc<str>,
    /// The name that the certificate has.
    pub certificate: CertificateName,
    /// The rights.
    pub rights: Arc<Rights>,
}

impl CertificateEntry {
    /// The keys of `[[access.client]]`.
    pub(crate) const KEYS: &[&str] = &["name", "certificate", "role", "reads"];

    pub(crate) fn read(table: &mut TableReader<'_>) -> Option<Self> {
        let help = "write a name for the audit log, such as \"deploy\"";
        let name = table.required_text_with("name", help, check_name);
        let help = "write a name of the certificate, such as \"dns:deploy.internal\"";
        let certificate = table.required_text_with("certificate", help, str::parse);
        let rights = Arc::new(read_rights(table));
        Some(Self { name: name?.into(), certificate: certificate?, rights })
    }
}

/// The certificates that are accepted, of those that the listener's authorities have signed.
#[derive(Clone, Debug, Default)]
pub struct Certificates(Vec<CertificateEntry>);

impl Certificates {
    /// Reads `[[access.client]]`.
    pub(crate) fn read(table: &mut TableReader<'_>) -> Self {
        let entries = table.tables("client", CertificateEntry::KEYS, CertificateEntry::read);
        for (at, entry) in entries.iter().enumerate() {
            let others = &entries[..at];
            let twice = others
                .iter()
                .any(|other| other.name == entry.name || other.certificate == entry.certificate);
            if twice {
                let message = format!("`{}` or its certificate is there twice", entry.name);
                table.problem("duplicate", &format!("client[{at}]"), message, "remove one");
            }
        }
        if entries.len() > ENTRIES_MAX {
            let (message, help) = (format!("{} entries", entries.len()), "keep at most 1000");
            table.problem("out-of-range", "client", message, help);
        }
        Self(entries)
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the holder of the certificate of a connection. `now_s`: the seconds since 1970; a connection may
    /// outlive its certificate.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) fn holder(&self, peer: &Peer, now_s: u64) -> Result<Caller, Refusal> {
        let certificate = peer.certificate.as_deref().ok_or(Refusal::NoCertificate)?;
        if certificate.validity.until_s <= now_s {
            return Err(Refusal::ExpiredCertificate(certificate.label().to_owned()));
        }
        let entry = self.0.iter().find(|entry| entry.certificate.is_in(certificate));
        let entry =
            entry.ok_or_else(|| Refusal::UnknownCertificate(certificate.label().to_owned()))?;
        Ok(Caller::holder(Arc::clone(&entry.name), peer.address, Arc::clone(&entry.rights)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tls::Validity;

    use super::*;

    fn read(text: &str) -> Result<Certificates, String> {
        let table: toml::Table = text.parse().expect("TOML");
        let mut reader = TableReader::new("access", &table, &["client"]);
        let read = Certificates::read(&mut reader);
        reader.finish(Some(read)).map_err(|problems| problems[0].to_string())
    }

    fn peer(dns: &str, common_name: &str) -> Peer {
        let certificate = Certificate {
            common_name: Some(common_name.to_owned()),
            dns: vec![dns.to_owned()],
            uris: vec!["spiffe://shop/web".to_owned()],
            emails: Vec::new(),
            validity: Validity { from_s: 0, until_s: 100 },
        };
        Peer { address: Ipv4Addr::LOCALHOST.into(), certificate: Some(Arc::new(certificate)) }
    }

    #[test]
    fn name_of_one_kind_is_none_of_another() {
        let certificates = read(
            "[[client]]\nname = \"a\"\ncertificate = \"dns:Deploy.internal\"\nrole = \"operator\"\n\
             [[client]]\nname = \"b\"\ncertificate = \"cn:web\"\nreads = [\"*\"]\n\
             [[client]]\nname = \"c\"\ncertificate = \"uri:spiffe://shop/web\"\nrole = \"viewer\"",
        )
        .expect("valid");
        let name = |dns: &str, common_name: &str| {
            let caller = certificates.holder(&peer(dns, common_name), 99);
            caller.expect("known").name().to_owned()
        };
        assert_eq!(name("DEPLOY.internal", "x"), "a");
        assert_eq!(name("x", "web"), "b");
        assert_eq!(name("web", "deploy.internal"), "c", "a common name is no host name");
        let none = Peer { certificate: None, ..peer("x", "y") };
        assert_eq!(certificates.holder(&none, 0).map(drop), Err(Refusal::NoCertificate));
        let late = certificates.holder(&peer("deploy.internal", "x"), 100).map(drop);
        assert_eq!(late, Err(Refusal::ExpiredCertificate("deploy.internal".to_owned())));
        let few = read("[[client]]\nname = \"a\"\ncertificate = \"cn:a\"\nrole = \"viewer\"");
        let unknown = few.expect("valid").holder(&peer("x", "y"), 0).map(drop);
        assert_eq!(unknown, Err(Refusal::UnknownCertificate("x".to_owned())));
    }

    #[test]
    fn invalid_entry_names_remedy() {
        for (entry, problem) in [
            ("certificate = \"cn:a\"\nrole = \"viewer\"", "client[0].name: is missing"),
            ("name = \"a\"\nrole = \"viewer\"", "client[0].certificate: is missing"),
            ("name = \"a\"\ncertificate = \"a\"\nrole = \"viewer\"", "has no kind"),
            ("name = \"a\"\ncertificate = \"dns:*.a\"\nrole = \"viewer\"", "has a wildcard"),
            ("name = \"a\"\ncertificate = \"ip:1\"\nrole = \"viewer\"", "unknown kind"),
            ("name = \"a\"\ncertificate = \"cn:a\"", "the caller may do nothing"),
            ("name = \"a b\"\ncertificate = \"cn:a\"\nrole = \"viewer\"", "client[0].name: "),
            (
                "name = \"a\"\ncertificate = \"cn:a\"\nrole = \"viewer\"\n[[client]]\nname = \"b\"\n\
                 certificate = \"cn:a\"\nrole = \"viewer\"",
                "there twice",
            ),
        ] {
            let err = read(&format!("[[client]]\n{entry}")).expect_err(entry);
            assert!(err.contains(problem), "{entry}: {err}");
        }
    }
}
