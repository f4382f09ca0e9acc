//! Tidegate keeps a store's answers right from the database's own commit log, and keeps the store available
//! on its busiest day.

mod allocator;
mod commands;
mod config;
mod demo;
mod drills;
mod exit;
mod http_client;
mod init;
mod node;
mod runtime;
mod sale_audit;
mod service_manager;
mod terminal;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Keeps a store's answers right, and the store available.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, subcommand_required = true)]
#[command(
    after_help = "Start here:  tidegate demo, then tidegate init\nExit codes:  0 good, 1 verdict bad, 2 usage, 3 environment"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::Args),
    Drill(commands::drill::Args),
    Init(commands::init::Args),
    Check(commands::check::Args),
    Serve(commands::serve::Args),
    Health(commands::health::Args),
    Audit(commands::audit::Args),
    Purge(commands::purge::Args),
    Reload(commands::reload::Args),
    Token(commands::token::Args),
    Sale(commands::sale::Args),
    Jobs(commands::jobs::Args),
    Schema(commands::schema::Args),
    Completions(commands::completions::Args),
    Man(commands::man::Args),
}

fn main() -> ExitCode {
    let exit = match Cli::parse().command {
        Command::Demo(args) => commands::demo::run(args),
        Command::Drill(args) => commands::drill::run(&args),
        Command::Init(args) => commands::init::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Serve(args) => commands::serve::run(&args),
        Command::Health(args) => commands::health::run(&args),
        Command::Audit(args) => commands::audit::run(&args),
        Command::Purge(args) => commands::purge::run(&args),
        Command::Reload(args) => commands::reload::run(&args),
        Command::Token(args) => commands::token::run(&args),
        Command::Sale(args) => commands::sale::run(&args),
        Command::Jobs(args) => commands::jobs::run(&args),
        Command::Schema(_) => commands::schema::run(),
        Command::Completions(args) => commands::completions::run(&args, Cli::command()),
        Command::Man(args) => commands::man::run(&args, Cli::command()),
    };
    ExitCode::from(exit as u8)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn every_command_has_example() {
        let command = super::Cli::command();
        command.clone().debug_assert();
        for command in command.get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("tidegate "), "{} has no example", command.get_name());
        }
    }
}
