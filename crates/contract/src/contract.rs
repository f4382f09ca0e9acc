use std::time::Duration;

use serde::Serialize;

use crate::key::{Key, KeyError};
use crate::row::{Cell, Row};
use crate::service::Service;
use crate::tag::{Tag, TagTemplate};
use crate::template::KeyTemplate;

/// The longest safety net: no entry outlives a lost invalidation by more than a week. Immutable
/// content is exempt.
pub const TTL_CAP: Duration = Duration::from_secs(7 * 24 * 3600);

/// What an engineer promises about one kind of data, checked and complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    /// The contract's name: its table in the configuration, its path on the data face and its label
    /// in metrics. `[a-z][a-z0-9_-]*`, at most 64 bytes.
    pub name: String,
    /// The preset it starts from, if any.
    pub preset: Option<String>,
    /// How its keys are made.
    pub key: KeyTemplate,
    /// How ids of this kind are written.
    pub id: IdKind,
    /// The statement that loads one value; `$id` stands for the id.
    pub value: Option<String>,
    /// The service that gives one value, in place of a statement.
    pub service: Option<Service>,
    /// How far a service or function may lag behind what the log says, at most 10 s: its answers
    /// show what was so at most so long before they were asked for. Zero where a database is asked.
    pub lag: Duration,
    /// The table whose changes invalidate entries.
    pub from: Option<Origin>,
    /// The surrogate keys that entries carry and that row changes raise.
    pub tags: Vec<TagTemplate>,
    /// How old an answer may be: every change committed longer ago than this is in it. Zero means
    /// that nothing may be delayed or merged; since no bound is ever zero, it also means that an
    /// answer is never proven fresh enough.
    pub staleness: Duration,
    /// How long an entry may live without being confirmed: the safety net under the invalidation.
    /// Twice the budget unless said otherwise, at most [`TTL_CAP`] by default.
    pub ttl: Duration,
    /// How long the absence of a row may be remembered, at most `ttl`.
    pub absent_ttl: Duration,
    /// What to do when an answer can't be proven to be within the budget.
    pub unproven: Unproven,
    /// Where entries may live.
    pub tiers: Tiers,
    /// Whether each process keeps a filter of the ids that exist, so that all others are answered
    /// "not found" with no load; checked to [fit](Contract::knows_its_ids).
    pub absent_filter: Option<AbsentFilter>,
    /// Whether commits renew its entries from the log, where that tells all of the value.
    pub write_through: bool,
    /// Whether each use starts the lifetime anew (sessions).
    pub sliding: bool,
    /// Whether a value never changes under its key (files named by their content).
    pub immutable: bool,
    /// How entries are renewed before they end.
    pub refresh: Refresh,
    /// For how long after its end an entry may still be served while one load renews it, within the
    /// budget as far as it can be proven.
    pub stale_while_revalidate: Duration,
    /// The largest entry that is stored, in bytes. A larger answer is served, not stored.
    pub max_size_bytes: u64,
    /// The pool of memory its entries share: a pool that overflows evicts its own.
    pub pool: Class,
    /// Who goes first when the origin is short: `ephemeral` loads are shed first, `critical` last.
    pub priority: Class,
    /// How sensitive the data is.
    pub sensitivity: Sensitivity,
    /// The region whose pools the data may not leave.
    pub residency: Option<String>,
    /// Whether it would be kept somewhere, if all of its tiers did not run outside of that region
    /// ([`Contract::keep_in`]); never said in a configuration.
    pub abroad: bool,
    /// How long copies may be kept at all.
    pub retention: Option<Duration>,
    /// The team that answers for the contract.
    pub owner: Option<String>,
    /// Who is called when the contract is broken.
    pub pager: Option<String>,
    /// Who agreed to the budget, and when.
    pub approved: Option<Approval>,
}

/// Where a contract's rows come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The source's name, `shop` of `[source.shop]`.
    pub source: String,
    /// The table, `schema.table` or bare for the schema `public`.
    pub table: String,
    /// The column that is the `{id}`.
    pub key: String,
    /// The column that is the `{tenant}`, where the key has one.
    pub tenant: String,
    /// The columns that the value is made of. An update that touches none of them (nor a tag's)
    /// leaves the entries alone. Empty means any column.
    pub columns: Vec<String>,
}

/// How ids of a contract are written, so that one row has one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdKind {
    /// Unknown: ids that a database could read as a number or UUID must be written as the database
    /// writes them, all others are taken as they are.
    #[default]
    Auto,
    /// A plain integer.
    Integer,
    /// A lower-case UUID with hyphens.
    Uuid,
    /// Text compared byte by byte: `0042` and `42` are two ids.
    Text,
}

