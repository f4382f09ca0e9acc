//! Programs of Debian's packages, or of other releases: finds them and runs them to their end.

use std::{
    env,
    ffi::OsString,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Error, Result, anyhow, bail};

/// Folders with the programs of other releases, separated as in `PATH`. They come before all others,
/// so that the same tests run on these; see `./test --engines`.
const ENGINES: &str = "TIDEGATE_ENGINES";

/// Whether a program may be one of [`ENGINES`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Release {
    Any,
    /// The system's own: not all builds of other releases have every feature.
    System,
}

/// Returns the first `name` in the folders of `TIDEGATE_ENGINES`, in `folders`, in `PATH`, or in the
/// administrator's folders, which `PATH` often lacks.
pub(crate) fn find(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    find_release(name, folders, Release::Any)
}

fn find_release(name: &str, folders: &[PathBuf], release: Release) -> Option<PathBuf> {
    let engines = match release {
        Release::Any => env::var_os(ENGINES).unwrap_or_default(),
        Release::System => OsString::new(),
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&engines)
        .filter(|folder| !folder.as_os_str().is_empty())
        .chain(folders.iter().cloned())
        .chain(env::split_paths(&path))
        .chain(system)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// As [`find`], with an error that names the Debian package.
pub(crate) fn require(name: &str, folders: &[PathBuf], package: &str) -> Result<PathBuf> {
    require_release(name, folders, package, Release::Any)
}

/// As [`require`], possibly of the system's own release alone.
pub(crate) fn require_release(
    name: &str,
    folders: &[PathBuf],
    package: &str,
    release: Release,
) -> Result<PathBuf> {
    find_release(name, folders, release).ok_or_else(|| missing(name, package))
}

pub(crate) fn missing(name: &str, package: &str) -> Error {
    anyhow!("harness: {name} not found; install with `apt-get install {package}`")
}

/// Returns the folders with PostgreSQL's server programs on Debian, newest version first.
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

/// Runs `command` to its end and returns its standard output, trimmed at the end.
///
/// # Errors
/// When it can't be run, or fails; with its outputs.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let result = command.output().with_context(|| format!("harness: can't run {command:?}"))?;
    stdout_of(result, || format!("{command:?}"))
}

/// As [`run`], with `input` on standard input; an error quotes it as well.
pub(crate) fn run_with_input(command: &mut Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("harness: can't run {command:?}"))?;
    let mut stdin = child.stdin.take().context("the child has an input")?;
    let bytes = input.to_owned().into_bytes();
    // From another thread, so that neither side waits for the other with full pipes. The program
    // may end at an error without having read the rest.
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let result = child.wait_with_output()?;
    let _ = writer.join();
    stdout_of(result, || format!("{:?}, input {input:?}", command.get_program()))
}

fn stdout_of(result: Output, description: impl Fn() -> String) -> Result<String> {
    let stdout = String::from_utf8_lossy(&result.stdout).trim_end().to_owned();
    if !result.status.success() {
        let stderr = String::from_utf8_lossy(&result.stderr);
        bail!("harness: {}: {}\n{stdout}\n{}", description(), result.status, stderr.trim_end());
    }
    Ok(stdout)
}
