//! A blocking HTTP/1.1 client with one request per connection.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// A complete response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case and values, in the order received.
    pub headers: Vec<(String, String)>,
    /// The body, without its transfer coding.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the first header of that name (in lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends `GET path` to `addr`.
///
/// # Errors
/// When the connection fails, no byte arrives for `limit`, or the response is no complete HTTP/1.1.
pub fn get(addr: SocketAddr, path: &str, limit: Duration) -> Result<Response> {
    request(addr, "GET", path, &[], b"", limit)
}

/// Sends one request, with `headers` in addition to `Connection` and `Content-Length`, and to `Host` unless
/// it is among them.
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
) -> Result<Response> {
    let mut stream = TcpStream::connect_timeout(&addr, limit)
        .with_context(|| format!("harness: can't connect to {addr}"))?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    exchange(&mut stream, &addr.to_string(), (method, path), headers, body)
        .with_context(|| format!("harness: {method} {addr}{path}"))
}

/// Sends one request as [`request`] does on a stream to `host`, which ends with the response.
///
/// # Errors
/// As [`get`].
pub fn exchange(
    stream: &mut (impl Read + Write),
    host: &str,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("host: {host}\r\n"));
    }
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
    stream.read_to_end(&mut raw)?;
    parse(&raw, method == "HEAD")
}

fn parse(raw: &[u8], head_only: bool) -> Result<Response> {
    let Some((head, rest)) = split(raw, b"\r\n\r\n") else {
        bail!("the response ended in its head after {} bytes", raw.len());
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
    let mut response = Response { status, headers, body: Vec::new() };
    if response.header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        response.body = dechunk(rest)?;
    } else {
        if let Some(length) = response.header("content-length") {
            let length: usize = length.parse().context("content-length is no number")?;
            if !head_only && rest.len() != length {
                bail!("the body has {} bytes of {length}", rest.len());
            }
        }
        response.body = rest.to_vec();
    }
    Ok(response)
}

fn dechunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (size, after) = split(rest, b"\r\n").context("a chunk is incomplete")?;
        let size = std::str::from_utf8(size)?.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).context("a chunk without size")?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(after.get(..size).context("a chunk is incomplete")?);
        rest = after.get(size + 2..).context("a chunk is incomplete")?;
    }
}

fn split<'a>(raw: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = raw.windows(separator.len()).position(|window| window == separator)?;
    Some((&raw[..at], &raw[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunked_body_decoded() {
        let raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        let response = parse(raw, false).expect("parses");
        assert_eq!((response.status, response.text().as_str()), (200, "abcde"));
    }

    #[test]
    fn incomplete_body_rejected() {
        let err = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", false).unwrap_err();
        assert_eq!(err.to_string(), "the body has 3 bytes of 9");
        assert!(
            parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", false).is_err()
        );
    }
}
