//! Rules of composition: what the callers of `coherence` have to do, as switches.

use coherence::Rule;

/// What the tiers, the engine and the feed do around the pure rules. The name says what is lost
/// without it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Habit {
    /// A load's token is known before the load begins (`Engine::ask_shared`).
    TokenBeforeLoad,
    /// A tier's position is read in the same step as the entry it vouches for
    /// (`SharedTier::read`).
    StandingWithEntry,
    /// A tier's own position vouches for its entries, not the asking node's
    /// (`Local::proven_at`).
    TierVouchesForItself,
    /// The sampler's clock is read before the question is sent (`tidegate::node::sample`).
    AskedBeforeAnswer,
    /// A load proves something as of its beginning, not of its end (`Engine::load`).
    LoadedAsOfBeginning,
    /// What came from the shared tier proves nothing by its age (`Held::own`).
    OnlyOwnLoadsProve,
    /// The in-process tier removes the key that an event names (`Local::fell`).
    LocalFellsKeys,
    /// The in-process tier removes the entries under a tag that an event names.
    LocalFellsTags,
    /// The in-process tier removes the entries that are like a pattern.
    LocalFellsPatterns,
    /// The in-process tier removes all entries at an event about everything.
    LocalFellsEverything,
    /// An in-process tier that missed something drops its entries (`Local::drop_all`).
    RestartDropsEntries,
    /// A shared tier that begins anew drops its entries (`MemoryTier::incarnate`).
    BeginningDropsEntries,
    /// A shared tier begins anew without a watermark (`Leader::apply`).
    BeginningWithoutWatermark,
    /// The database is told to forget only what is visible (`feed`'s `Session::acknowledge`).
    AcknowledgeVisible,
    /// A new slot's first watermark waits for the transactions before it (`feed`'s
    /// `Visibility::after`).
    NewSlotWaits,
    /// No two leases have the same token, even after a flush (`RedisTier::read`).
    LeaseTokensDiffer,
    /// Samples prove something to tiers of the same log only (`Local::proven_at`).
    SamplesOfOwnLog,
    /// A standby says how far it is before it takes the snapshot that it answers from (`StandbyOrigin`).
    StandbySaysFirst,
    /// That a load from a standby has begun proves nothing (`Engine::store`).
    StandbyLoadsProveNothing,
}

impl Habit {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::TokenBeforeLoad,
        Self::StandingWithEntry,
        Self::TierVouchesForItself,
        Self::AskedBeforeAnswer,
        Self::LoadedAsOfBeginning,
        Self::OnlyOwnLoadsProve,
        Self::LocalFellsKeys,
        Self::LocalFellsTags,
        Self::LocalFellsPatterns,
        Self::LocalFellsEverything,
        Self::RestartDropsEntries,
        Self::BeginningDropsEntries,
        Self::BeginningWithoutWatermark,
        Self::AcknowledgeVisible,
        Self::NewSlotWaits,
        Self::LeaseTokensDiffer,
        Self::SamplesOfOwnLog,
        Self::StandbySaysFirst,
        Self::StandbyLoadsProveNothing,
    ];
}

/// What is left out of a run.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Without {
    /// Nothing: the protocol as it is.
    #[default]
    Nothing,
    /// A rule of `coherence`.
    Rule(Rule),
    /// A rule of composition.
    Habit(Habit),
}

impl Without {
    /// Whether the rule of composition is in force.
    #[must_use]
    pub fn has(self, habit: Habit) -> bool {
        self != Self::Habit(habit)
    }

    /// The rule of `coherence` that is left out.
    #[must_use]
    pub fn rule(self) -> Option<Rule> {
        match self {
            Self::Rule(rule) => Some(rule),
            Self::Nothing | Self::Habit(_) => None,
        }
    }
}
