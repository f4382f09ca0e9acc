//! `GET /api/v1/status`

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use cache::Engine;
use cache::audit::PageAuditReport;
use contract::Contracts;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::admin::{AdminSource, SharedAdmin};
use crate::reload::ConfigurationStatus;

/// The state of a node.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The posted change events; null where the source's log is read.
    pub events: Option<EventCounts>,
    /// The epoch of the in-process tier.
    pub epoch: Option<String>,
    /// The position that the in-process tier has applied.
    pub applied: String,
    /// The watermark.
    pub watermark: String,
    /// The proven staleness bound of an answer given now, in ms; null: nothing is proven. With several sources, the
    /// worst bound of all.
    pub bound_ms: Option<f64>,
    /// The entries of the in-process tier.
    pub entries: usize,
    /// Their size in bytes, overhead included.
    pub bytes: u64,
    /// The tombstones of the in-process tier.
    pub tombstones: usize,
    /// The state of each source by name; empty where there is one. The fields above are those of the main source, except
    /// for the bound.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, SourceStatus>,
    /// The key filters by contract.
    pub absent_filters: BTreeMap<String, FilterStatus>,
    /// The services by contract.
    pub services: BTreeMap<String, ServiceStatus>,
    /// The counts of the auditor of pages; null without one. Its findings are at `/api/v1/audit`.
    pub page_audit: Option<PageAuditReport>,
    /// The anchor of the last record that this node has written to its audit log; null without one.
    pub audit_log: Option<String>,
    /// The resident memory of the process in bytes, as the kernel counts it; null: not known.
    pub resident_bytes: Option<u64>,
    /// The state of the configuration.
    pub configuration: ConfigurationStatus,
}

/// The counters of posted change events.
#[derive(Clone, Debug)]
pub struct EventCounts(Vec<(&'static str, u64)>);

impl Serialize for EventCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len() + 1))?;
        map.serialize_entry("from", "debezium")?;
        for (name, count) in &self.0 {
            map.serialize_entry(name, count)?;
        }
        map.end()
    }
}

/// The state of a key filter.
#[derive(Debug, Serialize)]
pub struct FilterStatus {
    /// Whether it answers.
    pub state: &'static str,
    /// The keys it knows.
    pub keys: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A service that gives values, and the evidence for the bounds of its answers.
#[derive(Debug, Serialize)]
pub struct ServiceStatus {
    /// The URL template.
    pub http: String,
    /// The evidence.
    pub proof: &'static str,
    /// The longest time by which the service lags behind a commit, in ms.
    pub lag_ms: f64,
}

impl Status {
    /// Reads the present state. `sources`: the main one first.
    #[must_use]
    pub fn read(sources: &[AdminSource], contracts: &Contracts) -> Self {
        let all: Vec<SourceStatus> = sources.iter().map(SourceStatus::read).collect();
        let bounds = all.iter().map(|source| source.bound_ms);
        // `None` for the whole if one is unproven.
        let bound_ms = bounds.collect::<Option<Vec<f64>>>();
        let main = all.first().cloned().unwrap_or_default();
        let named = sources.iter().map(|source| source.name.to_string()).zip(all);
        Self {
            events: main.events,
            epoch: main.epoch,
            applied: main.applied,
            watermark: main.watermark,
            bound_ms: bound_ms.and_then(|bounds| bounds.into_iter().reduce(f64::max)),
            entries: main.entries,
            bytes: main.bytes,
            tombstones: main.tombstones,
            sources: if sources.len() > 1 { named.collect() } else { BTreeMap::new() },
            absent_filters: sources.iter().flat_map(|source| filters(&source.engine)).collect(),
            services: services(contracts),
            page_audit: None,
            audit_log: None,
            resident_bytes: None,
            configuration: ConfigurationStatus::default(),
        }
    }
}

/// The state of the tiers of one source.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SourceStatus {
    /// The posted change events; null where the source's log is read.
    pub events: Option<EventCounts>,
    /// The epoch of the in-process tier.
    pub epoch: Option<String>,
    /// The position that the in-process tier has applied.
    pub applied: String,
    /// The watermark.
    pub watermark: String,
    /// The proven staleness bound of an answer given now, in ms; null: nothing is proven.
    pub bound_ms: Option<f64>,
    /// The entries of the in-process tier.
    pub entries: usize,
    /// Their size in bytes, overhead included.
    pub bytes: u64,
    /// The tombstones of the in-process tier.
    pub tombstones: usize,
}

impl SourceStatus {
    fn read(source: &AdminSource) -> Self {
        let status = source.engine.status();
        Self {
            events: source.events.as_ref().map(|events| EventCounts((events.counts)())),
            epoch: status.epoch.map(|epoch| epoch.to_string()),
            applied: status.applied.to_string(),
            watermark: status.watermark.to_string(),
            bound_ms: status.bound.map(|bound| bound.as_secs_f64() * 1e3),
            entries: status.entries,
            bytes: status.bytes,
            tombstones: status.tombstones,
        }
    }
}

fn filters(engine: &Engine) -> BTreeMap<String, FilterStatus> {
    let filters = engine.filters().into_iter();
    let status = filters.map(|filter| {
        let (keys, bytes) = (filter.keys, filter.bytes);
        (filter.name.to_string(), FilterStatus { state: filter.state.as_str(), keys, bytes })
    });
    status.collect()
}

fn services(contracts: &Contracts) -> BTreeMap<String, ServiceStatus> {
    let status = contracts.iter().filter_map(|contract| {
        let service = contract.service.as_ref()?;
        let status = ServiceStatus {
            http: service.url.as_str().to_owned(),
            proof: contract.evidence().as_str(),
            lag_ms: contract.lag.as_secs_f64() * 1e3,
        };
        Some((contract.name.clone(), status))
    });
    status.collect()
}

pub(super) async fn get(State(admin): SharedAdmin) -> Json<Status> {
    let status = Status::read(&admin.sources, &admin.contracts);
    let counts = |report| PageAuditReport { findings: Vec::new(), ..report };
    Json(Status {
        page_audit: admin.page_audit.as_ref().map(|pages| counts(pages())),
        audit_log: admin.audit_log.as_ref().map(|log| log.head().to_string()),
        resident_bytes: node::process_memory::resident_bytes(),
        configuration: (admin.configuration)(),
        ..status
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_counts_serialized_with_their_origin() {
        let counts = EventCounts(vec![("posts", 2), ("breaks", 0)]);
        let text = serde_json::to_string(&counts).expect("JSON");
        assert_eq!(text, r#"{"from":"debezium","posts":2,"breaks":0}"#);
    }
}
