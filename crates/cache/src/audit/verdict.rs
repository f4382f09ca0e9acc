//! The evaluation of observations: counts, second checks, findings.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coherence::{Epoch, Mono};

use super::auditor::{Auditor, Check, Observation};
use super::case::{Case, Comparison, Staleness, Task, Trigger};
use super::node_tier::{NodeSet, NodeTier, TIERS};
use super::peer_reply::{Digest, EntrySummary, PeerOutcome, PeerReply};
use super::report::{Consistency, SampleCounts, TierCounts};
use super::schedule::{CHECK_DELAYS, STICKY_AFTER};
use crate::engine::{Tier, TierEntry};
use crate::entry::Content;

/// The time for which a sampled answer has to differ to be called stale.
const SAMPLE_CONFIRM_DELAY: Duration = Duration::from_secs(1);

/// The observations of all nodes that answered at one time.
struct ClusterObservation {
    at: Mono,
    done: Mono,
    wall_ms: u64,
    visible_since: Option<Mono>,
    truth: Digest,
    /// The fields of this node's entries that differ from the database.
    fields: Vec<(Tier, Vec<String>)>,
    /// This node first, then the peers in their order.
    nodes: Vec<Option<NodeObservation>>,
}

/// The entries of one node's tiers.
struct NodeObservation {
    entries: Vec<EntrySummary>,
    unread: Vec<Tier>,
    /// Whether its positions are of the same log as this node's.
    is_comparable: bool,
}

impl NodeObservation {
    fn entry(&self, tier: Tier) -> Option<&EntrySummary> {
        self.entries.iter().find(|entry| entry.tier == tier)
    }
}

impl Auditor {
    /// Evaluates the observation of a check.
    pub fn complete(&mut self, check: &Check, observation: &Observation) {
        let Some(mut case) = self.cases.remove(&check.case) else { return };
        case.tasks -= 1;
        let (number, task) = (check.case, check.task);
        self.count_replies(&case, &observation.peers);
        let Some((found, truth)) = &observation.found else {
            self.report.unread += 1;
            return self.keep(number, case);
        };
        let observed = self.observed(&case, observation, found, truth);
        match task {
            Task::Check(index) if observation.at.since(check.due) > CHECK_DELAYS[index] / 2 => {
                self.report.late += 1;
            }
            Task::Check(index) => self.check(number, &mut case, index, &observed),
            Task::Confirm(index, nodes) => {
                for node in (0..observed.nodes.len()).filter(|node| nodes.contains(*node)) {
                    self.confirm(number, &mut case, index, &observed, node);
                }
            }
            Task::Sample => self.compare_sample(number, &mut case, &observed),
            Task::ConfirmSample(nodes) => {
                for node in (0..observed.nodes.len()).filter(|node| nodes.contains(*node)) {
                    let delay = SAMPLE_CONFIRM_DELAY;
                    let stale = self.still_stale(number, &mut case, delay, &observed, node);
                    match stale.contains(&true) {
                        true => self.samples(&case, node).stale += 1,
                        false => self.report.undecided += 1,
                    }
                }
            }
            Task::Sticky(at) => {
                let compared = compare(&mut case, &observed, at);
                let is_sticky =
                    matches!(compared, Some(Comparison::Stale(Staleness { is_new: false, .. })));
                self.record_sticky(&case, at, is_sticky);
            }
        }
        self.keep(number, case);
    }

    fn count_replies(&mut self, case: &Case, outcomes: &[PeerOutcome]) {
        for (peer, outcome) in self.report.peers.iter_mut().zip(outcomes) {
            let count = match outcome {
                PeerOutcome::Replied(reply) if reply.key == case.target.key.as_str() => {
                    &mut peer.requests.answered
                }
                PeerOutcome::Replied(_) | PeerOutcome::Malformed => &mut peer.requests.malformed,
                PeerOutcome::Unreachable => &mut peer.requests.unreachable,
                PeerOutcome::Skipped => &mut peer.requests.skipped,
            };
            *count += 1;
        }
    }

