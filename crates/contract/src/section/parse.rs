//! Parser of the `[data]` section: from tables to checked contracts.

use std::time::Duration;

use toml::Value;

use crate::config::{KeySurvey, MAX_DURATION, Problem, TableReader, format_duration};
use crate::model::contract::{AbsentFilter, Approval, Contract, Refresh, Tiers, Unproven};
use crate::model::contracts::{ContractError, Contracts};
use crate::model::freshness::{TTL_CAP, default_ttl};
use crate::model::residency::parse_region;
use crate::model::service::{MAX_LAG, Service};
use crate::naming::syntax::is_entity;
use crate::naming::tag::TagTemplate;
use crate::naming::template::KeyTemplate;
use crate::section::choices::{CLASS_WORDS, ID, SENSITIVITY, UNPROVEN_WORDS};
use crate::section::preset::{Preset, Strictness, no_preset, presets};
use crate::section::reference::{SYNONYMS, keys_of};
use crate::section::{parse_from, parse_service};

const MINUTE: Duration = Duration::from_secs(60);

impl Contracts {
    /// Reads the `[data]` table: one contract from each of its tables.
    ///
    /// # Errors
    /// All problems of all contracts.
    pub fn from_toml(data: &toml::Table) -> Result<Self, ContractError> {
        let mut all = Vec::with_capacity(data.len());
        let mut problems = Vec::new();
        for (name, value) in data {
            match Contract::from_value(name, value) {
                Ok(contract) => all.push(contract),
                Err(err) => problems.extend(err.problems),
            }
        }
        if problems.is_empty() { Self::new(all) } else { Err(problems.into()) }
    }
}

impl Contract {
    /// Reads the contract `name` from its table.
    ///
    /// # Errors
    /// All keys that are unknown, of the wrong type or out of range, each with its path, its value and
    /// the remedy.
    pub fn from_toml(name: &str, table: &toml::Table) -> Result<Self, ContractError> {
        let path = format!("data.{name}");
        let mut table = TableReader::with_synonyms(path, table, &keys_of(""), &SYNONYMS);
        if !is_entity(name) {
            let message = format!("`{name}` is not a name for a contract");
            let help = "use lower-case letters, digits, `_` and `-`, start with a letter, at most 64 \
                        bytes";
            table.problem("name", "", message, help);
        }
        let contract = read(name, &mut table);
        if let Some(contract) = &contract {
            check_filter(contract, &mut table);
            check_service(contract, &mut table);
            check_changes(contract, &mut table);
            parse_from::check(contract, &mut table);
        }
        table.finish(contract).map_err(ContractError::from)
    }

    /// As [`Contract::from_toml`], for a value that should be a table.
    pub(crate) fn from_value(name: &str, value: &Value) -> Result<Self, ContractError> {
        match value {
            Value::Table(table) => Self::from_toml(name, table),
            other => Err(vec![Problem {
                rule: "wrong-type",
                path: format!("data.{name}"),
                message: format!("is {}, not a table", crate::config::describe_value(other)),
                help: format!("write a contract as `[data.{name}]` with its keys below"),
            }]
            .into()),
        }
    }
}

fn read(name: &str, table: &mut TableReader<'_>) -> Option<Contract> {
    const KEY: &str = "a key looks like \"v1:catalog:price:{id}\"";
    const TAG: &str = "a tag looks like \"product-{id}\"";
    let preset = read_preset(table);
    let base = preset.unwrap_or(no_preset());
    let key = table.required("key", "malformed-key", KEY, KeyTemplate::parse);
    let unproven = table.choice("unproven", &UNPROVEN_WORDS).unwrap_or(base.unproven);
    let priority = table.choice("priority", &CLASS_WORDS).unwrap_or(base.priority);
    let (from, joins) = parse_from::read(table);
    let times = read_times(table, base, unproven, from.is_some());
    let (value, service) = read_value(table);
    let renewable = service.is_none();
    Some(Contract {
        name: name.to_owned(),
        preset: preset.map(|preset| preset.name.to_owned()),
        id: table.choice("id", &ID).unwrap_or_default(),
        value,
        changes_at: table.text("changes_at").map(str::to_owned),
        service,
        lag: table.duration("lag", Duration::ZERO..=MAX_LAG).unwrap_or_default(),
        from,
        joins,
        tags: table.list("tags", TAG, TagTemplate::parse),
        page_tags: table.list("page_tags", TAG, TagTemplate::parse),
        staleness: times.staleness,
        ttl: times.ttl,
        absent_ttl: times.absent_ttl,
        unproven,
        tiers: read_tiers(table).unwrap_or(base.tiers),
        absent_filter: read_filter(table),
        write_through: table.flag("write_through").unwrap_or(renewable),
        sliding: times.sliding,
        immutable: times.immutable,
        refresh: read_refresh(table),
        stale_while_revalidate: times.stale_while_revalidate,
        max_size_bytes: table.size("max_size", 1..=u64::MAX).unwrap_or(1 << 20),
        pool: table.choice("pool", &CLASS_WORDS).unwrap_or(priority),
        priority,
        sensitivity: table.choice("sensitivity", &SENSITIVITY).unwrap_or(base.sensitivity),
        residency: table.text_with("residency", parse_region),
        residency_excluded: false,
        retention: read_time(table, "retention"),
        owner: table.text("owner").map(str::to_owned),
        pager: table.text("pager").map(str::to_owned),
        approved: read_approval(table),
        // Last, so that a malformed key hides no other problem.
        key: key?,
    })
}

