//! `tidegate health`

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::admin::AdminArgs;
use crate::exit::Exit;
use crate::http_client::Refused;
use crate::runtime::block_on;
use crate::terminal::{print, print_error};

/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Ask a running node whether it should get traffic.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:  tidegate health\n           tidegate health --live --timeout 2s\n\nFor health checks of containers and for scripts that wait for a node. Needs no access token.\n\nExit codes: 0 ready, or alive with --live; 1 not ready; 3 no answer in time"
)]
pub(crate) struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// Ask only whether the process answers. A node that waits for its database is alive and need not be restarted.
    #[arg(long)]
    live: bool,
    /// The time limit of the answer.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "3s")]
    timeout: Duration,
    /// Print the node's answer as JSON.
    #[arg(long, conflicts_with = "live")]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Exit {
    block_on(async {
        let (admin, token) = match args.admin.node() {
            Ok(node) => node,
            Err(exit) => return exit,
        };
        let path = if args.live { "/healthz" } else { "/readyz" };
        let answer = admin.get(path, token.as_ref(), ANSWER_BYTES_MAX);
        let Ok(answer) = tokio::time::timeout(args.timeout, answer).await else {
            return args.admin.failed(&anyhow::anyhow!("no answer within {:?}", args.timeout));
        };
        match answer {
            Ok(_) if args.live => {
                print("alive");
                Exit::Good
            }
            Ok(body) => print_readiness(args, &String::from_utf8_lossy(&body)),
            Err(err) => match err.downcast_ref::<Refused>() {
                Some(refused) if refused.status == StatusCode::SERVICE_UNAVAILABLE => {
                    print_readiness(args, &refused.detail)
                }
                _ => args.admin.failed(&err),
            },
        }
    })
}

/// Prints the answer of `/readyz`. Components that a node can do without are named, too.
fn print_readiness(args: &Args, body: &str) -> Exit {
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    let (Some(ready), Some(components)) =
        (answer["ready"].as_bool(), answer["components"].as_object())
    else {
        return args.admin.failed(&anyhow::anyhow!("the answer is not that of a Tidegate node"));
    };
    if args.json {
        print(body.trim_end());
    } else {
        print(if ready { "ready" } else { "not ready" });
        for (name, component) in components.iter().filter(|(_, it)| it["ok"] != true) {
            let kind = if component["required"] == true { "required" } else { "not required" };
            let detail = component["detail"].as_str().unwrap_or("for its reason, give a token");
            print_error(format_args!("  {name} does not work ({kind}): {detail}"));
        }
    }
    if ready { Exit::Good } else { Exit::Bad }
}
