//! CPU time and affinity of processes, from `/proc`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

/// The kernel's unit of CPU time (`USER_HZ`, 100 per second on every Linux that Rust supports).
const TICK_S: f64 = 0.01;

/// Returns the CPU seconds, user and system, of a process and its children.
pub(crate) fn cpu_seconds(root: u32) -> Result<f64> {
    let ticks: u64 = family(root)?.iter().map(|(_, stat)| stat.ticks).sum();
    Ok(ticks as f64 * TICK_S)
}

/// Returns the CPU seconds of all processes of the machine since its start, without idle time and waits for disks.
pub(crate) fn machine_cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    // "cpu user nice system idle iowait irq softirq steal …"
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    ensure!(ticks.len() >= 7, "/proc/stat begins with {line:?}");
    let busy: u64 = [0, 1, 2, 5, 6].iter().map(|at| ticks[*at]).sum();
    Ok(busy as f64 * TICK_S)
}

/// Returns a process and its children.
fn family(root: u32) -> Result<Vec<(u32, Stat)>> {
    let all = fs::read_dir("/proc")?.flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // Processes start and end during the scan.
    let stats = pids.filter_map(|pid| Some((pid, Stat::of(pid)?)));
    Ok(stats.filter(|(pid, stat)| *pid == root || stat.parent == root).collect())
}

struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // "pid (name) state parent …"; the name may contain parentheses.
        let (_, after_name) = line.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let field = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self { parent: field(1)?.try_into().ok()?, ticks: field(11)? + field(12)? })
    }
}

/// Returns the resident memory of a process and its children, in bytes.
pub(crate) fn resident_bytes(root: u32) -> Result<u64> {
    let pids = family(root)?.into_iter().map(|(pid, _)| pid);
    let of = |pid| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
    };
    Ok(pids.filter_map(of).sum())
}

/// Reads a process id from a server's pid file; `None` while there is none.
pub(crate) fn pid_from_file(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Pins a process and its children to one core.
pub(crate) fn move_to_core(root: u32, core: usize) -> Result<()> {
    for (pid, _) in family(root)? {
        let mut taskset = Command::new("taskset");
        taskset.args(["--all-tasks", "--cpu-list", "--pid"]);
        let done = taskset.arg(core.to_string()).arg(pid.to_string()).output()?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}
