//! Rules about keys, tags and the statement of a value.

use crate::lint::finding::Severity::{Error, Info, Warning};
use crate::lint::review::Review;
use crate::lint::sql::{Outline, clock_in, is_volatile};
use crate::model::contract::Contract;
use crate::naming::id::IdKind;
use crate::naming::table::without_default_schema;

/// Placeholders whose values users usually type, or that identify users.
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

pub(super) fn check(review: &mut Review<'_>) {
    check_user_input(review);
    check_page_tags(review);
    check_replica_identity(review);
    check_statement(review);
}

fn check_user_input(review: &mut Review<'_>) {
    let contract = review.contract;
    for name in contract.key.placeholders() {
        // Values that look like one of these are refused at run time, hashed or not.
        let fix = if matches!(name, "email" | "mail" | "phone" | "token") {
            "use an internal id instead".to_owned()
        } else {
            format!("write `{{{name}|hash}}`")
        };
        if USER_INPUT.contains(&name) && !contract.key.is_hashed(name) {
            review.add(
                (Warning, "user-input-in-key"),
                "key",
                format!("`{{{name}}}` looks like user input, and the key contains it unchanged"),
                "keys appear in logs, monitors and support tickets, and the user who chooses the text \
                 chooses the key",
                fix,
            );
        }
    }
}

/// Reports page tags that entries carry too, and page tags that nothing raises.
fn check_page_tags(review: &mut Review<'_>) {
    let contract = review.contract;
    let both = contract.page_tags.iter().find(|tag| contract.tags.contains(tag));
    if let Some(tag) = both {
        review.add(
            (Warning, "page-tag-on-entries"),
            "page_tags",
            format!("`{}` is in `tags` too", tag.as_str()),
            "every change of the row raises it, so `columns` saves the entries of this contract nothing",
            "give pages a tag of their own, such as `row-{id}`, or remove it from `tags`",
        );
    }
    if contract.from.is_none() && !contract.page_tags.is_empty() {
        review.add(
            (Error, "page-tags-without-from"),
            "page_tags",
            "the contract has no `from`, so no change raises its page tags",
            "pages with such a tag would never be invalidated",
            "add `from`, or remove `page_tags`",
        );
    }
}

/// Reports tags that need the old value of a column outside the key. PostgreSQL logs it only under REPLICA
/// IDENTITY FULL.
fn check_replica_identity(review: &mut Review<'_>) {
    let contract = review.contract;
    let Some(from) = &contract.from else { return };
    check_joined_identity(review);
    let unlogged = contract.columns_outside_identity(&contract.key_columns());
    if unlogged.is_empty() {
        return;
    }
    let columns = unlogged.join("`, `");
    review.add(
        (Info, "replica-identity"),
        "tags",
        format!(
            "tags are made from `{columns}`, whose old value PostgreSQL logs only under REPLICA \
             IDENTITY FULL"
        ),
        format!(
            "when `{columns}` changes, the tag with the old value is unknown, so entries with that tag \
             (the listing that the row has left) would stay until their TTL ends"
        ),
        format!(
            "on PostgreSQL run `ALTER TABLE {} REPLICA IDENTITY FULL;` (SQLite needs no change)",
            from.table
        ),
    );
}

/// Reports joined tables whose rows name their entries by columns outside of a key. PostgreSQL logs the old value
/// only under REPLICA IDENTITY FULL, and a start checks it.
fn check_joined_identity(review: &mut Review<'_>) {
    let contract = review.contract;
    for mapping in contract.table_mappings().filter(|mapping| !mapping.is_own()) {
        let columns = mapping.key_columns();
        if columns.is_empty() {
            continue;
        }
        let (columns, table) = (columns.join("`, `"), &mapping.origin().table);
        review.add(
            (Info, "joined-replica-identity"),
            "from",
            format!("rows of `{table}` name their entries by `{columns}`"),
            "when it changes, the entries under the old value change too; PostgreSQL logs the old value only if it is \
             part of the primary key, or under REPLICA IDENTITY FULL",
            format!(
                "on PostgreSQL run `ALTER TABLE {table} REPLICA IDENTITY FULL;` unless it is part of the primary key"
            ),
        );
    }
}

