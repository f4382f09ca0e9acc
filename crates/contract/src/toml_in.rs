//! From `[data.<name>]` to a [`Contract`]: raw keys first, then types that can't be wrong.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use toml::Value;

use crate::contract::{
    AbsentFilter, Approval, Class, Contract, IdKind, Origin, Refresh, Sensitivity, TTL_CAP, Tiers,
    Unproven,
};
use crate::fields::Fields;
use crate::key::is_entity;
use crate::preset::{self, Preset, Strictness};
use crate::residency::is_region;
use crate::service::{self, Service};
use crate::tag::TagTemplate;
use crate::template::KeyTemplate;

const MINUTE: Duration = Duration::from_secs(60);

pub(crate) const UNPROVEN: [(&str, Unproven); 3] = [
    ("serve-stale", Unproven::ServeStale),
    ("read-origin", Unproven::ReadOrigin),
    ("fail", Unproven::Fail),
];

pub(crate) const CLASS: [(&str, Class); 3] =
    [("critical", Class::Critical), ("standard", Class::Standard), ("ephemeral", Class::Ephemeral)];

pub(crate) const ID: [(&str, IdKind); 4] = [
    ("auto", IdKind::Auto),
    ("integer", IdKind::Integer),
    ("uuid", IdKind::Uuid),
    ("text", IdKind::Text),
];

pub(crate) const SENSITIVITY: [(&str, Sensitivity); 4] = [
    ("public", Sensitivity::Public),
    ("personal", Sensitivity::Personal),
    ("financial", Sensitivity::Financial),
    ("auth", Sensitivity::Auth),
];

/// Everything that is wrong with a configuration, so that it takes one round to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ContractError {
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A stable name of the kind of problem.
    pub rule: &'static str,
    /// Where: `data.product_price.from.table`.
    pub path: String,
    /// What is wrong, with the value.
    pub message: String,
    /// How to mend it.
    pub help: String,
}

impl Problem {
    pub(crate) fn not_a_table(name: &str, value: &Value) -> Self {
        Problem {
            rule: "wrong-type",
            path: format!("data.{name}"),
            message: format!("is {}, not a table", crate::fields::describe(value)),
            help: format!("write a contract as `[data.{name}]` with its keys below"),
        }
    }
}

impl From<Problem> for ContractError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.message, self.help)
    }
}

impl fmt::Display for ContractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl Contract {
    /// Reads the contract `name` from its table.
    ///
    /// # Errors
    /// Every key that is unknown, of the wrong type or out of range, each with its path, its value
    /// and how to mend it.
    pub fn from_toml(name: &str, table: &toml::Table) -> Result<Self, ContractError> {
        let mut fields = Fields::new(format!("data.{name}"), table);
        if !is_entity(name) {
            fields.problem(
                "name",
                "",
                format!("`{name}` is no name for a contract"),
                "use lower-case letters, digits, `_` and `-`, a letter first, at most 64 bytes",
            );
        }
        let contract = read(name, &mut fields);
        if let Some(contract) =
            contract.as_ref().filter(|contract| contract.absent_filter.is_some())
            && let Err(why) = contract.knows_its_ids()
        {
            let message = format!("nothing proves that an id without a row has no value: {why}");
            let help =
                "remove it; unknown ids are then loaded once, and their absence is remembered";
            fields.problem("absent-filter", "absent_filter", message, help);
        }
        if let Some(contract) = &contract {
            check_service(contract, &mut fields);
        }
        match (contract, fields.into_problems()) {
            (Some(contract), problems) if problems.is_empty() => Ok(contract),
            (_, problems) => Err(ContractError { problems }),
        }
    }
}

