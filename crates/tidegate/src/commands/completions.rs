//! `tidegate completions`

use clap::Command;
use clap_complete::{Shell, generate};

use crate::exit::Exit;
use crate::terminal::print;

/// Print a script that completes commands and options in a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:  tidegate completions bash > /etc/bash_completion.d/tidegate\n           tidegate completions zsh > /usr/local/share/zsh/site-functions/_tidegate\n           tidegate completions fish > ~/.config/fish/completions/tidegate.fish"
)]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(args: &Args, mut command: Command) -> Exit {
    let mut script = Vec::new();
    generate(args.shell, &mut command, "tidegate", &mut script);
    print(String::from_utf8_lossy(&script).trim_end());
    Exit::Good
}
