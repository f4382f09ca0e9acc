//! One word for one thing, and plain sentences.
//!
//! `docs/glossary.md` lists retired words in its third column. A retired word is searched for in two
//! ways:
//! - Most words: in everything, in code and documents. Names are divided into their words
//!   (`OneMoment`, `one_moment` and "one moment" are the same), and inflections are found too.
//! - Words that are ordinary English, or ordinary Rust ([`ORDINARY`]): only as the whole name of a
//!   type, trait or module, as in `struct Mark` and `mod places`.
//!
//! Clauses in place of a noun are counted, with a limit per 1,000 lines: a few are good English, many
//! make a text hard to read.

mod clauses;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{assert_none, read, texts};

const GLOSSARY: &str = "docs/glossary.md";

/// Retired words with another meaning that stays in use.
const ORDINARY: &[&str] = &[
    "after", "ask", "blow", "fell", "held", "holding", "listing", "look", "mark", "marked",
    "order", "place", "register", "roll", "strike", "tend", "wish",
];

/// Where a retired word is the right one, with the reason.
const EXEMPT: &[(&str, &str, &str)] = &[
    ("order", "crates/drill/", "an order of the sale"),
    ("order", "examples/shop/", "an order of the shop"),
];

/// Public names that hold a retired word; interfaces outlive words.
const PUBLIC_NAMES: &[&str] = &["tidegate_shared_told_again"];

/// The other forms of a word, where these are irregular.
const IRREGULAR: &[(&str, &[&str])] = &[
    ("begin", &["begins", "began", "begun", "beginning"]),
    ("incarnate", &["incarnates", "incarnated", "incarnating"]),
    ("landing", &["landings"]),
    ("moment", &["moments"]),
    ("slide", &["slides", "slid"]),
    ("tell", &["tells", "told", "telling"]),
];

#[test]
fn retired_words_stay_retired() {
    let retired = retired(read(GLOSSARY));
    assert!(!retired.phrases.is_empty(), "{GLOSSARY} has a column of retired words");
    let mut offenders = Vec::new();
    for (file, text) in texts().iter().filter(|(file, _)| is_searched(file)) {
        for (number, line) in (1..).zip(text.lines()) {
            let public = |line: String, name: &&str| line.replace(name, "");
            let line = PUBLIC_NAMES.iter().fold(line.to_owned(), public);
            let mut found = mentioned(&line, &retired);
            if file.ends_with(".rs") {
                found.extend(declared(&line).filter_map(|name| retired.as_name(name)));
            }
            found.retain(|phrase| !is_exempt(phrase, file));
            let position = |phrase| format!("{file}:{number}: \"{phrase}\": {}", line.trim());
            offenders.extend(found.into_iter().map(position));
        }
    }
    let figures = per_part(offenders.iter().map(String::as_str));
    assert_none(&offenders, &format!("retired words of {GLOSSARY} ({figures})"));
}

#[test]
fn ordinary_words_are_in_the_glossary() {
    let retired = retired(read(GLOSSARY));
    let is_known = |word: &&&str| retired.ordinary.contains(**word);
    let unknown: Vec<String> =
        ORDINARY.iter().filter(|word| !is_known(word)).map(|word| (*word).to_owned()).collect();
    assert_none(&unknown, &format!("words of ORDINARY that {GLOSSARY} does not retire"));
}

/// Code and documents, but for the glossary, history, and this file with its tables.
fn is_searched(file: &str) -> bool {
    let is_text = file.ends_with(".rs") || file.ends_with(".md");
    let excluded = [GLOSSARY, "CHANGELOG.md", "crates/harness/tests/house/words.rs"];
    is_text && !excluded.contains(&file)
}

fn is_exempt(word: &str, file: &str) -> bool {
    EXEMPT.iter().any(|(exempt, folder, _)| *exempt == word && file.starts_with(folder))
}

/// The words and phrases of the glossary's third column.
#[derive(Default)]
struct Retired {
    /// Phrases to search for in all text, by each form of their first word.
    phrases: HashMap<String, Vec<Phrase>>,
    /// Words to search for among the names of types and modules.
    ordinary: BTreeSet<String>,
}

#[derive(Clone)]
struct Phrase {
    text: String,
    /// The forms of its words after the first one.
    others: Vec<BTreeSet<String>>,
}

impl Retired {
    fn add(&mut self, phrase: &str) {
        if ORDINARY.contains(&phrase) {
            self.ordinary.insert(phrase.to_owned());
            return;
        }
        let mut words = phrase.split(' ').map(forms);
        let first = words.next().unwrap_or_default();
        let phrase = Phrase { text: phrase.to_owned(), others: words.collect() };
        for form in first {
            self.phrases.entry(form).or_default().push(phrase.clone());
        }
    }

