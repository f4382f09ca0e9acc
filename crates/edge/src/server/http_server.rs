//! The HTTP servers of a connection: HTTP/1.1, or HTTP/2 where the client begins with its preface.

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;

use super::h2_stream::StreamExecutor;
use crate::settings::options::GatewayOptions;

/// The maximum number of requests at once on a connection of HTTP/2.
const MAX_STREAMS: u32 = 128;

/// The first bytes of a client of HTTP/2 (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// Recognises the protocol by the first bytes. `None`: more are needed.
    pub(super) fn of(first: &[u8]) -> Option<Self> {
        match first.len().min(PREFACE.len()) {
            _ if !PREFACE.starts_with(first) && !first.starts_with(PREFACE) => Some(Self::Http1),
            len if len == PREFACE.len() => Some(Self::Http2),
            _ => None,
        }
    }
}

/// Creates the server of a connection of HTTP/1.1.
pub(super) fn http1_server(options: &GatewayOptions) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        // Each connection has one timer for slow heads, which is cheaper than one per request.
        .header_read_timeout(None)
        .max_buf_size(options.max_head_bytes)
        .half_close(false);
    server
}

/// Creates the server of a connection of HTTP/2, whose streams run on `streams`.
pub(super) fn http2_server(
    options: &GatewayOptions,
    streams: StreamExecutor,
) -> http2::Builder<StreamExecutor> {
    let mut server = http2::Builder::new(streams);
    server
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(options.max_head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(options.head_timeout)
        .keep_alive_timeout(options.head_timeout);
    server
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_known_by_the_first_bytes() {
        for size in 0..PREFACE.len() {
            assert_eq!(Protocol::of(&PREFACE[..size]), None, "{size}");
            let mut other = PREFACE[..=size].to_vec();
            other[size] ^= 1;
            assert_eq!(Protocol::of(&other), Some(Protocol::Http1), "{size}");
        }
        assert_eq!(Protocol::of(PREFACE), Some(Protocol::Http2));
        assert_eq!(Protocol::of(b"P"), None);
        assert_eq!(Protocol::of(b"POST / HTTP/1.1\r\n"), Some(Protocol::Http1));
    }
}