fn check_statement(review: &mut Review<'_>) {
    let contract = review.contract;
    let Some(sql) = &contract.value else { return };
    let outline = Outline::of(sql);
    if !outline.is_query() {
        review.add(
            (Error, "value-not-select"),
            "value",
            "the statement does not look like a SELECT",
            "a value may be loaded at any time and more than once, so a load must not change data",
            "start with `select` (or `with … select`), and do not write",
        );
    }
    if outline.has_semicolon {
        review.add(
            (Error, "value-semicolon"),
            "value",
            "the statement has a `;`",
            "a value is one statement, so that all of it reads one snapshot; a second statement could \
             not be fenced",
            "remove the `;` and the text after it",
        );
    }
    check_parameters(review, &outline);
    check_clock(review, &outline);
    if let Some(name) = outline.words().find(|word| is_volatile(word)) {
        review.add(
            (Warning, "value-not-from-rows"),
            "value",
            format!("the value depends on `{name}`, which changes without a commit"),
            "freshness is proven from the commit log; a value that changes without a commit is never \
             invalidated",
            "select the stored columns, and compute the rest in the application",
        );
    }
    check_other_tables(review, &outline);
    check_row_of_variant(review, &outline);
    check_unwatched_columns(review, &outline);
}

/// Reports a value that reads the clock without `changes_at`, and a `changes_at` that is no query.
fn check_clock(review: &mut Review<'_>, outline: &Outline) {
    let Some(changes) = &review.contract.changes_at else {
        let value = review.contract.value.as_deref().unwrap_or_default();
        if let Some(name) = clock_in(value, outline) {
            review.add(
                (Warning, "value-by-the-clock"),
                "value",
                format!("the value depends on `{name}`, which changes without a commit"),
                "freshness is proven from the commit log; the log has no event at the time when a sale begins or a day ends, \
                 so the old value would stay until its TTL ends",
                "say in `changes_at` when the value changes next, such as `select valid_from, valid_until from prices where \
                 product_id = $id`, or select the stored columns and compare them with the time in the application",
            );
        }
        return;
    };
    let changes = Outline::of(changes);
    if !changes.is_query() || changes.has_semicolon {
        review.add(
            (Error, "changes-not-select"),
            "changes_at",
            "the statement does not look like one SELECT",
            "it is read together with the value, in the same snapshot, and must not change data",
            "write one `select` of the columns with the times, such as `select valid_from, valid_until from prices where \
             product_id = $id`",
        );
    }
}

fn check_parameters(review: &mut Review<'_>, outline: &Outline) {
    let contract = review.contract;
    if !outline.parameters.iter().any(|name| name == "id") {
        review.add(
            (Error, "value-without-id"),
            "value",
            "the statement does not use `$id`",
            "every entry would be loaded from the same rows, so a read of one product's price would \
             return another's",
            "select by the id, for example `where id = $id`",
        );
    }
    let variants = contract.key.variants();
    for name in variants.iter().filter(|name| !outline.parameters.iter().any(|p| p == *name)) {
        review.add(
            (Warning, "value-without-variant"),
            "value",
            format!(
                "the statement does not use `${name}`, a variant of the key `{}`",
                contract.key
            ),
            "all variants of an id are loaded from the same rows, and each is stored by itself",
            format!("select by it, for example `and {name} = ${name}`, or remove it from the key"),
        );
    }
    let is_known = |name: &String| name == "id" || variants.contains(&name.as_str());
    for name in outline.parameters.iter().filter(|name| !is_known(name)) {
        if name == "tenant" {
            review.add(
                (Error, "value-tenant-parameter"),
                "value",
                "`$tenant` can't be used in a statement",
                "`{tenant}` is a column of the row, and readers of the data API do not give it",
                "make the id unique among all tenants, or write a variant, such as `{shop}` and `$shop`",
            );
            continue;
        }
        review.add(
            (Error, "value-unknown-parameter"),
            "value",
            format!("`${name}` is not part of the key `{}`", contract.key),
            "two values that differ in a parameter outside the key would share one entry",
            format!(
                "use `$id`, or make it part of the key: `{}:{{{}}}`",
                contract.key,
                placeholder_name(name)
            ),
        );
    }
}

fn placeholder_name(name: &str) -> &str {
    if name.starts_with(|c: char| c.is_ascii_digit()) { "variant" } else { name }
}

