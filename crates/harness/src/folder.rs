//! Where the servers of tests keep their files.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// An empty folder for one server, removed with the value. Open to every user for passing
/// through, since PostgreSQL runs as another one when the tests run as root.
pub(crate) fn private(what: &str) -> Result<TempDir> {
    let folder = tempfile::Builder::new()
        .prefix(&format!("tidegate-{what}-"))
        .tempdir()
        .context("harness: can't create a temporary folder")?;
    open_to_all(folder.path())?;
    Ok(folder)
}

/// A folder that the test processes of this user share.
pub(crate) fn shared(what: &str) -> Result<PathBuf> {
    let root = std::env::temp_dir()
        .join(format!("tidegate-harness-{}", rustix::process::getuid().as_raw()));
    let folder = root.join(what);
    fs::create_dir_all(&folder)
        .with_context(|| format!("harness: can't create {}", folder.display()))?;
    open_to_all(&root)?;
    open_to_all(&folder)?;
    Ok(folder)
}

fn open_to_all(folder: &Path) -> Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("harness: can't open {} to all users", folder.display()))
}
