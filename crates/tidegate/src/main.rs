//! Tidegate: keeps a store's answers right from the database's own commit log, and keeps the store
//! standing on its busiest day.

mod commands;
mod config;
mod demo;
mod fetch;
mod node;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Keeps a store's answers right, and the store standing.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, subcommand_required = true)]
#[command(
    after_help = "Start here:  tidegate demo\nExit codes:  0 good, 1 verdict bad, 2 usage, 3 environment"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::Args),
    Serve(commands::serve::Args),
    Check(commands::check::Args),
    Audit(commands::audit::Args),
    Purge(commands::purge::Args),
}

/// How a command ended; the number is the exit code that scripts rely on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum Exit {
    Good = 0,
    /// It ran, and the verdict is bad.
    Bad = 1,
    /// It was called wrongly (clap exits with this by itself).
    Usage = 2,
    /// Something in the environment is missing; the text says what and how to get it.
    Environment = 3,
}

fn main() -> ExitCode {
    let exit = match Cli::parse().command {
        Command::Demo(args) => commands::demo::run(args),
        Command::Serve(args) => commands::serve::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Audit(args) => commands::audit::run(&args),
        Command::Purge(args) => commands::purge::run(&args),
    };
    ExitCode::from(exit as u8)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed_and_every_command_has_an_example() {
        let command = super::Cli::command();
        command.clone().debug_assert();
        for command in command.get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("tidegate "), "{} has no example", command.get_name());
        }
    }
}
