//! The options of a URL about TLS, with the names of MySQL's and MariaDB's clients.

use mysql_async::{ClientIdentity, SslOpts};
use percent_encoding::percent_decode_str;
use tls::{Identity, OptionNames, Roots, TlsOptions, Verification, system_authorities};

use crate::url_error::UrlError;

pub(super) const NAMES: OptionNames = OptionNames {
    authorities: "ssl-ca",
    certificate: "ssl-cert",
    key: "ssl-key",
    any_name: "write ssl-mode=REQUIRED, which verifies nothing",
};

/// A URL without the options that are read here, and their meaning.
pub(super) struct UrlOptions {
    pub(super) rest: String,
    /// `None`: connections are not encrypted, or the driver's own options say how.
    pub(super) tls: Option<TlsOptions>,
}

/// The values, as they are in the URL.
#[derive(Default)]
struct Values {
    mode: Option<String>,
    authorities: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
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
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            match name.replace('_', "-").as_str() {
                "ssl-mode" | "sslmode" => values.mode = Some(value),
                "ssl-ca" => values.authorities = Some(value),
                "ssl-cert" => values.certificate = Some(value),
                "ssl-key" => values.key = Some(value),
                _ => rest.push(option),
            }
        }
        let separator = if rest.is_empty() { "" } else { "?" };
        let rest = format!("{address}{separator}{}", rest.join("&"));
        Ok(Self { rest, tls: values.tls()? })
    }
}

impl Values {
    fn tls(self) -> Result<Option<TlsOptions>, UrlError> {
        let Self { mode, authorities, certificate, key } = self;
        let refuse = |problem: &str, remedy: &str| {
            Err(UrlError { problem: problem.to_owned(), remedy: remedy.to_owned() })
        };
        let mode = mode.map(|mode| mode.to_ascii_uppercase().replace('-', "_"));
        let verification = match mode.as_deref() {
            None if authorities.is_some() || certificate.is_some() || key.is_some() => {
                return refuse(
                    "has certificates without ssl-mode",
                    "write ssl-mode=VERIFY_IDENTITY",
                );
            }
            None | Some("DISABLED" | "DISABLE") => return Ok(None),
            Some("REQUIRED" | "REQUIRE") if authorities.is_none() => Verification::Key,
            Some("REQUIRED" | "REQUIRE") => {
                return refuse(
                    "has ssl-ca with ssl-mode=REQUIRED, which verifies nothing",
                    "write ssl-mode=VERIFY_IDENTITY",
                );
            }
            Some("VERIFY_IDENTITY" | "VERIFY_FULL") => Verification::Name,
            Some("VERIFY_CA") => {
                return refuse(
                    "has ssl-mode=VERIFY_CA, which the driver does not know",
                    "write ssl-mode=VERIFY_IDENTITY, with a host name that the certificate has",
                );
            }
            Some("PREFERRED" | "PREFER") => {
                return refuse(
                    "has ssl-mode=PREFERRED, which the driver does not know",
                    "write ssl-mode=REQUIRED or ssl-mode=DISABLED",
                );
            }
            Some(_) => {
                return refuse(
                    "has an unknown ssl-mode",
                    "write DISABLED, REQUIRED or VERIFY_IDENTITY",
                );
            }
        };
        let identity = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Some(Identity { certificate: certificate.into(), key: key.into() })
            }
            _ => {
                return refuse(
                    "has one of ssl-cert and ssl-key without the other",
                    "name both, as PEM files",
                );
            }
        };
        let roots = authorities.map_or(Roots::System, |file| Roots::File(file.into()));
        Ok(Some(TlsOptions { names: &NAMES, verification, roots, identity, alpn: None }))
    }
}

/// Returns the driver's options.
pub(super) fn driver_options(tls: &TlsOptions) -> SslOpts {
    let identity = tls.identity.as_ref().map(|Identity { certificate, key }| {
        ClientIdentity::new(certificate.clone().into(), key.clone().into())
    });
    let options = SslOpts::default().with_client_identity(identity);
    if tls.verification == Verification::Key {
        // With the driver's authorities, none of which it then asks: it needs one.
        return options.with_danger_accept_invalid_certs(true);
    }
    let roots = match &tls.roots {
        Roots::File(path) => vec![path.clone().into()],
        Roots::System => system_authorities().iter().map(|root| root.to_vec().into()).collect(),
    };
    options.with_disable_built_in_roots(true).with_root_certs(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<UrlOptions, UrlError> {
        UrlOptions::parse(&format!("mysql://h/d?{query}"))
    }

    #[test]
    fn options_of_clients_read() {
        let options =
            parse("ssl-mode=verify_identity&max_allowed_packet=1&ssl_ca=a%20b").expect("a url");
        assert_eq!(options.rest, "mysql://h/d?max_allowed_packet=1");
        let tls = options.tls.expect("encrypted");
        assert_eq!((tls.verification, tls.roots), (Verification::Name, Roots::File("a b".into())));
        let tls = parse("ssl-mode=REQUIRED").expect("a url").tls.expect("encrypted");
        assert_eq!(tls.verification, Verification::Key);
        assert!(driver_options(&tls).accept_invalid_certs());
        for plain in ["", "ssl-mode=DISABLED"] {
            assert_eq!(parse(plain).expect("a url").tls, None);
        }
    }

    #[test]
    fn unusable_options_name_remedy() {
        for (query, problem, remedy) in [
            ("ssl-mode=PREFERRED", "PREFERRED", "REQUIRED"),
            ("ssl-mode=VERIFY_CA&ssl-ca=x", "VERIFY_CA", "VERIFY_IDENTITY"),
            ("ssl-mode=REQUIRED&ssl-ca=x", "verifies nothing", "VERIFY_IDENTITY"),
            ("ssl-mode=on", "unknown", "VERIFY_IDENTITY"),
            ("ssl-ca=x", "without ssl-mode", "VERIFY_IDENTITY"),
            ("ssl-mode=REQUIRED&ssl-key=x", "ssl-cert", "both"),
        ] {
            let err = parse(query).err().expect(query);
            assert!(err.problem.contains(problem) && err.remedy.contains(remedy), "{err}");
        }
    }
}
