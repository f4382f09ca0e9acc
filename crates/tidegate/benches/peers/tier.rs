//! The in-process tier, by the benchmarks of the crate `cache`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::figure::{Figure, Part, Table};
use crate::output::log_line;

/// Measures a hit with its freshness check against caches without one.
pub(crate) fn hits() -> Result<Part> {
    let output = run("local", &[])?;
    let mut table = Table::new(["threads", "cache", "ns of CPU per get"]);
    let mut figures = Vec::new();
    for threads in [1, 2] {
        let line =
            output.lines().find(|line| line.trim().starts_with(&format!("{threads} thread")));
        let line = line.with_context(|| format!("no line about {threads} threads"))?;
        let [tidegate, quick, moka] = ["tidegate ", "quick_cache ", "moka "].map(|name| {
            let ns = number_after(line, name).with_context(|| format!("no {name}in {line:?}"))?;
            table.row([threads.to_string(), name.trim().into(), format!("{ns:.0}")]);
            anyhow::Ok(ns)
        });
        let (tidegate, quick, moka) = (tidegate?, quick?, moka?);
        let what = |peer: &str| format!("in-process hits/s against {peer}, threads: {threads}");
        figures.push(Figure::at_least(&what("quick_cache"), quick / tidegate, 0.7));
        figures.push(Figure::at_least(&what("moka"), moka / tidegate, 2.0));
    }
    Ok(Part {
        title: "In-process hit".into(),
        arguments: String::new(),
        how: vec![
            "One million keys in memory, read by Zipf 0.99; keys and values of each cache are \
             its own. Tidegate's `Engine::peek` also checks freshness, contract and early refresh, \
             counts the hit and collects its proof; the peers return the value. The three take \
             turns, in an order that changes, in slices of 20,000 gets, measured in time \
             on the processor; median slices (`cargo bench -p cache --bench local`)."
                .into(),
        ],
        figures,
        table,
    })
}

/// Measures the cost of fence and bound in a hit.
pub(crate) fn proof() -> Result<Part> {
    let output = run("proof", &[])?;
    let mut table = Table::new(["threads", "engine", "ns of CPU per get"]);
    let mut figures = Vec::new();
    for threads in [1, 2] {
        let line =
            output.lines().find(|line| line.trim().starts_with(&format!("{threads} thread")));
        let line = line.with_context(|| format!("no line about {threads} threads"))?;
        let number = |name| number_after(line, name).with_context(|| format!("{name}? {line:?}"));
        let (with, without) = (number("with ")?, number("without ")?);
        for (engine, ns) in [("fence and bound", with), ("both compiled out", without)] {
            table.row([threads.to_string(), engine.into(), format!("{ns:.1}")]);
        }
        let what = format!("hits/s with fence and bound against without, threads: {threads}");
        figures.push(Figure::at_least(&what, without / with, 0.9));
    }
    Ok(Part {
        title: "Cost of the proof: a hit".into(),
        arguments: String::new(),
        how: vec![
            "One engine with a million entries, read by Zipf 0.99, once as it is \
             (`Engine::peek`) and once with fence and bound compiled out of the same function: no \
             generation, no proven time, no budget; the work of any cache with a TTL is left, \
             including the clock. The two take turns on the same entries in slices of 20,000 gets, in \
             an order that changes, measured in time on the processor; median slices (`cargo \
             bench -p cache --features bench-internals --bench proof`). The fence works when an entry is stored or \
             invalidated, so a hit pays little for it; the cost of fills and invalidations is in \
             `./bench feed`."
                .into(),
        ],
        figures,
        table,
    })
}

pub(crate) fn number_after(line: &str, name: &str) -> Option<f64> {
    let (_, after) = line.split_once(name)?;
    after.split(|c: char| !c.is_ascii_digit() && c != '.').next()?.parse().ok()
}

/// Measures memory against the byte limit.
pub(crate) fn memory() -> Result<Part> {
    let output = run("memory", &[])?;
    let line = output.lines().rev().find(|line| line.contains("of the limit"));
    let line = line.context("the benchmark printed no share of the limit")?.trim();
    let share = line.split_once(" of the limit").and_then(|(before, _)| {
        before.rsplit(|c: char| !c.is_ascii_digit() && c != '.').next()?.parse::<f64>().ok()
    });
    let share = share.with_context(|| format!("no share in {line:?}"))?;
    let mut table = Table::new(["output"]);
    table.row([line.to_owned()]);
    Ok(Part {
        title: "Memory".into(),
        arguments: String::new(),
        how: vec![
            "Ten million tiny entries are offered to an engine with a byte limit; resident memory \
             is the kernel's count (`VmRSS`) less that before the engine was created, read \
             every 100,000 entries (`cargo bench -p cache --bench memory`)."
                .into(),
        ],
        figures: vec![Figure::at_most(
            "resident growth against configured bytes, 10 million tiny entries",
            share,
            1.0,
        )],
        table,
    })
}

/// Runs a benchmark of the crate `cache`; returns its output.
pub(crate) fn run(bench: &str, args: &[&str]) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Cargo sets it for this program; passed on, it would make dependencies out of date, and they would be
    // built again here and in the next build.
    command.env_remove("CARGO_MANIFEST_DIR");
    command.args(["bench", "--locked", "--quiet", "--package", "cache", "--bench", bench]);
    match bench {
        // The lookup without a proof is no part of the public API.
        "proof" => drop(command.args(["--features", "bench-internals"])),
        // With the binary's allocator.
        "memory" | "growth" => drop(command.args(["--features", "jemalloc"])),
        _ => {}
    }
    command.arg("--").args(args);
    let output = command.stderr(Stdio::inherit()).output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in printed.lines().filter(|line| !line.trim().is_empty()) {
        log_line(&format!("  {line}"));
    }
    // A run that exceeds the limit exits with an error and is still a figure.
    if !output.status.success() && !printed.contains("of the limit") {
        bail!("cargo bench --bench {bench} ended with {}", output.status);
    }
    Ok(printed)
}
