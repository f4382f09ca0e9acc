//! The options of certificates by ACME.

use std::path::{Path, PathBuf};

use contract::config::{TableReader, ValueError};

/// The directory of Let's Encrypt.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The most domains: one certificate is issued for each, and authorities limit the number in a week.
const DOMAINS_MAX: usize = 100;

/// The longest name of a host (RFC 1035), and of a part of it.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

const CHALLENGES: [(&str, ChallengeKind); 2] =
    [("tls-alpn-01", ChallengeKind::TlsAlpn), ("http-01", ChallengeKind::Http)];

/// How the authority checks that a domain is this shop's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ChallengeKind {
    /// By a handshake on port 443 of the domain (RFC 8737).
    #[default]
    TlsAlpn,
    /// By a request to port 80 of the domain (RFC 8555, section 8.3).
    Http,
}

/// The binding of an account to one that the operator has at the authority (RFC 8555, section 7.3.4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExternalAccount {
    /// The identifier of its key.
    pub id: String,
    /// The file with the key, in base64url.
    pub key_file: PathBuf,
}

/// The options of certificates by ACME.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AcmeOptions {
    /// The URL of the authority's directory.
    pub directory: String,
    /// The PEM file with the authorities that sign the directory's own certificate; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// The addresses for messages of the authority, as `mailto:` URLs.
    pub contacts: Vec<String>,
    /// The domains; at least one, in lower case.
    pub domains: Vec<String>,
    /// The folder of accounts, keys and certificates.
    pub storage: PathBuf,
    /// How the authority checks the domains.
    pub challenge: ChallengeKind,
    /// The account of the operator.
    pub external_account: Option<ExternalAccount>,
}

impl AcmeOptions {
    /// The keys of the table.
    pub const KEYS: [&str; 9] = [
        "directory",
        "ca",
        "contact",
        "domains",
        "terms_agreed",
        "storage",
        "challenge",
        "external_account_id",
        "external_account_key_file",
    ];

    /// Reads the table. `folder`: the base of relative names.
    pub fn read(table: &mut TableReader<'_>, folder: &Path) -> Option<Self> {
        let directory = table.text_with("directory", parse_directory);
        let ca = table.file("ca", folder);
        let contacts = table.list_with("contact", parse_contact);
        let challenge = table.choice("challenge", &CHALLENGES).unwrap_or_default();
        let external_account = read_external_account(table, folder);
        if table.flag("terms_agreed") != Some(true) {
            let help =
                "read the terms of the authority, and write terms_agreed = true to agree to them";
            table.problem("missing", "terms_agreed", "is not true", help);
        }
        let domains = table.list_with("domains", parse_domain);
        let mut domains: Vec<String> = domains.into_iter().map(|(_, domain)| domain).collect();
        domains.sort_unstable();
        domains.dedup();
        if !table.has("domains") || domains.len() > DOMAINS_MAX {
            let problem = if table.has("domains") { "has too many names" } else { "is missing" };
            let help = format!(
                "name the hosts of the shop, at most {DOMAINS_MAX}, such as domains = [\"shop.example\"]"
            );
            table.problem("missing", "domains", problem, help);
        }
        if !table.has("storage") {
            let help = "name a folder for keys and certificates that outlives the process, such as \
                        storage = \"/var/lib/tidegate/acme\"; nodes of one shop share it";
            table.problem("missing", "storage", "is missing", help);
        }
        let storage = table.file("storage", folder)?;
        Some(Self {
            directory: directory.unwrap_or_else(|| LETS_ENCRYPT.to_owned()),
            ca,
            contacts: contacts.into_iter().map(|(_, contact)| contact).collect(),
            domains,
            storage,
            challenge,
            external_account,
        })
    }
}

fn read_external_account(table: &mut TableReader<'_>, folder: &Path) -> Option<ExternalAccount> {
    const BOTH: [&str; 2] = ["external_account_id", "external_account_key_file"];
    for (key, other) in [(BOTH[0], BOTH[1]), (BOTH[1], BOTH[0])] {
        if table.has(key) && !table.has(other) {
            let help = format!("name both, as the authority has issued them, or remove `{key}`");
            table.problem("conflict", key, format!("is there without `{other}`"), help);
        }
    }
    let id = table.text(BOTH[0]).map(str::to_owned);
    let key_file = table.file(BOTH[1], folder);
    id.zip(key_file).map(|(id, key_file)| ExternalAccount { id, key_file })
}

