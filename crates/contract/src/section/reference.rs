//! Every configuration key of a contract, in one table. The parser takes the known keys from it, and the
//! reference page is generated from it.

use serde::Serialize;

use crate::section::preset::presets;

/// A configuration key of `[data.<name>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KeyDoc {
    /// The key, with dots for nested tables: `from.table`.
    pub key: &'static str,
    /// The form of a value.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The default, if no preset sets the key.
    pub default: &'static str,
    /// The unit, or empty.
    pub unit: &'static str,
    /// The meaning.
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

/// The costs of tags, before the units.
const TAGS: &str = "\n## Cost of tags\n\n\
    A change of a row invalidates the entries of *each* of its tags, not only those of the row. With \
    `tags = [\"product-{id}\", \"category-{category_id}\"]` on a table of prices, one new price makes every price \
    of its category old: each is loaded again when it is next read. So give an entry a tag only if its content \
    depends on all of the rows that raise the tag, as a list of a category's products does, and the price of one product \
    does not. To purge a whole category now and then, its products' tags or keys can be named, or a wildcard. For \
    [pages](pages.md) there is `page_tags`, which entries do not carry.\n\n\
    - An invalidation takes the same time for a tag with one entry and with millions. It is in force at once; in the \
    process the old entries are removed in the background, about 300,000 a second, and their memory counts until then. \
    In Redis they stay until they are read again or expire \
    ([decision 0039](adr/0039-invalidations-in-force-before-removal.md)).\n\
    - Each tag of an entry takes up to 240 bytes in the process, beside its text; a tag that many entries share takes \
    about 70 bytes for each of them.\n\
    - In Redis an entry contains the texts of its tags, and each invalidated tag is one tombstone, in a cluster one in each of \
    the sixteen buckets.\n";
/// The section about variants.
const VARIANTS: &str = "\n## Variants\n\n\
    A price per currency, a text per language: the key has a placeholder that is no column of `from`, readers name it in \
    the query string, and the statement selects by it.\n\n\
    ```toml\n\
    key = \"v1:catalog:price:{id}:{currency}\"\n\
    value = \"select cents from prices where product_id = $id and currency = $currency\"\n\
    from = { source = \"shop\", table = \"prices\", key = \"product_id\", columns = [\"cents\", \"currency\"] }\n\
    ```\n\n\
    `GET /data/price/42?currency=GBP`; in a [batch](batches.md), `get=price/42?currency=GBP`. Each variant is an entry of \
    its own. A change of any row of an id invalidates all of its variants, since the row's key is the id. If the table has the \
    variant, as here, name its column after the id's, `key = [\"product_id\", \"currency\"]`: then a row invalidates the \
    entry of its currency only, and a row whose currency is null all of them. The value of `42` and `EUR` must then be \
    made of no rows with another currency; a statement that falls back to another one needs `key = \"product_id\"`. A request \
    without a variant of the key, or with one that the key does not have, is answered 400. Values are compared as texts: \
    on PostgreSQL, a column of another type is cast, `currency::text = $currency`, which is checked at the start. A key \
    with variants is loaded again after a commit, not written through, and has no key filter.\n";

