//! Lists of revoked client certificates (RFC 5280, section 5).

use std::path::Path;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;

use super::files::CLIENT_CRL;
use crate::certificate::parse_time;
use crate::der::{BIT_STRING, INTEGER, SEQUENCE, any_element, element};
use crate::failure::TlsFailure;

/// A list of an authority, as its file has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RevocationList {
    /// The time until which the authority publishes the next one, in seconds since 1970. After it, every certificate of
    /// the authority is refused: it may have been revoked meanwhile.
    pub until_s: u64,
}

/// Parses the lists in the content of a file; at least one.
pub(super) fn parse_lists(
    path: &Path,
    pem: &[u8],
) -> Result<(Vec<CertificateRevocationListDer<'static>>, Vec<RevocationList>), TlsFailure> {
    let invalid = |problem: &str| {
        let problem = format!("{CLIENT_CRL} = {}: {problem}", path.display());
        TlsFailure::misconfigured(
            problem,
            "name a PEM file with the current list of each authority (`-----BEGIN X509 CRL-----`); convert one with \
             `openssl crl -inform DER -in FILE -out FILE.pem`",
        )
    };
    let parsed: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    let lists = parsed.map_err(|err| invalid(&err.to_string()))?;
    if lists.is_empty() {
        return Err(invalid("has no revocation list"));
    }
    if lists.iter().any(|list| signed_part(list).is_some_and(|(version, _)| version.is_none())) {
        // By RFC 5280, section 5.1.2.1; openssl makes lists of version 1 unless it is configured otherwise.
        let problem = format!("{CLIENT_CRL} = {}: a list has version 1", path.display());
        return Err(TlsFailure::misconfigured(
            problem,
            "issue lists of version 2: with openssl, set crl_extensions and crlnumber in the authority's section",
        ));
    }
    let read = |list: &CertificateRevocationListDer<'_>| RevocationList::parse(list);
    let ends: Option<Vec<_>> = lists.iter().map(read).collect();
    let ends = ends.ok_or_else(|| {
        invalid("a list is malformed, or does not say when the next one is published")
    })?;
    Ok((lists, ends))
}

impl RevocationList {
    /// Parses a list. `None`: it is malformed, or has no end. Nothing is verified.
    #[must_use]
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (_, rest) = signed_part(der)?;
        let (_, rest) = element(rest, SEQUENCE)?;
        let (_, rest) = element(rest, SEQUENCE)?;
        let (_, _, rest) = any_element(rest)?;
        let (tag, until, _) = any_element(rest)?;
        Some(Self { until_s: parse_time(tag, until)? })
    }
}

/// Returns the version of a list, which one of version 1 does not have, and the signed elements after it.
fn signed_part(der: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (list, _) = element(der, SEQUENCE)?;
    let (signed, rest) = element(list, SEQUENCE)?;
    let (_, rest) = element(rest, SEQUENCE)?;
    element(rest, BIT_STRING)?;
    Some(match element(signed, INTEGER) {
        Some((version, rest)) => (Some(version), rest),
        None => (None, signed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_a_list_read() {
        let files = harness::Certificates::make().expect("certificates");
        let pem = files.revoke(&["client"], 2).expect("a list");
        let path = Path::new("clients.crl");
        let (lists, ends) = parse_lists(path, &pem).expect("valid");
        let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        let left = ends[0].until_s - now;
        assert!((2 * 86_400 - 600..=2 * 86_400).contains(&left), "{left}");
        for end in 0..lists[0].len() {
            assert_eq!(RevocationList::parse(&lists[0][..end]), None, "{end}");
        }
        let old = files.revoke_by_version_1().expect("a list");
        for (pem, problem) in [
            (&old[..], "has version 1"),
            (&b""[..], "has no revocation list"),
            (&files.pem("ca.pem").expect("it is there")[..], "has no revocation list"),
            (b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n", "is malformed"),
            (b"-----BEGIN X509 CRL-----\nMAA=\n", "section"),
        ] {
            let err = parse_lists(path, pem).map(drop).expect_err("invalid").to_string();
            assert!(err.contains(problem) && err.contains("clients.crl"), "{problem}: {err}");
        }
    }
}
