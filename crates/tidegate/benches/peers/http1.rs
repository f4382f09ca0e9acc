//! A minimal blocking HTTP/1.1 client on one keep-alive connection: its own CPU time is part of the
//! measurement.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

const IO_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Connection {
    stream: TcpStream,
    host: SocketAddr,
    buffer: Vec<u8>,
}

/// A response with a known length.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) head: &'a str,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) fn open(host: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&host, IO_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IO_TIMEOUT))?;
        Ok(Self { stream, host, buffer: Vec::with_capacity(16 << 10) })
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<Answer<'_>> {
        self.stream.write_all(request(self.host, path).as_bytes())?;
        self.buffer.clear();
        let mut chunk = [0; 16 << 10];
        loop {
            let read = self.stream.read(&mut chunk)?;
            if read == 0 {
                bail!("the connection was closed by the server");
            }
            self.buffer.extend_from_slice(&chunk[..read]);
            if is_complete(&self.buffer)? {
                return parse(&self.buffer);
            }
        }
    }
}

pub(crate) fn request(host: SocketAddr, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

/// Returns whether `bytes` hold a complete response.
pub(crate) fn is_complete(bytes: &[u8]) -> Result<bool> {
    let Some(head) = head_length(bytes) else { return Ok(false) };
    let length = content_length(std::str::from_utf8(&bytes[..head])?)?;
    Ok(bytes.len() >= head + length)
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Answer<'_>> {
    let length = head_length(bytes).context("an incomplete head")?;
    let head = std::str::from_utf8(&bytes[..length])?;
    let status = head.get(9..12).and_then(|code| code.parse().ok()).context("no status")?;
    Ok(Answer { status, head, body: &bytes[length..] })
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn content_length(head: &str) -> Result<usize> {
    let named = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    };
    head.lines().find_map(named).context("a response without content-length")
}
