//! Finding the programs that Debian's packages bring.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Error, anyhow};

/// The first of `folders` or `PATH` (or the administrator's folders, which `PATH` often lacks)
/// that holds `name`.
pub(crate) fn find(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    folders
        .iter()
        .cloned()
        .chain(env::split_paths(&path))
        .chain(system)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The folders with PostgreSQL's server programs as Debian lays them out, newest version first.
pub(crate) fn postgres_folders() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(Path::new("/usr/lib/postgresql"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

pub(crate) fn missing(name: &str, package: &str) -> Error {
    anyhow!("harness: {name} not found; install with `apt-get install {package}`")
}