/// Reports selected columns that are not in `from.columns`: an update of one of them is ignored.
fn check_unwatched_columns(review: &mut Review<'_>, outline: &Outline) {
    let contract = review.contract;
    let tables = || contract.table_mappings().map(|table| table.watched_columns());
    // All columns of a table without `columns` count.
    if tables().any(|watched| watched.is_empty()) {
        return;
    }
    let watched: Vec<String> = tables().flatten().map(str::to_ascii_lowercase).collect();
    // The times of `changes_at` end an entry as the value's columns do.
    let changes = contract.changes_at.as_deref().map(Outline::of).unwrap_or_default();
    let missed: Vec<&str> = outline
        .selected
        .iter()
        .chain(&changes.selected)
        .map(String::as_str)
        .filter(|column| !watched.iter().any(|known| known == column))
        .collect();
    // With a table that no mapping follows, a column may be of that one.
    if missed.is_empty()
        || [outline, &changes].iter().any(|one| !unfollowed_tables(contract, one).is_empty())
    {
        return;
    }
    review.add(
        (Error, "value-column-not-watched"),
        "from.columns",
        format!("the value selects `{}`, which `from.columns` leaves out", missed.join("`, `")),
        "an update that provably changes only columns outside the list invalidates nothing: the old \
         value would stay, and the bound would claim that it is fresh",
        "add it to `columns`, or remove `columns` so that every change counts",
    );
}

/// Returns the tables of a contract as the outline of a statement has names: without quotes.
fn followed_tables(contract: &Contract) -> Vec<String> {
    let name = |table: &str| without_default_schema(table).to_lowercase().replace('"', "");
    contract.origins().map(|from| name(&from.table)).collect()
}

/// Returns the tables that the statement reads and whose changes invalidate nothing.
fn unfollowed_tables<'o>(contract: &Contract, outline: &'o Outline) -> Vec<&'o str> {
    let followed = followed_tables(contract);
    let tables = outline.tables.iter().map(|table| without_default_schema(table));
    tables.filter(|table| !followed.iter().any(|known| known == table)).collect()
}

/// Reports columns of variants that the statement does not compare with the variant: another row may be in the value.
fn check_row_of_variant(review: &mut Review<'_>, outline: &Outline) {
    let contract = review.contract;
    let Some(from) = &contract.from else { return };
    for (name, column) in contract.key.variants().into_iter().zip(&from.variants) {
        if !outline.selects_by(column, name) {
            review.add(
                (Warning, "variant-not-of-row"),
                "from.key",
                format!("the statement has no condition `{column} = ${name}`"),
                "a row of this table invalidates the entry of its own variant only, so a value that other rows may be \
                 part of would stay old",
                format!("add the condition, or write `key = \"{}\"`, so that a row invalidates all variants", from.key),
            );
        }
    }
}

fn check_other_tables(review: &mut Review<'_>, outline: &Outline) {
    let contract = review.contract;
    let Some(from) = &contract.from else { return };
    let others = unfollowed_tables(contract, outline);
    if !others.is_empty() {
        let list = others.join("`, `");
        review.add(
            (Warning, "value-reads-other-tables"),
            "value",
            format!(
                "the value also reads `{list}`, but only changes of `{}` invalidate it",
                followed_tables(contract).join("`, `")
            ),
            "a commit that changes only the other table is missing in the answer until the TTL ends, \
             although the bound claims that it is included",
            format!(
                "list all tables in `from = [{{ source = \"{}\", table = \"{}\" }}, {{ table = \"{}\", key = \"…\" }}]`, each \
                 with the column of the key; where a row does not have it, with `tags` that entries carry, or with \
                 `entries = \"all\"`",
                from.source, from.table, others[0]
            ),
        );
    }
    let compares_text =
        outline.words().any(|word| word == "lower" || word == "upper" || word == "ilike");
    if compares_text && contract.id != IdKind::Integer && contract.id != IdKind::Uuid {
        review.add(
            (Warning, "value-folds-case"),
            "value",
            "the statement ignores the case of letters",
            "`ABC` and `abc` would be two entries of one row, and a change to it invalidates only the \
             entry whose id has the same case as the table",
            "compare the id exactly, and fold its case in the application",
        );
    }
}
