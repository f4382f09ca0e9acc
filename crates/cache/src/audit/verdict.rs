//! What the auditor makes of what was seen: counts, second looks, findings.

use std::time::Duration;

use coherence::{Epoch, Mono};

use super::auditor::{Auditor, Look, Question};
use super::case::{Case, Judged, Older, Origin, Task};
use super::place::{Nodes, Place, TIERS};
use super::report::{After, Sampled, TierCount};
use super::seen::{Digest, Held, PeerLook, Told};
use super::{AFTER, STICKY};
use crate::engine::{Holding, Tier};
use crate::entry::Content;

/// How long a sampled answer that differs must stay to be called stale.
const SAMPLE_CONFIRM: Duration = Duration::from_secs(1);

/// What was seen at one moment, at every node that answered.
struct Sight {
    at: Mono,
    done: Mono,
    wall_ms: u64,
    shown: Option<Mono>,
    truth: Digest,
    /// This node first, then the peers in their order.
    nodes: Vec<Option<Tiers>>,
}

/// What one node's tiers held.
struct Tiers {
    held: Vec<Held>,
    unread: Vec<Tier>,
    /// Its positions are of the same log as this node's.
    comparable: bool,
}

impl Tiers {
    fn of(&self, tier: Tier) -> Option<&Held> {
        self.held.iter().find(|held| held.tier == tier)
    }
}

impl Auditor {
    /// Takes what was seen.
    pub fn answered(&mut self, question: &Question, look: &Look) {
        let Some(mut case) = self.cases.remove(&question.case) else { return };
        case.tasks -= 1;
        let (number, task) = (question.case, question.task);
        self.count_answers(&case, &look.peers);
        let Some((holdings, truth)) = &look.seen else {
            self.report.unread += 1;
            return self.keep(number, case);
        };
        let sight = self.sight(&case, look, holdings, truth);
        match task {
            Task::After(index) if look.at.since(question.due) > AFTER[index] / 2 => {
                self.report.late += 1;
            }
            Task::After(index) => self.after(number, &mut case, index, &sight),
            Task::Confirm(index, nodes) => {
                for node in (0..sight.nodes.len()).filter(|node| nodes.has(*node)) {
                    self.confirm(number, &mut case, index, &sight, node);
                }
            }
            Task::Sample => self.compared(number, &mut case, &sight),
            Task::SampleConfirm(nodes) => {
                for node in (0..sight.nodes.len()).filter(|node| nodes.has(*node)) {
                    let stale = self
                        .confirmed(number, &mut case, SAMPLE_CONFIRM, &sight, node)
                        .contains(&true);
                    match stale {
                        true => self.samples(node).stale += 1,
                        false => self.report.undecided += 1,
                    }
                }
            }
            Task::Sticky(place) => {
                let judged = judge(&mut case, &sight, place);
                self.stuck(
                    &case,
                    place,
                    matches!(judged, Some(Judged::Older(Older { anew: false, .. }))),
                );
            }
        }
        self.keep(number, case);
    }

    fn count_answers(&mut self, case: &Case, looks: &[PeerLook]) {
        for (peer, look) in self.report.peers.iter_mut().zip(looks) {
            let count = match look {
                PeerLook::Said(told) if told.key == case.named.key.as_str() => {
                    &mut peer.asked.answered
                }
                PeerLook::Said(_) | PeerLook::Rubbish => &mut peer.asked.rubbish,
                PeerLook::Unreachable => &mut peer.asked.unreachable,
                PeerLook::Resting => &mut peer.asked.resting,
            };
            *count += 1;
        }
    }

    fn sight(&self, case: &Case, look: &Look, holdings: &[Holding], truth: &Content) -> Sight {
        let salt = &self.options.salt;
        let held = holdings.iter().map(|holding| Held::of(holding, salt)).collect();
        let lineage = |epoch: Option<Epoch>| epoch.map(|epoch| epoch.log().lineage());
        let ours = lineage(look.epoch);
        let said = |told: &Told| Tiers {
            held: told.tiers.clone(),
            unread: told.unread.clone(),
            comparable: ours.is_some() && ours == lineage(told.epoch),
        };
        let peers = look.peers.iter().take(self.report.peers.len()).map(|look| match look {
            PeerLook::Said(told) if told.key == case.named.key.as_str() => Some(said(told)),
            _ => None,
        });
        let here = Some(Tiers { held, unread: Vec::new(), comparable: true });
        Sight {
            at: look.at,
            done: look.done,
            wall_ms: look.wall_ms,
            shown: look.shown,
            truth: Digest::of(salt, truth),
            nodes: std::iter::once(here).chain(peers).collect(),
        }
    }

    fn after(&mut self, number: u64, case: &mut Case, index: usize, sight: &Sight) {
        let t = AFTER[index];
        let (mut open, mut confirm_at) = (Nodes::default(), Mono(0));
        for (node, tiers) in sight.nodes.iter().enumerate() {
            let Some(tiers) = tiers else { continue };
            let (mut stale, mut again) = (false, None);
            for tier in TIERS {
                let place = Place { node, tier };
                let Some(judged) = judge(case, sight, place) else { continue };
                let count = self.tier_count(place, index);
                count.checks += 1;
                count.answering += u64::from(!matches!(judged, Judged::Silent));
                let (Judged::Older(older), Some(held)) = (judged, tiers.of(tier)) else { continue };
                if older.by_position || sight.at.since(older.since) >= t {
                    count.stale += 1;
                    stale = true;
                    self.found(number, case, held, t, older, sight, place);
                } else {
                    again = again.max(Some(older.since + t));
                }
            }
            match again {
                Some(at) if !stale => {
                    open.add(node);
                    confirm_at = confirm_at.max(at);
                }
                _ => self.checked(node, index, stale),
            }
        }
        if !open.is_empty() {
            self.plan(number, case, confirm_at, Task::Confirm(index, open));
        }
    }

