//! Printer of a contract: the effective configuration, with all defaults.

use std::time::Duration;

use toml::value::Date;
use toml::{Table, Value};

use crate::config::format_duration;
use crate::model::contract::{AbsentFilter, Contract, JoinedEntries, JoinedTable, Origin};
use crate::model::service::Service;
use crate::section::choices::{CLASS_WORDS, ID, SENSITIVITY, UNPROVEN_WORDS};
use crate::section::reference::is_known;

impl Contract {
    /// Returns the table that parses as this contract, with every key explicit.
    ///
    /// It contains no secret: of a secret header it contains the name of the environment variable.
    pub fn to_toml(&self) -> Table {
        let mut out = Out(Table::new());
        out.text("preset", self.preset.as_deref());
        out.text("key", Some(self.key.as_str()));
        out.text("id", name_of(&ID, &self.id));
        out.text("value", self.value.as_deref());
        out.text("changes_at", self.changes_at.as_deref());
        if let Some(service) = &self.service {
            out.set("value", Some(service_table(service)));
        }
        if self.value.is_none() {
            out.time("lag", self.lag);
        }
        out.set("from", self.from.as_ref().map(|from| origins(from, &self.joins)));
        out.set("tags", Some(list(self.tags.iter().map(|tag| tag.as_str()))));
        out.set("page_tags", Some(list(self.page_tags.iter().map(|tag| tag.as_str()))));
        out.time("staleness", self.staleness);
        out.time("ttl", self.ttl);
        out.time("absent_ttl", self.absent_ttl);
        out.text("unproven", name_of(&UNPROVEN_WORDS, &self.unproven));
        let tiers = [("local", self.tiers.local), ("shared", self.tiers.shared)];
        let tiers = tiers.into_iter().filter(|(_, allowed)| *allowed).map(|(tier, _)| tier);
        out.set("tiers", Some(list(tiers)));
        out.set("absent_filter", Some(self.absent_filter.map_or(false.into(), filter)));
        out.set("write_through", Some(self.write_through.into()));
        out.set("sliding", Some(self.sliding.into()));
        out.set("immutable", Some(self.immutable.into()));
        out.set("early_refresh", Some(self.refresh.beta.into()));
        out.set("jitter", Some(self.refresh.jitter.into()));
        out.time("stale_while_revalidate", self.stale_while_revalidate);
        out.set("max_size", Some(size(self.max_size_bytes)));
        out.text("pool", name_of(&CLASS_WORDS, &self.pool));
        out.text("priority", name_of(&CLASS_WORDS, &self.priority));
        out.text("sensitivity", name_of(&SENSITIVITY, &self.sensitivity));
        out.text("residency", self.residency.as_deref());
        if let Some(retention) = self.retention {
            out.time("retention", retention);
        }
        out.text("owner", self.owner.as_deref());
        out.text("pager", self.pager.as_deref());
        out.set(
            "approved",
            self.approved.as_ref().map(|approval| {
                let mut table = Table::new();
                table.insert("by".to_owned(), list(approval.by.iter().map(String::as_str)));
                table.insert("on".to_owned(), date(approval.on));
                Value::Table(table)
            }),
        );
        out.0
    }
}

struct Out(Table);

impl Out {
    fn set(&mut self, key: &str, value: Option<Value>) {
        debug_assert!(is_known(key), "`{key}` has no entry in KEYS");
        if let Some(value) = value {
            self.0.insert(key.to_owned(), value);
        }
    }

    fn text(&mut self, key: &str, value: Option<&str>) {
        self.set(key, value.map(|text| Value::String(text.to_owned())));
    }

    fn time(&mut self, key: &str, value: Duration) {
        self.set(key, Some(Value::String(format_duration(value))));
    }
}

/// Returns the word of `value` in the configuration.
fn name_of<'a, T: PartialEq>(names: &[(&'a str, T)], value: &T) -> Option<&'a str> {
    names.iter().find(|(_, known)| known == value).map(|(name, _)| *name)
}

fn origins(from: &Origin, joins: &[JoinedTable]) -> Value {
    let own = Value::Table(origin(from, true));
    if joins.is_empty() {
        return own;
    }
    let joined = |JoinedTable { origin: from, entries }: &JoinedTable| {
        let mut table = origin(from, *entries == JoinedEntries::OfKey);
        match entries {
            JoinedEntries::OfKey => {}
            JoinedEntries::Tagged(tags) => {
                table.insert("tags".to_owned(), list(tags.iter().map(|tag| tag.as_str())));
            }
            JoinedEntries::All => {
                table.insert("entries".to_owned(), Value::String("all".to_owned()));
            }
        }
        Value::Table(table)
    };
    Value::Array([own].into_iter().chain(joins.iter().map(joined)).collect())
}

fn origin(from: &Origin, has_key: bool) -> Table {
    let mut table = Table::new();
    for (key, name) in [("source", &from.source), ("table", &from.table)] {
        table.insert(key.to_owned(), Value::String(name.clone()));
    }
    if has_key {
        let key = match from.variants.as_slice() {
            [] => Value::String(from.key.clone()),
            variants => list([&from.key].into_iter().chain(variants).map(String::as_str)),
        };
        table.insert("key".to_owned(), key);
        table.insert("tenant".to_owned(), Value::String(from.tenant.clone()));
    }
    table.insert("columns".to_owned(), list(from.columns.iter().map(String::as_str)));
    table
}

fn service_table(service: &Service) -> Value {
    let mut table = Table::new();
    table.insert("http".to_owned(), Value::String(service.url.to_string()));
    table.insert("timeout".to_owned(), Value::String(format_duration(service.timeout)));
    let connections = i64::try_from(service.connections).expect("at most 1024");
    table.insert("connections".to_owned(), Value::Integer(connections));
    table.insert("types".to_owned(), list(service.types.iter().map(String::as_str)));
    table.insert("max_body".to_owned(), size(service.max_body_bytes));
    let headers: Vec<String> = service.headers.iter().map(ToString::to_string).collect();
    table.insert("headers".to_owned(), list(headers.iter().map(String::as_str)));
    Value::Table(table)
}

fn filter(filter: AbsentFilter) -> Value {
    let mut table = Table::new();
    table.insert("false_positives".to_owned(), filter.false_positives.into());
    table.insert("max_size".to_owned(), size(filter.max_size_bytes));
    table.insert("rebuild".to_owned(), Value::String(format_duration(filter.rebuild)));
    Value::Table(table)
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> Value {
    Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
}

fn size(bytes: u64) -> Value {
    // A size beyond the range of a TOML integer is written as text.
    i64::try_from(bytes).map_or_else(|_| Value::String(bytes.to_string()), Value::Integer)
}

fn date(day: Date) -> Value {
    Value::Datetime(day.into())
}