/// Returns the keys of a contract, with the forms of their values.
pub fn survey_contract() -> KeySurvey {
    TableReader::survey(&keys_of(""), |table| read("name", table))
}

fn read_time(table: &mut TableReader<'_>, key: &str) -> Option<Duration> {
    table.duration(key, Duration::ZERO..=MAX_DURATION)
}

fn read_value(table: &mut TableReader<'_>) -> (Option<String>, Option<Service>) {
    let (service, statement) =
        table.table_or_text("value", &keys_of("value"), parse_service::read, |table| {
            table.text("value").map(str::to_owned)
        });
    (statement, service)
}

fn check_filter(contract: &Contract, table: &mut TableReader<'_>) {
    if contract.absent_filter.is_none() {
        return;
    }
    if let Err(why) = contract.check_absent_filter() {
        let message = format!("there is no proof that an id without a row has no value: {why}");
        let help = "remove it; then an unknown id is loaded once, and its absence is cached";
        table.problem("absent-filter", "absent_filter", message, help);
    }
}

/// Checks the keys that a contract whose values change by the clock can't have.
fn check_changes(contract: &Contract, table: &mut TableReader<'_>) {
    if contract.changes_at.is_none() {
        return;
    }
    let remove = "remove one of them";
    if contract.value.is_none() {
        let message = "is for values that the database's clock decides about, and there is no statement in `value`";
        let help = "remove it; a service names the time in the header `Tidegate-Changes-At` of its response";
        table.problem("changes-without-value", "changes_at", message, help);
    }
    if contract.immutable {
        let message = "the contract is `immutable`, so its values never change";
        table.problem("changes-of-immutable", "changes_at", message, remove);
    }
    if contract.write_through && table.has("write_through") {
        let message = "the log does not contain the time at which the value changes next";
        let help = "remove it; a commit invalidates the entry, and the next read loads the value with that time";
        table.problem("write-through-of-changes", "write_through", message, help);
    }
}

/// Checks the keys that a contract with a service can't have.
fn check_service(contract: &Contract, table: &mut TableReader<'_>) {
    if contract.value.is_some() && table.has("lag") {
        let message = "is for services and functions; `value` reads the database itself";
        table.problem("lag-of-database", "lag", message, "remove it");
    }
    let Some(service) = &contract.service else { return };
    check_address(contract, service, table);
    if contract.write_through {
        let message = "the log does not contain the value that a service makes from a row";
        let help = "remove it; a commit invalidates the entry, and the next read calls the service";
        table.problem("write-through-of-service", "write_through", message, help);
    }
    if contract.sliding && contract.from.is_none() && !contract.immutable {
        let message = "no log reports changes, so age is the only evidence of freshness";
        let help = "remove it, or name the table that the service reads, `from = { … }`: a use extends \
                    the TTL, never the proof";
        table.problem("sliding-of-service", "sliding", message, help);
    }
}

/// Checks that the address names the variants of the key, and nothing else.
fn check_address(contract: &Contract, service: &Service, table: &mut TableReader<'_>) {
    let variants = contract.key.variants();
    let mut named = service.url.placeholders().filter(|name| *name != "id");
    if let Some(name) = named.find(|name| !variants.contains(name)) {
        let message = format!("`{{{name}}}` is not part of the key `{}`", contract.key);
        let help =
            format!("use `{{id}}`, or make it part of the key: `{}:{{{name}}}`", contract.key);
        table.problem("value-unknown-parameter", "value.http", message, help);
    }
    let is_named = |name: &&str| service.url.placeholders().any(|named| named == *name);
    if let Some(name) = variants.iter().find(|name| !is_named(name)) {
        let message =
            format!("the address has no `{{{name}}}`, a variant of the key `{}`", contract.key);
        let help = format!("add it, such as `?{name}={{{name}}}`, or remove it from the key");
        table.problem("value-without-variant", "value.http", message, help);
    }
}