    fn confirm(&mut self, number: u64, case: &mut Case, index: usize, sight: &Sight, node: usize) {
        if sight.nodes[node].is_none() {
            self.report.undecided += 1;
            return;
        }
        let stale = self.confirmed(number, case, AFTER[index], sight, node);
        for (tier, stale) in TIERS.into_iter().zip(stale) {
            self.tier_count(Place { node, tier }, index).stale += u64::from(stale);
        }
        self.checked(node, index, stale.contains(&true));
    }

    /// Which tiers of a node still hold what differed T ago.
    fn confirmed(
        &mut self,
        number: u64,
        case: &mut Case,
        t: Duration,
        sight: &Sight,
        node: usize,
    ) -> [bool; 2] {
        TIERS.map(|tier| {
            let place = Place { node, tier };
            let held = sight.nodes[node].as_ref().and_then(|tiers| tiers.of(tier));
            let differed = case.differs(place);
            match (judge(case, sight, place), held) {
                (Some(Judged::Older(older)), Some(held)) if !older.anew => {
                    self.found(number, case, held, t, older, sight, place);
                    true
                }
                (Some(Judged::Older(_)), _) if differed => {
                    self.report.undecided += 1;
                    false
                }
                _ => false,
            }
        })
    }

    fn compared(&mut self, number: u64, case: &mut Case, sight: &Sight) {
        let Origin::Answer(given) = case.origin else { return };
        let mut open = Nodes::default();
        for (node, tiers) in sight.nodes.iter().enumerate() {
            let Some(tiers) = tiers else { continue };
            let judged = TIERS.map(|tier| judge(case, sight, Place { node, tier }));
            let older = judged.iter().any(|judged| matches!(judged, Some(Judged::Older(_))));
            let silent = judged.iter().all(|judged| matches!(judged, None | Some(Judged::Silent)));
            // Here the answer itself is compared; elsewhere, what would be answered.
            let (agreed, again) = match node {
                0 => {
                    let still = tiers.held.iter().any(|held| held.digest == given);
                    (given == sight.truth, still)
                }
                _ if silent => continue,
                _ => (!older, older),
            };
            let samples = self.samples(node);
            samples.compared += 1;
            if agreed {
                samples.agreed += 1;
            } else if again {
                open.add(node);
            } else {
                self.report.undecided += 1;
            }
        }
        if !open.is_empty() {
            self.plan(number, case, sight.done + SAMPLE_CONFIRM, Task::SampleConfirm(open));
        }
    }

    /// An invalidation was checked at a node.
    pub(super) fn checked(&mut self, node: usize, index: usize, stale: bool) {
        let after = self.after_at(node, index);
        after.checked += 1;
        after.stale += u64::from(stale);
    }

    fn after_at(&mut self, node: usize, index: usize) -> &mut After {
        match node.checked_sub(1) {
            Some(peer) => &mut self.report.peers[peer].after[index],
            None => &mut self.report.after[index],
        }
    }

    fn samples(&mut self, node: usize) -> &mut Sampled {
        match node.checked_sub(1) {
            Some(peer) => &mut self.report.peers[peer].samples,
            None => &mut self.report.samples,
        }
    }

    /// The name of a peer; this node has none.
    pub(super) fn name(&self, node: usize) -> Option<&str> {
        Some(self.report.peers.get(node.checked_sub(1)?)?.node.as_str())
    }

    pub(super) fn tier_count(&mut self, place: Place, index: usize) -> &mut TierCount {
        let after = self.after_at(place.node, index);
        if place.tier == Tier::Shared { &mut after.shared } else { &mut after.local }
    }

    /// An event came later than T: the copy it removed was older for that long.
    pub(super) fn overslept(
        &mut self,
        case: &Case,
        index: usize,
        given: bool,
        late: Duration,
        us: u64,
    ) {
        let count = self.tier_count(Place { node: 0, tier: Tier::Local }, index);
        count.checks += 1;
        count.answering += u64::from(given);
        count.stale += u64::from(given);
        self.checked(0, index, given);
        if given {
            let finding = case.overslept(AFTER[index], late, us);
            self.tell(finding, &case.named.key);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "each is one fact about the entry")]
    fn found(
        &mut self,
        number: u64,
        case: &mut Case,
        held: &Held,
        t: Duration,
        older: Older,
        sight: &Sight,
        place: Place,
    ) {
        let key = case.named.key.clone();
        let times = (sight.at.since(older.since), sight.at.since(older.visible));
        let wall_ms = sight.wall_ms;
        let finding = if let Some(name) = self.name(place.node) {
            case.finding_elsewhere(name, held, t, times, wall_ms)
        } else {
            let from = self.recorder.stored(&key, held.tier, held.tau);
            Some(case.finding(held, t, times, wall_ms, from))
        };
        let Some(finding) = finding else { return };
        if self.tell(finding, &key) {
            self.plan(number, case, older.since + STICKY, Task::Sticky(place));
        }
    }
}

/// Judges a place; `None`: it was not looked at.
fn judge(case: &mut Case, sight: &Sight, place: Place) -> Option<Judged> {
    let tiers = sight.nodes.get(place.node)?.as_ref()?;
    if tiers.unread.contains(&place.tier) {
        return None;
    }
    let held = tiers.of(place.tier);
    Some(case.judge(place, held, tiers.comparable, sight.shown, (sight.truth, sight.done)))
}
