//! The identifier by which an authority knows a certificate that is to be renewed (RFC 9773, section 4.1).

use crate::der::{
    CONTEXT_0, CONTEXT_3, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, element, elements,
};

/// The object identifier of the extension with the key of the authority (2.5.29.35).
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 0x23];

/// The tag of the key's identifier in it.
const KEY_IDENTIFIER: u8 = 0x80;

/// The parts of a certificate that identify it at its authority.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RenewalIdentifier {
    /// The identifier of the authority's key.
    pub authority_key: Vec<u8>,
    /// The serial number, as in the certificate: with the leading zero of a positive number.
    pub serial: Vec<u8>,
}

impl RenewalIdentifier {
    /// Reads the parts from a certificate (DER). `None`: it is malformed, or does not say which key has signed it.
    #[must_use]
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (certificate, _) = element(der, SEQUENCE)?;
        let (signed, _) = element(certificate, SEQUENCE)?;
        let rest = element(signed, CONTEXT_0).map_or(signed, |(_, rest)| rest);
        let (serial, rest) = element(rest, INTEGER)?;
        let (_, extensions) = elements(rest).find(|(tag, _)| *tag == CONTEXT_3)?;
        let (extensions, _) = element(extensions, SEQUENCE)?;
        let authority_key = elements(extensions).find_map(|(_, extension)| key_in(extension))?;
        Some(Self { authority_key: authority_key.to_vec(), serial: serial.to_vec() })
    }
}

fn key_in(extension: &[u8]) -> Option<&[u8]> {
    let (name, rest) = element(extension, OBJECT_IDENTIFIER)?;
    if name != AUTHORITY_KEY {
        return None;
    }
    let (_, content) = elements(rest).find(|(tag, _)| *tag == OCTET_STRING)?;
    let (parts, _) = element(content, SEQUENCE)?;
    elements(parts).find(|(tag, _)| *tag == KEY_IDENTIFIER).map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    /// The example of RFC 9773, section 4.1.
    const EXAMPLE: &str = "-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
";

    #[test]
    fn identifier_of_the_standard_example_read() {
        let der = CertificateDer::from_pem_slice(EXAMPLE.as_bytes()).expect("a certificate");
        let parsed = RenewalIdentifier::parse(&der).expect("well-formed");
        assert_eq!(parsed.serial, [0, 0x87, 0x65, 0x43, 0x21]);
        let key = [
            0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0,
            0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4,
        ];
        assert_eq!(parsed.authority_key, key);
        for end in 0..der.len() {
            assert_eq!(RenewalIdentifier::parse(&der[..end]), None, "{end}");
        }
    }
}
