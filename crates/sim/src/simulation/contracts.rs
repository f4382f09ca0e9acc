//! The contracts of the simulated rows, and the names of their entries.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cache::shared::Touch;
use cache::{Policy, Rules};
use coherence::Subject;
use contract::{AbsentFilter, Contract, Contracts, Key, Pattern, Tag};

use super::setup::{COLD, EVERYTHING, KEYS, tag_of};

/// The source's name.
pub(super) const SOURCE: &str = "sim";

/// The table of the rows that each tag's content is made of.
pub(super) const GROUPS: &str = "groups";

/// The contracts of rows; rows use them in turn. Each has a table of its own, with its name.
const NAMES: [&str; 10] = [
    "second",
    "old-rather-than-none",
    "none-rather-than-old",
    "short",
    "local-only",
    "always-new",
    "minute",
    "shared-only",
    "never-kept",
    "from-the-log",
];

const MINUTE: usize = 6;

const DATA: &str = r#"
[second]
key = "v1:sim:second:{id}"
value = "select r.version, g.version from second r join groups g on g.id = r.group_id where r.id = $id"
from = { source = "sim", table = "second" }
staleness = "1s"
unproven = "read-origin"
ttl = "60s"
absent_ttl = "30s"

[old-rather-than-none]
key = "v1:sim:old-rather-than-none:{id}"
value = 'select r.version, g.version from "old-rather-than-none" r join groups g on g.id = r.group_id where r.id = $id'
from = { source = "sim", table = "old-rather-than-none" }
staleness = "5s"
unproven = "serve-stale"
ttl = "30s"
absent_ttl = "15s"
stale_while_revalidate = "10s"

[none-rather-than-old]
key = "v1:sim:none-rather-than-old:{id}"
value = 'select version from "none-rather-than-old" where id = $id'
from = { source = "sim", table = "none-rather-than-old" }
staleness = "2s"
unproven = "fail"
ttl = "60s"
absent_ttl = "30s"

[short]
key = "v1:sim:short:{id}"
value = "select r.version, g.version from short r join groups g on g.id = r.group_id where r.id = $id"
from = { source = "sim", table = "short" }
staleness = "10s"
unproven = "serve-stale"
ttl = "4s"
absent_ttl = "2s"
sliding = true

[local-only]
key = "v1:sim:local-only:{id}"
value = 'select r.version, g.version from "local-only" r join groups g on g.id = r.group_id where r.id = $id'
from = { source = "sim", table = "local-only" }
staleness = "3s"
unproven = "read-origin"
ttl = "20s"
absent_ttl = "10s"
tiers = ["local"]

[always-new]
key = "v1:sim:always-new:{id}"
value = 'select version from "always-new" where id = $id'
from = { source = "sim", table = "always-new" }
staleness = "0s"
unproven = "read-origin"
ttl = "20s"
absent_ttl = "10s"

[minute]
key = "v1:sim:minute:{id}"
value = "select version from minute where id = $id"
from = { source = "sim", table = "minute" }
staleness = "60s"
unproven = "read-origin"
ttl = "300s"
absent_ttl = "150s"

[shared-only]
key = "v1:sim:shared-only:{id}"
value = 'select r.version, g.version from "shared-only" r join groups g on g.id = r.group_id where r.id = $id'
from = { source = "sim", table = "shared-only" }
staleness = "4s"
unproven = "serve-stale"
ttl = "20s"
absent_ttl = "10s"
tiers = ["shared"]
sliding = true

[never-kept]
key = "v1:sim:never-kept:{id}"
value = 'select r.version, g.version from "never-kept" r join groups g on g.id = r.group_id where r.id = $id'
from = { source = "sim", table = "never-kept" }
staleness = "1s"
unproven = "read-origin"
ttl = "20s"
absent_ttl = "10s"
tiers = []

[from-the-log]
key = "v1:sim:from-the-log:{id}"
value = 'select version from "from-the-log" where id = $id'
from = { source = "sim", table = "from-the-log" }
staleness = "2s"
unproven = "serve-stale"
ttl = "30s"
absent_ttl = "15s"

[group]
key = "v1:sim:group:{id}"
value = "select version from groups where id = $id"
from = { source = "sim", table = "groups" }
tags = ["group-{id}"]
staleness = "1s"
write_through = false
"#;

