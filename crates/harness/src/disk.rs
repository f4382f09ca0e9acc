//! A disk that is soon full.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Memory mounted in a folder, for as long as this lives.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Mounts one of so many MB; `None`: this user or this machine may not.
    pub(crate) fn mount(folder: &Path, mb: u32) -> Result<Option<Self>> {
        let mounted = mount(folder, &format!("size={mb}m,mode=755"))?;
        Ok(mounted.then(|| Self(folder.to_owned())))
    }

    /// Makes it larger.
    pub(crate) fn enlarge(&self, mb: u32) -> Result<()> {
        match mount(&self.0, &format!("remount,size={mb}m"))? {
            true => Ok(()),
            false => bail!("harness: {} can't be made larger", self.0.display()),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also while somebody still has a file open there.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

fn mount(folder: &Path, options: &str) -> Result<bool> {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder);
    Ok(mount.output().context("harness: can't run mount")?.status.success())
}
