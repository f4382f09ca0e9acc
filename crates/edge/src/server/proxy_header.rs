//! The PROXY protocol, versions 1 and 2 (haproxy.org/download/3.0/doc/proxy-protocol.txt): a header in front of
//! a connection, in which a proxy says from where the connection came.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, in bytes.
const MAX_LINE: usize = 107;

/// The part of a header of version 2 before its addresses, in bytes.
const FIXED: usize = 16;

/// The longest header of version 2 that is accepted, in bytes. Certificates of clients are a few thousand.
const MAX_HEADER: usize = 16 << 10;

/// The type of the field about TLS (`PP2_TYPE_SSL`).
const TLS_FIELD: u8 = 0x20;

/// The bit in the field about TLS that says that the client used it (`PP2_CLIENT_SSL`).
const TLS_USED: u8 = 1;

/// The next step of reading a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// At least as many bytes of the header are missing. They can be read without reading past it.
    Read(usize),
    /// The header is complete.
    Done(Source),
}

/// The source of a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Source {
    /// `None`: the connection is the proxy's own, or it says nothing about the client.
    pub(crate) address: Option<IpAddr>,
    /// Whether the client has connected over TLS.
    pub(crate) is_tls: bool,
}

/// The bytes at the start of a connection are not a header.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(crate) enum ProxyHeaderError {
    #[error("the connection does not start with a PROXY header")]
    Missing,
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error("the PROXY header has a version, command or protocol that is not supported")]
    Unsupported,
    #[error("the PROXY header is longer than {MAX_HEADER} bytes")]
    TooLong,
}

/// Reads the bytes of a header that have arrived.
///
/// # Errors
/// [`ProxyHeaderError`].
pub(crate) fn step(bytes: &[u8]) -> Result<Step, ProxyHeaderError> {
    const FIRST: usize = SIGNATURE.len();
    let Some(first) = bytes.first_chunk::<FIRST>() else {
        return Ok(Step::Read(FIRST - bytes.len()));
    };
    if first == SIGNATURE {
        return binary(bytes);
    }
    if !first.starts_with(b"PROXY ") {
        return Err(ProxyHeaderError::Missing);
    }
    match bytes.strip_suffix(b"\r\n") {
        Some(line) => text(line).map(Step::Done),
        None if bytes.len() >= MAX_LINE => Err(ProxyHeaderError::Malformed),
        // The line ends with two bytes, the first of which may be here.
        None => Ok(Step::Read(if bytes.ends_with(b"\r") { 1 } else { 2 })),
    }
}

/// A line such as `PROXY TCP4 192.0.2.7 198.51.100.1 56324 443`.
fn text(line: &[u8]) -> Result<Source, ProxyHeaderError> {
    let line = str::from_utf8(line).map_err(|_| ProxyHeaderError::Malformed)?;
    let words: Vec<&str> = line.split(' ').collect();
    let addresses = match words[..] {
        // The rest is ignored.
        [_, "UNKNOWN", ..] => return Ok(Source::default()),
        [_, family @ ("TCP4" | "TCP6"), source, target, from, to] => {
            let is_v4 = family == "TCP4";
            let is_port = |port: &str| port.parse::<u16>().is_ok();
            let address =
                |text: &str| text.parse().ok().filter(|ip: &IpAddr| ip.is_ipv4() == is_v4);
            let both = address(source).zip(address(target));
            both.filter(|_| is_port(from) && is_port(to))
        }
        _ => None,
    };
    let (source, _) = addresses.ok_or(ProxyHeaderError::Malformed)?;
    Ok(Source { address: Some(source), is_tls: false })
}

fn binary(bytes: &[u8]) -> Result<Step, ProxyHeaderError> {
    let Some(&[version_command, family, high, low]) =
        bytes.get(SIGNATURE.len()..FIXED).and_then(<[u8]>::first_chunk)
    else {
        return Ok(Step::Read(FIXED - bytes.len()));
    };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_HEADER {
        return Err(ProxyHeaderError::TooLong);
    }
    let Some(rest) = bytes.get(FIXED..length) else {
        return Ok(Step::Read(length - bytes.len()));
    };
    match version_command {
        // A connection of the proxy itself, such as a health check.
        0x20 => return Ok(Step::Done(Source::default())),
        0x21 => {}
        _ => return Err(ProxyHeaderError::Unsupported),
    }
    let (address, fields): (Option<IpAddr>, _) = match family {
        0x11 => {
            let (source, fields) = source::<4>(rest)?;
            (Some(Ipv4Addr::from(source).into()), fields)
        }
        0x21 => {
            let (source, fields) = source::<16>(rest)?;
            (Some(Ipv6Addr::from(source).into()), fields)
        }
        // Unspecified, and sockets of Unix.
        0x00 | 0x31 => return Ok(Step::Done(Source::default())),
        _ => return Err(ProxyHeaderError::Unsupported),
    };
    Ok(Step::Done(Source { address, is_tls: uses_tls(fields) }))
}

