//! Rules for files.

use crate::{assert_none, texts};

const MOST_LINES: usize = 600;

#[test]
fn rust_files_below_line_limit() {
    let offenders: Vec<String> = texts()
        .iter()
        .filter(|(file, _)| file.ends_with(".rs"))
        .filter(|(_, text)| text.lines().count() > MOST_LINES)
        .map(|(file, text)| format!("{file}: {} lines", text.lines().count()))
        .collect();
    assert_none(&offenders, &format!("Rust files with more than {MOST_LINES} lines"));
}

/// In pieces, so that this file does not match.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tmp", "/tg"), concat!("/ho", "me/")];

#[test]
fn machine_paths_absent() {
    let offenders: Vec<String> = lines()
        .filter(|(_, line)| MACHINE_PATHS.iter().any(|path| line.contains(path)))
        .map(|(position, line)| format!("{position}: {}", line.trim()))
        .collect();
    assert_none(&offenders, "absolute paths of one machine");
}

#[test]
fn crates_from_public_registry_only() {
    let lock = crate::read("Cargo.lock");
    let public = "registry+https://github.com/rust-lang/crates.io-index";
    let mut offenders: Vec<String> = lock
        .lines()
        .filter_map(|line| line.strip_prefix("source = "))
        .filter(|source| source.trim_matches('"') != public)
        .map(|source| format!("Cargo.lock: {source}"))
        .collect();
    let other_source = |line: &str| {
        let line: String = line.split_whitespace().collect();
        ["registry=", "registry-index=", "git=", "[source", "[registries"].iter().any(|key| {
            line.starts_with(key)
                || line.contains(&format!("{{{key}"))
                || line.contains(&format!(",{key}"))
        })
    };
    offenders.extend(
        lines()
            .filter(|(position, _)| {
                position.contains("Cargo.toml:") || position.contains(".cargo/")
            })
            .filter(|(_, line)| other_source(line))
            .map(|(position, line)| format!("{position}: {line}")),
    );
    assert_none(&offenders, "crates that are not from crates.io");
}

#[test]
fn line_ends_tidy() {
    let written = |file: &str| [".rs", ".toml", ".md"].iter().any(|end| file.ends_with(end));
    let mut offenders: Vec<String> = texts()
        .iter()
        .filter(|(file, text)| written(file) && !text.is_empty() && !text.ends_with('\n'))
        .map(|(file, _)| format!("{file}: no newline at the end"))
        .collect();
    offenders.extend(
        lines()
            .filter(|(position, _)| written(position.split(':').next().unwrap_or_default()))
            .filter(|(_, line)| line.ends_with([' ', '\t', '\r']))
            .map(|(position, _)| format!("{position}: spaces at the end")),
    );
    assert_none(&offenders, "untidy line ends");
}

/// Returns all lines, each with its position as `file:number`.
fn lines() -> impl Iterator<Item = (String, &'static str)> {
    texts().iter().flat_map(|(file, text)| {
        (1..).zip(text.lines()).map(move |(number, line)| (format!("{file}:{number}"), line))
    })
}