    /// Returns the ordinary word that `name` is, or of which it is the plural.
    fn as_name(&self, name: &str) -> Option<&str> {
        let name = name.to_lowercase();
        let singular = name.strip_suffix('s').unwrap_or(&name);
        self.ordinary.get(&name).or_else(|| self.ordinary.get(singular)).map(String::as_str)
    }
}

/// Reads the glossary's third column. A remark in parentheses is for readers.
fn retired(glossary: &str) -> Retired {
    let rows = glossary.lines().filter(|line| line.starts_with('|') && !line.starts_with("|-"));
    let cells = rows.filter_map(|row| row.trim_matches('|').split('|').nth(2));
    let phrases: BTreeSet<String> = cells
        .flat_map(|cell| cell.split(','))
        .map(|word| word.split('(').next().unwrap_or_default().trim().to_lowercase())
        .filter(|word| !word.is_empty() && word != "retired")
        .collect();
    let mut retired = Retired::default();
    phrases.iter().for_each(|phrase| retired.add(phrase));
    retired
}

/// Returns the retired phrases in a line, in any form.
fn mentioned<'a>(line: &str, retired: &'a Retired) -> Vec<&'a str> {
    let words = words(line);
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        for Phrase { text, others } in retired.phrases.get(word).into_iter().flatten() {
            let rest = &words[at + 1..];
            let follow = others.iter().zip(rest).all(|(forms, word)| forms.contains(word));
            if rest.len() >= others.len() && follow && !found.contains(&text.as_str()) {
                found.push(text.as_str());
            }
        }
    }
    found
}

fn forms(word: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::from([word.to_owned()]);
    match IRREGULAR.iter().find(|(irregular, _)| *irregular == word) {
        Some((_, others)) => forms.extend(others.iter().map(|form| (*form).to_owned())),
        None => forms.extend(["s", "ed", "ing"].map(|end| format!("{word}{end}"))),
    }
    forms
}

/// Returns the types, traits and modules that a line of code declares.
fn declared(line: &str) -> impl Iterator<Item = &str> {
    const DECLARING: [&str; 6] = ["struct", "enum", "union", "trait", "type", "mod"];
    let code = line.split("//").next().unwrap_or_default();
    let names =
        code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|name| !name.is_empty());
    names
        .clone()
        .zip(names.skip(1))
        .filter(|(word, _)| DECLARING.contains(word))
        .map(|(_, name)| name)
}

/// Returns the words of a line in lower case; names are divided at `_` and at capital letters.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut after_small = false;
    for c in line.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && after_small) {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        after_small = c.is_lowercase() || c.is_ascii_digit();
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// Returns the number of offenders in each crate, and in the documents.
fn per_part<'a>(offenders: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for offender in offenders {
        *counts.entry(part(offender)).or_default() += 1;
    }
    let counts: Vec<String> =
        counts.iter().map(|(part, count)| format!("{part} {count}")).collect();
    counts.join(", ")
}

/// Returns the crate of a file, by its folder's name, or `documents`.
fn part(file: &str) -> String {
    let mut folders = file.split('/');
    match (folders.next(), folders.next()) {
        (Some("crates" | "examples"), Some(name)) => name.to_owned(),
        _ => "documents".to_owned(),
    }
}

#[test]
fn retired_column_parsed() {
    let page = "| term | meaning | retired |\n|---|---|---|\n| **a** | b, c | mark (of a tier), d e |\n\
                | **f** | g | |\n";
    let retired = retired(page);
    assert_eq!(retired.ordinary, BTreeSet::from(["mark".to_owned()]));
    assert_eq!(mentioned("a d e f g", &retired), ["d e"]);
    assert!(mentioned("b c d retired of a tier", &retired).is_empty());
}

#[test]
fn retired_words_found_in_all_forms() {
    let mentions = |line: &str, phrase: &str| {
        let mut retired = Retired::default();
        retired.add(phrase);
        mentioned(line, &retired) == [phrase]
    };
    let phrase = "begin anew";
    for line in ["It begins anew.", "fn begin_anew()", "struct BeginAnew;", "`began_anew_total`"] {
        assert!(mentions(line, phrase), "{line}");
    }
    for line in ["beginning of a new epoch", "begin\", \"to anew"] {
        assert!(!mentions(line, phrase), "{line}");
    }
    assert!(mentions("let HttpFlag = flagged;", "flag"));
    assert!(!mentions("a flagship, camouflage", "flag"));
}

#[test]
fn ordinary_words_found_as_names_only() {
    let mut retired = Retired::default();
    retired.add("mark");
    let declares = |line: &str| declared(line).any(|name| retired.as_name(name).is_some());
    for line in ["pub(super) struct Mark {", "mod marks;", "type Mark = u8;", "enum Marks<T> {"] {
        assert!(declares(line), "{line}");
    }
    for line in ["struct Market;", "// struct Mark", "fn mark()", "struct BookMark;", "mark: Mark,"]
    {
        assert!(!declares(line), "{line}");
    }
}
