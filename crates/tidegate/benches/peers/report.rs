//! `docs/benchmarks.md`, from the latest run of each part.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::figure::{Part, Table};
use crate::machine;

const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/benchmarks.md");

/// A stored part, so that one part can be measured again without the others.
#[derive(Deserialize, Serialize)]
struct StoredPart {
    day: String,
    commit: String,
    part: Part,
}

/// Stores a part for the report.
pub(crate) fn store(name: &str, part: &Part) -> Result<()> {
    let file = file(name);
    fs::create_dir_all(file.parent().context("a folder")?)?;
    let stored = serde_json::json!({
        "day": machine::today(),
        "commit": machine::commit(),
        "part": part,
    });
    Ok(fs::write(file, serde_json::to_vec_pretty(&stored)?)?)
}

/// Writes the report from the stored parts; returns its path.
pub(crate) fn write(names: &[&str]) -> Result<&'static str> {
    let mut parts = Vec::new();
    for name in names {
        let Ok(text) = fs::read_to_string(file(name)) else { continue };
        let stored: StoredPart =
            serde_json::from_str(&text).with_context(|| format!("part {name}"))?;
        parts.push((*name, stored));
    }
    let mut page = String::new();
    head(&mut page)?;
    summary(&mut page, &parts, names)?;
    for (name, stored) in &parts {
        section(&mut page, name, stored)?;
    }
    machine(&mut page)?;
    fs::write(REPORT, page)?;
    Ok("docs/benchmarks.md")
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("peers").join(format!("{name}.json"))
}

fn head(page: &mut String) -> Result<()> {
    writeln!(
        page,
        "# Benchmarks\n\nWritten by `./bench`, not by hand: run it to measure all of this on your \
         machine, or `./bench gateway` for one part. Every figure is a ratio to a named peer \
         within the same run; absolute numbers are this machine's.\n"
    )?;
    Ok(())
}

fn summary(page: &mut String, parts: &[(&str, StoredPart)], names: &[&str]) -> Result<()> {
    let mut table = Table::new(["figure", "measured", "target", "", "command"]);
    for (name, stored) in parts {
        for figure in &stored.part.figures {
            table.row([
                figure.what.clone(),
                figure.measured.clone(),
                figure.target.clone(),
                figure.verdict().to_owned(),
                format!("`./bench {name}{}`", stored.part.arguments),
            ]);
        }
    }
    self::table(page, &table)?;
    let missing: Vec<&str> =
        names.iter().filter(|name| parts.iter().all(|(have, _)| have != *name)).copied().collect();
    if !missing.is_empty() {
        writeln!(page, "Not measured: {}.\n", missing.join(", "))?;
    }
    Ok(())
}

fn section(page: &mut String, name: &str, stored: &StoredPart) -> Result<()> {
    let StoredPart { day, commit, part } = stored;
    let Part { title, arguments, .. } = part;
    writeln!(page, "## {title}\n\n`./bench {name}{arguments}`, {day}, at {commit}.\n")?;
    for paragraph in &part.how {
        writeln!(page, "{paragraph}\n")?;
    }
    table(page, &part.table)
}

fn machine(page: &mut String) -> Result<()> {
    let mut table = Table::new(["", ""]);
    for (what, value) in machine::facts() {
        table.row([what.to_owned(), value]);
    }
    writeln!(page, "## Machine and peers\n")?;
    self::table(page, &table)?;
    // One newline ends the file.
    page.truncate(page.trim_end().len() + 1);
    Ok(())
}

fn table(page: &mut String, table: &Table) -> Result<()> {
    let mut line = |cells: &[String]| writeln!(page, "| {} |", cells.join(" | "));
    line(&table.header)?;
    line(&table.header.iter().map(|_| "---".to_owned()).collect::<Vec<_>>())?;
    for row in &table.rows {
        line(row)?;
    }
    writeln!(page)?;
    Ok(())
}
