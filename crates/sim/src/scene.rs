//! Scenes: what may happen in one run of the checker, and how often.
//!
//! One model of everything at once would be too large to finish. A scene gives a small number to
//! each thing that can happen; within those numbers *every* order of steps is explored.

use crate::habit::Without;
use crate::names::{KeyId, Touch};

/// How often something may still happen. Zero: never.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Left {
    /// Reads that the shared tier is asked for (found there or loaded).
    pub reads: u8,
    /// Reads that do without the shared tier.
    pub reads_past_shared: u8,
    /// Reads that ask the standby.
    pub reads_of_standby: u8,
    /// Samples of the log's end.
    pub samples: u8,
    /// The node that leads dies.
    pub deaths: u8,
    /// It dies with a call to the shared tier under way, which takes effect later.
    pub late_calls: u8,
    /// The database crashes and restarts.
    pub crashes: u8,
    /// It crashes in a way that can't be told from its identity.
    pub quiet_crashes: u8,
    /// A standby takes over that had not received the last commit.
    pub failovers: u8,
    /// The slot is lost and made anew.
    pub slot_losses: u8,
    /// The shared tier is flushed.
    pub flushes: u8,
    /// The shared tier comes back with what it was at some moment before.
    pub rollbacks: u8,
    /// A message of the node stream is lost, and nobody says so.
    pub losses: u8,
    /// The node stream breaks and says so.
    pub breaks: u8,
    /// A message of the node stream is delivered twice.
    pub repeats: u8,
    /// An entry is evicted for want of room.
    pub evictions: u8,
    /// A tier lets go of its marks.
    pub collections: u8,
    /// A lease's length passes.
    pub lease_ends: u8,
    /// A lease is renewed.
    pub renewals: u8,
    /// A load is given up.
    pub abandoned: u8,
}

/// How production composes the rules today, and what is proposed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Design {
    /// A sample counts only for tiers of the log that it was taken of
    /// ([`coherence::Bound::sample_of`]).
    pub samples_name_their_log: bool,
    /// What a sample names is system and timeline only, not the server's start: a restart keeps
    /// what was flushed, and nothing else is ever applied.
    pub by_lineage: bool,
    /// An answer of the shared tier is not given if the node's own tier has applied more of what
    /// concerns it.
    pub nodes_know_better: bool,
    /// A feed takes the position it begins at for visible only if the shared tier's watermark says
    /// so; otherwise it waits as for a new slot.
    pub starts_seen: bool,
    /// A node that waited for the slot says whether its connection survived until it got it
    /// (`unbroken`), as one that led before does.
    pub waiting_is_witness: bool,
}

impl Design {
    /// As `cache`, `feed` and the node's loop do it.
    pub const PRESENT: Self = Self {
        samples_name_their_log: true,
        by_lineage: true,
        nodes_know_better: true,
        starts_seen: true,
        waiting_is_witness: true,
    };
}

/// A commit that the application will make.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Write {
    /// What it touches.
    pub touch: Touch,
    /// `synchronous_commit = off`: visible at once, and lost if the server crashes early.
    pub lazy: bool,
}

/// Seen by nobody before it is durable.
#[must_use]
pub const fn write(touch: Touch) -> Write {
    Write { touch, lazy: false }
}

/// Seen before it is durable.
#[must_use]
pub const fn lazy(touch: Touch) -> Write {
    Write { touch, lazy: true }
}

/// One run of the checker.
#[derive(Clone, Debug)]
pub struct Scene {
    /// For reports.
    pub name: &'static str,
    /// The commits, in the order in which they are written.
    pub writes: Vec<Write>,
    /// The keys that are read.
    pub keys: Vec<KeyId>,
    /// Nodes; the first of them leads at the beginning.
    pub nodes: u8,
    /// How often.
    pub left: Left,
    /// Loads ask for the key's lease.
    pub leases: bool,
    /// The leading node applies what it applied to the shared tier to its own at once.
    pub shortcut: bool,
    /// It may do so before the shared tier has.
    pub ahead: bool,
    /// There are in-process tiers.
    pub local: bool,
    /// Commits mark their entries instead of removing them.
    pub lenient: bool,
    /// Checks that from each state a time without faults mends everything.
    pub heals: bool,
    /// Whose composition.
    pub design: Design,
    /// What is left out.
    pub without: Without,
}

impl Scene {
    /// One node, one key, nothing happens.
    #[must_use]
    pub fn named(name: &'static str) -> Self {
        Self {
            name,
            writes: Vec::new(),
            keys: vec![0],
            nodes: 1,
            left: Left::default(),
            leases: false,
            shortcut: false,
            ahead: false,
            local: false,
            lenient: false,
            heals: false,
            design: Design::PRESENT,
            without: Without::Nothing,
        }
    }
}
