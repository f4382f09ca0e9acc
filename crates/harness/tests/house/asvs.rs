//! The table of the Application Security Verification Standard names evidence that exists.

use crate::promises::{exists, functions, quoted, rows};
use crate::{assert_none, read, root};

/// The states of a requirement.
const STATES: [&str; 3] = ["met", "partly", "open"];

#[test]
fn requirements_name_existing_evidence() {
    let page = read("docs/asvs.md");
    let (applies, others) =
        page.split_once("## Requirements that do not apply").expect("a section of the others");
    let functions = functions();
    let mut offenders = Vec::new();
    for row in rows(applies) {
        let [requirement, state, answer, evidence] = row.as_slice() else {
            offenders.push(format!("{row:?}: requirement, state, answer and evidence"));
            continue;
        };
        if !STATES.contains(&state.as_str()) || answer.is_empty() {
            offenders.push(format!("{requirement}: {state:?} is none of {STATES:?}"));
        }
        let named = quoted(evidence);
        if named.is_empty() {
            offenders.push(format!("{requirement}: names no evidence"));
        }
        let is_there = |name: &String| exists(name, &functions) || root().join(name).exists();
        let missing = named.iter().filter(|name| !is_there(name));
        offenders.extend(missing.map(|name| format!("{requirement}: there is no {name}")));
    }
    let unexplained = rows(others).into_iter().filter(|row| row.len() != 2 || row[1].len() < 10);
    offenders.extend(unexplained.map(|row| format!("{}: has no reason", row[0])));
    assert_none(&offenders, "requirements in docs/asvs.md");
}
