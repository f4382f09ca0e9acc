//! A small disk, for tests of a full one.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// A memory file system, mounted on a folder until the value is dropped.
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts one of `mb` MB. Returns `None` where this user or machine may not mount.
    ///
    /// # Errors
    /// When `mount` can't be run.
    pub fn mount(folder: &Path, mb: u32) -> Result<Option<Self>> {
        let mounted = mount(folder, &format!("size={mb}m,mode=755"))?;
        Ok(mounted.then(|| Self(folder.to_owned())))
    }

    /// Enlarges it to `mb` MB.
    pub(crate) fn enlarge(&self, mb: u32) -> Result<()> {
        match mount(&self.0, &format!("remount,size={mb}m"))? {
            true => Ok(()),
            false => bail!("harness: {} can't be enlarged", self.0.display()),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process may still have a file open there.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

fn mount(folder: &Path, options: &str) -> Result<bool> {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder);
    Ok(mount.output().context("harness: can't run mount")?.status.success())
}