/// The section about joined tables.
const JOINS: &str = "\n## Several tables\n\n\
    A value that joins tables changes with each of them. So `from` lists them all. The first table has the key of the \
    entries; each further one says which entries a row of it is part of:\n\n\
    ```toml\n\
    [data.offer]\n\
    key   = \"v1:catalog:offer:{id}\"\n\
    value = \"\"\"\n\
    select p.name, c.cents * r.factor as cents, s.vat\n  \
    from products p join prices c on c.product_id = p.id\n  \
    join rates r on r.code = p.currency cross join settings s\n\
    where p.id = $id\"\"\"\n\
    from = [\n  \
    { source = \"shop\", table = \"products\", columns = [\"name\", \"currency\"] },\n  \
    { table = \"prices\", key = \"product_id\", columns = [\"cents\"] },\n  \
    { table = \"rates\", tags = [\"rate-{code}\"] },\n  \
    { table = \"settings\", entries = \"all\" },\n\
    ]\n\
    tags  = [\"rate-{currency}\"]\n\
    staleness = \"30s\"\n\
    ```\n\n\
    - `key`: a row has the id of the entry in this column. A price that moves to another product changes both entries.\n\
    - `tags`: a row has no id, but the entries carry a tag of it, made of a column of the first table: an offer in EUR \
    carries `rate-EUR`, and a change of the row `EUR` of `rates` invalidates all of these offers.\n\
    - `entries = \"all\"`: a row is part of every entry. Each change invalidates them all.\n\n\
    `columns` are watched in each table by themselves. Tags of the contract that are made of the key alone, such as \
    `product-{id}`, are raised by the tables with a `key` too. The log has to contain old values of the columns in `key` \
    and `tags`; on PostgreSQL a start says which table needs `replica identity full`, as `prices` does here unless \
    `product_id` is part of its primary key. Such columns have to be of the same kind of type as those that they are \
    matched with: a text `042` is not the number 42. A value from several tables is loaded after a commit, not written \
    through, and has no key filter.\n\n\
    A list is a value of several rows of the first table. It carries the tags of each of them, at most 1,000; with more \
    it is answered, and not stored. `{id}` is the key, here the category; the column `id` is `{row.id}`:\n\n\
    ```toml\n\
    [data.category]\n\
    key   = \"v1:catalog:category:{id}\"\n\
    value = \"\"\"\n\
    select json_agg(json_build_object('name', p.name, 'cents', c.cents) order by p.id) as products\n  \
    from products p join prices c on c.product_id = p.id\n\
    where p.category_id = $id\"\"\"\n\
    from = [\n  \
    { source = \"shop\", table = \"products\", key = \"category_id\" },\n  \
    { table = \"prices\", tags = [\"product-{product_id}\"] },\n\
    ]\n\
    tags  = [\"product-{row.id}\"]\n\
    staleness = \"30s\"\n\
    ```\n\n\
    In the same way a value whose key is a slug gets the tag of the numeric id: `key = \"slug\"` and \
    `page_tags = [\"row-{row.id}\"]`. The linter warns of tables that a value reads and `from` leaves out; a \
    start looks them up in the database, through views.\n";

