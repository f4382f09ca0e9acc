//! The machine, and the versions of the peers.

use std::fs;
use std::process::Command;

/// Returns named facts about the machine and the peers.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let cpu = field("/proc/cpuinfo", "model name");
    let memory = field("/proc/meminfo", "MemTotal");
    let memory = memory.split(' ').next().and_then(|kib| kib.parse::<f64>().ok());
    vec![
        ("CPU", format!("{cpu}, {cores} cores")),
        ("memory", memory.map_or_else(String::new, |kib| format!("{:.0} GiB", kib / 1048576.0))),
        ("kernel", first_line("uname", &["-sr"])),
        ("Rust", first_line("rustc", &["--version"])),
        ("PostgreSQL", first_line("psql", &["--version"])),
        ("Redis", first_line("redis-server", &["--version"])),
        ("nginx", first_line("nginx", &["-v"])),
        ("wrk", first_line("wrk", &["-v"])),
        ("hyper", version("hyper")),
        ("pgwire-replication", version("pgwire-replication")),
        ("quick_cache", version("quick_cache")),
        ("moka", version("moka")),
    ]
}

/// Returns the date in UTC.
pub(crate) fn today() -> String {
    first_line("date", &["-u", "+%Y-%m-%d"])
}

/// Returns the measured commit, and whether the crates had changes.
pub(crate) fn commit() -> String {
    let commit = first_line("git", &["rev-parse", "--short", "HEAD"]);
    if commit.is_empty() {
        return "an unknown commit".into();
    }
    let clean = first_line("git", &["status", "--porcelain", "--", "../../crates"]).is_empty();
    if clean { commit } else { format!("{commit} with changes") }
}

/// Returns the first line that a program prints.
fn first_line(program: &str, args: &[&str]) -> String {
    let output = ["", "/usr/sbin/"]
        .iter()
        .find_map(|folder| Command::new(format!("{folder}{program}")).args(args).output().ok());
    let Some(output) = output else { return "not installed".into() };
    // wrk exits with an error after it has printed its version.
    if program == "git" && !output.status.success() {
        return String::new();
    }
    let printed = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&printed).lines().next().unwrap_or_default().to_owned();
    // wrk appends its author, Redis its allocator.
    line.split(" Copyright")
        .next()
        .unwrap_or_default()
        .split(" sha=")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Returns the value of a name in one of the kernel's tables.
fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_once(':'))
        .map_or_else(String::new, |(_, value)| value.trim().into())
}

/// Returns a dependency's version from the lock file.
fn version(package: &str) -> String {
    let lock = include_str!("../../../../Cargo.lock");
    let (_, after) =
        lock.split_once(&format!("name = \"{package}\"\nversion = \"")).unwrap_or_default();
    after.split('"').next().unwrap_or_default().to_owned()
}
