//! The state of a process's configuration, and its comparison with those of other nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cache::SharedTier;
use cache::shared::NodeRecord;
use control::{ConfigurationStatus, DifferingNode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::kept::Kept;
use crate::config::Settings;

/// The interval at which nodes announce their settings.
const INTERVAL: Duration = Duration::from_secs(2);

/// The life of an announcement: a node that has ended is forgotten after it.
const LIFE: Duration = Duration::from_secs(10);

/// The most keys that are named of one node.
const KEYS_NAMED: usize = 20;

/// The longest name of a node or key that is shown. Other nodes' texts come from Redis.
const NAME_CHARS_MAX: usize = 120;

/// The state of the configuration. It outlives each of them.
#[derive(Debug)]
pub(super) struct Configuration {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    status: ConfigurationStatus,
    compared: BTreeMap<String, u64>,
}

impl Configuration {
    /// Creates the state of a process that serves by `settings` since `now_ms`.
    pub(super) fn new(settings: &Settings, now_ms: u64) -> Self {
        let state = State { status: ConfigurationStatus::default(), compared: BTreeMap::new() };
        let this = Self { state: Mutex::new(state), changed: Notify::new() };
        this.replaced(settings, now_ms);
        this
    }

    /// Takes the settings by which the process serves from now on. Returns the number of configurations so far.
    pub(super) fn replaced(&self, settings: &Settings, now_ms: u64) -> u64 {
        let mut state = self.state.lock();
        state.compared = settings.compared();
        let text: Vec<_> =
            state.compared.iter().map(|(key, digest)| format!("{key} {digest:x}\n")).collect();
        state.status.fingerprint = format!("{:016x}", contract::fnv1a(text.concat().bytes()));
        state.status.number += 1;
        state.status.since_ms = now_ms;
        state.status.reload_error = None;
        self.changed.notify_one();
        state.status.number
    }

    /// Takes the error of a reload that has changed nothing.
    pub(super) fn failed(&self, error: &str) {
        self.state.lock().status.reload_error = Some(error.to_owned());
    }

    pub(super) fn status(&self) -> ConfigurationStatus {
        self.state.lock().status.clone()
    }

    /// Announces the settings to the nodes on a shared tier, and compares them with theirs; never ends. `node`: the
    /// name of this node.
    pub(super) async fn compare(&self, shared: Arc<dyn SharedTier>, node: &str, kept: &Kept) {
        let id = format!("{:016x}", kept.chance.draw());
        let mut logged = Vec::new();
        loop {
            let record = NodeRecord { id: id.clone(), text: self.announcement(node) };
            let others = shared.announce(&record, LIFE).await;
            let differing = others.map(|others| self.differing(&others));
            self.state.lock().status.differing_nodes = differing.as_ref().ok().cloned();
            kept.reload_metrics.differing(differing.as_ref().ok().map(Vec::len));
            match differing {
                Ok(differing) => {
                    kept.health.optional("configuration", differing.is_empty(), detail(&differing));
                    if differing != logged && !differing.is_empty() {
                        tracing::warn!("{}", detail(&differing));
                    }
                    logged = differing;
                }
                Err(err) => {
                    let text = format!("the settings of other nodes are not known: {err}");
                    kept.health.optional("configuration", false, text);
                }
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    fn announcement(&self, node: &str) -> String {
        let state = self.state.lock();
        let digests = state.compared.iter().map(|(key, digest)| (key, format!("{digest:x}")));
        json!({ "node": node, "settings": digests.collect::<BTreeMap<_, _>>() }).to_string()
    }

    /// Returns the nodes whose settings differ.
    fn differing(&self, others: &[NodeRecord]) -> Vec<DifferingNode> {
        let own: BTreeMap<String, String> = {
            let state = self.state.lock();
            state
                .compared
                .iter()
                .map(|(key, digest)| (key.clone(), format!("{digest:x}")))
                .collect()
        };
        let differing = others.iter().filter_map(|record| {
            let (node, keys) = match parse(&record.text) {
                Some((node, settings)) => (node, differing_keys(&own, &settings)),
                // Of a version that announces in another form: nothing is known of its settings.
                None => (record.id.clone(), vec!["an announcement that can't be read".to_owned()]),
            };
            (!keys.is_empty()).then_some(DifferingNode { node, keys })
        });
        let mut differing: Vec<_> = differing.collect();
        differing.sort_by(|a, b| a.node.cmp(&b.node));
        differing
    }
}

fn parse(text: &str) -> Option<(String, BTreeMap<String, String>)> {
    let record: Value = serde_json::from_str(text).ok()?;
    let digests = record["settings"].as_object()?.iter();
    let digests = digests.map(|(key, digest)| Some((key.clone(), digest.as_str()?.to_owned())));
    Some((shown(record["node"].as_str()?), digests.collect::<Option<_>>()?))
}

fn differing_keys(own: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let keys: BTreeSet<&String> = own.keys().chain(other.keys()).collect();
    let mut keys: Vec<String> = keys
        .into_iter()
        .filter(|key| own.get(*key) != other.get(*key))
        .map(|key| shown(key))
        .collect();
    if keys.len() > KEYS_NAMED {
        let more = keys.len() - KEYS_NAMED;
        keys.truncate(KEYS_NAMED);
        keys.push(format!("and {more} more"));
    }
    keys
}

/// Returns a text of another node without control characters, shortened.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect()
}

fn detail(differing: &[DifferingNode]) -> String {
    if differing.is_empty() {
        return "no other node has other settings".to_owned();
    }
    let nodes = differing.iter().map(|it| format!("{} in {}", it.node, it.keys.join(", ")));
    format!("other nodes have other settings: {}", nodes.collect::<Vec<_>>().join("; "))
}

/// Returns the name of this node for others: its host, and the port of its admin listener.
pub(super) fn node_name(admin_port: u16) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.or_else(|_| std::fs::read_to_string("/etc/hostname"));
    format!("{}:{admin_port}", host.as_deref().unwrap_or("node").trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_keys_named_and_foreign_text_survived() {
        let own = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".into(), "2".into())]);
        let other = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("c".into(), "3".into())]);
        assert_eq!(differing_keys(&own, &other), ["b", "c"]);
        assert!(differing_keys(&own, &own).is_empty());
        for text in [
            "",
            "7",
            "{}",
            "{\"node\":1,\"settings\":{}}",
            "{\"node\":\"a\",\"settings\":{\"a\":1}}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        let (node, _) = parse("{\"node\":\"a\\u001b[2J\",\"settings\":{}}").expect("valid");
        assert_eq!(node, "a[2J");
    }
}
