//! Rules on the files themselves.

use std::fs;

use crate::{assert_none, files, root};

const MOST_LINES: usize = 600;

#[test]
fn rust_files_are_short_enough_to_read() {
    let offenders: Vec<String> = texts()
        .filter(|(file, _)| file.ends_with(".rs"))
        .filter(|(_, text)| text.lines().count() > MOST_LINES)
        .map(|(file, text)| format!("{file}: {} lines", text.lines().count()))
        .collect();
    assert_none(&offenders, &format!("Rust files with more than {MOST_LINES} lines"));
}

/// In pieces, so that this file does not offend.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tmp", "/tg"), concat!("/ho", "me/")];

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let offenders: Vec<String> = lines()
        .filter(|(_, line)| MACHINE_PATHS.iter().any(|path| line.contains(path)))
        .map(|(place, line)| format!("{place}: {}", line.trim()))
        .collect();
    assert_none(&offenders, "absolute paths of one machine");
}

#[test]
fn crates_come_from_the_public_registry() {
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
            .filter(|(place, _)| place.contains("Cargo.toml:") || place.contains(".cargo/"))
            .filter(|(_, line)| other_source(line))
            .map(|(place, line)| format!("{place}: {line}")),
    );
    assert_none(&offenders, "crates from elsewhere than crates.io");
}

#[test]
fn lines_end_where_they_end() {
    let written = |file: &str| [".rs", ".toml", ".md"].iter().any(|end| file.ends_with(end));
    let mut offenders: Vec<String> = texts()
        .filter(|(file, text)| written(file) && !text.is_empty() && !text.ends_with('\n'))
        .map(|(file, _)| format!("{file}: no newline at the end"))
        .collect();
    offenders.extend(
        lines()
            .filter(|(place, _)| written(place.split(':').next().unwrap_or_default()))
            .filter(|(_, line)| line.ends_with([' ', '\t', '\r']))
            .map(|(place, _)| format!("{place}: spaces at the end")),
    );
    assert_none(&offenders, "untidy files");
}

/// The files that are text, with their content.
fn texts() -> impl Iterator<Item = (String, String)> {
    let root = root();
    files().into_iter().filter_map(move |file| {
        let text = String::from_utf8(fs::read(root.join(&file)).ok()?).ok()?;
        Some((file, text))
    })
}

/// Every line, with its place as `file:number`.
fn lines() -> impl Iterator<Item = (String, String)> {
    texts().flat_map(|(file, text)| {
        text.lines()
            .enumerate()
            .map(|(at, line)| (format!("{file}:{}", at + 1), line.to_owned()))
            .collect::<Vec<_>>()
    })
}
