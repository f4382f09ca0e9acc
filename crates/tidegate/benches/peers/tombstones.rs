//! Memory of tombstones and floors, by a benchmark of the crate `cache`.

use anyhow::{Context, Result};

use crate::figure::{Figure, Part, Table};
use crate::tier::{number_after, run};

/// Invalidated keys: twice as many as the largest tier keeps tombstones.
const KEYS: &str = "2000000";

/// The largest acceptable size of one tombstone, in bytes.
const BYTES_EACH: f64 = 512.0;

pub(crate) fn measure() -> Result<Part> {
    let mut table = Table::new([
        "shared tier",
        "when",
        "process MiB",
        "tombstones in process",
        "tombstones in the shared tier",
        "of Redis MiB",
    ]);
    let mut figures = Vec::new();
    for (tier, most) in [("memory", 300_000.0), ("redis", 1_050_000.0)] {
        let output = run("marks", &[tier, KEYS])?;
        let mut seen = Vec::new();
        for when in ["before", "at most", "at the end", "collected"] {
            let line = output.lines().find(|line| line.trim().starts_with(&format!("{when}:")));
            let line = line.with_context(|| format!("nothing was output about {when}"))?;
            let number = |name: &str| number_after(line, name).context("a number");
            let [process, local, shared, redis] =
                [number("process ")?, number("local ")?, number("shared ")?, number("redis ")?];
            table.row([
                tier.into(),
                when.into(),
                mib(process),
                format!("{local:.0}"),
                format!("{shared:.0}"),
                mib(redis),
            ]);
            seen.push([process, local, shared, redis]);
        }
        let [before, most_seen, .., after] = &seen[..] else { anyhow::bail!("four lines") };
        let kept = Figure {
            what: format!("tombstones kept of 2 million keys, {tier}"),
            measured: format!("{:.0}", most_seen[2]),
            target: format!("at most {most:.0}"),
            met: most_seen[2] <= most && after[2] == 0.0,
        };
        figures.push(kept);
        let grown =
            if tier == "redis" { most_seen[3] - before[3] } else { most_seen[0] - before[0] };
        figures.push(Figure {
            what: format!("their bytes at most, {tier}"),
            measured: format!("{} MiB", mib(grown)),
            target: format!("at most {} MiB", mib(BYTES_EACH * most)),
            met: grown <= BYTES_EACH * most,
        });
    }
    Ok(Part {
        title: "Tombstones and floors".into(),
        arguments: String::new(),
        how: vec![
            "Two million different keys are invalidated, each in a commit of its own, through the \
             leader as in production, with a longest TTL of an hour, so that no tombstone is \
             dropped by age. The in-process tier keeps 200,000 and drops beyond that all that the \
             watermark has passed; the shared tier keeps 250,000 (`memory:`) or 1,000,000 (Redis), and \
             up to 50,000 more until the leader makes room. Beyond that the floor rises over the \
             oldest, which also invalidates entries that were loaded before them: the price of the \
             limit. *Collected* is after three hours of silence, on a simulated clock: none is left."
                .into(),
            "*process* is the kernel's count (`VmRSS`) of the process with both tiers (`memory:`), or \
             with the in-process tier and the leader (Redis), read every 20,000 keys; the \
             allocator does not return all memory at once. *of Redis* is `MEMORY USAGE` of the \
             sorted set that stores them (`cargo bench -p cache --bench marks -- redis 2000000`)."
                .into(),
        ],
        figures,
        table,
    })
}

fn mib(bytes: f64) -> String {
    format!("{:.0}", bytes / f64::from(1 << 20))
}
