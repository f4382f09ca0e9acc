//! `tidegate man`

use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;

use crate::exit::Exit;
use crate::terminal::{print, print_error};

/// Print the manual page, or write those of all commands into a folder.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:  tidegate man | man -l -\n           tidegate man --into /usr/local/share/man/man1"
)]
pub(crate) struct Args {
    /// The folder for the pages of all commands; they replace earlier ones.
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, mut command: Command) -> Exit {
    // Names the subcommands' pages by their whole path, and gives them the options of all.
    command.build();
    let written = match &args.into {
        Some(folder) => write_all(&command, folder),
        None => page(&command).map(|page| print(page.trim_end())),
    };
    match written {
        Ok(()) => Exit::Good,
        Err(err) => {
            print_error(format_args!("tidegate: {err}"));
            Exit::Environment
        }
    }
}

/// Returns the page of a command.
fn page(command: &Command) -> Result<String, String> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).map_err(|err: io::Error| err.to_string())?;
    String::from_utf8(page).map_err(|err| err.to_string())
}

/// Writes the page of a command, and those of its subcommands.
fn write_all(command: &Command, folder: &Path) -> Result<(), String> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?).map_err(|err| format!("{}: {err}", path.display()))?;
    let subcommands = command.get_subcommands().filter(|command| command.get_name() != "help");
    subcommands.into_iter().try_for_each(|command| write_all(command, folder))
}