fn read(name: &str, fields: &mut Fields<'_>) -> Option<Contract> {
    let preset = read_preset(fields);
    let base = preset.unwrap_or(preset::none());
    let key = fields.required_with(
        "key",
        "malformed-key",
        "a key looks like \"v1:catalog:price:{id}\"",
        |text| KeyTemplate::parse(text).map_err(|err| err.to_string()),
    );
    let unproven = fields.choice("unproven", &UNPROVEN).unwrap_or(base.unproven);
    let priority = fields.choice("priority", &CLASS).unwrap_or(base.priority);
    let from = read_from(fields);
    let times = read_times(fields, base, unproven, from.is_some());
    let (value, service) = read_value(fields);
    let renewable = service.is_none();
    Some(Contract {
        name: name.to_owned(),
        preset: preset.map(|preset| preset.name.to_owned()),
        id: fields.choice("id", &ID).unwrap_or_default(),
        value,
        service,
        lag: read_lag(fields),
        from,
        tags: fields.list_with("tags", "a tag looks like \"product-{id}\"", TagTemplate::parse),
        staleness: times.staleness,
        ttl: times.ttl,
        absent_ttl: times.absent_ttl,
        unproven,
        tiers: read_tiers(fields).unwrap_or(base.tiers),
        absent_filter: read_filter(fields),
        write_through: fields.flag("write_through").unwrap_or(renewable),
        sliding: times.sliding,
        immutable: times.immutable,
        refresh: read_refresh(fields),
        stale_while_revalidate: times.stale_while_revalidate,
        max_size_bytes: fields.size("max_size").unwrap_or(1 << 20),
        pool: fields.choice("pool", &CLASS).unwrap_or(priority),
        priority,
        sensitivity: fields.choice("sensitivity", &SENSITIVITY).unwrap_or(base.sensitivity),
        residency: read_residency(fields),
        abroad: false,
        retention: fields.duration("retention"),
        owner: fields.text("owner").map(str::to_owned),
        pager: fields.text("pager").map(str::to_owned),
        approved: read_approval(fields),
        // Last, so that a malformed key keeps no other problem from being told.
        key: key?,
    })
}

fn read_value(fields: &mut Fields<'_>) -> (Option<String>, Option<Service>) {
    if fields.is_table("value") {
        return (None, fields.nested("value", service::read));
    }
    (fields.text("value").map(str::to_owned), None)
}

fn read_lag(fields: &mut Fields<'_>) -> Duration {
    let lag = fields.duration("lag").unwrap_or_default();
    if lag > service::MOST_LAG {
        let message = format!("{} is out of range", show(lag));
        let help = "choose at most 10s: of what is older, the log's marks are no longer kept";
        fields.problem("out-of-range", "lag", message, help);
    }
    lag
}

