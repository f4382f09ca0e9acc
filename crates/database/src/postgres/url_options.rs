//! The options of a URL that the driver does not know, with libpq's names and meaning.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use tls::{Identity, OptionNames, Roots, TlsOptions, Verification};

use super::encryption::{Encryption, SslMode};
use crate::url_error::UrlError;

/// The protocol's name in ALPN. Servers since version 17 select it, and require it with direct TLS.
const ALPN: &[u8] = b"postgresql";

pub(super) const NAMES: OptionNames = OptionNames {
    authorities: "sslrootcert",
    certificate: "sslcert",
    key: "sslkey",
    any_name: "write sslmode=verify-ca",
};

const MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

/// A URL without the options that are read here, and their meaning.
pub(super) struct UrlOptions {
    pub(super) rest: String,
    pub(super) encryption: Encryption,
}

/// The values, as they are in the URL.
#[derive(Default)]
struct Values {
    mode: Option<SslMode>,
    roots: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    direct: bool,
}

impl UrlOptions {
    /// Splits a URL.
    ///
    /// # Errors
    /// An option has a value that can't be used.
    pub(super) fn parse(url: &str) -> Result<Self, UrlError> {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut values, mut rest) = (Values::default(), Vec::new());
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = percent_decode_str(value).decode_utf8().map_err(|_| UrlError {
                problem: format!("has a value of {name} that is not UTF-8"),
                remedy: "encode it with %".to_owned(),
            })?;
            if !values.read(name, &value)? {
                rest.push(option);
            }
        }
        let separator = if rest.is_empty() { "" } else { "?" };
        let rest = format!("{address}{separator}{}", rest.join("&"));
        Ok(Self { rest, encryption: values.encryption()? })
    }
}

