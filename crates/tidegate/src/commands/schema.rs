//! `tidegate schema`

use crate::config::schema;
use crate::exit::Exit;
use crate::terminal::print;

/// Print the JSON Schema of the configuration, for editors.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  tidegate schema > tidegate.schema.json\n\nEditors with a TOML language server read it from the first line of tidegate.toml:\n#:schema ./tidegate.schema.json\n\n`tidegate check` also checks all that a schema can't say."
)]
pub(crate) struct Args {}

pub(crate) fn run() -> Exit {
    print(format_args!("{:#}", schema()));
    Exit::Good
}