/// What a service's answers can't have.
fn check_service(contract: &Contract, fields: &mut Fields<'_>) {
    if contract.value.is_some() && fields.has("lag") {
        let message = "is for services and functions; `value` asks the database itself".to_owned();
        fields.problem("lag-of-database", "lag", message, "remove it");
    }
    if contract.service.is_none() {
        return;
    }
    if contract.write_through {
        let message = "the log does not tell what a service makes of a row".to_owned();
        let help = "remove it; a commit ends the entry, and the next reader asks the service";
        fields.problem("write-through-of-service", "write_through", message, help);
    }
    if contract.sliding && contract.from.is_none() && !contract.immutable {
        let message = "nothing tells of changes, so only age proves an entry".to_owned();
        let help = "remove it, or name the table that the service reads, `from = { … }`: a use \
                    prolongs a life, never a proof";
        fields.problem("sliding-of-service", "sliding", message, help);
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

fn read_times(fields: &mut Fields<'_>, base: &Preset, unproven: Unproven, fed: bool) -> Times {
    let sliding = fields.flag("sliding").unwrap_or(base.sliding);
    let immutable = fields.flag("immutable").unwrap_or(base.immutable);
    // What is missing or wrong has been noted, so that what is computed from it is never used.
    let staleness = read_staleness(fields, base).unwrap_or_default();
    let ttl = fields.duration("ttl");
    let ttl = ttl.unwrap_or_else(|| fitting_ttl(staleness, sliding || immutable));
    let absent_ttl = fields.duration("absent_ttl");
    if let Some(absent) = absent_ttl.filter(|absent| *absent > ttl) {
        let message =
            format!("{} is longer than entries live, which is {}", show(absent), show(ttl));
        fields.problem("out-of-range", "absent_ttl", message, "choose at most `ttl`");
    }
    let absent_cap = if fed { 5 * MINUTE } else { MINUTE };
    let renewing = match unproven {
        Unproven::ServeStale => staleness,
        Unproven::ReadOrigin | Unproven::Fail => Duration::ZERO,
    };
    Times {
        staleness,
        ttl,
        absent_ttl: absent_ttl.unwrap_or(absent_cap).min(ttl),
        stale_while_revalidate: fields.duration("stale_while_revalidate").unwrap_or(renewing),
        sliding,
        immutable,
    }
}

fn read_refresh(fields: &mut Fields<'_>) -> Refresh {
    let default = Refresh::default();
    Refresh {
        beta: fields.number("early_refresh", 0.0..=10.0).unwrap_or(default.beta),
        jitter: fields.number("jitter", 0.0..=0.5).unwrap_or(default.jitter),
    }
}

fn read_preset(fields: &mut Fields<'_>) -> Option<&'static Preset> {
    let options: Vec<(&str, &'static Preset)> =
        preset::presets().iter().map(|preset| (preset.name, preset)).collect();
    fields.choice("preset", &options)
}

fn read_staleness(fields: &mut Fields<'_>, base: &Preset) -> Option<Duration> {
    let staleness = fields.duration("staleness").or(base.staleness);
    if staleness.is_none() && !fields.has("staleness") {
        let help = match base.strictness {
            Strictness::FailClosed => {
                "decide with whoever approves it how old an answer may be, for example `staleness = \"1s\"`"
            }
            _ => {
                "say how old an answer may be, for example `staleness = \"30s\"`, or start from a `preset`"
            }
        };
        fields.problem("missing", "staleness", "is missing".to_owned(), help);
    }
    staleness
}

fn read_residency(fields: &mut Fields<'_>) -> Option<String> {
    let region = fields.text("residency")?;
    if !is_region(region) {
        let message = format!("`{region}` is no name of a region");
        let help = "use lower-case letters, digits and `-`, such as \"eu\" or \"eu-west\"";
        fields.problem("wrong-value", "residency", message, help);
    }
    Some(region.to_owned())
}

fn read_from(fields: &mut Fields<'_>) -> Option<Origin> {
    fields.nested("from", |from| {
        let source = from.required_with(
            "source",
            "wrong-value",
            "name a source, `shop` for `[source.shop]`",
            named,
        );
        let table = from.required_with("table", "wrong-value", "name a table", named);
        let key = from.text("key").unwrap_or("id").to_owned();
        let tenant = from.text("tenant").unwrap_or("tenant").to_owned();
        let columns = from.list_with("columns", "name a column", named);
        Some(Origin { source: source?, table: table?, key, tenant, columns })
    })
}

fn read_tiers(fields: &mut Fields<'_>) -> Option<Tiers> {
    if !fields.has("tiers") {
        return None;
    }
    let mut tiers = Tiers::NONE;
    let named =
        fields.list_with("tiers", "the tiers are \"local\" and \"shared\"", |tier| match tier {
            "local" | "shared" => Ok(tier.to_owned()),
            other => Err(format!("there is no tier `{other}`")),
        });
    for tier in named {
        tiers.local |= tier == "local";
        tiers.shared |= tier == "shared";
    }
    Some(tiers)
}

fn read_filter(fields: &mut Fields<'_>) -> Option<AbsentFilter> {
    let default = AbsentFilter::default();
    fields.switched("absent_filter", default, |filter| {
        let share = filter.number("false_positives", 0.0001..=0.2);
        let rebuild = filter.duration("rebuild").unwrap_or(default.rebuild);
        if rebuild < MINUTE || rebuild > TTL_CAP {
            let message = format!("{} is out of range", show(rebuild));
            filter.problem("out-of-range", "rebuild", message, "choose 1min to 7days");
        }
        Some(AbsentFilter {
            false_positives: share.unwrap_or(default.false_positives),
            max_size_bytes: filter.size("max_size").unwrap_or(default.max_size_bytes),
            rebuild,
        })
    })
}

fn read_approval(fields: &mut Fields<'_>) -> Option<Approval> {
    fields.nested("approved", |approved| {
        let by = approved.list_with("by", "name a person or role", named);
        if by.is_empty() {
            approved.problem(
                "missing",
                "by",
                "names nobody".to_owned(),
                "say who agreed, `by = [\"product\"]`",
            );
        }
        let on = approved.date("on");
        Some(Approval { by, on: on? })
    })
}

fn named(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// The lifetime that goes with a budget: the budget itself for entries that never change or live by
/// their use, otherwise twice as long, at most a week.
pub(crate) fn fitting_ttl(staleness: Duration, exact: bool) -> Duration {
    if exact { staleness } else { staleness.saturating_mul(2).min(TTL_CAP) }
}

/// A duration as people write it.
pub(crate) fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
