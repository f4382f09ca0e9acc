//! The HTTP server of one connection: HTTP/1.1, or HTTP/2 with prior knowledge.

use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;

use super::h2_stream::StreamExecutor;
use crate::settings::options::GatewayOptions;

/// The maximum number of requests at once on a connection of HTTP/2.
const MAX_STREAMS: u32 = 128;

/// Creates the server of a connection, whose streams run on `streams`.
pub(super) fn http_server(
    options: &GatewayOptions,
    streams: StreamExecutor,
) -> auto::Builder<StreamExecutor> {
    let mut server = auto::Builder::new(streams);
    server
        .http1()
        .timer(TokioTimer::new())
        // Each connection has one timer for slow heads, which is cheaper than one per request.
        .header_read_timeout(None)
        .max_buf_size(options.max_head_bytes)
        .half_close(false);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(options.max_head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(options.head_timeout)
        .keep_alive_timeout(options.head_timeout);
    server
}
