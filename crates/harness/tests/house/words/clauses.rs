//! The number of clauses that stand for a noun.

use std::collections::BTreeMap;

use super::part;
use crate::texts;

/// For 1,000 lines of comments, and for 1,000 lines of documents.
const LIMIT: usize = 3;

const WHAT: &[&str] = &["is", "was", "it", "a", "an", "the", "has", "can"];
const WHO: &[&str] = &["asks", "has", "reads", "writes", "waits"];
const ALONE: &[&str] = &["whoever", "whatever", "somebody", "nobody"];

#[test]
fn clauses_are_rare_in_comments() {
    let is_code = |file: &str| {
        file.ends_with(".rs") && (file.starts_with("crates/") || file.starts_with("examples/"))
    };
    assert_rare(is_code, |line| line.trim_start().starts_with("//"));
}

#[test]
fn clauses_are_rare_in_documents() {
    let is_document = |file: &str| {
        let top = ["README.md", "SEMANTICS.md", "ARCHITECTURE.md"].contains(&file);
        top || (file.starts_with("docs/") && file.ends_with(".md"))
    };
    assert_rare(is_document, |_| true);
}

/// Fails with the places and the figures of each part, if there are more clauses than the limit in
/// the lines of all files that count.
#[track_caller]
fn assert_rare(counts: impl Fn(&str) -> bool, line_counts: impl Fn(&str) -> bool) {
    let mut found = Vec::new();
    let mut figures: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (file, text) in texts().iter().filter(|(file, _)| counts(file)) {
        let (clauses_so_far, lines) = figures.entry(part(file)).or_default();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| line_counts(line)) {
            let clauses = clauses(line);
            *lines += 1;
            *clauses_so_far += clauses.len();
            let place = |clause| format!("{file}:{number}: \"{clause}\"");
            found.extend(clauses.into_iter().map(place));
        }
    }
    let lines: usize = figures.values().map(|(_, lines)| lines).sum();
    let figures: Vec<String> = figures
        .iter()
        .map(|(part, (clauses, lines))| format!("{part}: {clauses} in {lines} lines"))
        .collect();
    assert!(
        found.len() * 1000 <= LIMIT * lines,
        "{} clauses such as \"what is\" in {lines} lines, at most {LIMIT} in 1,000:\n  {}\n  {}\n",
        found.len(),
        found.join("\n  "),
        figures.join("\n  ")
    );
}

fn clauses(line: &str) -> Vec<String> {
    let line = line.to_lowercase();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    // Words, each with what divides it from the next one.
    let mut words: Vec<(String, String)> = Vec::new();
    for c in line.chars() {
        match words.last_mut() {
            Some((word, gap)) if is_word(c) && gap.is_empty() => word.push(c),
            Some((_, gap)) if !is_word(c) => gap.push(c),
            _ if is_word(c) => words.push((c.to_string(), String::new())),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for (at, (word, gap)) in words.iter().enumerate() {
        let next = words.get(at + 1).map_or("", |(next, _)| next.as_str());
        let pair = gap == " "
            && ((word == "what" && WHAT.contains(&next)) || (word == "who" && WHO.contains(&next)));
        if pair {
            found.push(format!("{word} {next}"));
        } else if ALONE.contains(&word.as_str()) {
            found.push(word.clone());
        }
    }
    found
}

#[test]
fn clauses_counted() {
    let line = format!("// {} {} Whatever, who\u{20}reads.", ["What", "is"].join(" "), "what's");
    assert_eq!(clauses(&line), ["what is", "whatever", "who reads"]);
    assert!(clauses("somewhat is, what, is; who, reads what_is").is_empty());
}
