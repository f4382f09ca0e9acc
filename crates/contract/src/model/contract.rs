//! A contract: the rules for one kind of data.

use std::time::Duration;

use serde::Serialize;

use crate::model::service::Service;
use crate::naming::id::IdKind;
use crate::naming::item::Item;
use crate::naming::key::{Key, KeyError};
use crate::naming::table::without_default_schema;
use crate::naming::tag::TagTemplate;
use crate::naming::template::KeyTemplate;

/// The rules for one kind of data, checked and complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    /// The contract's name: its table in the configuration, its path in the data API and its label in
    /// metrics. `[a-z][a-z0-9_-]*`, at most 64 bytes.
    pub name: String,
    /// The preset that supplies its defaults, if any.
    pub preset: Option<String>,
    /// The template of its keys.
    pub key: KeyTemplate,
    /// The form in which its ids are written.
    pub id: IdKind,
    /// The SQL statement that loads one value; `$id` is the id.
    pub value: Option<String>,
    /// The SQL statement that returns the times at which the value changes without a commit, in all of its columns and rows.
    pub changes_at: Option<String>,
    /// The service that returns one value, in place of a statement.
    pub service: Option<Service>,
    /// How far a service or function may lag behind the commit log, at most 10 s: its answer reflects
    /// the data at most this long before the request. Zero where the origin is a database.
    pub lag: Duration,
    /// The table whose row changes invalidate its entries.
    pub from: Option<Origin>,
    /// Further tables that its values are made from, of the same source.
    pub joins: Vec<JoinedTable>,
    /// The surrogate keys that its entries carry and that row changes invalidate.
    pub tags: Vec<TagTemplate>,
    /// The surrogate keys of pages that show a row: every change of the row invalidates them, whichever
    /// columns [`Origin::columns`] lists. Entries of the contract do not carry them.
    pub page_tags: Vec<TagTemplate>,
    /// The budget: an answer contains every change that was committed longer ago than this. Zero means
    /// that no invalidation may be delayed or merged; since no bound is ever zero, it also means that
    /// no answer is ever proven to be within the budget.
    pub staleness: Duration,
    /// The TTL of an entry, the safety net for a lost invalidation. The default is twice the budget, at
    /// most [`TTL_CAP`](crate::TTL_CAP).
    pub ttl: Duration,
    /// The TTL of an entry for an absent row, at most `ttl`.
    pub absent_ttl: Duration,
    /// The action when an answer can't be proven to be within the budget.
    pub unproven: Unproven,
    /// The tiers that may store its entries.
    pub tiers: Tiers,
    /// The key filter of the ids that exist, if each process keeps one: reads of all other ids are
    /// answered "not found" without a load. Checked by [`Contract::check_absent_filter`].
    pub absent_filter: Option<AbsentFilter>,
    /// Whether commits renew its entries from the log, where the log contains the whole value.
    pub write_through: bool,
    /// Whether each use restarts the TTL (sessions).
    pub sliding: bool,
    /// Whether the value of a key never changes (files named by their content).
    pub immutable: bool,
    /// The early refresh of its entries.
    pub refresh: Refresh,
    /// How long after its expiry an entry may be served while one load renews it, as long as the bound
    /// proves that it is within the budget.
    pub stale_while_revalidate: Duration,
    /// The maximum size of an entry in bytes. A larger answer is served, but not stored.
    pub max_size_bytes: u64,
    /// The memory pool of its entries: a pool that overflows evicts its own entries.
    pub pool: Class,
    /// The priority class of its loads: under overload of the origin, `ephemeral` loads are shed first,
    /// `critical` ones last.
    pub priority: Class,
    /// The sensitivity of the data.
    pub sensitivity: Sensitivity,
    /// The region that the data may not leave.
    pub residency: Option<String>,
    /// Whether its entries are stored nowhere because all of its tiers run outside of that region. Set
    /// by [`Contract::apply_residency`], never by a configuration.
    pub residency_excluded: bool,
    /// The maximum time after its load for which a copy may be kept.
    pub retention: Option<Duration>,
    /// The team that is responsible for the contract.
    pub owner: Option<String>,
    /// The on-call rotation that is paged when the contract is violated.
    pub pager: Option<String>,
    /// The approval of the budget.
    pub approved: Option<Approval>,
}

