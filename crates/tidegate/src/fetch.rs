//! A question to the admin listener of a node.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// The body of `GET path` at `authority` (host and port), at most `most` bytes of it. It has no
/// time limit of its own.
///
/// # Errors
/// Nobody answers, the answer is longer, or it is not 200.
pub(crate) async fn get(authority: &str, path: &str, most: usize) -> anyhow::Result<Bytes> {
    let stream = TcpStream::connect(authority).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let asking = async {
        let request =
            Request::get(path).header(header::HOST, authority).body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), most).collect().await;
        anyhow::ensure!(status == StatusCode::OK, "it says {status} to {path}");
        Ok(body.map_err(anyhow::Error::from_boxed)?.to_bytes())
    };
    // The connection moves only while it is polled, and goes with this future.
    let mut connection = std::pin::pin!(connection);
    let mut asking = std::pin::pin!(asking);
    tokio::select! {
        answer = &mut asking => answer,
        // What has arrived may still have to be taken.
        _ = &mut connection => asking.await,
    }
}

/// Asks again and again, over connections that stay open.
#[derive(Clone, Debug)]
pub(crate) struct Asker(Client<HttpConnector, Empty<Bytes>>);

impl Asker {
    pub(crate) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    /// As [`get`].
    ///
    /// # Errors
    /// As [`get`].
    pub(crate) async fn get(
        &self,
        authority: &str,
        path: &str,
        most: usize,
    ) -> anyhow::Result<Bytes> {
        let request = Request::get(format!("http://{authority}{path}")).body(Empty::new())?;
        let response = self.0.request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), most).collect().await;
        anyhow::ensure!(status == StatusCode::OK, "it says {status} to {path}");
        Ok(body.map_err(anyhow::Error::from_boxed)?.to_bytes())
    }
}

/// `text` as a part of a query (RFC 3986 §2.1).
pub(crate) fn encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn whatever_an_id_holds_it_stays_one_part_of_the_query() {
        assert_eq!(encoded("a-1_~."), "a-1_~.");
        assert_eq!(encoded("a b&c=ä%\n"), "a%20b%26c%3D%C3%A4%25%0A");
    }
}
