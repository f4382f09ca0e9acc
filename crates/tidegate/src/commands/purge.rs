//! `tidegate purge`

use std::net::SocketAddr;

use bytes::Bytes;
use clap::ArgGroup;
use control::{DryRun, Reach, Receipt};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use crate::Exit;
use crate::terminal::{complain, say};

/// Drop entries by key, tag or contract, everywhere, through a running node.
#[derive(Debug, clap::Args)]
#[command(group(
    ArgGroup::new("what").required(true).multiple(true).args(["tag", "key", "contract", "all"])
))]
#[command(
    after_help = "Examples:  tidegate purge --tag product-42 --tag category-7\n           tidegate purge --key 'v1:catalog:price:*' --dry-run\n\nA * stands for any text. The order goes through the database's log, so it is fenced like a\ncommit: an old value that is being loaded right now is not stored after it."
)]
pub(crate) struct Args {
    /// A surrogate key, or many: 'category-*'; may be repeated.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// A key such as v1:catalog:price:42, or many: 'v1:catalog:price:*'; may be repeated.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// All keys of a contract; may be repeated.
    #[arg(long, value_name = "NAME")]
    contract: Vec<String>,
    /// Everything there is. The origin will feel it.
    #[arg(long)]
    all: bool,
    /// Only count what would go: in the shared tier, and in the asked node's own.
    #[arg(long)]
    dry_run: bool,
    /// The admin address of a running node.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9180")]
    admin: SocketAddr,
    /// Print the receipt, or the counts, as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Exit {
    super::block_on(async {
        match post(args.admin, order(args).to_string()).await {
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

/// As the API wants it, where a wildcard is not told from a name by its looks.
fn order(args: &Args) -> serde_json::Value {
    let split = |names: &[String]| -> (Vec<String>, Vec<String>) {
        names.iter().cloned().partition(|name| name.contains('*'))
    };
    let ((key_patterns, keys), (tag_patterns, tags)) = (split(&args.key), split(&args.tag));
    json!({
        "tags": tags,
        "keys": keys,
        "tag_patterns": tag_patterns,
        "key_patterns": key_patterns,
        "contracts": args.contract,
        "all": args.all,
        "dry_run": args.dry_run,
    })
}

fn done(args: &Args, body: &[u8]) -> Exit {
    if args.json {
        say(String::from_utf8_lossy(body));
        return Exit::Good;
    }
    let said = if args.dry_run {
        serde_json::from_slice::<DryRun>(body).map(|counted| would(&counted))
    } else {
        serde_json::from_slice::<Receipt>(body).map(|receipt| {
            format!(
                "purged {} subjects in {} ms, at {} in the log (order {})",
                receipt.subjects, receipt.took_ms, receipt.position, receipt.id
            )
        })
    };
    match said {
        Ok(said) => {
            say(said);
            Exit::Good
        }
        Err(err) => {
            complain(format_args!("tidegate: {} is no Tidegate admin address: {err}", args.admin));
            Exit::Environment
        }
    }
}

/// What a purge would do, for people.
fn would(counted: &DryRun) -> String {
    let line = |tier: &str, reach: &Reach| {
        let least = if reach.complete { "" } else { "at least " };
        let of = reach.contracts.iter().map(|(contract, entries)| format!("{contract} {entries}"));
        let of = of.collect::<Vec<_>>().join(", ");
        let detail = if of.is_empty() { String::new() } else { format!(": {of}") };
        format!("{tier}  {least}{} entries{detail}", reach.entries)
    };
    let mut lines = vec![
        format!("nothing was removed; a purge of {} would remove", counted.subjects.join(", ")),
        line("  shared tier", &counted.shared),
        line("  this node  ", &counted.local),
    ];
    let shown = [&counted.shared, &counted.local];
    if let Some(reach) = shown.iter().find(|reach| !reach.examples.is_empty()) {
        lines.push(format!("for example {}", reach.examples.join(", ")));
        lines.push("each is loaded from its origin again when it is next asked for".to_owned());
    }
    lines.join("\n")
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