/// The table that a contract's values are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The name of the source, `shop` for `[source.shop]`.
    pub source: String,
    /// The table: `schema.table`, or only the name for the schema `public`, as
    /// [`table_name`](crate::table_name) writes it.
    pub table: String,
    /// The column of `{id}`.
    pub key: String,
    /// The columns of the key's first variants, in the order of the key: a row with them has these variants' entries
    /// only. Empty: a row has all variants of its id.
    pub variants: Vec<String>,
    /// The column of `{tenant}`, where the key contains it.
    pub tenant: String,
    /// The columns that the value is made from. An update that changes none of them and none of the
    /// tags' columns invalidates nothing. Empty means all columns.
    pub columns: Vec<String>,
}

impl Origin {
    /// Returns whether this is `table` of `source`. Names with and without the schema `public` are equal.
    pub fn is_table(&self, source: &str, table: &str) -> bool {
        self.source == source
            && without_default_schema(&self.table) == without_default_schema(table)
    }
}

/// A further table that a contract's values are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedTable {
    /// The table and its columns.
    pub origin: Origin,
    /// The entries that a row of it is part of.
    pub entries: JoinedEntries,
}

/// The entries that depend on a row of a joined table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinedEntries {
    /// Those whose key the row contains, in [`Origin::key`].
    OfKey,
    /// Those with one of these tags, which are made from columns of the row.
    Tagged(Vec<TagTemplate>),
    /// All entries of the contract.
    All,
}

/// The evidence from which the bound of a contract's answers is derived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The commit log, and loads directly from the database.
    #[default]
    Log,
    /// The commit log, and the promise that a service shows a commit after [`lag`](Contract::lag) at
    /// the latest.
    Lease,
    /// Age only: no log reports changes.
    Age,
}

impl Evidence {
    /// Returns the name that headers and the configuration use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Lease => "lease",
            Self::Age => "age",
        }
    }
}

/// The action when an answer can't be proven to be within its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unproven {
    /// Serve the stale entry, and mark the answer as unproven.
    ServeStale,
    /// Read the origin.
    ReadOrigin,
    /// Return an error.
    Fail,
}

/// The tiers that may store entries. With neither, the data is never cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiers {
    /// The tier of each process.
    pub local: bool,
    /// The tier that all processes share.
    pub shared: bool,
}

impl Tiers {
    /// Both tiers.
    pub const ALL: Self = Self { local: true, shared: true };
    /// Only the shared tier.
    pub const SHARED: Self = Self { local: false, shared: true };
    /// No tier: never cached.
    pub const NONE: Self = Self { local: false, shared: false };

    /// Returns the number of tiers, 0 to 2.
    pub fn count(self) -> u32 {
        u32::from(self.local) + u32::from(self.shared)
    }

    /// Returns whether no tier may store entries.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// The settings of a key filter, a Bloom filter of the ids that exist.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AbsentFilter {
    /// The share of absent ids that the filter takes for existing ones, 0.0001 to 0.2.
    pub false_positives: f64,
    /// The maximum memory in bytes; twice that during a rebuild.
    pub max_size_bytes: u64,
    /// The interval between rebuilds. A rebuild is the safety net for a lost change, and removes the
    /// ids of deleted rows.
    pub rebuild: Duration,
}

impl Default for AbsentFilter {
    fn default() -> Self {
        let rebuild = Duration::from_secs(3_600);
        Self { false_positives: 0.01, max_size_bytes: 16 << 20, rebuild }
    }
}