    fn observed(
        &self,
        case: &Case,
        observation: &Observation,
        found: &[TierEntry],
        truth: &Content,
    ) -> ClusterObservation {
        let salt = &self.options.salt;
        let entries: Vec<EntrySummary> =
            found.iter().map(|entry| EntrySummary::of(entry, salt)).collect();
        let truth_digest = Digest::of(salt, truth);
        let differing = found.iter().zip(&entries).filter(|(_, of)| of.digest != truth_digest);
        let fields = differing
            .map(|(found, _)| (found.tier, differing_fields(&found.entry.content, truth)))
            .collect();
        let lineage = |epoch: Option<Epoch>| epoch.map(|epoch| epoch.log().lineage());
        let own = lineage(observation.epoch);
        let remote = |reply: &PeerReply| NodeObservation {
            entries: reply.entries.clone(),
            unread: reply.unread.clone(),
            is_comparable: own.is_some() && own == lineage(reply.epoch),
        };
        let peers = observation.peers.iter().take(self.report.peers.len());
        let peers = peers.map(|outcome| match outcome {
            PeerOutcome::Replied(reply) if reply.key == case.target.key.as_str() => {
                Some(remote(reply))
            }
            _ => None,
        });
        let here = NodeObservation { entries, unread: Vec::new(), is_comparable: true };
        ClusterObservation {
            at: observation.at,
            done: observation.done,
            wall_ms: observation.wall_ms,
            visible_since: observation.visible_since,
            truth: truth_digest,
            fields,
            nodes: std::iter::once(Some(here)).chain(peers).collect(),
        }
    }

    fn check(&mut self, number: u64, case: &mut Case, index: usize, observed: &ClusterObservation) {
        let t = CHECK_DELAYS[index];
        let (mut open, mut confirm_at) = (NodeSet::default(), Mono(0));
        for (node, tiers) in observed.nodes.iter().enumerate() {
            let Some(tiers) = tiers else { continue };
            let (mut is_stale, mut confirm) = (false, None);
            for tier in TIERS {
                let at = NodeTier { node, tier };
                let Some(compared) = compare(case, observed, at) else { continue };
                let count = self.tier_counts(at, index);
                count.checks += 1;
                count.answering += u64::from(!matches!(compared, Comparison::NotServed));
                let (Comparison::Stale(staleness), Some(entry)) = (compared, tiers.entry(tier))
                else {
                    continue;
                };
                if staleness.by_position || observed.at.since(staleness.since) >= t {
                    count.stale += 1;
                    is_stale = true;
                    self.record_stale(number, case, entry, t, staleness, observed, at);
                } else {
                    confirm = confirm.max(Some(staleness.since + t));
                }
            }
            match confirm {
                Some(at) if !is_stale => {
                    open.insert(node);
                    confirm_at = confirm_at.max(at);
                }
                _ => self.count_check(node, index, is_stale),
            }
        }
        if !open.is_empty() {
            self.plan(number, case, confirm_at, Task::Confirm(index, open));
        }
    }

    fn confirm(
        &mut self,
        number: u64,
        case: &mut Case,
        index: usize,
        observed: &ClusterObservation,
        node: usize,
    ) {
        if observed.nodes[node].is_none() {
            self.report.undecided += 1;
            return;
        }
        let stale = self.still_stale(number, case, CHECK_DELAYS[index], observed, node);
        for (tier, is_stale) in TIERS.into_iter().zip(stale) {
            self.tier_counts(NodeTier { node, tier }, index).stale += u64::from(is_stale);
        }
        self.count_check(node, index, stale.contains(&true));
    }

    /// The tiers of a node that still have the entry which differed T ago.
    fn still_stale(
        &mut self,
        number: u64,
        case: &mut Case,
        t: Duration,
        observed: &ClusterObservation,
        node: usize,
    ) -> [bool; 2] {
        TIERS.map(|tier| {
            let at = NodeTier { node, tier };
            let entry = observed.nodes[node].as_ref().and_then(|tiers| tiers.entry(tier));
            let has_differed = case.differs(at);
            match (compare(case, observed, at), entry) {
                (Some(Comparison::Stale(staleness)), Some(entry)) if !staleness.is_new => {
                    self.record_stale(number, case, entry, t, staleness, observed, at);
                    true
                }
                (Some(Comparison::Stale(_)), _) if has_differed => {
                    self.report.undecided += 1;
                    false
                }
                _ => false,
            }
        })
    }

    fn compare_sample(&mut self, number: u64, case: &mut Case, observed: &ClusterObservation) {
        let sample = match case.trigger {
            Trigger::Answer(sample) => Some(sample),
            Trigger::Stored => None,
            Trigger::Invalidation { .. } => return,
        };
        let mut open = NodeSet::default();
        for (node, tiers) in observed.nodes.iter().enumerate() {
            let Some(tiers) = tiers else { continue };
            let compared = TIERS.map(|tier| compare(case, observed, NodeTier { node, tier }));
            let is_stale = compared.iter().any(|one| matches!(one, Some(Comparison::Stale(_))));
            let answers =
                |one: &Option<Comparison>| !matches!(one, None | Some(Comparison::NotServed));
            // The sampled answer is this node's; else the answer that the node would give is compared.
            let (agrees, confirm) = match sample {
                Some(sample) if node == 0 => {
                    let is_cached = tiers.entries.iter().any(|entry| entry.digest == sample);
                    (sample == observed.truth, is_cached)
                }
                _ if !compared.iter().any(answers) => continue,
                _ => (!is_stale, is_stale),
            };
            let samples = self.samples(case, node);
            samples.compared += 1;
            if agrees {
                samples.agreed += 1;
            } else if confirm {
                open.insert(node);
            } else {
                self.report.undecided += 1;
            }
        }
        if !open.is_empty() {
            let at = observed.done + SAMPLE_CONFIRM_DELAY;
            self.plan(number, case, at, Task::ConfirmSample(open));
        }
    }

