//! The rules by name, so that a model can be run without one of them.
//!
//! A model that can't fail proves nothing. So the feature `switches`, which only the tests of the
//! crate `sim` turn on, lets a thread leave a single rule out, and those tests demand that the
//! model checker then finds a counterexample. Without the feature every rule is a constant `true`
//! and nothing of this is in the program.

/// What keeps answers right. The name says what is lost without it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// A batch of another history is not applied.
    BatchOfOwnHistory,
    /// A batch that begins after the tier's position is not applied.
    BatchWithoutGap,
    /// An event marks the key it names.
    MarkKeys,
    /// An event marks the tag it names.
    MarkTags,
    /// An event marks the pattern it names.
    MarkPatterns,
    /// An event about everything raises the floor.
    MarkEverything,
    /// A mark never falls, whatever is delivered again.
    MarksNeverFall,
    /// A fill read under another history is refused.
    FillOfOwnHistory,
    /// A fill older than the floor is refused.
    FillAboveFloor,
    /// A fill older than a mark is refused.
    FillAboveMarks,
    /// A fill older than what is stored is refused.
    FillNotOlder,
    /// A stored entry older than the floor counts as absent.
    ReadAboveFloor,
    /// A stored entry older than a mark counts as absent.
    ReadAboveMarks,
    /// Marks that are let go leave the floor in their place.
    CollectionRaisesFloor,
    /// A new history forbids the fills that began before it.
    BeginningRaisesFloor,
    /// The watermark passes only commits that a snapshot shows.
    WatermarkNeedsSight,
    /// The watermark stops at the first commit that is not shown, whatever lies behind it.
    WatermarkInOrder,
    /// A keepalive moves the watermark only if no commit waits to be seen.
    WatermarkWaitsForCommits,
    /// A sample proves something only to a tier that has applied the sampled end.
    ProofNeedsPosition,
    /// A server that was restarted or replaced begins a new history.
    ResumeSameServer,
    /// A connection that did not survive a crash begins a new history.
    ResumeUnbroken,
    /// A feed that begins after the tier's position begins a new history.
    ResumeWithoutGap,
    /// A key that somebody holds is not given to another.
    LeaseExclusive,
    /// Only its holder renews a lease.
    LeaseRenewedByHolder,
    /// Only its holder gives a lease back.
    LeaseReleasedByHolder,
    /// A fill under a lease that somebody else holds by now is too late.
    LeaseGivenOn,
    /// A marked entry's proof stops before the first commit that it misses.
    MarkStopsBefore,
    /// An entry keeps its first mark, whatever is told of later.
    MarkKeepsFirst,
    /// What was loaded too late to be stored fresh reaches no further than its token.
    LateFillReachesToken,
    /// A register of keys hears only its own history.
    RegisterOfOwnHistory,
    /// A register of keys that missed something begins again.
    RegisterWithoutGap,
    /// A register counts as read what was heard of before, also in part.
    RegisterFromHeard,
    /// Keys are read for a register only once all that it counts as read is visible.
    RegisterReadsSettled,
    /// A register notes the keys that events name.
    RegisterNotesKeys,
    /// An event about everything ends what a register knows.
    RegisterEndsWithEverything,
    /// A register stands only once its tier has got to where the reading has seen.
    RegisterWaitsForSeen,
    /// What a standby answers reaches as far as the standby said, not as far as the primary's
    /// watermark.
    StandbyOwnToken,
    /// A standby of another log answers nothing.
    StandbySameLog,
    /// What a service answers reaches as far as the watermark did when it may have read.
    LagHoldsToken,
}

impl Rule {
    /// Every rule.
    pub const ALL: &[Self] = &[
        Self::BatchOfOwnHistory,
        Self::BatchWithoutGap,
        Self::MarkKeys,
        Self::MarkTags,
        Self::MarkPatterns,
        Self::MarkEverything,
        Self::MarksNeverFall,
        Self::FillOfOwnHistory,
        Self::FillAboveFloor,
        Self::FillAboveMarks,
        Self::FillNotOlder,
        Self::ReadAboveFloor,
        Self::ReadAboveMarks,
        Self::CollectionRaisesFloor,
        Self::BeginningRaisesFloor,
        Self::WatermarkNeedsSight,
        Self::WatermarkInOrder,
        Self::WatermarkWaitsForCommits,
        Self::ProofNeedsPosition,
        Self::ResumeSameServer,
        Self::ResumeUnbroken,
        Self::ResumeWithoutGap,
        Self::LeaseExclusive,
        Self::LeaseRenewedByHolder,
        Self::LeaseReleasedByHolder,
        Self::LeaseGivenOn,
        Self::MarkStopsBefore,
        Self::MarkKeepsFirst,
        Self::LateFillReachesToken,
        Self::RegisterOfOwnHistory,
        Self::RegisterWithoutGap,
        Self::RegisterFromHeard,
        Self::RegisterReadsSettled,
        Self::RegisterNotesKeys,
        Self::RegisterEndsWithEverything,
        Self::RegisterWaitsForSeen,
        Self::StandbyOwnToken,
        Self::StandbySameLog,
        Self::LagHoldsToken,
    ];
}

#[cfg(feature = "switches")]
std::thread_local! {
    static OFF: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

/// Whether the rule is in force.
#[cfg(feature = "switches")]
pub(crate) fn on(rule: Rule) -> bool {
    OFF.get() != Some(rule)
}

/// Whether the rule is in force: always.
#[cfg(not(feature = "switches"))]
#[inline(always)]
pub(crate) const fn on(_: Rule) -> bool {
    true
}

/// Runs `step` on this thread without the rule.
#[cfg(feature = "switches")]
pub fn without<T>(rule: Option<Rule>, step: impl FnOnce() -> T) -> T {
    let before = OFF.replace(rule);
    let done = step();
    OFF.set(before);
    done
}
