//! The in-process tier's own benchmarks, which are the cache crate's.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::figure::{Figure, Part, Table};
use crate::say;

/// A hit with its freshness check, beside caches that check nothing.
pub(crate) fn hits() -> Result<Part> {
    let said = run("local", &[])?;
    let mut table = Table::new(["threads", "cache", "ns of CPU per get"]);
    let mut figures = Vec::new();
    for threads in [1, 2] {
        let line = said.lines().find(|line| line.trim().starts_with(&format!("{threads} thread")));
        let line = line.with_context(|| format!("nothing was said about {threads} threads"))?;
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
            "One million keys in memory, asked for by Zipf 0.99; keys and values of each cache are \
             its own. Tidegate's `Engine::peek` also checks freshness, contract and early refresh, \
             counts the hit and keeps what its proof is made of; the peers return the value. The \
             three take turns, in an order that changes, in slices of 20,000 gets, measured in time \
             on the processor; median slices (`cargo bench -p cache --bench local`)."
                .into(),
        ],
        figures,
        table,
    })
}

/// What fence and bound cost a hit.
pub(crate) fn proof() -> Result<Part> {
    let said = run("proof", &[])?;
    let mut table = Table::new(["threads", "engine", "ns of CPU per get"]);
    let mut figures = Vec::new();
    for threads in [1, 2] {
        let line = said.lines().find(|line| line.trim().starts_with(&format!("{threads} thread")));
        let line = line.with_context(|| format!("nothing was said about {threads} threads"))?;
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
            "One engine with a million entries, asked by Zipf 0.99, once as it is \
             (`Engine::peek`) and once with fence and bound compiled out of the same function: no \
             generation, no proven time, no budget; what any cache with a TTL does is left, the \
             clock among it. The two take turns on the same entries in slices of 20,000 gets, in \
             an order that changes, measured in time on the processor; median slices (`cargo \
             bench -p cache --bench proof`). The fence works when something is stored or falls, \
             so a hit pays little for it; what storing and falling pay is in `./bench feed`."
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

/// Whether the byte limit holds.
pub(crate) fn memory() -> Result<Part> {
    let said = run("memory", &[])?;
    let said = said.lines().rev().find(|line| line.contains("of the limit"));
    let said = said.context("the benchmark of the byte limit says nothing about it")?.trim();
    let share = said.split_once(" of the limit").and_then(|(before, _)| {
        before.rsplit(|c: char| !c.is_ascii_digit() && c != '.').next()?.parse::<f64>().ok()
    });
    let share = share.with_context(|| format!("no share in {said:?}"))?;
    let mut table = Table::new(["what it said"]);
    table.row([said.to_owned()]);
    Ok(Part {
        title: "Memory".into(),
        arguments: String::new(),
        how: vec![
            "Ten million tiny entries are offered to an engine with a byte limit; resident memory \
             is the kernel's count (`VmRSS`) less that before the engine was made, looked at \
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

/// Runs one of the cache crate's benchmarks; answers what it printed.
pub(crate) fn run(bench: &str, args: &[&str]) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["bench", "--locked", "--quiet", "--package", "cache", "--bench", bench]);
    command.arg("--").args(args);
    let output = command.stderr(Stdio::inherit()).output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in printed.lines().filter(|line| !line.trim().is_empty()) {
        say(&format!("  {line}"));
    }
    // A broken limit is a failure too, and a figure.
    if !output.status.success() && !printed.contains("of the limit") {
        bail!("cargo bench --bench {bench} ended with {}", output.status);
    }
    Ok(printed)
}
