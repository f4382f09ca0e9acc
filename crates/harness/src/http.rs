//! A blocking HTTP/1.1 client of one request per connection: what `curl` shows a person.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// An answer, complete.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order of the wire.
    pub headers: Vec<(String, String)>,
    /// The body without its transfer coding.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that name (in lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// `GET path` from `addr`.
///
/// # Errors
/// When it can't be connected, nothing is said for `limit`, or the answer is no whole HTTP/1.1.
pub fn get(addr: SocketAddr, path: &str, limit: Duration) -> Result<Answer> {
    request(addr, "GET", path, &[], b"", limit)
}

/// One request, with the headers given besides `Host`, `Connection` and `Content-Length`.
///
/// # Errors
/// As [`get`].
pub fn request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    limit: Duration,
) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&addr, limit)
        .with_context(|| format!("harness: can't connect to {addr}"))?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).with_context(|| format!("harness: {method} {addr}{path}"))?;
    parse(&raw, method == "HEAD").with_context(|| format!("harness: {method} {addr}{path}"))
}

fn parse(raw: &[u8], head_only: bool) -> Result<Answer> {
    let Some((head, rest)) = split(raw, b"\r\n\r\n") else {
        bail!("the answer broke off in its head after {} bytes", raw.len());
    };
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
        .context("no HTTP/1.1 status line")?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: Vec::new() };
    if answer.header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        answer.body = dechunk(rest)?;
    } else {
        if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().context("content-length is no number")?;
            if !head_only && rest.len() != length {
                bail!("the body has {} bytes of {length}", rest.len());
            }
        }
        answer.body = rest.to_vec();
    }
    Ok(answer)
}

fn dechunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (size, after) = split(rest, b"\r\n").context("a chunk broke off")?;
        let size = std::str::from_utf8(size)?.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).context("a chunk without size")?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(after.get(..size).context("a chunk broke off")?);
        rest = after.get(size + 2..).context("a chunk broke off")?;
    }
}

fn split<'a>(raw: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = raw.windows(mark.len()).position(|window| window == mark)?;
    Some((&raw[..at], &raw[at + mark.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_chunked_bodies() {
        let raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        let answer = parse(raw, false).expect("parses");
        assert_eq!((answer.status, answer.text().as_str()), (200, "abcde"));
    }

    #[test]
    fn refuses_half_bodies() {
        let err = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", false).unwrap_err();
        assert_eq!(err.to_string(), "the body has 3 bytes of 9");
        assert!(
            parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", false).is_err()
        );
    }
}
