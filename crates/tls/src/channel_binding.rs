//! The channel binding `tls-server-end-point` (RFC 5929, section 4.1): the hash of the server's certificate, by the
//! hash function of the certificate's signature.

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::der::{CONTEXT_0, OBJECT_IDENTIFIER, SEQUENCE, element};

/// Object identifiers of RSA's signatures (RFC 8017) begin like this, and end with a number.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// Of ECDSA's signatures (RFC 5758).
const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
/// Of the SHA-2 functions (RFC 5754).
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
const RSA_PSS: u8 = 10;

#[derive(Clone, Copy)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// Returns the binding of a connection to a server with this certificate; `None`: it is not defined for the
/// signature, such as Ed25519, or the certificate can't be parsed.
#[must_use]
pub fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    Some(match signature_hash(certificate)? {
        Hash::Sha224 => Sha224::digest(certificate).to_vec(),
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

fn signature_hash(certificate: &[u8]) -> Option<Hash> {
    let (body, _) = element(certificate, SEQUENCE)?;
    let (_, rest) = element(body, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (name, parameters) = element(algorithm, OBJECT_IDENTIFIER)?;
    match name.split_last()? {
        (&RSA_PSS, RSA) => pss_hash(parameters),
        // MD5 and SHA-1 are replaced by SHA-256.
        (4 | 5, RSA) => Some(Hash::Sha256),
        (11, RSA) => Some(Hash::Sha256),
        (12, RSA) => Some(Hash::Sha384),
        (13, RSA) => Some(Hash::Sha512),
        (14, RSA) => Some(Hash::Sha224),
        (1, ECDSA) => Some(Hash::Sha224),
        (2, ECDSA) => Some(Hash::Sha256),
        (3, ECDSA) => Some(Hash::Sha384),
        (4, ECDSA) => Some(Hash::Sha512),
        _ if name == ECDSA_SHA1 => Some(Hash::Sha256),
        _ => None,
    }
}

/// Returns the hash function in the parameters of RSASSA-PSS; SHA-1, which they omit, is replaced by SHA-256.
fn pss_hash(parameters: &[u8]) -> Option<Hash> {
    let (parameters, _) = element(parameters, SEQUENCE)?;
    let Some((tagged, _)) = element(parameters, CONTEXT_0) else { return Some(Hash::Sha256) };
    let (algorithm, _) = element(tagged, SEQUENCE)?;
    let (name, _) = element(algorithm, OBJECT_IDENTIFIER)?;
    match name.split_last()? {
        (1, SHA2) => Some(Hash::Sha256),
        (2, SHA2) => Some(Hash::Sha384),
        (3, SHA2) => Some(Hash::Sha512),
        (4, SHA2) => Some(Hash::Sha224),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of which only the parts that count have content.
    fn certificate(algorithm: &[u8]) -> Vec<u8> {
        let element = |tag: u8, content: &[u8]| {
            let mut bytes = vec![tag, 0x82];
            bytes.extend(u16::try_from(content.len()).expect("it is short").to_be_bytes());
            bytes.extend(content);
            bytes
        };
        let algorithm = element(SEQUENCE, &element(OBJECT_IDENTIFIER, algorithm));
        element(SEQUENCE, &[element(SEQUENCE, b"signed part"), algorithm].concat())
    }

    #[test]
    fn hash_follows_signature() {
        for (prefix, last, bytes) in
            [(RSA, 5, 32), (RSA, 11, 32), (RSA, 12, 48), (RSA, 13, 64), (ECDSA, 3, 48)]
        {
            let certificate = certificate(&[prefix, &[last]].concat());
            assert_eq!(server_end_point(&certificate).map(|hash| hash.len()), Some(bytes));
        }
        let ed25519 = certificate(&[0x2b, 0x65, 0x70]);
        assert_eq!(server_end_point(&ed25519), None);
    }

    #[test]
    fn malformed_certificate_has_no_binding() {
        let whole = certificate(&[RSA, &[11]].concat());
        for end in 0..whole.len() {
            assert_eq!(server_end_point(&whole[..end]), None, "{end}");
        }
        assert_eq!(server_end_point(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
