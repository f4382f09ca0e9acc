//! The parts of a certificate (RFC 5280) that others decide by: names and validity.

use crate::der::{
    CONTEXT_0, CONTEXT_3, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE,
    SET, UTC_TIME, any_element, element, elements,
};

/// The object identifier of the common name (2.5.4.3).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// Of the extension with alternative names (2.5.29.17).
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// The tags of alternative names.
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;

/// The tags of texts in a subject: UTF-8, printable, T.61, IA5.
const TEXTS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];

/// The period in which a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// Its beginning.
    pub from_s: u64,
    /// Its end.
    pub until_s: u64,
}

/// The names and the validity of a certificate. Nothing is verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// The common name of the subject.
    pub common_name: Option<String>,
    /// The alternative names that are host names, as written.
    pub dns: Vec<String>,
    /// The alternative names that are URIs.
    pub uris: Vec<String>,
    /// The alternative names that are addresses of mail.
    pub emails: Vec<String>,
    /// The period in which it is valid.
    pub validity: Validity,
}

impl Certificate {
    /// Parses a certificate. `None`: it is malformed.
    #[must_use]
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (certificate, _) = element(der, SEQUENCE)?;
        let (signed, _) = element(certificate, SEQUENCE)?;
        let rest = element(signed, CONTEXT_0).map_or(signed, |(_, rest)| rest);
        let (_, rest) = element(rest, INTEGER)?;
        let (_, rest) = element(rest, SEQUENCE)?;
        let (_, rest) = element(rest, SEQUENCE)?;
        let (validity, rest) = element(rest, SEQUENCE)?;
        let (subject, rest) = element(rest, SEQUENCE)?;
        let (_, rest) = element(rest, SEQUENCE)?;
        let mut parsed = Self {
            common_name: common_name(subject),
            dns: Vec::new(),
            uris: Vec::new(),
            emails: Vec::new(),
            validity: parse_validity(validity)?,
        };
        let extensions = elements(rest).find(|(tag, _)| *tag == CONTEXT_3);
        if let Some((_, extensions)) = extensions {
            let (extensions, _) = element(extensions, SEQUENCE)?;
            for (_, extension) in elements(extensions) {
                parsed.read_extension(extension)?;
            }
        }
        Some(parsed)
    }

    fn read_extension(&mut self, extension: &[u8]) -> Option<()> {
        let (name, rest) = element(extension, OBJECT_IDENTIFIER)?;
        if name != ALTERNATIVE_NAMES {
            return Some(());
        }
        let (_, content) = elements(rest).find(|(tag, _)| *tag == OCTET_STRING)?;
        let (names, _) = element(content, SEQUENCE)?;
        for (tag, name) in elements(names) {
            let list = match tag {
                DNS => &mut self.dns,
                URI => &mut self.uris,
                EMAIL => &mut self.emails,
                _ => continue,
            };
            // A name that is no ASCII is not one that could be compared.
            if name.is_ascii() {
                list.push(String::from_utf8_lossy(name).into_owned());
            }
        }
        Some(())
    }

    /// Returns a name for people: the first host name, URI or address of mail, or else the common name.
    #[must_use]
    pub fn label(&self) -> &str {
        let names = self.dns.iter().chain(&self.uris).chain(&self.emails).chain(&self.common_name);
        names.map(String::as_str).next().unwrap_or("without a name")
    }
}

/// Returns the last common name, which is the most specific one.
fn common_name(subject: &[u8]) -> Option<String> {
    let attributes = elements(subject).filter(|(tag, _)| *tag == SET);
    let attributes = attributes.flat_map(|(_, set)| elements(set));
    let names = attributes.filter_map(|(_, attribute)| {
        let (name, rest) = element(attribute, OBJECT_IDENTIFIER)?;
        let (tag, text, _) = any_element(rest)?;
        let is_text = name == COMMON_NAME && TEXTS.contains(&tag);
        is_text.then(|| String::from_utf8(text.to_vec()).ok())?
    });
    names.last()
}

fn parse_validity(bytes: &[u8]) -> Option<Validity> {
    let (tag, from, rest) = any_element(bytes)?;
    let (next, until, _) = any_element(rest)?;
    Some(Validity { from_s: parse_time(tag, from)?, until_s: parse_time(next, until)? })
}

/// Parses `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`. A time before 1970 is 1970.
pub(crate) fn parse_time(tag: u8, text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match (tag, text.len()) {
        (UTC_TIME, 12) => {
            let year: i64 = text[..2].parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, &text[2..])
        }
        (GENERALIZED_TIME, 14) => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let part = |at: usize| rest[at..at + 2].parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    let (hour, minute, second) = (part(4)?, part(6)?, part(8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(u64::try_from(seconds).unwrap_or(0))
}

/// The days from 1970-01-01 to a date of the Gregorian calendar, counted in years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    fn parse(files: &harness::Certificates, name: &str) -> (Vec<u8>, Certificate) {
        let pem = files.pem(name).expect("it is there");
        let der = CertificateDer::from_pem_slice(&pem).expect("a certificate").to_vec();
        let parsed = Certificate::parse(&der).expect("well-formed");
        (der, parsed)
    }

    #[test]
    fn names_and_validity_read() {
        let files = harness::Certificates::make().expect("certificates");
        let (_, server) = parse(&files, "server.pem");
        assert_eq!((server.common_name.as_deref(), server.label()), (Some("server"), "localhost"));
        assert_eq!(server.dns, ["localhost"]);
        assert_eq!(server.validity.until_s - server.validity.from_s, 2 * 86_400);
        let (_, client) = parse(&files, "client.pem");
        assert_eq!((client.label(), client.dns.len()), ("shop", 0));
        let (_, expired) = parse(&files, "expired.pem");
        assert_eq!(expired.validity.until_s + 86_400, expired.validity.from_s);
    }

    #[test]
    fn times_are_seconds_since_1970() {
        for (tag, text, seconds) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "260228235959Z", Some(1_772_323_199)),
            (UTC_TIME, "240229000000Z", Some(1_709_164_800)),
            (UTC_TIME, "500101000000Z", Some(0)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "261301000000Z", None),
            (UTC_TIME, "260101000000", None),
            (UTC_TIME, "2601010000+0Z", None),
            (GENERALIZED_TIME, "260101000000Z", None),
        ] {
            assert_eq!(parse_time(tag, text.as_bytes()), seconds, "{text}");
        }
    }

    #[test]
    fn foreign_bytes_never_panic() {
        let files = harness::Certificates::make().expect("certificates");
        let (whole, _) = parse(&files, "server.pem");
        for end in 0..whole.len() {
            assert_eq!(Certificate::parse(&whole[..end]), None, "{end}");
        }
        let mut state = 7_u64;
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 20) as u8;
            }
            let _ = Certificate::parse(&bytes);
        }
    }
}