/// What the bound of a contract's answers rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The log, and a database that was asked directly.
    #[default]
    Log,
    /// The log, and that a service shows what is committed, at the latest after
    /// [`lag`](Contract::lag).
    Lease,
    /// Age alone: nothing tells of changes.
    Age,
}

impl Evidence {
    /// The name used in headers and configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Lease => "lease",
            Self::Age => "age",
        }
    }
}

/// What to do when an answer can't be proven to be within its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unproven {
    /// Answer with what there is, and say so.
    ServeStale,
    /// Ask the origin.
    ReadOrigin,
    /// Refuse the answer.
    Fail,
}

/// Where entries may live. Neither means that the data is never cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiers {
    /// In the process that answers.
    pub local: bool,
    /// In the tier that all processes share.
    pub shared: bool,
}

impl Tiers {
    /// Both tiers.
    pub const ALL: Self = Self { local: true, shared: true };
    /// Never in-process.
    pub const SHARED: Self = Self { local: false, shared: true };
    /// Never cached.
    pub const NONE: Self = Self { local: false, shared: false };

    /// How many tiers may hold an entry, 0 to 2.
    pub fn count(self) -> u32 {
        u32::from(self.local) + u32::from(self.shared)
    }

    /// Whether nothing may be kept anywhere.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// A filter of the ids that exist.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AbsentFilter {
    /// The share of absent ids that are not known to be absent, 0.0001 to 0.2.
    pub false_positives: f64,
    /// The most memory it takes, in bytes; while it is made anew, twice that.
    pub max_size_bytes: u64,
    /// How long it stands before it is made anew: the safety net under the log, and the end of what
    /// deleted rows have left in it.
    pub rebuild: Duration,
}

impl Default for AbsentFilter {
    fn default() -> Self {
        let rebuild = Duration::from_secs(3_600);
        Self { false_positives: 0.01, max_size_bytes: 16 << 20, rebuild }
    }
}

/// How entries are renewed before they end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refresh {
    /// Eagerness of the early refresh (the β of XFetch), 0 to 10. 0 turns it off, above 1 refreshes
    /// earlier. See [`xfetch_due`](crate::freshness::xfetch_due).
    pub beta: f64,
    /// Spread of lifetimes, 0 to 0.5: 0.1 is ±10 %, so that entries stored together don't end
    /// together.
    pub jitter: f64,
}

impl Default for Refresh {
    fn default() -> Self {
        Self { beta: 1.0, jitter: 0.10 }
    }
}

/// A class of importance, least important first, so that sorting gives the order of shedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Nice to have: recommendations, counts. First to go.
    Ephemeral,
    /// Everything usual.
    Standard,
    /// What the shop can't sell without. Last to go.
    Critical,
}

/// How sensitive the data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sensitivity {
    /// Anyone may see it.
    Public,
    /// It is about a person.
    Personal,
    /// Money: balances, payments.
    Financial,
    /// It decides who may do what: permissions, credentials.
    Auth,
}

impl Sensitivity {
    /// Whether the data is about a person in the sense of data protection.
    pub fn is_personal(self) -> bool {
        self != Sensitivity::Public
    }
}

/// Who agreed to a contract, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The people or roles.
    pub by: Vec<String>,
    /// The day.
    pub on: jiff::civil::Date,
}

impl Contract {
    /// Whether entries of this contract may be kept anywhere at all.
    pub fn is_cached(&self) -> bool {
        !self.tiers.is_none() && !self.ttl.is_zero()
    }

    /// What the bound of its answers rests on. A contract that says neither a statement nor a
    /// service is one for a function.
    pub fn evidence(&self) -> Evidence {
        match (&self.value, &self.from) {
            _ if self.immutable => Evidence::Log,
            (Some(_), _) => Evidence::Log,
            (None, Some(_)) => Evidence::Lease,
            (None, None) => Evidence::Age,
        }
    }

