//! Parser of `from`: the table of a contract, and the tables that are joined with it.

use crate::config::TableReader;
use crate::model::contract::{Contract, JoinedEntries, JoinedTable, Origin};
use crate::naming::table::{split_table_name, table_name};
use crate::naming::tag::TagTemplate;
use crate::section::reference::keys_of;

const TAG: &str = "a tag looks like \"currency-{code}\"";

/// The words for `entries`.
const ENTRIES: [(&str, ()); 1] = [("all", ())];

/// Reads `from`: a table, or a list of tables of which the first one is the contract's own.
pub(super) fn read(table: &mut TableReader<'_>) -> (Option<Origin>, Vec<JoinedTable>) {
    let mut own: Option<Origin> = None;
    let mut is_first = true;
    let joins = table.table_or_tables("from", &keys_of("from"), |from| {
        if std::mem::take(&mut is_first) {
            own = read_own(from);
            return None;
        }
        read_joined(from, own.as_ref().map_or("", |own| &own.source))
    });
    (own, joins)
}

fn read_own(from: &mut TableReader<'_>) -> Option<Origin> {
    const SOURCE: &str = "name a source, `shop` for `[source.shop]`";
    let source = from.required("source", "wrong-value", SOURCE, not_blank);
    let _: Vec<TagTemplate> = from.list("tags", TAG, TagTemplate::parse);
    let _ = from.choice("entries", &ENTRIES);
    for key in ["tags", "entries"] {
        if from.has(key) {
            let message = "is for the tables after the first one";
            let help = "remove it; entries have the key that rows of the first table have";
            from.problem("joined-only", key, message, help);
        }
    }
    let origin = read_table(from, source.clone().unwrap_or_default());
    source.and(origin)
}

fn read_joined(from: &mut TableReader<'_>, own_source: &str) -> Option<JoinedTable> {
    let source = from.text("source").unwrap_or(own_source).to_owned();
    if source != own_source {
        let message = format!("`{source}` is another source than that of the first table");
        let help = "load it in a contract of its own: a value is one statement of one database";
        from.problem("joined-source", "source", message, help);
    }
    let tags = from.list("tags", TAG, TagTemplate::parse);
    let is_all = from.choice("entries", &ENTRIES).is_some();
    let ways = [from.has("key"), from.has("tags"), from.has("entries")];
    if ways.into_iter().filter(|way| *way).count() != 1 {
        let message =
            "has to say by one of `key`, `tags` and `entries` which entries its rows are part of";
        let help = "write `key = \"product_id\"` if a row has the id of the entry; `tags = [\"currency-{code}\"]` if \
                    entries carry the tag, made of a column of the first table; else `entries = \"all\"`";
        from.problem("joined-entries", "", message, help);
    }
    let origin = read_table(from, source)?;
    let entries = match (is_all, tags.is_empty()) {
        (true, _) => JoinedEntries::All,
        (false, true) => JoinedEntries::OfKey,
        (false, false) => JoinedEntries::Tagged(tags),
    };
    Some(JoinedTable { origin, entries })
}

fn read_table(from: &mut TableReader<'_>, source: String) -> Option<Origin> {
    let table = from.required("table", "wrong-value", "name a table", not_blank);
    // One text for each table, however it is quoted.
    let table = table.map(|table: String| {
        let (schema, table) = split_table_name(&table);
        table_name(schema.as_deref(), &table)
    });
    let mut keys = from.text_or_list("key", "name a column").into_iter();
    let key = keys.next().unwrap_or_else(|| "id".to_owned());
    let tenant = from.text("tenant").unwrap_or("tenant").to_owned();
    let columns = from.list("columns", "name a column", not_blank);
    Some(Origin { source, table: table?, key, variants: keys.collect(), tenant, columns })
}

/// Checks the tables against the key and the tags of the contract.
pub(super) fn check(contract: &Contract, table: &mut TableReader<'_>) {
    let names = contract.key.variants();
    let number =
        |at: usize| if contract.joins.is_empty() { String::new() } else { format!("[{at}]") };
    for (at, origin) in contract.origins().enumerate() {
        let Some(column) = origin.variants.get(names.len()) else { continue };
        let message = format!(
            "`{column}` is a column for a variant, and the key `{}` has {} of them",
            contract.key,
            names.len()
        );
        let help =
            format!("make it part of the key, `{}:{{{column}}}`, or leave it out", contract.key);
        table.problem("key-without-variant", &format!("from{}.key", number(at)), message, help);
    }
    for (at, joined) in contract.joins.iter().enumerate() {
        let JoinedEntries::Tagged(tags) = &joined.entries else { continue };
        let is_carried = |tag: &&TagTemplate| contract.tags.iter().any(|own| own.has_form_of(tag));
        for tag in tags.iter().filter(|tag| !is_carried(tag)) {
            let message = format!("no entry carries a tag such as `{}`", tag.as_str());
            let help = format!(
                "add it to the contract's `tags`, with the column of `{}` in the place of the placeholder",
                contract.from.as_ref().map_or("", |from| &from.table)
            );
            table.problem("joined-tag", &format!("from{}.tags", number(at + 1)), message, help);
        }
    }
}

fn not_blank(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("it is empty") } else { Ok(text.to_owned()) }
}
