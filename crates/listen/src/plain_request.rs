//! The answer to a client that sends plain HTTP to a listener with TLS.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TEXT: &str = "400 Bad Request: this port serves HTTPS only; use https://\n";

/// The most bytes of the request that are read, so that the client gets the answer instead of a reset.
const READ_BYTES: usize = 64 << 10;

/// The longest time for that.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers, and reads the rest of the request for a moment. A client that speaks no HTTP does no harm with it.
pub(crate) async fn refuse(mut socket: TcpStream) {
    let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
                cache-control: no-store\r\nconnection: close\r\n";
    let response = format!("{head}content-length: {}\r\n\r\n{TEXT}", TEXT.len());
    if socket.write_all(response.as_bytes()).await.is_err() || socket.shutdown().await.is_err() {
        return;
    }
    let rest = async {
        let (mut buffer, mut left) = ([0; 4096], READ_BYTES);
        while let Ok(read @ 1..) = socket.read(&mut buffer).await {
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    };
    // A client that goes on sending is cut off.
    let _ = tokio::time::timeout(READ_TIMEOUT, rest).await;
}