/// The section about values that change by the clock.
const CLOCK: &str = "\n## Values that change by the clock\n\n\
    A sale price that holds from 20:00 on was committed days before: at 20:00 the log has no event, and the old price would \
    stay until its TTL ends. So the contract says when its value changes next:\n\n\
    ```toml\n\
    [data.price]\n\
    key = \"v1:catalog:price:{id}\"\n\
    value = \"\"\"\n\
    select cents from prices\n\
    where product_id = $id and valid_from <= now() and (valid_until is null or valid_until > now())\n\
    order by valid_from desc limit 1\"\"\"\n\
    changes_at = \"select valid_from, valid_until from prices where product_id = $id\"\n\
    from = { source = \"shop\", table = \"prices\", key = \"product_id\" }\n\
    staleness = \"30s\"\n\
    ```\n\n\
    Past times and nulls are ignored, so the statement needs no conditions on the clock, and the next time is found by the \
    database itself. It is read beside `value`: also for a row that is absent until then.\n\n\
    | database | a time is |\n|---|---|\n\
    | PostgreSQL | `timestamptz`. Other types are refused at the start, since they name no moment without a zone: \
    `valid_until at time zone 'Europe/Berlin'`, `(day + 1)::timestamp at time zone 'UTC'` |\n\
    | MariaDB | a number of seconds since 1970: `unix_timestamp(valid_until)`, in the time zone of the session, as `now()` is |\n\
    | SQLite | a number of seconds since 1970: `unixepoch(valid_until)`, in UTC |\n\n\
    - **Whose clock.** The database's. A load reads the clock beside the value, and each node reads the primary's once a second. \
    An entry ends at the earliest time at which that clock may show the time, earlier by the duration of the question and the \
    drift of two clocks (500 ppm), a millisecond or less on one network. Clocks of the nodes make no difference. If the \
    database's clock is set, nodes notice within a second; entries in a process that were stored before keep the end that they \
    have, until their TTL. Standbys have clocks of their own, so they are not asked.\n\
    - **At the time.** The next reader loads, and the others of its key wait for that load, in the cluster too. A load that ends \
    up to 25 ms before the time is repeated after it. Under pressure the [governor](governor.md) spends the budget as it does \
    after a commit: some entries are answered for a part of `staleness` more, with a bound that counts from the time of the \
    change. `stale_while_revalidate` and `unproven = \"serve-stale\"` do the same, with that bound. A budget of zero excludes it.\n\
    - **Sliding TTLs** are not prolonged past the time. Commits invalidate such entries and do not renew them \
    (`write_through`), and they have no key filter.\n\
    - **Precision.** On MariaDB compare with `now(6)` where times have fractions of a second: `now()` is cut to the second, and \
    until it shows the change nothing is stored. In SQLite the clock has milliseconds.\n\
    - **Pages** name the time in a header, `Tidegate-Changes-At` ([pages](pages.md#pages-that-change-by-the-clock)), and so do \
    [services](origins.md#services).\n\n\
    The linter warns of a value that reads the clock without `changes_at`. `random()` has no cure: such a value differs with \
    each load.\n";

/// The end of the reference page.
const UNITS: &str = "\n## Units\n\n\
    A duration is one or more numbers with units, which are added up: `1h 30min`. The units are `ns`, `us`, \
    `ms`, `s`, `m`, `h`, `d`, `w`, `M` (a month of 30.44 days), `y` (a year of 365.25 days), and longer \
    names such as `sec`, `min`, `hours`, `days` and `weeks`. Units of two letters and more may be in any \
    case; units of one letter may not, since `m` is a minute and `M` a month. The longest duration is ten \
    years.\n\n\
    A size is a whole number with a unit: `B`, `kB`, `MB`, `GB` (powers of 1000), `KiB`, `MiB`, `GiB` (powers \
    of 1024), in any case. A number without a unit is in bytes.\n";