/// The early refresh of entries, before they expire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refresh {
    /// The eagerness of the early refresh (β of XFetch), 0 to 10. 0 disables it; values above 1 refresh
    /// earlier. See [`xfetch_due`](crate::freshness::xfetch_due).
    pub beta: f64,
    /// The spread of TTLs, 0 to 0.5: 0.1 is ±10 %, so that entries stored together don't expire
    /// together.
    pub jitter: f64,
}

impl Default for Refresh {
    fn default() -> Self {
        Self { beta: 1.0, jitter: 0.10 }
    }
}

/// A priority class, least important first, so that sorting gives the order of shedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Optional data, such as recommendations and counts; shed first.
    Ephemeral,
    /// The default.
    Standard,
    /// Data that the shop can't sell without; shed last.
    Critical,
}

impl Class {
    /// Returns the name that metrics and the configuration use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ephemeral => "ephemeral",
            Self::Standard => "standard",
            Self::Critical => "critical",
        }
    }
}

/// The sensitivity of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sensitivity {
    /// Public data.
    Public,
    /// Data about a person.
    Personal,
    /// Money: balances, payments.
    Financial,
    /// Permissions and credentials.
    Auth,
}

impl Sensitivity {
    /// Returns whether the data counts as personal under data protection law.
    pub fn is_personal(self) -> bool {
        self != Sensitivity::Public
    }
}

/// The approval of a contract's budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The people or roles that approved it.
    pub by: Vec<String>,
    /// The day of the approval.
    pub on: toml::value::Date,
}

impl Contract {
    /// Returns whether any tier may store entries of this contract.
    pub fn is_cached(&self) -> bool {
        !self.tiers.is_none() && !self.ttl.is_zero()
    }

    /// Returns the evidence for the bound of its answers. The origin of a contract with neither a
    /// statement nor a service is a function.
    pub fn evidence(&self) -> Evidence {
        match (&self.value, &self.from) {
            _ if self.immutable => Evidence::Log,
            (Some(_), _) => Evidence::Log,
            (None, Some(_)) => Evidence::Lease,
            (None, None) => Evidence::Age,
        }
    }

    /// Whether readers name the values of its key's variants, and its statement may select by them.
    pub fn takes_variants(&self) -> bool {
        (self.value.is_some() || self.service.is_some()) && self.key.has_variants()
    }

    /// Returns its table and the joined ones.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.from.iter().chain(self.joins.iter().map(|joined| &joined.origin))
    }

    /// Parses the text by which a reader names a value: an id, or, if the contract
    /// [takes variants](Self::takes_variants), `42?currency=GBP` with both parts percent-encoded.
    ///
    /// # Errors
    /// [`KeyError`] when a variant is missing, unknown or there twice.
    pub fn item<'a>(&'a self, text: &'a str) -> Result<Item<'a>, KeyError> {
        match self.takes_variants() {
            true => Item::parse(&self.key, text),
            false => Ok(Item::of_id(text)),
        }
    }

    /// Returns the key of an entry; `id` is the text of an [item](Self::item).
    ///
    /// # Errors
    /// [`KeyError`] when the id is not in the form of the database, looks like personal data or a
    /// secret, or the template has other placeholders than the item.
    pub fn key(&self, id: &str) -> Result<Key, KeyError> {
        match self.takes_variants() {
            true => self.key_with(&self.item(id)?.parameters()),
            false => self.key_with(&[("id", id)]),
        }
    }

    /// Returns the key of an entry with tenant and variants: `[("id", "42"), ("locale", "de")]`.
    ///
    /// # Errors
    /// As [`Contract::key`].
    pub fn key_with(&self, params: &[(&str, &str)]) -> Result<Key, KeyError> {
        if let Some((_, id)) = params.iter().find(|(name, _)| *name == "id") {
            self.id.check(id)?;
        }
        self.key.key(params)
    }
}
