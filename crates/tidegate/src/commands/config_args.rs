//! The configuration that a command reads.

use std::path::{Path, PathBuf};

/// The file in the folder in which a command runs.
pub(super) const DEFAULT_FILE: &str = "tidegate.toml";

/// The configuration, named with or without `--config`.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// The configuration [default: tidegate.toml].
    #[arg(value_name = "FILE", conflicts_with = "option")]
    file: Option<PathBuf>,
    /// The configuration, too.
    #[arg(id = "option", long = "config", value_name = "FILE")]
    option: Option<PathBuf>,
}

impl ConfigArgs {
    pub(super) fn path(&self) -> &Path {
        self.file.as_deref().or(self.option.as_deref()).unwrap_or(Path::new(DEFAULT_FILE))
    }
}