/// Every key, in the order of the reference page.
static KEYS: &[KeyDoc] = &[
    key(
        "preset",
        "name of a preset",
        "none",
        "",
        "Use the defaults of this preset; keys of the contract override them.",
    ),
    key(
        "key",
        "template",
        "required",
        "",
        "The template of keys: `v{n}:{service}:{entity}:{id}[:{variant}]`. `{id}` is required; `{tenant}` is a column of the row; any other placeholder is a variant, which readers give in the query string (`/data/price/42?currency=GBP`) and which `value` has as `$currency`. `{query|hash}` always hashes. Increment the version when the format of the value changes.",
    ),
    key(
        "id",
        "\"auto\", \"integer\", \"uuid\" or \"text\"",
        "\"auto\"",
        "",
        "The form of ids. With \"auto\", an id that a database could read as a number or UUID must be in the form in which the database writes it (`42`, not `042`), since a change to row 42 invalidates only that key.",
    ),
    key(
        "value",
        "SQL, or a table",
        "none",
        "",
        "The SELECT that loads one value; `$id` is the id, `$currency` the variant `{currency}` of the key. Its columns become the fields of the answer. Or the [service](origins.md#services) that returns it, `{ http = \"http://pricing:8080/prices/{id}\" }`.",
    ),
    key(
        "changes_at",
        "SQL",
        "none",
        "",
        "The SELECT of the times at which the value changes without a commit, such as the start and the end of a sale price: `select valid_from, valid_until from prices where product_id = $id`. Every column of every row counts; past times and nulls are ignored. It takes the parameters of `value`, or fewer, and is read with it in one snapshot. An entry ends at the next of these times by the database's clock, in every tier ([values that change by the clock](#values-that-change-by-the-clock)).",
    ),
    key(
        "value.http",
        "address with `{id}`",
        "required in the table",
        "",
        "The address of one value, by `http://`, `https://` or `unix:/path/of/socket:`. `{id}` and each variant of the key are in the path or the query and are percent-encoded: `/prices/{id}?currency={currency}`.",
    ),
    key(
        "value.timeout",
        "text such as \"2s\", up to 60s",
        "\"2s\"",
        "time",
        "The maximum duration of one request, up to the last byte. `load_timeout` of the source applies too.",
    ),
    key(
        "value.connections",
        "whole number, 1 to 1024",
        "32",
        "requests",
        "The maximum number of concurrent requests of one process, including those of batches.",
    ),
    key(
        "value.types",
        "list of media types",
        "[\"application/json\"]",
        "",
        "The accepted types of a value. JSON is validated; other types are passed through, with their type, and can't be part of a batch.",
    ),
    key(
        "value.max_body",
        "text such as \"4MiB\", or a number",
        "\"4MiB\"",
        "bytes",
        "The maximum size of a body; a larger one is an error of the service. `max_size` limits the entries that are stored.",
    ),
    key(
        "value.headers",
        "list of \"Name: value\"",
        "none",
        "",
        "Constant request headers. `\"Authorization: $PRICING_TOKEN\"` takes the value from the environment, so that contracts contain no secrets.",
    ),
    key(
        "lag",
        "text such as \"200ms\", up to 10s",
        "0s",
        "time",
        "How far a service or function may lag behind its database, for example because it reads a standby or has a cache of its own. An answer is not cached until `lag` has passed since the commit became visible, and the bound of its answers is larger by `lag`. The maximum is 10s because the watermark history is kept only slightly longer.",
    ),
    key(
        "from",
        "table, or a list of tables",
        "none",
        "",
        "The table whose row changes invalidate the entries; or a list of all tables that the value is made from, of which the first one is the contract's own ([several tables](#several-tables)). Without it, entries end only by their TTL and by explicit invalidation.",
    ),
    key("from.source", "name", "required", "", "The source, `shop` for `[source.shop]`."),
    key(
        "from.table",
        "name",
        "required",
        "",
        "The table: `schema.table`, or only the name for the schema public. A name with a dot stands in double quotes: `shop.\"daily.prices\"`.",
    ),
    key(
        "from.key",
        "column, or a list of columns",
        "\"id\"",
        "",
        "The column of `{id}` in keys and tags. In a list, the other columns are those of the key's variants, in their order: with `[\"product_id\", \"currency\"]` a row invalidates the entry of its currency only.",
    ),
    key(
        "from.tenant",
        "column",
        "\"tenant\"",
        "",
        "The column of `{tenant}`, if the key contains it.",
    ),
    key(
        "from.columns",
        "list of columns",
        "any column",
        "",
        "The columns that the statement of the value reads, in its conditions too. An update that provably changes none of them and none of the tags' columns invalidates nothing.",
    ),
    key(
        "from.tags",
        "list of templates",
        "none",
        "",
        "Of a joined table without the key: the tags of the entries that depend on a row, made of its columns. `tags` of the contract has to have the same tags, made of columns of the first table.",
    ),
    key(
        "from.entries",
        "\"all\"",
        "none",
        "",
        "Of a joined table: whether each of its rows is part of all entries.",
    ),
    key(
        "tags",
        "list of templates",
        "none",
        "",
        "Surrogate keys, such as `product-{id}`: a change of a row invalidates all entries, pages and fragments with one of its tags, those of other rows and contracts too ([cost](#cost-of-tags)). `{id}` is the key's column, a variant its value; other placeholders are columns, and `{row.id}` is the column `id` where it is not the key.",
    ),
    key(
        "page_tags",
        "list of templates",
        "none",
        "",
        "Surrogate keys of [pages](pages.md) that show a row, such as `row-{id}`: every change of the row invalidates the pages, whichever columns `columns` lists. Entries of the contract do not carry them.",
    ),
    key(
        "staleness",
        DURATION,
        "required, unless a preset sets it",
        "time",
        "The budget: an answer contains every change that was committed longer ago than this. Within the budget, invalidations may be merged under load. With 0s, no answer is ever proven to be fresh enough.",
    ),
    key(
        "ttl",
        DURATION,
        "2 × staleness, at most 7 days",
        "time",
        "The TTL of an entry: the safety net for a lost invalidation.",
    ),
    key(
        "absent_ttl",
        DURATION,
        "ttl, at most 5 min (1 min without `from`)",
        "time",
        "The TTL of an entry for an absent row. An INSERT invalidates it at once.",
    ),
    key(
        "unproven",
        "\"serve-stale\", \"read-origin\" or \"fail\"",
        "\"read-origin\"",
        "",
        "The action when an answer can't be proven to be within the budget: serve it and mark it as unproven, read the origin, or return an error.",
    ),
    key(
        "tiers",
        "list of \"local\", \"shared\"",
        "both",
        "",
        "The tiers that may store entries: the tier of each process, and the tier that all processes share. Empty: never cached.",
    ),
    key(
        "absent_filter",
        "true, false or a table",
        "false",
        "",
        "Whether each process keeps a filter of the ids that exist: a read of an absent id is answered 404 without a load and without an entry, which protects the origin from clients that enumerate ids. Requires a `value` of the form `select <columns> from <table> where <key> = $id`. See [absent ids](absent-ids.md).",
    ),
    key(
        "absent_filter.false_positives",
        "number, 0.0001 to 0.2",
        "0.01",
        "share of absent ids",
        "The share of absent ids that are loaded nevertheless. 0.01 takes 10 bits for each id that exists.",
    ),
    key(
        "absent_filter.max_size",
        "text such as \"64MiB\", or a number",
        "\"16MiB\"",
        "bytes",
        "The maximum memory in each process, in addition to `[local]`; twice that during a rebuild. A table with more ids has no filter.",
    ),
    key(
        "absent_filter.rebuild",
        "text such as \"1h\", 1min to 7days",
        "\"1h\"",
        "time",
        "The interval between rebuilds. A rebuild reads all ids again, and so removes those of deleted rows.",
    ),
    key(
        "write_through",
        "true or false",
        "true, but not for a service",
        "",
        "Whether a commit renews its entries without a load. That requires that the log contains the whole value: PostgreSQL or MariaDB with [types](sources.md#write-through) whose text the log has, `value` of the form `select <columns> from <table> where <key> = $id`, a unique key, no row security, no `residency`. False: the next reader loads them.",
    ),
    key(
        "sliding",
        "true or false",
        "false",
        "",
        "Whether each use restarts the TTL, in every tier that has the entry; unused entries expire. A use is an answer that is proven to be within the budget, so it extends the TTL, never the proof. `retention` always limits the lifetime; without `from`, the budget limits it too. Entries for absent rows keep their TTL.",
    ),
    key(
        "immutable",
        "true or false",
        "false",
        "",
        "Whether the value of a key never changes; removes the TTL cap of 7 days.",
    ),
    key(
        "early_refresh",
        "number, 0 to 10",
        "1.0",
        "",
        "The eagerness of the early refresh, before an entry expires (β of XFetch); 0 disables it.",
    ),
    key(
        "jitter",
        "number, 0 to 0.5",
        "0.1",
        "share of the TTL",
        "The spread of TTLs, so that entries stored together don't expire together.",
    ),
    key(
        "stale_while_revalidate",
        DURATION,
        "staleness with \"serve-stale\", else 0s",
        "time",
        "How long after its expiry an entry may be served while one load renews it, as long as it is proven to be within the budget.",
    ),
    key(
        "max_size",
        "text such as \"64KiB\", or a number",
        "\"1MiB\"",
        "bytes",
        "The maximum size of an entry; larger answers are served, but not stored.",
    ),
    key(
        "pool",
        "\"critical\", \"standard\" or \"ephemeral\"",
        "as `priority`",
        "",
        "The pool of in-process memory for its entries. Entries of a pool within its [guaranteed share](configuration.md#pools) are not evicted for other pools.",
    ),
    key(
        "priority",
        "\"critical\", \"standard\" or \"ephemeral\"",
        "\"standard\"",
        "",
        "The priority class of its loads when the origin is overloaded: ephemeral loads are shed first, critical ones last.",
    ),
    key(
        "sensitivity",
        "\"public\", \"personal\", \"financial\" or \"auth\"",
        "\"public\"",
        "",
        "The sensitivity of the data; the linter requires more of sensitive data.",
    ),
    key(
        "residency",
        "name of a region",
        "none",
        "",
        "The region that the data may not leave, such as `eu`; `eu-west` is within it. The data is never stored in a tier of [another region](configuration.md#regions), nor sent over the node stream: commits invalidate its entries and do not renew them.",
    ),
    key(
        "retention",
        DURATION,
        "none",
        "time",
        "The maximum time after its load for which a copy may be used, regardless of all other settings; a renewal from the log counts as a load. The linter checks `ttl` against it.",
    ),
    key("owner", "text", "none", "", "The team that is responsible for this contract."),
    key(
        "pager",
        "text",
        "none",
        "",
        "The on-call rotation that is paged when the contract is violated.",
    ),
    key("approved", "table", "none", "", "The approval of the budget."),
    key("approved.by", "list of people or roles", "required", "", "The approvers."),
    key(
        "approved.on",
        "date, 2026-11-02 without quotes",
        "required",
        "",
        "The day of the approval.",
    ),
];

