//! The values of a configuration by key, for the comparison with those of a reload and of other nodes.

use std::collections::{BTreeMap, BTreeSet};

use contract::fnv1a;
use toml::{Table, Value};

use super::secrets::Secrets;

/// The keys that are read at the start only. `NAME` is one name, and `*` any rest.
pub(super) const RESTART: &[&str] = &[
    "node.*",
    "listen.*",
    "log.*",
    "access.client_ca",
    "access.client_crl_file",
    "access.audit_log.*",
    "source.NAME.url",
    "source.NAME.main",
    "source.NAME.publication",
    "source.NAME.slot",
    "source.NAME.events.*",
    "shared.*",
    "local.*",
    "sale.*",
    "jobs.*",
];

/// The sections whose presence opens a listener.
const OPENED: [&str; 2] = ["upstream", "sale"];

/// The keys whose values differ between the nodes of one cluster.
pub(super) const OWN: &[&str] =
    &["node.*", "listen.*", "log.*", "contracts", "access.audit_log.*", "audit.peers"];

/// The values of a configuration, as digests by key. A contract is one value, as is a list of tables.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Settings(BTreeMap<String, Setting>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Setting {
    digest: u64,
    /// Of the value without secrets, which other nodes may know.
    public: u64,
}

impl Settings {
    /// `root`: the sections; `data`: the contracts of all files.
    pub(super) fn of(root: &Table, data: &Table, secrets: &Secrets) -> Self {
        let mut settings = BTreeMap::new();
        let mut add = |key: String, value: &Value| {
            let text = canonical(value);
            let public = fnv1a(secrets.redact(&text).bytes());
            settings.insert(key, Setting { digest: fnv1a(text.bytes()), public });
        };
        for (name, contract) in data {
            add(format!("data.{name}"), contract);
        }
        for (name, section) in root.iter().filter(|(name, _)| *name != "data") {
            flatten(name, section, &mut add);
        }
        Self(settings)
    }

    /// Returns the keys whose values differ, in order.
    #[must_use]
    pub(crate) fn changed(&self, other: &Self) -> Vec<String> {
        let keys: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let digest = |settings: &Self, key: &str| settings.0.get(key).map(|it| it.digest);
        let keys = keys.into_iter().filter(|key| digest(self, key) != digest(other, key));
        keys.cloned().collect()
    }

    /// Returns the changed keys, and sections, that need a restart.
    #[must_use]
    pub(crate) fn needing_restart(&self, other: &Self) -> Vec<String> {
        let has = |settings: &Self, section: &str| {
            settings.0.keys().any(|key| key.split('.').next() == Some(section))
        };
        let opened = OPENED.iter().filter(|section| has(self, section) != has(other, section));
        let opened: Vec<String> = opened.map(|section| format!("[{section}]")).collect();
        let keys = self.changed(other);
        let keys = keys.into_iter().filter(|key| is_among(key, RESTART));
        // A section that appears or goes is one reason, not one for each of its keys.
        let keys = keys.filter(|key| {
            let section = format!("[{}]", key.split('.').next().unwrap_or_default());
            !opened.contains(&section)
        });
        opened.iter().cloned().chain(keys).collect()
    }

    /// Returns the digests that other nodes compare, by key.
    #[must_use]
    pub(crate) fn compared(&self) -> BTreeMap<String, u64> {
        let compared = self.0.iter().filter(|(key, _)| !is_among(key, OWN));
        compared.map(|(key, setting)| (key.clone(), setting.public)).collect()
    }
}

/// Returns whether `key` matches one of the patterns.
pub(super) fn is_among(key: &str, patterns: &[&str]) -> bool {
    let matches = |pattern: &str| {
        let mut parts = key.split('.');
        for part in pattern.split('.') {
            match (part, parts.next()) {
                ("*", Some(_)) => return true,
                ("NAME", Some(_)) => {}
                (part, Some(name)) if part == name => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    };
    patterns.iter().any(|pattern| matches(pattern))
}

fn flatten(path: &str, value: &Value, add: &mut impl FnMut(String, &Value)) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                flatten(&format!("{path}.{key}"), value, add);
            }
        }
        value => add(path.to_owned(), value),
    }
}

/// Returns the text of a value. The order of keys, which means nothing, does not count.
fn canonical(value: &Value) -> String {
    match value {
        Value::Table(table) => {
            let sorted: BTreeMap<&String, String> =
                table.iter().map(|(key, value)| (key, canonical(value))).collect();
            let pairs: Vec<String> =
                sorted.iter().map(|(key, value)| format!("{key:?}={value}")).collect();
            format!("{{{}}}", pairs.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        let mut root: Table = text.parse().expect("TOML");
        let secrets = Secrets::of(&root, []);
        let data = match root.remove("data") {
            Some(Value::Table(data)) => data,
            _ => Table::new(),
        };
        Settings::of(&root, &data, &secrets)
    }

    #[test]
    fn changed_keys_named() {
        let old = settings("[edge]\nmax_tags = 1\n[data.a]\nkey = \"k\"\nttl = \"1s\"\n[data.b]");
        let new = settings("[data.a]\nttl = \"2s\"\nkey = \"k\"\n[data.c]\n[edge]\nmax_tags = 1");
        assert_eq!(old.changed(&new), ["data.a", "data.b", "data.c"]);
        assert!(old.needing_restart(&new).is_empty());
        let reordered =
            settings("[data.b]\n[data.a]\nttl = \"1s\"\nkey = \"k\"\n[edge]\nmax_tags=1");
        assert_eq!(old.changed(&reordered), [""; 0]);
    }

    #[test]
    fn keys_of_the_start_need_restart() {
        let old = settings("[listen]\nadmin = \"a\"\n[source.a]\nurl = \"u\"\nconnections = 1");
        let new = "[listen]\nadmin = \"b\"\n[source.a]\nurl = \"v\"\nconnections = 2\n[upstream]\nurl = \"w\"\nhost = \"x\"";
        let keys = old.needing_restart(&settings(new));
        assert_eq!(keys, ["[upstream]", "listen.admin", "source.a.url"]);
    }

    #[test]
    fn secrets_and_own_keys_not_compared() {
        let with = |password: &str, admin: &str, tags: u8| {
            settings(&format!(
                "[shared]\nurl = \"redis://u:{password}@h\"\nsentinel_password = \"{password}\"\n\
                 [listen]\nadmin = \"{admin}\"\n[edge]\nmax_tags = {tags}"
            ))
        };
        let one = with("hunter22", "a", 1);
        assert_eq!(one.compared(), with("hunter33", "b", 1).compared());
        assert_ne!(one.compared(), with("hunter22", "a", 2).compared());
        assert_eq!(one.changed(&with("hunter33", "a", 1)).len(), 2);
    }
}