struct Times {
    staleness: Duration,
    ttl: Duration,
    absent_ttl: Duration,
    stale_while_revalidate: Duration,
    sliding: bool,
    immutable: bool,
}

fn read_times(
    table: &mut TableReader<'_>,
    base: &Preset,
    unproven: Unproven,
    has_from: bool,
) -> Times {
    let sliding = table.flag("sliding").unwrap_or(base.sliding);
    let immutable = table.flag("immutable").unwrap_or(base.immutable);
    // A missing or wrong budget is a recorded problem, so values derived from zero are never used.
    let staleness = read_staleness(table, base).unwrap_or_default();
    let ttl = read_time(table, "ttl");
    let ttl = ttl.unwrap_or_else(|| default_ttl(staleness, sliding || immutable));
    let absent_ttl = read_time(table, "absent_ttl");
    if let Some(absent) = absent_ttl.filter(|absent| *absent > ttl) {
        let (absent, ttl) = (format_duration(absent), format_duration(ttl));
        let message = format!("{absent} is longer than the TTL of entries, {ttl}");
        table.problem("out-of-range", "absent_ttl", message, "choose at most `ttl`");
    }
    let max_absent_ttl = if has_from { 5 * MINUTE } else { MINUTE };
    let default_revalidate = match unproven {
        Unproven::ServeStale => staleness,
        Unproven::ReadOrigin | Unproven::Fail => Duration::ZERO,
    };
    let revalidate = read_time(table, "stale_while_revalidate");
    Times {
        staleness,
        ttl,
        absent_ttl: absent_ttl.unwrap_or(max_absent_ttl).min(ttl),
        stale_while_revalidate: revalidate.unwrap_or(default_revalidate),
        sliding,
        immutable,
    }
}

fn read_refresh(table: &mut TableReader<'_>) -> Refresh {
    let default = Refresh::default();
    Refresh {
        beta: table.number("early_refresh", 0.0..=10.0).unwrap_or(default.beta),
        jitter: table.number("jitter", 0.0..=0.5).unwrap_or(default.jitter),
    }
}

fn read_preset(table: &mut TableReader<'_>) -> Option<&'static Preset> {
    let options: Vec<(&str, &'static Preset)> =
        presets().iter().map(|preset| (preset.name, preset)).collect();
    table.choice("preset", &options)
}

fn read_staleness(table: &mut TableReader<'_>, base: &Preset) -> Option<Duration> {
    let staleness = read_time(table, "staleness").or(base.staleness);
    if staleness.is_none() && !table.has("staleness") {
        let help = match base.strictness {
            Strictness::FailClosed => {
                "agree with the approver how old an answer may be, for example `staleness = \"1s\"`"
            }
            _ => {
                "set how old an answer may be, for example `staleness = \"30s\"`, or use a `preset`"
            }
        };
        table.problem("missing", "staleness", "is missing", help);
    }
    staleness
}

fn read_tiers(table: &mut TableReader<'_>) -> Option<Tiers> {
    const LOCAL: Tiers = Tiers { local: true, shared: false };
    if !table.has("tiers") {
        return None;
    }
    let tiers = table.choices("tiers", &[("local", LOCAL), ("shared", Tiers::SHARED)]);
    Some(tiers.into_iter().fold(Tiers::NONE, |all, tier| Tiers {
        local: all.local || tier.local,
        shared: all.shared || tier.shared,
    }))
}

fn read_filter(table: &mut TableReader<'_>) -> Option<AbsentFilter> {
    let default = AbsentFilter::default();
    table.switch("absent_filter", default, &keys_of("absent_filter"), |filter| {
        let share = filter.number("false_positives", 0.0001..=0.2);
        let rebuild = filter.duration("rebuild", MINUTE..=TTL_CAP);
        let max_size_bytes = filter.size("max_size", 1..=u64::MAX);
        Some(AbsentFilter {
            false_positives: share.unwrap_or(default.false_positives),
            max_size_bytes: max_size_bytes.unwrap_or(default.max_size_bytes),
            rebuild: rebuild.unwrap_or(default.rebuild),
        })
    })
}

fn read_approval(table: &mut TableReader<'_>) -> Option<Approval> {
    table.nested("approved", &keys_of("approved"), |approved| {
        let by = approved.list("by", "name a person or role", not_blank);
        if by.is_empty() {
            approved.problem(
                "missing",
                "by",
                "has no name",
                "name the approver, `by = [\"product\"]`",
            );
        }
        let on = approved.required_date("on");
        Some(Approval { by, on: on? })
    })
}

fn not_blank(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("it is empty") } else { Ok(text.to_owned()) }
}