    /// Whether an id without a row is known to have no value, so that a filter of the ids that exist
    /// can answer in the value's place.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn knows_its_ids(&self) -> Result<(), &'static str> {
        // A statement that aggregates, or reads another table, may have a value without a row.
        self.projection()?;
        if self.staleness.is_zero() {
            return Err("its budget is zero, which nothing that is kept in a process can prove");
        }
        if !self.tiers.local || self.ttl.is_zero() {
            return Err("nothing of it may be kept in the process, where the filter would be");
        }
        Ok(())
    }

    /// The key of one entry.
    ///
    /// # Errors
    /// [`KeyError`] where the id is not written as the database writes it, looks like personal data
    /// or a secret, or the template asks for more than an id.
    pub fn key(&self, id: &str) -> Result<Key, KeyError> {
        self.key_with(&[("id", id)])
    }

    /// The key of one entry, with tenant and variants: `[("id", "42"), ("locale", "de")]`.
    ///
    /// # Errors
    /// As [`Contract::key`].
    pub fn key_with(&self, params: &[(&str, &str)]) -> Result<Key, KeyError> {
        if let Some((_, id)) = params.iter().find(|(name, _)| *name == "id") {
            self.id.check(id)?;
        }
        self.key.key(params)
    }

    /// The column that a tag's or key's placeholder stands for.
    pub(crate) fn column_of<'a>(&'a self, placeholder: &'a str) -> &'a str {
        match (&self.from, placeholder) {
            (Some(from), "id") => &from.key,
            (Some(from), "tenant") => &from.tenant,
            _ => placeholder,
        }
    }

    /// The columns a loader has to know of a row to tag its entry, each once.
    pub fn tag_columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        let tags = self.tags.iter().flat_map(TagTemplate::placeholders);
        let family = self.family_placeholders();
        for placeholder in tags.chain(family) {
            let column = self.column_of(placeholder);
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// Every column that decides whether and what a row change invalidates: key, tenant, value and
    /// tag columns, each once. Empty where any column counts or nothing feeds the contract.
    pub fn watched_columns(&self) -> Vec<&str> {
        let Some(from) = &self.from else { return Vec::new() };
        if from.columns.is_empty() {
            return Vec::new();
        }
        let mut columns = self.load_columns();
        for column in from.columns.iter().map(String::as_str) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// The columns that the key is made of.
    pub fn key_columns(&self) -> Vec<&str> {
        match &self.from {
            None => Vec::new(),
            Some(from) if self.key.has_tenant() => vec![&from.key, &from.tenant],
            Some(from) => vec![&from.key],
        }
    }

    /// The columns a loader should ask for beside the value: key and tag columns, each once.
    pub fn load_columns(&self) -> Vec<&str> {
        let mut columns = self.key_columns();
        for column in self.tag_columns() {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// Whether the row that was loaded for `id` is called `id` by the database too.
    ///
    /// A comparison that folds case or ignores trailing spaces finds rows under names that the log
    /// never says; such an answer is right, but must not be stored under that name, where no change
    /// would ever reach it. True where the row does not tell.
    pub fn names_row(&self, id: &str, row: &Row) -> bool {
        let told = self.from.as_ref().and_then(|from| row.get(&from.key)).and_then(Cell::text);
        told.is_none_or(|told| told == id)
    }

    /// The columns whose old value an invalidation needs but `identity` (the columns of the table's
    /// replica identity) does not give. Where it is not empty, PostgreSQL needs
    /// `ALTER TABLE … REPLICA IDENTITY FULL`.
    pub fn beyond_identity(&self, identity: &[&str]) -> Vec<&str> {
        if self.from.is_none() {
            return Vec::new();
        }
        let mut columns = self.load_columns();
        columns.retain(|column| !identity.contains(column));
        columns
    }

    /// The tags of the entry made from a row of which `columns` are known: what a fill stores with
    /// the value. A tag whose column is unknown or null is left out. For an absent row, give the
    /// key's column alone.
    pub fn tags_for(&self, columns: &Row) -> Vec<Tag> {
        self.tags_of(|column| columns.get(column).and_then(Cell::text))
    }

    /// The same of a row whose columns have these texts.
    pub(crate) fn tags_of<'a>(&'a self, column: impl Fn(&str) -> Option<&'a str>) -> Vec<Tag> {
        let text = |placeholder: &str| column(self.column_of(placeholder));
        let mut tags: Vec<Tag> = Vec::with_capacity(self.tags.len() + 1);
        for template in &self.tags {
            if let Ok(tag) = template.tag(text)
                && !tags.contains(&tag)
            {
                tags.push(tag);
            }
        }
        let family: Option<Vec<(&str, &str)>> =
            self.family_placeholders().map(|name| Some((name, text(name)?))).collect();
        if let Some(tag) = family.and_then(|params| self.family_tag(&params)) {
            tags.push(tag);
        }
        tags
    }

    /// The tag that all variants of one row share, where the key has variants: a row change can't
    /// name `…:42:de` and `…:42:en`, so it names `…:42:*`.
    pub(crate) fn family_tag(&self, params: &[(&str, &str)]) -> Option<Tag> {
        if self.key.variants().is_empty() {
            return None;
        }
        let text = self.key.family(params).ok()?;
        Some(
            Tag::parse(&text)
                .or_else(|_| Tag::parse(&crate::key::hashed(&text)))
                .expect("a hash is a tag"),
        )
    }

    /// The placeholders of the family tag: none where the key has no variants.
    fn family_placeholders(&self) -> impl Iterator<Item = &str> {
        let has_variants = !self.key.variants().is_empty();
        let names = self.key.placeholders().into_iter();
        names.filter(move |name| has_variants && matches!(*name, "id" | "tenant"))
    }
}
