//! Rules of composition: the duties of the callers of `coherence`, as switches.

use coherence::Rule;

/// A duty of the tiers, the engine or the feed. The name states the property that is lost without it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum CompositionRule {
    /// A load takes its token before it begins (`Engine::ask_shared`).
    TokenBeforeLoad,
    /// A tier's position is read in the same step as the entry that it proves (`SharedTier::read`).
    PositionWithEntry,
    /// An entry is proven by the position of its own tier, not by the reading node's
    /// (`Local::proven_at`).
    TierProvesItself,
    /// The sampler reads its clock before it sends the question (`tidegate::node::sample`).
    ClockBeforeQuestion,
    /// A load is proof as of its start, not as of its end (`Engine::load`).
    LoadProvesAsOfStart,
    /// An entry from the shared tier is no proof by its age (`Held::own`).
    OnlyOwnLoadsProve,
    /// The in-process tier invalidates the key that an event names (`Local::strike`).
    LocalInvalidatesKeys,
    /// The in-process tier invalidates the entries with a tag that an event names.
    LocalInvalidatesTags,
    /// The in-process tier invalidates the entries that match a pattern.
    LocalInvalidatesPatterns,
    /// The in-process tier invalidates all entries at an event about everything.
    LocalInvalidatesEverything,
    /// An in-process tier that missed a batch drops its entries (`Local::drop_all`).
    GapDropsEntries,
    /// An epoch reset of the shared tier drops its entries (`MemoryTier::reset_epoch`).
    EpochResetDropsEntries,
    /// An epoch reset of the shared tier sets no watermark (`Leader::apply`).
    EpochResetWithoutWatermark,
    /// Only visible commits are confirmed to the database (`feed`'s `Session::acknowledge`).
    AcknowledgeVisible,
    /// The first watermark of a new slot waits for older transactions (`feed`'s `Visibility::after`).
    NewSlotWaits,
    /// No two leases have the same token, even after a flush (`RedisTier::read`).
    LeaseTokensUnique,
    /// Samples prove tiers of the same log only (`Local::proven_at`).
    SamplesOfOwnLog,
    /// A standby reports its position before it takes the snapshot for its answer (`StandbyOrigin`).
    StandbyReportsFirst,
    /// The start of a load from a standby is no proof (`Engine::store`).
    StandbyLoadsProveNothing,
    /// A load that fails says nothing about its row, not that it is absent (`Origin::load`, `Origin::load_many`).
    FailedLoadIsNoAbsence,
    /// The ids that a failed page of a key scan has read are no page (`KeyScan::page`).
    FailedPageIsNoPage,
    /// A sample that fails proves nothing, not that the log has not grown (`LogSampler::run`).
    FailedSampleProvesNothing,
    /// The name of a log contains the identity of its database (`Source::sample`, `Candidate::acquire`).
    LogNamesItsDatabase,
}

impl CompositionRule {
    /// Every rule of composition.
    pub const ALL: &[Self] = &[
        Self::TokenBeforeLoad,
        Self::PositionWithEntry,
        Self::TierProvesItself,
        Self::ClockBeforeQuestion,
        Self::LoadProvesAsOfStart,
        Self::OnlyOwnLoadsProve,
        Self::LocalInvalidatesKeys,
        Self::LocalInvalidatesTags,
        Self::LocalInvalidatesPatterns,
        Self::LocalInvalidatesEverything,
        Self::GapDropsEntries,
        Self::EpochResetDropsEntries,
        Self::EpochResetWithoutWatermark,
        Self::AcknowledgeVisible,
        Self::NewSlotWaits,
        Self::LeaseTokensUnique,
        Self::SamplesOfOwnLog,
        Self::StandbyReportsFirst,
        Self::StandbyLoadsProveNothing,
        Self::FailedLoadIsNoAbsence,
        Self::FailedPageIsNoPage,
        Self::FailedSampleProvesNothing,
        Self::LogNamesItsDatabase,
    ];
}

/// The rule that a run omits.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Omitted {
    /// None: the protocol as it is.
    #[default]
    None,
    /// A rule of `coherence`.
    Rule(Rule),
    /// A rule of composition.
    Composition(CompositionRule),
}

impl Omitted {
    /// Returns whether the rule of composition is in force.
    #[must_use]
    pub fn enforces(self, rule: CompositionRule) -> bool {
        self != Self::Composition(rule)
    }

    /// Returns the rule of `coherence` that is omitted.
    #[must_use]
    pub fn rule(self) -> Option<Rule> {
        match self {
            Self::Rule(rule) => Some(rule),
            Self::None | Self::Composition(_) => None,
        }
    }
}
