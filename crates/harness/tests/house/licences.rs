//! All dependencies, also of builds and tests, have a licence under which Tidegate can ship under
//! Apache-2.0 with no other duty than a notice.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use crate::{
    assert_none,
    metadata::{members, packages, text},
};

/// Returns the SPDX names in `deny.toml`, the list that cargo-deny reads too.
fn allowed() -> &'static BTreeSet<&'static str> {
    static ALLOWED: OnceLock<BTreeSet<&'static str>> = OnceLock::new();
    ALLOWED.get_or_init(|| {
        let licences = crate::read("deny.toml").split_once("\nallow = [\n");
        let (list, _) = licences.and_then(|(_, rest)| rest.split_once("\n]")).expect("a list");
        list.lines().map(|line| line.trim().trim_matches(['"', ','])).collect()
    })
}

#[test]
fn dependency_licences_allowed() {
    let offender = |package: &serde_json::Value| {
        let licence = text(package, "license");
        let name = format!("{} {}", text(package, "name"), text(package, "version"));
        match accepts(licence) {
            Some(true) => None,
            Some(false) => Some(format!("{name}: {licence}")),
            None => Some(format!("{name}: no SPDX expression: {licence:?}")),
        }
    };
    let offenders: Vec<String> = packages().iter().filter_map(offender).collect();
    assert_none(&offenders, "licences that are not allowed");
}

#[test]
fn own_crates_under_apache() {
    let offenders: Vec<String> = members()
        .into_iter()
        .filter(|member| text(member, "license") != "Apache-2.0")
        .map(|member| text(member, "name").to_owned())
        .collect();
    assert_none(&offenders, "own crates without `license.workspace = true`");
    assert!(
        crate::read("LICENSE").contains("Apache License\n                           Version 2.0")
    );
}

#[test]
fn licence_expressions_parsed() {
    assert_eq!(accepts("MIT"), Some(true));
    assert_eq!(accepts("GPL-3.0-only"), Some(false));
    assert_eq!(accepts("GPL-3.0-only OR MIT"), Some(true));
    assert_eq!(accepts("MIT/Apache-2.0"), Some(true));
    assert_eq!(accepts("(MIT OR GPL-2.0) AND Unicode-3.0"), Some(true));
    assert_eq!(accepts("MIT AND (GPL-2.0 OR LGPL-2.1)"), Some(false));
    assert_eq!(accepts("GPL-2.0 OR MIT AND ISC"), Some(true));
    assert_eq!(accepts("Apache-2.0 WITH LLVM-exception OR GPL-2.0"), Some(true));
    assert_eq!(accepts("GPL-2.0 WITH Classpath-exception-2.0"), Some(false));
    for broken in ["", "MIT OR", "(MIT", "MIT ISC", "OR MIT"] {
        assert_eq!(accepts(broken), None, "{broken}");
    }
}

/// Returns whether at least one choice of the expression is allowed; `None` if it can't be parsed.
fn accepts(expression: &str) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut left = words.as_slice();
    let accepted = any(&mut left)?;
    left.is_empty().then_some(accepted)
}

fn any(left: &mut &[&str]) -> Option<bool> {
    let mut accepted = all(left)?;
    while take(left, "OR") {
        accepted |= all(left)?;
    }
    Some(accepted)
}

fn all(left: &mut &[&str]) -> Option<bool> {
    let mut accepted = one(left)?;
    while take(left, "AND") {
        accepted &= one(left)?;
    }
    Some(accepted)
}

fn one(left: &mut &[&str]) -> Option<bool> {
    if take(left, "(") {
        let accepted = any(left)?;
        return take(left, ")").then_some(accepted);
    }
    let name = word(left)?;
    let name = match take(left, "WITH") {
        true => format!("{name} WITH {}", word(left)?),
        false => name.to_owned(),
    };
    Some(allowed().contains(name.as_str()))
}

fn word<'a>(left: &mut &[&'a str]) -> Option<&'a str> {
    let (first, rest) = left.split_first()?;
    let is_name = !["OR", "AND", "WITH", "(", ")"].contains(first);
    is_name.then(|| {
        *left = rest;
        *first
    })
}

fn take(left: &mut &[&str], word: &str) -> bool {
    let found = left.first() == Some(&word);
    if found {
        *left = &left[1..];
    }
    found
}
