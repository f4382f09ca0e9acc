//! Where it was measured, and with what.

use std::fs;
use std::process::Command;

/// Facts and their values, for people.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let cpu = field("/proc/cpuinfo", "model name");
    let memory = field("/proc/meminfo", "MemTotal");
    let memory = memory.split(' ').next().and_then(|kib| kib.parse::<f64>().ok());
    vec![
        ("CPU", format!("{cpu}, {cores} cores")),
        ("memory", memory.map_or_else(String::new, |kib| format!("{:.0} GiB", kib / 1048576.0))),
        ("kernel", said("uname", &["-sr"])),
        ("Rust", said("rustc", &["--version"])),
        ("PostgreSQL", said("psql", &["--version"])),
        ("Redis", said("redis-server", &["--version"])),
        ("nginx", said("nginx", &["-v"])),
        ("wrk", said("wrk", &["-v"])),
        ("hyper", version("hyper")),
        ("pgwire-replication", version("pgwire-replication")),
        ("quick_cache", version("quick_cache")),
        ("moka", version("moka")),
    ]
}

/// The day, in UTC.
pub(crate) fn today() -> String {
    said("date", &["-u", "+%Y-%m-%d"])
}

/// The commit that was measured, and whether it was quite that.
pub(crate) fn commit() -> String {
    let commit = said("git", &["rev-parse", "--short", "HEAD"]);
    if commit.is_empty() {
        return "an unknown commit".into();
    }
    let clean = said("git", &["status", "--porcelain", "--", "../../crates"]).is_empty();
    if clean { commit } else { format!("{commit} with changes") }
}

/// The first line that a program prints about itself.
fn said(program: &str, args: &[&str]) -> String {
    let output = ["", "/usr/sbin/"]
        .iter()
        .find_map(|folder| Command::new(format!("{folder}{program}")).args(args).output().ok());
    let Some(output) = output else { return "not there".into() };
    // wrk ends with an error after it has named its version.
    if program == "git" && !output.status.success() {
        return String::new();
    }
    let printed = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&printed).lines().next().unwrap_or_default().to_owned();
    // wrk goes on with its author, Redis with its allocator.
    line.split(" Copyright")
        .next()
        .unwrap_or_default()
        .split(" sha=")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// What stands behind a name in one of the kernel's tables.
fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_once(':'))
        .map_or_else(String::new, |(_, value)| value.trim().into())
}

/// A dependency's version, from the lock file that this was built with.
fn version(package: &str) -> String {
    let lock = include_str!("../../../../Cargo.lock");
    let (_, after) =
        lock.split_once(&format!("name = \"{package}\"\nversion = \"")).unwrap_or_default();
    after.split('"').next().unwrap_or_default().to_owned()
}
