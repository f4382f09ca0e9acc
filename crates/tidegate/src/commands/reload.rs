//! `tidegate reload`

use control::Reloaded;
use http::StatusCode;

use super::admin::AdminArgs;
use crate::exit::Exit;
use crate::http_client::Refused;
use crate::runtime::block_on;
use crate::terminal::{print, print_error};

/// The longest answer, in bytes: all problems of a configuration.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Have a running node read its configuration again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  tidegate reload --admin 127.0.0.1:9180\n\nThe node reads its file and checks it as a start does. It serves by all of it, or goes on with\nthe configuration of before and says why. Keys that are read at the start only are named.\n\nExit codes: 0 reloaded, 1 the configuration is refused or needs a restart, 3 no node answers or the\nenvironment lacks something"
)]
pub(crate) struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Exit {
    block_on(async {
        let (admin, token) = match args.admin.node() {
            Ok(node) => node,
            Err(exit) => return exit,
        };
        match admin.post("/api/v1/reload", token.as_ref(), String::new(), ANSWER_BYTES_MAX).await {
            Ok((StatusCode::OK, body)) => print_result(args, &body),
            Ok((status, body)) => refused(args, status, &body),
            Err(err) => args.admin.failed(&err),
        }
    })
}

fn refused(args: &Args, status: StatusCode, body: &[u8]) -> Exit {
    let refused = Refused::new(status, body);
    let exit = match status {
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT => Exit::Bad,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Exit::Environment,
        _ => return args.admin.refused(&refused),
    };
    print_error(format_args!(
        "tidegate: not reloaded; the configuration of before serves\n{}",
        refused.detail
    ));
    exit
}

fn print_result(args: &Args, body: &[u8]) -> Exit {
    if args.json {
        print(String::from_utf8_lossy(body));
        return Exit::Good;
    }
    match serde_json::from_slice::<Reloaded>(body) {
        Ok(Reloaded { changed, took_ms, .. }) => {
            let changed = match changed.is_empty() {
                true => "no key has changed".to_owned(),
                false => format!("changed: {}", changed.join(", ")),
            };
            print(format_args!("reloaded in {took_ms} ms; {changed}"));
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