/// The source's address, of `N` bytes, and the fields after both addresses and ports.
fn source<const N: usize>(rest: &[u8]) -> Result<([u8; N], &[u8]), ProxyHeaderError> {
    let both = 2 * N + 4;
    let source = rest.first_chunk::<N>().copied().zip(rest.get(both..));
    source.ok_or(ProxyHeaderError::Malformed)
}

/// Whether the fields say that the client used TLS. Malformed fields say nothing.
fn uses_tls(mut fields: &[u8]) -> bool {
    while let Some((&[kind, high, low], rest)) = fields.split_first_chunk() {
        let Some((value, rest)) =
            rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))
        else {
            return false;
        };
        if kind == TLS_FIELD {
            return value.first().is_some_and(|client| client & TLS_USED != 0);
        }
        fields = rest;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as a connection does, and asserts that nothing is read past the header.
    fn read(bytes: &[u8]) -> Result<Source, ProxyHeaderError> {
        let mut at = 0;
        loop {
            match step(&bytes[..at])? {
                Step::Done(source) => {
                    assert_eq!(at, bytes.len(), "read to its end");
                    return Ok(source);
                }
                Step::Read(size) => {
                    at += size;
                    if at > bytes.len() {
                        return Err(ProxyHeaderError::Malformed);
                    }
                }
            }
        }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, rest].concat()
    }

    fn from(address: &str) -> Source {
        Source { address: Some(address.parse().expect("an address")), is_tls: false }
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 4, 1, 0xbb];

    #[test]
    fn version_1_read() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443", Ok(from("192.0.2.7"))),
            ("PROXY TCP6 2001:db8::7 ::1 56324 443", Ok(from("2001:db8::7"))),
            ("PROXY UNKNOWN", Ok(Source::default())),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2", Ok(Source::default())),
            ("PROXY TCP4 2001:db8::7 ::1 56324 443", Err(ProxyHeaderError::Malformed)),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 56324", Err(ProxyHeaderError::Malformed)),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 56324 65536", Err(ProxyHeaderError::Malformed)),
            ("PROXY  TCP4 192.0.2.7 10.0.0.1 1 2", Err(ProxyHeaderError::Malformed)),
            ("PROXY TCP4 shop.example 10.0.0.1 1 2", Err(ProxyHeaderError::Malformed)),
            ("PROXY UDP4 192.0.2.7 10.0.0.1 1 2", Err(ProxyHeaderError::Malformed)),
            ("GET / HTTP/1.1", Err(ProxyHeaderError::Missing)),
            ("proxy TCP4 192.0.2.7 10.0.0.1 1 2", Err(ProxyHeaderError::Missing)),
        ] {
            assert_eq!(read(format!("{line}\r\n").as_bytes()), expected, "{line}");
        }
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        assert_eq!(read(&endless), Err(ProxyHeaderError::Malformed));
    }

    #[test]
    fn version_2_read() {
        let v6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0, 1, 0, 2]].concat();
        assert_eq!(read(&v2(0x21, 0x11, &V4)), Ok(from("192.0.2.7")));
        assert_eq!(read(&v2(0x21, 0x21, &v6)), Ok(from("2001:db8::7")));
        assert_eq!(
            read(&v2(0x20, 0x11, &V4)),
            Ok(Source::default()),
            "LOCAL has addresses of no use"
        );
        assert_eq!(read(&v2(0x20, 0, &[])), Ok(Source::default()));
        assert_eq!(read(&v2(0x21, 0x31, &[0; 216])), Ok(Source::default()));
        for (command, family, rest, expected) in [
            (0x21, 0x11, &V4[..11], ProxyHeaderError::Malformed),
            (0x21, 0x21, &V4[..], ProxyHeaderError::Malformed),
            (0x21, 0x12, &V4[..], ProxyHeaderError::Unsupported),
            (0x22, 0x11, &V4[..], ProxyHeaderError::Unsupported),
            (0x11, 0x11, &V4[..], ProxyHeaderError::Unsupported),
            (0x21, 0x11, &[0; 20_000][..], ProxyHeaderError::TooLong),
        ] {
            assert_eq!(read(&v2(command, family, rest)), Err(expected), "{command:x} {family:x}");
        }
    }

    #[test]
    fn tls_field_read() {
        let with = |fields: &[u8]| {
            read(&v2(0x21, 0x11, &[&V4[..], fields].concat())).expect("valid").is_tls
        };
        assert!(with(&[4, 0, 1, 9, 0x20, 0, 5, 1, 0, 0, 0, 0]), "after a field of another type");
        assert!(!with(&[0x20, 0, 5, 0, 0, 0, 0, 0]));
        assert!(!with(&[0x20, 0xff, 0xff, 1]), "cut off");
        assert!(!with(&[0x20, 0, 0]));
    }

    #[test]
    fn foreign_bytes_never_panic() {
        let mut state = 7_u64;
        let seeds = [v2(0x21, 0x11, &V4), b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec()];
        for round in 0..50_000 {
            let mut bytes = seeds[round % 2].clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 20) as u8;
            }
            for end in 0..=bytes.len() {
                let _ = step(&bytes[..end]);
            }
        }
    }
}
