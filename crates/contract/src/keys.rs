//! Every configuration key of a contract, in one table: the parser knows a key by it, the message
//! about a misspelt one is made from it, and so is the reference page.

use serde::Serialize;

use crate::preset::presets;

/// One configuration key of `[data.<name>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KeyDoc {
    /// The key, with dots for tables inside: `from.table`.
    pub key: &'static str,
    /// What a value looks like.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What holds when the key is left out and no preset sets it.
    pub default: &'static str,
    /// The unit, or empty.
    pub unit: &'static str,
    /// What it means.
    pub doc: &'static str,
}

const fn key(
    key: &'static str,
    kind: &'static str,
    default: &'static str,
    unit: &'static str,
    doc: &'static str,
) -> KeyDoc {
    KeyDoc { key, kind, default, unit, doc }
}

const DURATION: &str = "text such as \"30s\", \"5min\", \"24h\"";

static KEYS: &[KeyDoc] = &[
    key(
        "preset",
        "name of a preset",
        "none",
        "",
        "Start from these budgets; keys given here win over it.",
    ),
    key(
        "key",
        "template",
        "required",
        "",
        "How keys are made: `v{n}:{service}:{entity}:{id}[:{variant}]`. `{id}` is required; `{tenant}` comes from the row; any other placeholder is a variant that readers name. `{query|hash}` always hashes. Raise the version when the format of the value changes.",
    ),
    key(
        "id",
        "\"auto\", \"integer\", \"uuid\" or \"text\"",
        "\"auto\"",
        "",
        "How ids are written. With \"auto\", an id that a database could read as a number or UUID must be written as the database writes it (`42`, not `042`), since a change to row 42 invalidates only that key.",
    ),
    key(
        "value",
        "SQL, or a table",
        "none",
        "",
        "The SELECT that loads one value; `$id` stands for the id. Its columns become the fields of the answer. Or the [service](origins.md#services) that gives it, `{ http = \"http://pricing:8080/prices/{id}\" }`.",
    ),
    key(
        "value.http",
        "address with `{id}`",
        "required in the table",
        "",
        "Where the service gives one value. `{id}` stands in the path or the query and is percent-encoded.",
    ),
    key(
        "value.timeout",
        "text such as \"2s\", up to 60s",
        "\"2s\"",
        "time",
        "How long one request may take, to the last byte. `load_timeout` of the source holds too.",
    ),
    key(
        "value.connections",
        "whole number, 1 to 1024",
        "32",
        "requests",
        "The most requests under way at once from one process, those of batches among them.",
    ),
    key(
        "value.types",
        "list of media types",
        "[\"application/json\"]",
        "",
        "What may be a value. JSON is checked; other types are passed through, with their type, and can't be part of a batch.",
    ),
    key(
        "value.max_body",
        "text such as \"4MiB\", or a number",
        "\"4MiB\"",
        "bytes",
        "The largest body that is read; a larger one is an error of the service. `max_size` says what is stored.",
    ),
    key(
        "value.headers",
        "list of \"Name: value\"",
        "none",
        "",
        "Constant request headers. `\"Authorization: $PRICING_TOKEN\"` takes the value from the environment, so that contracts hold no secrets.",
    ),
    key(
        "lag",
        "text such as \"200ms\", up to 10s",
        "0s",
        "time",
        "How far a service or function may lag behind its database (a standby, a cache of its own). Fills are held back for so long after a commit has become visible, and the bound of its answers begins so much earlier.",
    ),
    key(
        "from",
        "table",
        "none",
        "",
        "Whose row changes invalidate the entries. Without it only lifetimes and explicit calls do.",
    ),
    key("from.source", "name", "required", "", "The source, `shop` for `[source.shop]`."),
    key(
        "from.table",
        "name",
        "required",
        "",
        "The table, `schema.table` or bare for the schema public.",
    ),
    key("from.key", "column", "\"id\"", "", "The column that is the `{id}` of keys and tags."),
    key(
        "from.tenant",
        "column",
        "\"tenant\"",
        "",
        "The column that is the `{tenant}`, where the key has one.",
    ),
    key(
        "from.columns",
        "list of columns",
        "any column",
        "",
        "The columns the value is made of. An update known to leave them and the tags' columns alone invalidates nothing.",
    ),
    key(
        "tags",
        "list of templates",
        "none",
        "",
        "Surrogate keys, such as `category-{category_id}`: every entry, page and fragment that carries one is invalidated when a row with it changes. `{id}` is the key's column, other placeholders are columns.",
    ),
    key(
        "staleness",
        DURATION,
        "required, unless a preset sets it",
        "time",
        "The budget: every change committed longer ago than this is in the answer. Within it, invalidations under load may be merged. 0s allows nothing.",
    ),
    key(
        "ttl",
        DURATION,
        "2 × staleness, at most 7 days",
        "time",
        "How long an entry may live unconfirmed: the safety net under the invalidation.",
    ),
    key(
        "absent_ttl",
        DURATION,
        "ttl, at most 5 min (1 min without `from`)",
        "time",
        "How long the absence of a row may be remembered as an entry. An INSERT clears it at once.",
    ),
    key(
        "unproven",
        "\"serve-stale\", \"read-origin\" or \"fail\"",
        "\"read-origin\"",
        "",
        "What to do when an answer can't be proven to be within the budget: serve it and say so, read the origin, or refuse.",
    ),
    key(
        "tiers",
        "list of \"local\", \"shared\"",
        "both",
        "",
        "Where entries may live: in the process, in the tier all processes share. Empty: never cached.",
    ),
    key(
        "absent_filter",
        "true, false or a table",
        "false",
        "",
        "Whether each process keeps a filter of the ids that exist: an id that is certainly absent is answered 404 with no load and no entry, whoever walks over all ids. For `value` of the form `select <columns> from <table> where <key> = $id`. See [absent ids](absent-ids.md).",
    ),
    key(
        "absent_filter.false_positives",
        "number, 0.0001 to 0.2",
        "0.01",
        "share of absent ids",
        "How many absent ids may be loaded all the same. 0.01 takes 10 bits for each id that exists.",
    ),
    key(
        "absent_filter.max_size",
        "text such as \"64MiB\", or a number",
        "\"16MiB\"",
        "bytes",
        "The most memory it takes in each process, beside `[local]`; twice that while it is made anew. A table with more ids has no filter.",
    ),
    key(
        "absent_filter.rebuild",
        "text such as \"1h\", 1min to 7days",
        "\"1h\"",
        "time",
        "How long it stands before the ids are read again, which forgets those of deleted rows.",
    ),
    key(
        "write_through",
        "true or false",
        "true, but not for a service",
        "",
        "Whether a commit renews the entries it touches, without a load, where the log tells all of the value: PostgreSQL, `value` of the form `select <columns> from <table> where <key> = $id`, the key unique, no row security, no `residency`. False: the next reader loads them.",
    ),
    key(
        "sliding",
        "true or false",
        "false",
        "",
        "Whether each use starts the lifetime anew, in every tier that holds the entry; what is not used ends. A use is an answer that is proven to be within the budget, so it prolongs the life, never the proof. `retention` is the end in any case; without `from` the budget is, too. Absence does not slide.",
    ),
    key(
        "immutable",
        "true or false",
        "false",
        "",
        "Whether a value never changes under its key; lifts the cap of 7 days.",
    ),
    key(
        "early_refresh",
        "number, 0 to 10",
        "1.0",
        "",
        "How eagerly an entry is renewed before its end (β of XFetch); 0 is off.",
    ),
    key(
        "jitter",
        "number, 0 to 0.5",
        "0.1",
        "share of the lifetime",
        "Spread of lifetimes, so that entries stored together don't end together.",
    ),
    key(
        "stale_while_revalidate",
        DURATION,
        "staleness with \"serve-stale\", else 0s",
        "time",
        "How long after its end an entry may be served while one load renews it, as far as the budget is proven.",
    ),
    key(
        "max_size",
        "text such as \"64KiB\", or a number",
        "\"1MiB\"",
        "bytes",
        "The largest entry that is stored; larger answers are served, not stored.",
    ),
    key(
        "pool",
        "\"critical\", \"standard\" or \"ephemeral\"",
        "as `priority`",
        "",
        "The pool of in-process memory that its entries belong to. Entries of a pool that takes no more than it is [assured of](configuration.md#pools) are not evicted for others.",
    ),
    key(
        "priority",
        "\"critical\", \"standard\" or \"ephemeral\"",
        "\"standard\"",
        "",
        "Who goes first when the origin is short: ephemeral first, critical last.",
    ),
    key(
        "sensitivity",
        "\"public\", \"personal\", \"financial\" or \"auth\"",
        "\"public\"",
        "",
        "How sensitive the data is; the linter holds it to more.",
    ),
    key(
        "residency",
        "name of a region",
        "none",
        "",
        "The region that the data may not leave, such as `eu`; `eu-west` lies in it. It is never kept in a tier that [runs elsewhere](configuration.md#regions), nor sent over the node stream: commits invalidate its entries instead of renewing them.",
    ),
    key(
        "retention",
        DURATION,
        "none",
        "time",
        "How long after its load a copy may be answered from at all, whatever else allows it; a renewal from the log is a load. The linter holds `ttl` to it.",
    ),
    key("owner", "text", "none", "", "The team that answers for this contract."),
    key("pager", "text", "none", "", "Who is called when it is broken."),
    key("approved", "table", "none", "", "Who agreed to the budget, and when."),
    key("approved.by", "list of people or roles", "required", "", "Who agreed."),
    key("approved.on", "date, 2026-11-02 without quotes", "required", "", "The day they did."),
];