impl Values {
    /// Reads an option. Returns false if the driver has to read it.
    fn read(&mut self, name: &str, value: &str) -> Result<bool, UrlError> {
        match name {
            "sslmode" => self.mode = Some(mode(value)?),
            "sslrootcert" => self.roots = Some(value.to_owned()),
            "sslcert" => self.certificate = Some(value.to_owned()),
            "sslkey" => self.key = Some(value.to_owned()),
            "sslnegotiation" => {
                self.direct = match value {
                    "postgres" => false,
                    "direct" => true,
                    _ => return Err(unknown(name, value, "postgres or direct")),
                }
            }
            "target_session_attrs" => check_session_attrs(value)?,
            // Compression and GSSAPI, which servers rarely have, are never used.
            "sslcompression" => {}
            "gssencmode" if value != "require" => {}
            "ssl" | "sslpassword" | "sslcrl" | "sslcrldir" | "pgbouncer" | "schema"
            | "passfile" | "gssencmode" => return Err(of_other_clients(name)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn encryption(self) -> Result<Encryption, UrlError> {
        let Self { mode, roots, certificate, key, direct } = self;
        let system = roots.as_deref() == Some("system");
        let mode = mode.unwrap_or(if system { SslMode::VerifyFull } else { SslMode::Prefer });
        let refuse =
            |problem: String, remedy: &str| Err(UrlError { problem, remedy: remedy.to_owned() });
        if system && mode != SslMode::VerifyFull {
            let problem = format!("has sslrootcert=system with sslmode={}", mode.name());
            return refuse(
                problem,
                "write sslmode=verify-full: the system's authorities sign for everyone",
            );
        }
        if mode == SslMode::VerifyCa && roots.is_none() {
            let problem = "has sslmode=verify-ca without sslrootcert".to_owned();
            return refuse(
                problem,
                "name the authority's certificate in sslrootcert=FILE, or write sslmode=verify-full",
            );
        }
        if direct && !mode.is_required() {
            let problem = format!("has sslnegotiation=direct with sslmode={}", mode.name());
            return refuse(problem, "write sslmode=require, verify-ca or verify-full");
        }
        let identity = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Some(Identity { certificate: certificate.into(), key: key.into() })
            }
            (certificate, _) => {
                let (there, missing) = match certificate {
                    Some(_) => ("sslcert", "sslkey"),
                    None => ("sslkey", "sslcert"),
                };
                let problem = format!("has {there} without {missing}");
                return refuse(problem, "name both, as PEM files");
            }
        };
        let verification = match mode {
            SslMode::VerifyFull => Verification::Name,
            SslMode::VerifyCa => Verification::Authority,
            // As libpq: a file of authorities is there to be used.
            SslMode::Require if roots.is_some() => Verification::Authority,
            _ => Verification::Key,
        };
        let roots = match roots {
            Some(file) if !system => Roots::File(PathBuf::from(file)),
            _ => Roots::System,
        };
        let alpn = direct.then_some(ALPN);
        let tls = TlsOptions { names: &NAMES, verification, roots, identity, alpn };
        Ok(Encryption { mode, tls })
    }
}

fn mode(value: &str) -> Result<SslMode, UrlError> {
    if let Some((_, mode)) = MODES.iter().find(|(name, _)| *name == value) {
        return Ok(*mode);
    }
    let names: Vec<_> = MODES.iter().map(|(name, _)| *name).collect();
    let choices = match value.replace('_', "-").as_str() {
        "no-verify" | "required" | "true" | "on" => {
            "require, which encrypts and does not verify, or verify-full".to_owned()
        }
        "verify-ca" => "verify-ca".to_owned(),
        "verify" | "verify-full" | "verify-identity" => "verify-full".to_owned(),
        "disabled" | "false" | "off" => "disable".to_owned(),
        "preferred" => "prefer".to_owned(),
        _ => format!("one of {}", names.join(", ")),
    };
    Err(unknown("sslmode", value, &choices))
}

fn unknown(name: &str, value: &str, choices: &str) -> UrlError {
    UrlError {
        problem: format!("has {name}={value:?}, which is unknown"),
        remedy: format!("write {choices}"),
    }
}

/// Explains an option of another client.
fn of_other_clients(name: &str) -> UrlError {
    let (problem, remedy) = match name {
        "ssl" => ("an option of other drivers", "write sslmode=require or sslmode=verify-full"),
        "sslpassword" => (
            "for an encrypted sslkey, which is not supported",
            "decrypt the key with `openssl pkey -in KEY -out KEY.pem`, readable by Tidegate alone",
        ),
        "sslcrl" | "sslcrldir" => {
            ("for revocation lists, which are not supported", "remove it, and renew the authority")
        }
        "passfile" => ("not supported", "name a file with the password alone in password_file"),
        "schema" => ("an option of Prisma", "write options=-c%20search_path%3DSCHEMA"),
        "pgbouncer" => ("an option of Prisma", "remove it, and use PostgreSQL's own address"),
        _ => ("for GSSAPI, which is not supported", "write sslmode=require"),
    };
    UrlError {
        problem: format!("has the option {name}, which is {problem}"),
        remedy: remedy.to_owned(),
    }
}

/// Checks `target_session_attrs`, which libpq and the driver read differently, and which the
/// [role](super::ServerRole) of the sessions replaces.
fn check_session_attrs(value: &str) -> Result<(), UrlError> {
    if matches!(value, "any" | "read-write" | "primary") {
        return Ok(());
    }
    Err(UrlError {
        problem: format!(
            "has target_session_attrs={value}, but the log is followed, and purge requests are written, on \
             the primary"
        ),
        remedy: "leave it out: of the url's hosts the primary is used; name standbys in `replicas`"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<UrlOptions, UrlError> {
        UrlOptions::parse(&format!("postgres://h/d?{query}"))
    }

    #[test]
    fn modes_have_libpqs_meaning() {
        use Verification::{Authority, Key, Name};
        for (query, mode, verification, roots) in [
            ("", SslMode::Prefer, Key, Roots::System),
            ("sslmode=disable", SslMode::Disable, Key, Roots::System),
            ("sslmode=allow", SslMode::Allow, Key, Roots::System),
            ("sslmode=require", SslMode::Require, Key, Roots::System),
            (
                "sslmode=require&sslrootcert=a%20b",
                SslMode::Require,
                Authority,
                Roots::File("a b".into()),
            ),
            (
                "sslmode=verify-ca&sslrootcert=c",
                SslMode::VerifyCa,
                Authority,
                Roots::File("c".into()),
            ),
            (
                "sslmode=verify-full&sslrootcert=c",
                SslMode::VerifyFull,
                Name,
                Roots::File("c".into()),
            ),
            ("sslmode=verify-full", SslMode::VerifyFull, Name, Roots::System),
            ("sslrootcert=system", SslMode::VerifyFull, Name, Roots::System),
        ] {
            let Encryption { mode: parsed, tls } = parse(query).expect(query).encryption;
            assert_eq!(
                (parsed, tls.verification, tls.roots),
                (mode, verification, roots),
                "{query}"
            );
        }
    }

    #[test]
    fn other_options_left_to_driver() {
        let options = parse("a=1&sslmode=require&target_session_attrs=any&b=2").expect("a url");
        assert_eq!(options.rest, "postgres://h/d?a=1&b=2");
        assert_eq!(parse("sslmode=require").expect("a url").rest, "postgres://h/d");
    }

    #[test]
    fn unusable_options_name_remedy() {
        for (query, problem, remedy) in [
            ("sslmode=no-verify", "no-verify", "require"),
            ("sslmode=full", "full", "one of disable, "),
            ("sslmode=required", "required", "write require"),
            ("sslmode=verify_ca", "verify_ca", "write verify-ca"),
            ("sslmode=verify", "verify", "write verify-full"),
            ("sslmode=verify-ca", "without sslrootcert", "sslrootcert=FILE"),
            ("sslmode=require&sslrootcert=system", "sslmode=require", "verify-full"),
            ("sslcert=a", "sslcert without sslkey", "both"),
            ("sslkey=a", "sslkey without sslcert", "both"),
            ("sslnegotiation=direct", "sslmode=prefer", "sslmode=require"),
            ("sslpassword=x", "sslpassword", "openssl pkey"),
            ("ssl=true", "ssl", "sslmode=require"),
            ("pgbouncer=true", "Prisma", "PostgreSQL's own address"),
        ] {
            let err = parse(query).err().expect(query);
            assert!(err.problem.contains(problem) && err.remedy.contains(remedy), "{err}");
        }
    }
}
