//! SEMANTICS.md: each promise names the test that holds it.
//!
//! Promises stand in tables. The last column names one test or more as `crate::path::name`, in
//! backticks; the crate is the folder's name below `crates` or `examples`.

use std::collections::BTreeSet;

use crate::{assert_none, files, read};

#[test]
fn every_promise_has_a_test_that_exists() {
    let mut offenders = Vec::new();
    let rows = rows(&read("SEMANTICS.md"));
    assert!(!rows.is_empty(), "SEMANTICS.md has no table of promises");
    for row in rows {
        let promise = row.first().map_or("", String::as_str).to_owned();
        let tests = quoted(row.last().map_or("", String::as_str));
        if tests.is_empty() {
            offenders.push(format!("{promise}: names no test"));
        }
        let missing = tests.iter().filter(|test| !exists(test));
        offenders.extend(missing.map(|test| format!("{promise}: there is no test {test}")));
    }
    assert_none(&offenders, "promises in SEMANTICS.md");
}

#[test]
fn promises_are_read_from_tables() {
    let page = "| a | test |\n|---|:--|\n| b | `c::d::e`, `f::g` |\n| h \\| i | none |\n";
    let rows = rows(page);
    assert_eq!(rows, [["b", "`c::d::e`, `f::g`"], ["h \\| i", "none"]]);
    assert_eq!(quoted(&rows[0][1]), ["c::d::e", "f::g"]);
    assert!(exists("harness::promises::promises_are_read_from_tables"));
    assert!(!exists("harness::promises::promises_are_read"));
    assert!(!exists("nobody::promises_are_read_from_tables"));
}

/// The cells of all tables' rows below their heads.
fn rows(page: &str) -> Vec<Vec<String>> {
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

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether the crate has a function of that name.
fn exists(test: &str) -> bool {
    let (Some((krate, _)), Some((_, name))) = (test.split_once("::"), test.rsplit_once("::"))
    else {
        return false;
    };
    let folders = [format!("crates/{krate}/"), format!("examples/{krate}/")];
    let signature = format!("fn {name}(");
    files()
        .iter()
        .filter(|file| {
            file.ends_with(".rs") && folders.iter().any(|folder| file.starts_with(folder))
        })
        .any(|file| read(file).contains(&signature))
}
