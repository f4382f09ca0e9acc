//! Keys, tags and the statement behind a value.

use super::sql::{Outline, is_volatile};
use super::{Report, Severity::Error, Severity::Info, Severity::Warning};
use crate::affected::bare;
use crate::contract::IdKind;

/// Placeholders that are usually typed by a user or say who the user is.
const USER_INPUT: [&str; 22] = [
    "address",
    "cookie",
    "email",
    "filter",
    "input",
    "ip",
    "keyword",
    "mail",
    "name",
    "path",
    "phone",
    "q",
    "query",
    "search",
    "session",
    "session_id",
    "term",
    "text",
    "token",
    "url",
    "user_agent",
    "username",
];

pub(super) fn check(report: &mut Report<'_>) {
    user_input(report);
    replica_identity(report);
    statement(report);
}

fn user_input(report: &mut Report<'_>) {
    let contract = report.contract;
    for name in contract.key.placeholders() {
        // Look-alikes of these are refused at run time, hashed or not.
        let fix = if matches!(name, "email" | "mail" | "phone" | "token") {
            "use an internal id in its place".to_owned()
        } else {
            format!("write `{{{name}|hash}}`")
        };
        if USER_INPUT.contains(&name) && !contract.key.is_hashed(name) {
            report.add(
                (Warning, "user-input-in-key"),
                "key",
                format!("`{{{name}}}` looks like something a user typed or is known by, and goes into the key as it is"),
                "keys show up in logs, monitors and support tickets; and whoever chooses the text \
                 chooses the key",
                fix,
            );
        }
    }
}

/// PostgreSQL tells the old value of a column only under REPLICA IDENTITY FULL, unless it is part of
/// the key.
fn replica_identity(report: &mut Report<'_>) {
    let contract = report.contract;
    let Some(from) = &contract.from else { return };
    let beyond = contract.beyond_identity(&contract.key_columns());
    if beyond.is_empty() {
        return;
    }
    let columns = beyond.join("`, `");
    report.add(
        (Info, "replica-identity"),
        "tags",
        format!("tags are made from `{columns}`, which PostgreSQL logs of the old row only under REPLICA IDENTITY FULL"),
        format!(
            "when `{columns}` changes, what was tagged with the old value (the listing that the row \
             has left) could not be named, and would stay until its lifetime ends"
        ),
        format!("on PostgreSQL run `ALTER TABLE {} REPLICA IDENTITY FULL;` (SQLite needs nothing)", from.table),
    );
}

fn statement(report: &mut Report<'_>) {
    let contract = report.contract;
    let Some(sql) = &contract.value else { return };
    let outline = Outline::of(sql);
    if !outline.is_query() {
        report.add(
            (Error, "value-not-select"),
            "value",
            "this does not look like a SELECT",
            "a value is loaded whenever an entry is missing, early or twice: loading must change \
             nothing",
            "start with `select` (or `with … select`), and write nothing",
        );
    }
    if outline.has_semicolon {
        report.add(
            (Error, "value-semicolon"),
            "value",
            "the statement has a `;`",
            "a value is one statement, so that all of it sees one snapshot; a second one could not \
             be fenced",
            "remove the `;`, and what follows it",
        );
    }
    parameters(report, &outline);
    if let Some(name) = outline.words().find(|word| is_volatile(word)) {
        report.add(
            (Warning, "value-not-from-rows"),
            "value",
            format!("the value depends on `{name}`, which changes without a commit"),
            "freshness is proven from the commit log; what no commit changes, none can invalidate",
            "select the stored columns and do the rest where the answer is used",
        );
    }
    other_tables(report, &outline);
    unwatched_columns(report, &outline);
}

fn parameters(report: &mut Report<'_>, outline: &Outline) {
    let contract = report.contract;
    if !outline.parameters.iter().any(|name| name == "id") {
        report.add(
            (Error, "value-without-id"),
            "value",
            "the statement does not use `$id`",
            "every entry would be loaded with the same rows, so one product's price would answer \
             for another",
            "select by it, for example `where id = $id`",
        );
    }
    let known = contract.key.placeholders();
    for name in outline.parameters.iter().filter(|name| !known.contains(&name.as_str())) {
        report.add(
            (Error, "value-unknown-parameter"),
            "value",
            format!("`${name}` is no part of the key `{}`", contract.key),
            "two values that differ in something the key does not say would share one entry",
            format!(
                "use `$id`, or make it part of the key: `{}:{{{}}}`",
                contract.key,
                plain(name)
            ),
        );
    }
}

fn plain(name: &str) -> &str {
    if name.starts_with(|c: char| c.is_ascii_digit()) { "variant" } else { name }
}

/// With `from.columns`, an update of any other column is taken for no news.
fn unwatched_columns(report: &mut Report<'_>, outline: &Outline) {
    let contract = report.contract;
    let watched: Vec<String> =
        contract.watched_columns().into_iter().map(str::to_ascii_lowercase).collect();
    let missed: Vec<&str> = outline
        .selected
        .iter()
        .map(String::as_str)
        .filter(|column| !watched.iter().any(|known| known == column))
        .collect();
    // Without `from.columns` nothing is watched, because any column counts.
    if watched.is_empty() || missed.is_empty() || outline.joins() {
        return;
    }
    report.add(
        (Error, "value-column-not-watched"),
        "from.columns",
        format!("the value selects `{}`, which `from.columns` leaves out", missed.join("`, `")),
        "an update that is known to change only columns outside the list invalidates nothing: the \
         old value would stay, and the bound would call it fresh",
        "add it to `columns`, or leave `columns` out so that any change counts",
    );
}

fn other_tables(report: &mut Report<'_>, outline: &Outline) {
    let contract = report.contract;
    let Some(from) = &contract.from else { return };
    let own = bare(&from.table).to_ascii_lowercase();
    let others: Vec<&str> =
        outline.tables.iter().map(|table| bare(table)).filter(|table| *table != own).collect();
    if !others.is_empty() {
        let list = others.join("`, `");
        report.add(
            (Warning, "value-reads-other-tables"),
            "value",
            format!("the value is also made from `{list}`, but only changes of `{}` invalidate it", from.table),
            "a commit that changes only the other table is not in the answer until the lifetime ends, \
             and the bound would claim it is",
            "load it in a contract of its own, or raise a tag of this contract from a contract over \
             the other table",
        );
    }
    let compares_text =
        outline.words().any(|word| word == "lower" || word == "upper" || word == "ilike");
    if compares_text && contract.id != IdKind::Integer && contract.id != IdKind::Uuid {
        report.add(
            (Warning, "value-folds-case"),
            "value",
            "the statement ignores upper and lower case",
            "`ABC` and `abc` would be two entries of one row, and a change to it invalidates only the \
             one that is written as in the table",
            "compare the id as it is, and fold its case before asking",
        );
    }
}
