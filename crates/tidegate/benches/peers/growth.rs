//! Memory and processor time per entry from a thousand to millions of entries, by a benchmark of the crate `cache`.

use anyhow::{Context, Result, ensure};

use crate::figure::{Figure, Part, Table};
use crate::options::Options;
use crate::tier::{number_after, run};

const ENTRIES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// The key, the value and nothing else.
const CONTENT: f64 = 32.0;

/// From this number on the kernel's count says something about an entry.
const MEASURABLE: u64 = 100_000;

pub(crate) fn measure(options: &Options) -> Result<Part> {
    let mut table = Table::new([
        "tags",
        "entries",
        "bytes each, books",
        "bytes each, resident",
        "fill ns",
        "get ns",
        "update ns",
    ]);
    let mut figures = Vec::new();
    for tags in [1, 2] {
        let mut gets = Vec::new();
        for entries in ENTRIES.into_iter().chain(options.entries) {
            let output = run("growth", &[&entries.to_string(), &tags.to_string()])?;
            let line = output.lines().find(|line| line.contains(" kept, "));
            let line = line.context("nothing was output about the entries")?;
            let number = |name| number_after(line, name).with_context(|| format!("{name}? {line}"));
            let kept = number("tags: ")?;
            ensure!(kept as u64 == entries, "{kept} of {entries} entries were kept");
            let (books, resident) = (number("kept, ")?, number("by the books, ")?);
            let (fill, get, update) = (number("fill ")?, number("get ")?, number("update ")?);
            gets.push(get);
            let is_measurable = entries >= MEASURABLE;
            table.row([
                tags.to_string(),
                entries.to_string(),
                format!("{books:.0}"),
                if is_measurable { format!("{resident:.0}") } else { String::from("–") },
                format!("{fill:.0}"),
                format!("{get:.0}"),
                format!("{update:.0}"),
            ]);
            if is_measurable && tags == 1 {
                figures.push(Figure {
                    what: format!("overhead of a small entry with one tag, {entries} entries"),
                    measured: format!("{:.0} bytes", resident - CONTENT),
                    target: "at most 300 bytes".into(),
                    met: resident - CONTENT <= 300.0,
                });
                let off = (books / resident - 1.0).abs() * 100.0;
                figures.push(Figure {
                    what: format!("books against resident growth, {entries} entries"),
                    measured: format!("{off:.1} % off"),
                    target: "at most 5 %".into(),
                    met: off <= 5.0,
                });
            }
        }
        if let [first, .., last] = gets[..] {
            // Beyond the processor's caches each get waits for memory, however the entries are found.
            let what =
                format!("a get among the most entries against one of a thousand, {tags} tags");
            figures.push(Figure::at_most(&what, last / first, 12.0));
        }
    }
    Ok(Part {
        title: "Growth: memory and time per entry".into(),
        arguments: options.arguments.clone(),
        how: vec![
            "Entries with a key of some 24 bytes, a value of 8 and one tag of its own row (and one that a thousandth of all \
             share), in an engine whose limit is not reached, with the binary's allocator. *Resident* is the growth of \
             `VmRSS`; *fill* is a read through the engine that loads and stores, *get* a hit in an order that no cache of \
             the processor foresees, *update* the part of a row in a commit of 20 that invalidates as many entries. \
             Nanoseconds of processor time (`cargo bench -p cache --features jemalloc --bench growth`)."
                .into(),
        ],
        figures,
        table,
    })
}
