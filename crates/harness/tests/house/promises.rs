//! Each promise in SEMANTICS.md names the tests that verify it.
//!
//! Promises are rows of tables. The last column names one to three tests as `crate::path::name`, in
//! backticks; the crate is the name of the folder below `crates` or `examples`.

use std::collections::{BTreeMap, BTreeSet};

use crate::{assert_none, read, texts};

/// More tests than these are a suite, and a reader can't tell which one to look at.
const MOST_TESTS: usize = 3;

#[test]
fn promises_name_existing_tests() {
    let mut offenders = Vec::new();
    let rows = rows(read("SEMANTICS.md"));
    let functions = functions();
    assert!(!rows.is_empty(), "SEMANTICS.md has no table of promises");
    for row in rows {
        let promise = row.first().map_or("", String::as_str).to_owned();
        let tests = quoted(row.last().map_or("", String::as_str));
        if tests.is_empty() {
            offenders.push(format!("{promise}: names no test"));
        }
        if tests.len() > MOST_TESTS {
            offenders.push(format!("{promise}: names {} tests, at most {MOST_TESTS}", tests.len()));
        }
        let missing = tests.iter().filter(|test| !exists(test, &functions));
        offenders.extend(missing.map(|test| format!("{promise}: there is no test {test}")));
    }
    assert_none(&offenders, "promises in SEMANTICS.md");
}

#[test]
fn promise_tables_parsed() {
    let page = "| a | test |\n|---|:--|\n| b | `c::d::e`, `f::g` |\n| h \\| i | none |\n";
    let rows = rows(page);
    assert_eq!(rows, [["b", "`c::d::e`, `f::g`"], ["h \\| i", "none"]]);
    assert_eq!(quoted(&rows[0][1]), ["c::d::e", "f::g"]);
    let exists = |test: &str| exists(test, &functions());
    assert!(exists("harness::promises::promise_tables_parsed"));
    assert!(!exists("harness::promises::promise_tables"));
    assert!(!exists("unknown::promise_tables_parsed"));
}

/// Returns the cells of all table rows, without the headings.
pub(crate) fn rows(page: &str) -> Vec<Vec<String>> {
    let is_row = |line: &&str| line.starts_with('|');
    let is_rule = |line: &str| line.chars().all(|c| "|-: ".contains(c));
    let lines: Vec<&str> = page.lines().collect();
    let heads: BTreeSet<usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| is_row(line) && is_rule(line))
        .flat_map(|(at, _)| [at.saturating_sub(1), at])
        .collect();
    lines
        .iter()
        .enumerate()
        .filter(|(at, line)| is_row(line) && !heads.contains(at))
        .map(|(_, line)| cells(line))
        .collect()
}

fn cells(row: &str) -> Vec<String> {
    let protected = row.trim().trim_matches('|').replace("\\|", "\u{0}");
    protected.split('|').map(|cell| cell.trim().replace('\u{0}', "\\|")).collect()
}

pub(crate) fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns whether the crate has a function of that name.
pub(crate) fn exists(test: &str, functions: &BTreeMap<&str, BTreeSet<&str>>) -> bool {
    let parts = test.split_once("::").zip(test.rsplit_once("::"));
    parts.is_some_and(|((krate, _), (_, name))| {
        functions.get(krate).is_some_and(|functions| functions.contains(name))
    })
}

/// Returns the names of all functions without type parameters, by crate.
pub(crate) fn functions() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut functions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, text) in texts().iter().filter(|(file, _)| file.ends_with(".rs")) {
        let below = file.strip_prefix("crates/").or(file.strip_prefix("examples/"));
        let Some((krate, _)) = below.and_then(|below| below.split_once('/')) else { continue };
        let names = text.split("fn ").skip(1).filter_map(|rest| rest.split_once('('));
        functions.entry(krate).or_default().extend(names.map(|(name, _)| name));
    }
    functions
}