fn parse_directory(text: &str) -> Result<String, ValueError> {
    let refused = |problem: &str| {
        let help = format!("write the URL of the authority's directory, such as {LETS_ENCRYPT}");
        Err(ValueError::wrong_value(problem, help))
    };
    let Ok(url) = text.parse::<http::Uri>() else { return refused("is no URL") };
    match (url.scheme_str(), url.authority()) {
        (Some("https"), Some(authority)) if authority.as_str().contains('@') => {
            refused("has a login, which the protocol does not know")
        }
        (Some("https"), Some(_)) => Ok(text.to_owned()),
        _ => refused("does not begin with https://"),
    }
}

fn parse_contact(text: &str) -> Result<String, ValueError> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let is_address = address.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && host.contains('.') && !address.contains([',', '?', ' ', '/'])
    });
    if is_address {
        return Ok(format!("mailto:{address}"));
    }
    let help = "write one address of mail, such as \"ops@shop.example\"";
    Err(ValueError::wrong_value(format!("`{text}` is no address of mail"), help))
}

fn parse_domain(text: &str) -> Result<String, ValueError> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let refused = |problem: &str, help: &str| {
        Err(ValueError::wrong_value(format!("`{text}` {problem}"), help))
    };
    if name.starts_with("*.") {
        let help = "name each host: a wildcard needs the challenge dns-01; get such a certificate by another client, and \
                    name its files in `cert` and `key`";
        return refused("is a wildcard", help);
    }
    if name.parse::<std::net::IpAddr>().is_ok() {
        return refused("is an address", "name a host whose DNS points at this shop");
    }
    if !name.is_ascii() {
        return refused("is not in ASCII", "write it as DNS has it, beginning with `xn--`");
    }
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(is_plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_label) {
        let help = "write a host without scheme, port and path, such as \"shop.example\"";
        return refused("is no host", help);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AcmeOptions, String> {
        let table: toml::Table = text.parse().expect("TOML");
        let mut reader = TableReader::new("acme", &table, &AcmeOptions::KEYS);
        let options = AcmeOptions::read(&mut reader, Path::new("/etc"));
        reader.finish(options).map_err(|problems| problems[0].to_string())
    }

    #[test]
    fn names_and_contacts_brought_into_form() {
        let options = read(
            "domains = [\"WWW.Shop.Example.\", \"shop.example\", \"shop.example\"]\nstorage = \"acme\"\n\
             terms_agreed = true\ncontact = [\"ops@shop.example\", \"mailto:a@b.example\"]",
        )
        .expect("valid");
        assert_eq!(options.domains, ["shop.example", "www.shop.example"]);
        assert_eq!(options.contacts, ["mailto:ops@shop.example", "mailto:a@b.example"]);
        assert_eq!(options.directory, LETS_ENCRYPT);
        assert_eq!(options.storage, Path::new("/etc/acme"));
    }

    #[test]
    fn invalid_options_name_remedy() {
        let with = |domain: &str, more: &str| {
            format!("domains = [\"{domain}\"]\nstorage = \"a\"\nterms_agreed = true\n{more}")
        };
        for (text, problem) in [
            (with("*.shop.example", ""), "is a wildcard; name each host"),
            (with("203.0.113.9", ""), "is an address"),
            (with("münchen.example", ""), "is not in ASCII; write it as DNS has it"),
            (with("https://shop.example", ""), "is no host"),
            (with("shop.example:443", ""), "is no host"),
            (with("../../etc", ""), "is no host"),
            (with("-a.example", ""), "is no host"),
            (with("a..example", ""), "is no host"),
            (with("a.example", "directory = \"http://ca.example/dir\""), "begin with https://"),
            (with("a.example", "directory = \"https://u:secret@ca/dir\""), "has a login"),
            (with("a.example", "contact = [\"ops\"]"), "is no address of mail"),
            (with("a.example", "challenge = \"dns-01\""), "acme.challenge"),
            (
                with("a.example", "external_account_id = \"1\""),
                "without `external_account_key_file`",
            ),
            (
                "domains = [\"a.example\"]\nstorage = \"a\"".to_owned(),
                "acme.terms_agreed: is not true",
            ),
            ("storage = \"a\"\nterms_agreed = true".to_owned(), "acme.domains: is missing"),
            (
                "domains = [\"a.example\"]\nterms_agreed = true".to_owned(),
                "acme.storage: is missing",
            ),
        ] {
            let err = read(&text).expect_err(&text);
            assert!(err.contains(problem), "{text}: {err}");
            assert!(!err.contains("secret"), "{err}");
        }
    }
}