static CONTRACTS: LazyLock<Arc<Contracts>> = LazyLock::new(|| {
    let data = DATA.parse().expect("TOML");
    Arc::new(Contracts::from_toml(&data).unwrap_or_else(|err| panic!("{err}")))
});

/// Returns all contracts.
pub(super) fn contracts() -> Arc<Contracts> {
    Arc::clone(&CONTRACTS)
}

/// Returns the longest TTL of a contract.
pub(super) fn longest_ttl() -> Duration {
    CONTRACTS.iter().map(|contract| contract.ttl).max().unwrap_or_default()
}

/// Returns the place of a row's contract in [`NAMES`]. The cold row's contract uses all tiers, and has a
/// long TTL.
fn place(key: usize) -> usize {
    if key == COLD { MINUTE } else { key % NAMES.len() }
}

/// Returns the table of a row, which is also the name of its contract.
pub(super) fn table(key: usize) -> &'static str {
    NAMES[place(key)]
}

/// Returns new policies of all rows. Rows of one contract share a policy.
pub(super) fn policies() -> Vec<Arc<Policy>> {
    let policy = |name: &&str| {
        let contract = CONTRACTS.get(name).expect("each name has a contract");
        let mut rules = Rules::of(contract, &CONTRACTS);
        if *name == "short" {
            // Not by `retention`, which is checked by wall time: the clocks of the nodes differ by hours.
            rules.sliding = Some(Touch::within(Duration::from_secs(15)));
        }
        Arc::new(Policy::new(rules))
    };
    let all: Vec<Arc<Policy>> = NAMES.iter().map(policy).collect();
    (0..=KEYS).map(|key| Arc::clone(&all[place(key)])).collect()
}

/// Returns the contracts that keep a key filter, each with one of its rows. Only their absence depends on
/// the row alone, which is all that a filter needs.
pub(super) fn filtered() -> impl Iterator<Item = (usize, Contract)> {
    let rebuild = Duration::from_secs(60);
    [0, 3].into_iter().map(move |key| {
        let contract = CONTRACTS.get(table(key)).expect("each name has a contract").clone();
        let absent_filter = Some(AbsentFilter { rebuild, ..AbsentFilter::default() });
        (key, Contract { absent_filter, ..contract })
    })
}

/// Returns whether a key filter covers the row, in runs with filters.
pub(super) fn is_filtered(key: usize) -> bool {
    key <= COLD && matches!(place(key), 0 | 3)
}

/// Returns whether the value depends on the row alone, so that the log contains it (write-through).
pub(super) fn is_row_alone(key: usize) -> bool {
    key <= COLD && matches!(place(key), 2 | 5 | 6 | 9)
}

/// Returns the cells in a row's value.
pub(super) fn cells_of(key: usize) -> [usize; 3] {
    if is_row_alone(key) { [key; 3] } else { [key, tag_of(key), EVERYTHING] }
}

/// Returns the key of a row.
pub(super) fn key(number: usize) -> Key {
    Key::parse(&format!("v1:sim:{}:{number}", table(number))).expect("well formed")
}

/// Returns the row of a key.
pub(super) fn number_of(key: &Key) -> Option<usize> {
    key.as_str().rsplit(':').next()?.parse().ok()
}

/// Returns the tag of a cell.
pub(super) fn tag(cell: usize) -> Tag {
    Tag::parse(&format!("group-{cell}")).expect("well formed")
}

/// Returns the subject that covers a cell.
pub(super) fn subject(cell: usize) -> Subject {
    match cell {
        EVERYTHING => Subject::Everything,
        cell if cell > COLD => Subject::Tag(tag(cell)),
        cell => Subject::Key(key(cell)),
    }
}

/// Returns a wildcard that covers a cell, and possibly others. No other value includes a row's own
/// value.
pub(super) fn wildcard(cell: usize) -> Subject {
    let keys = |text: &str| Subject::KeysLike(Pattern::of_keys(text).expect("well formed"));
    match cell {
        EVERYTHING => keys("v1:sim:*"),
        cell if cell > COLD => {
            Subject::TagsLike(Pattern::of_tags(&format!("*-{cell}")).expect("well formed"))
        }
        cell => keys(&format!("{}*", key(cell))),
    }
}
