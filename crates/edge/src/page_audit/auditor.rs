//! The loop of the auditor of pages.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache::audit::{PageAuditReport, PageFinding};
use cache::{Content, Engine, ServedAs};
use coherence::Clock;
use contract::Evidence;
use http::{Method, Version};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

use super::sampler::{PageSample, PageSampler};
use crate::admission::upstream_gate::UpstreamGate;
use crate::http::body_diff::Difference;
use crate::http::client::Client;
use crate::http::collect::Collected;
use crate::http::request_id::RequestIds;
use crate::page_cache::stored_head;
use crate::upstream::request::ForwardRequest;

/// A difference has to last this long: the page may just have changed, and its event be in transit.
const CONFIRM_DELAY: Duration = Duration::from_secs(1);

/// Findings kept for the report.
const FINDINGS: usize = 100;

/// Returns the tables with a commit since a wall time in µs since 1970; `None`: this node does not read the log.
pub type ChangedTables = Arc<dyn Fn(u64) -> Option<Vec<String>> + Send + Sync>;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByResult {
    result: &'static str,
}

/// Compares stored pages with the upstream.
pub struct PageAuditor {
    pub(crate) sampler: Arc<PageSampler>,
    samples: tokio::sync::Mutex<mpsc::Receiver<PageSample>>,
    interval: Duration,
    engine: Engine,
    gate: Arc<UpstreamGate>,
    clock: Arc<dyn Clock>,
    changed_tables: ChangedTables,
    max_bytes: u64,
    ids: RequestIds,
    report: Mutex<PageAuditReport>,
    findings: Mutex<VecDeque<PageFinding>>,
    results: Family<ByResult, Counter>,
    broken: Counter,
}

/// The result of one comparison.
enum Verdict {
    Agreed,
    /// Different, as of both loads. `volatile`: the loads differ from each other too. `broken`: for longer than
    /// the bound by the log.
    Different {
        difference: Difference,
        volatile: bool,
        broken: bool,
    },
    Undecided,
    Unread,
}

impl PageAuditor {
    /// `pages_per_second`: more than zero.
    pub(crate) fn new(
        pages_per_second: f64,
        engine: Engine,
        gate: Arc<UpstreamGate>,
        clock: Arc<dyn Clock>,
        changed_tables: ChangedTables,
        max_bytes: u64,
        registry: &mut Registry,
    ) -> Self {
        let (sampler, samples) = PageSampler::new();
        let (results, broken) = (Family::default(), Counter::default());
        registry.register(
            "tidegate_audit_pages",
            "Stored pages that were compared with the upstream, by result",
            results.clone(),
        );
        registry.register(
            "tidegate_audit_pages_broken",
            "Stored pages that differed from the upstream for longer than their bound by the log",
            broken.clone(),
        );
        Self {
            sampler: Arc::new(sampler),
            samples: tokio::sync::Mutex::new(samples),
            interval: Duration::from_secs_f64(1.0 / pages_per_second),
            engine,
            gate,
            clock,
            changed_tables,
            max_bytes,
            ids: RequestIds::new(),
            report: Mutex::default(),
            findings: Mutex::default(),
            results,
            broken,
        }
    }

    /// Compares one page after another, at the configured rate, until it is dropped.
    pub async fn run(&self) {
        let mut samples = self.samples.lock().await;
        loop {
            tokio::time::sleep(self.interval).await;
            self.sampler.request();
            let Some(sample) = samples.recv().await else { return };
            let verdict = self.check(&sample).await;
            self.record(&sample, verdict);
        }
    }

    /// Returns the counts and the last findings.
    #[must_use]
    pub fn report(&self) -> PageAuditReport {
        let findings = self.findings.lock().iter().cloned().collect();
        PageAuditReport { findings, ..self.report.lock().clone() }
    }

    async fn check(&self, sample: &PageSample) -> Verdict {
        let Content::Present(stored) = sample.entry.content() else { return Verdict::Unread };
        let ignored = &sample.route.ignored;
        let Some(first) = self.load(sample).await else { return Verdict::Unread };
        let differed = self.clock.mono();
        if ignored.first_difference(&stored.body, &first).is_none() {
            return Verdict::Agreed;
        }
        tokio::time::sleep(CONFIRM_DELAY).await;
        let Some(second) = self.load(sample).await else { return Verdict::Unread };
        let lasted = self.clock.mono().since(differed);
        // A page that was invalidated meanwhile was in transit.
        match (ignored.first_difference(&stored.body, &second), self.still_served(sample)) {
            (Some(difference), Some(bound)) => {
                let volatile = ignored.first_difference(&first, &second).is_some();
                let proven = bound.filter(|_| sample.evidence == Evidence::Log);
                let broken = !volatile && proven.is_some_and(|bound| bound < lasted);
                Verdict::Different { difference, volatile, broken }
            }
            _ => Verdict::Undecided,
        }
    }

