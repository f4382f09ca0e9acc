//! The folders in which the servers of tests keep their files.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::programs;

/// An empty folder for one server, removed with the value. Every user may pass through it, since
/// PostgreSQL runs as another user when the tests run as root.
pub(crate) fn private(name: &str) -> Result<TempDir> {
    let folder = tempfile::Builder::new()
        .prefix(&format!("tidegate-{name}-"))
        .tempdir()
        .context("harness: can't create a temporary folder")?;
    open_to_all(folder.path())?;
    Ok(folder)
}

/// A folder that the test processes of this user share.
pub(crate) fn shared(name: &str) -> Result<PathBuf> {
    let root = std::env::temp_dir()
        .join(format!("tidegate-harness-{}", rustix::process::getuid().as_raw()));
    let folder = root.join(name);
    fs::create_dir_all(&folder)
        .with_context(|| format!("harness: can't create {}", folder.display()))?;
    open_to_all(&root)?;
    open_to_all(&folder)?;
    Ok(folder)
}

/// Copies the template of a server's data to `data`. `make` writes the template to `data` in an
/// empty folder; that takes a second or more, so it runs once per machine, user and version.
pub(crate) fn copy_template(
    server: &str,
    version: &str,
    data: &Path,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let shared = shared(server)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let template = shared.join(version.replace(|c| !is_plain(c), "-").trim_matches('-'));
    // Another test process may be about to do the same.
    let lock = File::create(shared.join("lock"))?;
    lock.lock()?;
    if !template.exists() {
        let fresh = private(&format!("{server}-template"))?;
        make(fresh.path())?;
        fs::rename(fresh.path().join("data"), &template)
            .with_context(|| format!("harness: can't move data to {}", template.display()))?;
    }
    drop(lock);
    // Keeps owner and modes, and shares the blocks where the file system can.
    let mut copy = Command::new("cp");
    copy.args(["-a", "--reflink=auto"]).arg(template).arg(data);
    programs::run(&mut copy).map(drop)
}

fn open_to_all(folder: &Path) -> Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("harness: can't open {} to all users", folder.display()))
}