/// Every key of `[data.<name>]`, in the order of the reference page.
pub fn reference() -> Vec<KeyDoc> {
    KEYS.to_vec()
}

/// The reference page, in Markdown: every key, then every preset.
pub fn reference_markdown() -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let mut page = String::from("| key | value | default | meaning |\n|---|---|---|---|\n");
    for doc in KEYS {
        let unit = if doc.unit.is_empty() { String::new() } else { format!(" ({})", doc.unit) };
        let (kind, default, text) = (cell(doc.kind), cell(doc.default), cell(doc.doc));
        page.push_str(&format!("| `{}` | {kind}{unit} | {default} | {text} |\n", doc.key));
    }
    page.push_str("\n| preset | for |\n|---|---|\n");
    for preset in presets() {
        page.push_str(&format!("| `{}` | {} |\n", preset.name, cell(preset.doc)));
    }
    page
}

/// Whether `key` (dotted) is one of [`reference`].
pub(crate) fn is_known(key: &str) -> bool {
    KEYS.iter().any(|doc| doc.key == key)
}

/// The known key in the same table that `key` was probably meant to be.
pub(crate) fn nearest(key: &str) -> Option<&'static str> {
    let table = key.rfind('.').map_or("", |dot| &key[..=dot]);
    let leaf = &key[table.len()..];
    // A known word for the same thing is nearer than any spelling.
    let synonym = match leaf {
        "budget" | "max_age" | "max_staleness" | "stale_after" => Some("staleness"),
        "sql" | "query" => Some("value"),
        "expiry" | "expires" | "lifetime" => Some("ttl"),
        "team" => Some("owner"),
        "oncall" | "on_call" => Some("pager"),
        "negative_ttl" => Some("absent_ttl"),
        "swr" => Some("stale_while_revalidate"),
        "beta" => Some("early_refresh"),
        "http" | "url" => Some("value"),
        "region" => Some("residency"),
        _ => None,
    };
    if table.is_empty() && synonym.is_some() {
        return synonym;
    }
    let siblings = KEYS.iter().filter_map(|doc| {
        let sibling = doc.key.strip_prefix(table)?;
        (!sibling.contains('.')).then_some(sibling)
    });
    siblings
        .map(|sibling| (strsim::damerau_levenshtein(leaf, sibling), sibling))
        .filter(|(distance, sibling)| *distance <= (sibling.len() / 3).max(1) + 1)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, sibling)| sibling)
}