    /// Returns the bound of the sampled page; `None`: the in-process tier has another one by now.
    fn still_served(&self, sample: &PageSample) -> Option<Option<Duration>> {
        let found = self.engine.inspect_local(&sample.key, &sample.route.policy)?;
        let is_same = found.entry.tau == sample.entry.tau
            && found.entry.loaded_wall_ms == sample.entry.loaded_wall_ms;
        (is_same && found.served_as != ServedAs::NotServed).then_some(found.bound)
    }

    /// Loads a page past all tiers, without any client's headers. `None`: there is no page to compare with.
    async fn load(&self, sample: &PageSample) -> Option<Bytes> {
        let request = ForwardRequest {
            method: Method::GET,
            target: sample.target.clone(),
            version: Version::HTTP_11,
            headers: sample.headers.clone(),
            websocket: false,
            client: Client::direct(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            scheme: sample.scheme,
            host: sample.host.clone(),
            request_id: self.ids.generate(),
        };
        let (route, encodings) = (&sample.route, sample.encodings);
        let loaded = self.gate.background_load(route, &request, encodings, self.max_bytes).await;
        let (head, body) = loaded?;
        let Content::Present(stored) = sample.entry.content() else { return None };
        let (metadata, _) = stored_head::decode(&stored.head, 0)?;
        if head.status != metadata.status {
            return None;
        }
        match body {
            Collected::Complete(bytes) => Some(bytes),
            Collected::TooLarge | Collected::Incomplete(_) => None,
        }
    }

    fn record(&self, sample: &PageSample, verdict: Verdict) {
        let mut report = self.report.lock();
        report.compared += 1;
        let result = match &verdict {
            Verdict::Agreed => ("agreed", &mut report.agreed),
            Verdict::Different { volatile: true, .. } => ("volatile", &mut report.volatile),
            Verdict::Different { .. } => ("changed", &mut report.changed),
            Verdict::Undecided => ("undecided", &mut report.undecided),
            Verdict::Unread => ("unread", &mut report.unread),
        };
        *result.1 += 1;
        self.results.get_or_create(&ByResult { result: result.0 }).inc();
        let Verdict::Different { difference, volatile, broken } = verdict else { return };
        if broken {
            report.broken += 1;
            self.broken.inc();
        }
        let finding = PageFinding {
            number: report.changed + report.volatile,
            broken,
            ..self.finding(sample, difference, volatile)
        };
        drop(report);
        tracing::warn!(
            url = finding.url,
            line = finding.line,
            broken,
            advice = finding.advice(),
            "a stored page differs from the upstream's"
        );
        let mut findings = self.findings.lock();
        if findings.len() == FINDINGS {
            findings.pop_front();
        }
        findings.push_back(finding);
    }

    fn finding(&self, sample: &PageSample, difference: Difference, volatile: bool) -> PageFinding {
        let (entry, rules) = (&sample.entry, &sample.route.evidence);
        let tags = entry.tag_list();
        let since_us = entry.loaded_wall_ms.saturating_mul(1_000);
        let since_us = since_us.saturating_sub(entry.cost_us.into());
        let tables = (self.changed_tables)(since_us).map(|mut tables| {
            tables.retain(|table| !rules.covers_table(&tags, table));
            tables
        });
        let texts = |tags: Vec<&contract::Tag>| tags.into_iter().map(ToString::to_string).collect();
        let [stored, upstream] = difference.texts;
        PageFinding {
            number: 0,
            url: format!("{}{}", sample.host.to_str().unwrap_or_default(), sample.target),
            route: sample.route.policy.rules.name.to_string(),
            tags: texts(tags.iter().collect()),
            unproven_tags: texts(rules.unproven(&tags)),
            proof: sample.evidence.as_str().to_owned(),
            broken: false,
            volatile,
            offset: difference.offset,
            line: difference.line,
            stored,
            upstream,
            tables,
            loaded_ms: entry.loaded_wall_ms,
            found_ms: self.clock.wall_ms(),
        }
    }
}