    /// Counts the check of an invalidation at a node.
    fn count_check(&mut self, node: usize, index: usize, is_stale: bool) {
        let counts = self.consistency(node, index);
        counts.checked += 1;
        counts.stale += u64::from(is_stale);
    }

    fn consistency(&mut self, node: usize, index: usize) -> &mut Consistency {
        match node.checked_sub(1) {
            Some(peer) => &mut self.report.peers[peer].consistency[index],
            None => &mut self.report.consistency[index],
        }
    }

    fn samples(&mut self, case: &Case, node: usize) -> &mut SampleCounts {
        match node.checked_sub(1) {
            Some(peer) => &mut self.report.peers[peer].samples,
            None if matches!(case.trigger, Trigger::Stored) => &mut self.report.stored,
            None => &mut self.report.samples,
        }
    }

    /// The name of a peer; this node has none.
    pub(super) fn name(&self, node: usize) -> Option<&str> {
        Some(self.report.peers.get(node.checked_sub(1)?)?.node.as_str())
    }

    fn tier_counts(&mut self, at: NodeTier, index: usize) -> &mut TierCounts {
        let counts = self.consistency(at.node, index);
        if at.tier == Tier::Shared { &mut counts.shared } else { &mut counts.local }
    }

    /// Records an event that came later than T: the copy it removed was stale for that long. `is_served`:
    /// whether the contract's budget allowed to serve it at T.
    pub(super) fn record_late_delivery(
        &mut self,
        case: &Case,
        index: usize,
        is_served: bool,
        late: Duration,
        committed_us: u64,
    ) {
        let count = self.tier_counts(NodeTier { node: 0, tier: Tier::Local }, index);
        count.checks += 1;
        count.answering += u64::from(is_served);
        count.stale += u64::from(is_served);
        self.count_check(0, index, is_served);
        if is_served {
            let finding = case.late_delivery(CHECK_DELAYS[index], late, committed_us);
            self.add_finding(finding, &case.target.key);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "each is one fact about the entry")]
    fn record_stale(
        &mut self,
        number: u64,
        case: &mut Case,
        entry: &EntrySummary,
        t: Duration,
        staleness: Staleness,
        observed: &ClusterObservation,
        at: NodeTier,
    ) {
        let key = case.target.key.clone();
        let behind = observed.at.since(staleness.since);
        let times = (behind, observed.at.since(staleness.visible));
        let wall_ms = observed.wall_ms;
        let finding = if let Some(name) = self.name(at.node) {
            case.peer_finding(name, entry, t, times, wall_ms)
        } else {
            let from = self.recorder.source_of(&key, entry.tier, entry.tau);
            let fields = observed.fields.iter().find(|(tier, _)| *tier == entry.tier);
            let fields = fields.map(|(_, fields)| fields.clone()).unwrap_or_default();
            Some(case.finding(entry, t, times, wall_ms, (from, fields)))
        };
        let Some(finding) = finding else { return };
        if self.add_finding(finding, &key) {
            self.plan(number, case, staleness.since + STICKY_AFTER, Task::Sticky(at));
        }
    }
}

/// Compares the entry of a tier with the database; `None`: the tier was not read.
fn compare(case: &mut Case, observed: &ClusterObservation, at: NodeTier) -> Option<Comparison> {
    let tiers = observed.nodes.get(at.node)?.as_ref()?;
    if tiers.unread.contains(&at.tier) {
        return None;
    }
    let (entry, truth) = (tiers.entry(at.tier), (observed.truth, observed.done));
    Some(case.compare(at, entry, tiers.is_comparable, observed.visible_since, truth))
}

/// Returns the members of the JSON object `found` that differ from those of `truth`, sorted; none where one of
/// them is no object.
fn differing_fields(found: &Content, truth: &Content) -> Vec<String> {
    let object = |content: &Content| match content {
        Content::Present(value) => {
            serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(&value.body).ok()
        }
        Content::Absent | Content::Uncacheable => None,
    };
    let (Some(found), Some(truth)) = (object(found), object(truth)) else { return Vec::new() };
    let names: BTreeSet<&String> = found.keys().chain(truth.keys()).collect();
    names.into_iter().filter(|name| found.get(*name) != truth.get(*name)).cloned().collect()
}