/// Words for which a contract has another key.
pub(crate) const SYNONYMS: [(&str, &str); 18] = [
    ("budget", "staleness"),
    ("max_age", "staleness"),
    ("max_staleness", "staleness"),
    ("stale_after", "staleness"),
    ("sql", "value"),
    ("query", "value"),
    ("http", "value"),
    ("url", "value"),
    ("expiry", "ttl"),
    ("expires", "ttl"),
    ("lifetime", "ttl"),
    ("team", "owner"),
    ("oncall", "pager"),
    ("on_call", "pager"),
    ("negative_ttl", "absent_ttl"),
    ("swr", "stale_while_revalidate"),
    ("beta", "early_refresh"),
    ("region", "residency"),
];

/// Returns every key of `[data.<name>]` in the order of the reference page.
pub fn reference() -> Vec<KeyDoc> {
    KEYS.to_vec()
}

/// Returns the reference page in Markdown: every key, every preset, and the units.
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
    page.push_str(TAGS);
    page.push_str(VARIANTS);
    page.push_str(JOINS);
    page.push_str(CLOCK);
    page.push_str(UNITS);
    page
}

/// Returns whether `key` (dotted) is one of [`reference()`].
pub(crate) fn is_known(key: &str) -> bool {
    KEYS.iter().any(|doc| doc.key == key)
}

/// Returns the keys of one table, `from`, or of the contract itself if `table` is empty.
pub(crate) fn keys_of(table: &str) -> Vec<&'static str> {
    let key_of = |key: &'static str| match key.rsplit_once('.') {
        Some((of, key)) => (of == table).then_some(key),
        None => table.is_empty().then_some(key),
    };
    KEYS.iter().filter_map(|doc| key_of(doc.key)).collect()
}
