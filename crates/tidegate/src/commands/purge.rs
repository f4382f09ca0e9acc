//! `tidegate purge`

use std::net::SocketAddr;

use bytes::Bytes;
use clap::ArgGroup;
use control::Receipt;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use crate::Exit;
use crate::terminal::{complain, say};

/// Drop entries by key or tag, everywhere, through a running node.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(["tag", "key", "all"])))]
#[command(
    after_help = "Example:  tidegate purge --tag product-42 --tag category-7\n\nThe order goes through the database's log, so it is fenced like a commit: an old value\nthat is being loaded right now is not stored after it."
)]
pub(crate) struct Args {
    /// A surrogate key; may be repeated.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// A key such as v1:catalog:price:42; may be repeated.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// Everything there is. The origin will feel it.
    #[arg(long)]
    all: bool,
    /// The admin address of a running node.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9180")]
    admin: SocketAddr,
    /// Print the receipt as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Exit {
    super::block_on(async {
        let order = json!({ "tags": args.tag, "keys": args.key, "all": args.all });
        match post(args.admin, order.to_string()).await {
            Ok((StatusCode::OK, body)) => done(args, &body),
            Ok((status, body)) => {
                complain(format_args!("tidegate: {status}: {}", detail(&body)));
                if status.is_client_error() { Exit::Usage } else { Exit::Bad }
            }
            Err(err) => {
                complain(format_args!(
                    "tidegate: no node answers at {}: {err:#}; start one with `tidegate serve`, or \
                     give its admin address with --admin",
                    args.admin
                ));
                Exit::Environment
            }
        }
    })
}

fn done(args: &Args, body: &[u8]) -> Exit {
    if args.json {
        say(String::from_utf8_lossy(body));
        return Exit::Good;
    }
    match serde_json::from_slice::<Receipt>(body) {
        Ok(receipt) => {
            say(format_args!(
                "purged {} subjects in {} ms, at {} in the log (order {})",
                receipt.subjects, receipt.took_ms, receipt.position, receipt.id
            ));
            Exit::Good
        }
        Err(err) => {
            complain(format_args!("tidegate: {} is no Tidegate admin address: {err}", args.admin));
            Exit::Environment
        }
    }
}

/// What an RFC 9457 answer says, or the answer itself.
fn detail(body: &[u8]) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    detail.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}

async fn post(admin: SocketAddr, body: String) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(admin).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/purge")
        .header(header::HOST, admin.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok((status, body))
}
