//! `tidegate purge`

use clap::ArgGroup;
use control::api::purge::{DryRun, PurgeReceipt, PurgeRequest, TierMatches};
use http::StatusCode;

use super::admin::AdminArgs;
use crate::exit::Exit;
use crate::http_client::Refused;
use crate::runtime::block_on;
use crate::terminal::{print, print_error};

/// The longest answer, in bytes; counts and examples take a few thousand.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Drop entries by key, tag or contract, everywhere, through a running node.
#[derive(Debug, clap::Args)]
#[command(group(
    ArgGroup::new("what").required(true).multiple(true).args(["tag", "key", "contract", "all"])
))]
#[command(
    after_help = "Examples:  tidegate purge --tag product-42 --tag category-7\n           tidegate purge --key 'v1:catalog:price:*' --dry-run\n\nA * stands for any text. The request goes through the database's log, so it is fenced like a\ncommit: an old value that is being loaded meanwhile is not stored after it."
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
    /// All entries. Expect load on the origin.
    #[arg(long)]
    all: bool,
    /// Only count the matching entries, in the shared tier and in the node's own.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    admin: AdminArgs,
    /// Print the receipt, or the counts, as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Exit {
    block_on(async {
        let body = serde_json::to_string(&request(args)).unwrap_or_default();
        let (admin, token) = match args.admin.node() {
            Ok(node) => node,
            Err(exit) => return exit,
        };
        match admin.post("/api/v1/purge", token.as_ref(), body, ANSWER_BYTES_MAX).await {
            Ok((StatusCode::OK, body)) => print_result(args, &body),
            Ok((status, body)) => args.admin.refused(&Refused::new(status, &body)),
            Err(err) => args.admin.failed(&err),
        }
    })
}

/// Returns the API's request, which separates wildcards from names.
fn request(args: &Args) -> PurgeRequest {
    let split = |names: &[String]| -> (Vec<String>, Vec<String>) {
        names.iter().cloned().partition(|name| name.contains('*'))
    };
    let ((key_patterns, keys), (tag_patterns, tags)) = (split(&args.key), split(&args.tag));
    PurgeRequest {
        tags,
        keys,
        tag_patterns,
        key_patterns,
        contracts: args.contract.clone(),
        all: args.all,
        dry_run: args.dry_run,
    }
}

fn print_result(args: &Args, body: &[u8]) -> Exit {
    if args.json {
        print(String::from_utf8_lossy(body));
        return Exit::Good;
    }
    let text = if args.dry_run {
        serde_json::from_slice::<DryRun>(body).map(|dry_run| dry_run_text(&dry_run))
    } else {
        serde_json::from_slice::<PurgeReceipt>(body).map(|receipt| {
            format!(
                "purged {} subjects in {} ms, at {} in the log (request {})",
                receipt.subjects, receipt.took_ms, receipt.position, receipt.id
            )
        })
    };
    match text {
        Ok(text) => {
            print(text);
            Exit::Good
        }
        Err(err) => {
            print_error(format_args!(
                "tidegate: {} is not a Tidegate admin address: {err}",
                args.admin.address
            ));
            Exit::Environment
        }
    }
}

/// Describes the entries that a purge would remove.
fn dry_run_text(dry_run: &DryRun) -> String {
    let line = |tier: &str, matches: &TierMatches| {
        let at_least = if matches.complete { "" } else { "at least " };
        let of =
            matches.contracts.iter().map(|(contract, entries)| format!("{contract} {entries}"));
        let of = of.collect::<Vec<_>>().join(", ");
        let detail = if of.is_empty() { String::new() } else { format!(": {of}") };
        format!("{tier}  {at_least}{} entries{detail}", matches.entries)
    };
    let mut lines = vec![
        format!("nothing was removed; a purge of {} would remove", dry_run.subjects.join(", ")),
        line("  shared tier", &dry_run.shared),
        line("  this node  ", &dry_run.local),
    ];
    let shown = [&dry_run.shared, &dry_run.local];
    if let Some(matches) = shown.iter().find(|matches| !matches.examples.is_empty()) {
        lines.push(format!("for example {}", matches.examples.join(", ")));
        lines.push("each is loaded from its origin at its next read".to_owned());
    }
    lines.join("\n")
}
