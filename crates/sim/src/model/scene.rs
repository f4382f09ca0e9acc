//! Scenes: the steps that one run of the checker explores, and how often each may happen.
//!
//! A model of everything at once would be too large to finish. A scene sets a small limit for each kind
//! of step; within the limits *every* sequence of steps is explored.

use crate::model::composition::Omitted;
use crate::model::keys::{KeyId, Touch};

/// How often each step may still happen. Zero: never.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Remaining {
    /// Reads through the shared tier (found there or loaded).
    pub reads: u8,
    /// Reads that bypass the shared tier.
    pub reads_past_shared: u8,
    /// Reads from the standby.
    pub reads_from_standby: u8,
    /// Samples of the log's end.
    pub samples: u8,
    /// The node that leads dies.
    pub deaths: u8,
    /// It dies during a call to the shared tier, which takes effect later.
    pub late_calls: u8,
    /// The database crashes and restarts.
    pub crashes: u8,
    /// It crashes without a change of its identity.
    pub quiet_crashes: u8,
    /// A standby takes over that had not received the last commit.
    pub failovers: u8,
    /// The slot is lost and created again.
    pub slot_losses: u8,
    /// The shared tier is flushed.
    pub flushes: u8,
    /// The shared tier is restored to an earlier state.
    pub rollbacks: u8,
    /// A message of the node stream is lost silently.
    pub losses: u8,
    /// The node stream breaks, and reports it.
    pub breaks: u8,
    /// A message of the node stream is delivered twice.
    pub repeats: u8,
    /// An entry is evicted for lack of memory.
    pub evictions: u8,
    /// A tier collects its tombstones.
    pub collections: u8,
    /// A lease expires.
    pub lease_ends: u8,
    /// A lease is renewed.
    pub renewals: u8,
    /// A load is abandoned.
    pub abandoned: u8,
    /// The database answers a load or a sample with an error.
    pub errors: u8,
}

/// The composition of the rules: as in production today, or as it was before a finding.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Design {
    /// A sample proves tiers of its own log only ([`coherence::Bound::sample_of`]).
    pub samples_name_their_log: bool,
    /// A sample names its system and timeline only, not the server's start: a restart keeps flushed
    /// commits, and tiers apply flushed commits only.
    pub by_lineage: bool,
    /// A node rejects an answer of the shared tier if its own tier has applied a later commit that
    /// concerns the answer.
    pub nodes_reject_outdated: bool,
    /// A feed considers its start position visible only if the shared tier's watermark has reached it;
    /// otherwise it waits as for a new slot.
    pub restores_watermark: bool,
    /// A node that waited for the slot reports whether its connection survived until then (`unbroken`), as
    /// a former leader does.
    pub waiters_report_crashes: bool,
}

impl Design {
    /// The composition in `cache`, `feed` and the node's loop.
    pub const PRESENT: Self = Self {
        samples_name_their_log: true,
        by_lineage: true,
        nodes_reject_outdated: true,
        restores_watermark: true,
        waiters_report_crashes: true,
    };
}

/// A commit of the application.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Write {
    /// Its subject.
    pub touch: Touch,
    /// `synchronous_commit = off`: visible at once, and lost if the server crashes before the flush.
    pub lazy: bool,
}

/// Returns a commit that becomes visible after it is durable.
#[must_use]
pub const fn write(touch: Touch) -> Write {
    Write { touch, lazy: false }
}

/// Returns a commit that is visible before it is durable.
#[must_use]
pub const fn lazy(touch: Touch) -> Write {
    Write { touch, lazy: true }
}

/// One run of the checker.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Its name in reports.
    pub name: &'static str,
    /// The commits, in the order in which they are written.
    pub writes: Vec<Write>,
    /// The keys that are read.
    pub keys: Vec<KeyId>,
    /// The number of nodes; the first one leads at the start.
    pub nodes: u8,
    /// How often each step may happen.
    pub remaining: Remaining,
    /// Whether loads acquire the key's lease.
    pub leases: bool,
    /// Whether the leading node applies a batch to its own tier directly after the shared tier.
    pub shortcut: bool,
    /// Whether it may do so before the shared tier has applied the batch.
    pub ahead: bool,
    /// Whether nodes have in-process tiers.
    pub local: bool,
    /// Whether commits leave entries soft-stale instead of removing them.
    pub lenient: bool,
    /// Whether nodes leave old entries to a sweep.
    pub sweeps: bool,
    /// Whether each state is checked to converge in a period without faults.
    pub heals: bool,
    /// The composition.
    pub design: Design,
    /// The omitted rule.
    pub omitted: Omitted,
}

impl Scene {
    /// Returns a scene with one node and one key, in which nothing happens.
    #[must_use]
    pub fn named(name: &'static str) -> Self {
        Self {
            name,
            writes: Vec::new(),
            keys: vec![0],
            nodes: 1,
            remaining: Remaining::default(),
            leases: false,
            shortcut: false,
            ahead: false,
            local: false,
            lenient: false,
            sweeps: false,
            heals: false,
            design: Design::PRESENT,
            omitted: Omitted::None,
        }
    }
}
