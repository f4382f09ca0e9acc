//! The rules by name, so that a model can run without one of them.
//!
//! A model that can't fail proves nothing. The feature `switches`, which only the tests of the crate
//! `sim` enable, lets a thread omit a single rule; those tests require that the model checker then
//! finds a counterexample. Without the feature every rule is a constant `true`, and the program
//! contains no trace of it.

/// A rule that keeps answers right. The name states the property that is lost without it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// A batch of another epoch is not applied.
    BatchOfOwnEpoch,
    /// A batch that begins after the tier's position is not applied.
    BatchWithoutGap,
    /// An event leaves a tombstone for each key that it names.
    TombstoneKeys,
    /// An event leaves a tombstone for each tag that it names.
    TombstoneTags,
    /// An event leaves a tombstone for each pattern that it names.
    TombstonePatterns,
    /// An event about everything raises the floor.
    EverythingRaisesFloor,
    /// A repeated event never lowers a tombstone.
    TombstonesNeverFall,
    /// Only events that an in-process tier has applied under the same mappings are skipped as repeats.
    RepeatIsKnown,
    /// A fill that was read in another epoch is refused.
    FillOfOwnEpoch,
    /// A fill older than the floor is refused.
    FillAboveFloor,
    /// A fill older than a tombstone is refused.
    FillAboveTombstones,
    /// A fill older than the stored entry is refused.
    FillNotOlder,
    /// A stored entry older than the floor counts as absent.
    ReadAboveFloor,
    /// A stored entry older than a tombstone counts as absent.
    ReadAboveTombstones,
    /// An entry older than an invalidation of one of its tags counts as invalidated before it is removed.
    ReadAboveGeneration,
    /// An entry that was stored before its tier dropped everything counts as absent before it is removed.
    DroppedEntryAbsent,
    /// The floor replaces tombstones that are collected.
    CollectionRaisesFloor,
    /// An epoch reset refuses fills that began before it.
    EpochResetRaisesFloor,
    /// The watermark passes only commits that a snapshot shows.
    WatermarkNeedsSnapshot,
    /// The watermark stops at the first commit that is not shown, even if later ones are.
    WatermarkInOrder,
    /// A keepalive moves the watermark only if no commit waits for a snapshot.
    WatermarkWaitsForCommits,
    /// A sample proves only tiers that have applied the sampled end of the log.
    ProofNeedsPosition,
    /// A sample proves only under the schema that the log was applied under.
    ProofNeedsAppliedSchema,
    /// A restarted or replaced server causes an epoch reset.
    ResumeSameServer,
    /// A connection that did not survive a crash causes an epoch reset.
    ResumeUnbroken,
    /// A feed that begins after the tier's position causes an epoch reset.
    ResumeWithoutGap,
    /// A key's lease has one holder at a time.
    LeaseExclusive,
    /// Only its holder renews a lease.
    LeaseRenewedByHolder,
    /// Only its holder releases a lease.
    LeaseReleasedByHolder,
    /// A fill under a lease that has another holder by now is refused.
    LeaseReassigned,
    /// The proof of a soft-stale entry stops before the first commit that the entry misses.
    SoftStaleStopsBefore,
    /// Later commits do not change the proof of a soft-stale entry.
    SoftStaleKeepsFirst,
    /// A late fill, stored soft-stale, reaches no further than its token.
    LateFillReachesToken,
    /// A key filter follows batches of its own epoch only.
    KeyFilterOfOwnEpoch,
    /// A key filter that missed a batch is cleared.
    KeyFilterWithoutGap,
    /// The scan of a key filter covers all events received before it, also those received in part.
    KeyFilterFromReceived,
    /// A key scan reads only after all commits that it has to cover are visible.
    KeyFilterScansVisible,
    /// A key filter adds the keys that events name.
    KeyFilterAddsKeys,
    /// An event about everything clears a key filter.
    KeyFilterClearedByEverything,
    /// A key filter takes effect only after its tier has reached the commits that the scan saw.
    KeyFilterWaitsForScan,
    /// An answer of a standby reaches as far as the standby's own position, not as far as the primary's
    /// watermark.
    StandbyOwnToken,
    /// An answer of a standby of another log is rejected.
    StandbySameLog,
    /// An answer of a service reaches as far as the watermark at the time when the service may have read.
    LagDelaysToken,
    /// A value is offered only to a tier that follows the log of the connection that loaded it.
    FillOfOwnLog,
    /// Samples prove only tiers that follow the log of the sampled server.
    ProofOfOwnLog,
    /// A node of another database does not replace a live claim.
    LiveClaimStands,
    /// A batch of a leader whose mappings the tier has not stated is not applied.
    BatchOfStatedCoverage,
    /// An entry is proven only if the leader applies the mappings that it depends on.
    CoverageNeeded,
    /// A leader states a new mapping only after an event about every entry that depends on it.
    CoverageGainedByEvent,
    /// A leader states a new mapping only if it has itself applied all that the tier has applied.
    StatedWhenCaughtUp,
    /// An entry of another definition of its contract is not served.
    EntryOfOwnDefinition,
    /// An entry whose value changes by the clock is not fresh once the clock may have reached that time.
    TurnEndsEntry,
    /// A reading of the database's clock counts from before its question.
    TurnCountsFromQuestion,
    /// A witness proves only the value of its own load.
    WitnessOfSameLoad,
    /// A value that depends on several logs needs a witness of each.
    WitnessOfEveryLog,
}

impl Rule {
    /// Every rule.
    pub const ALL: &[Self] = &[
        Self::BatchOfOwnEpoch,
        Self::BatchWithoutGap,
        Self::TombstoneKeys,
        Self::TombstoneTags,
        Self::TombstonePatterns,
        Self::EverythingRaisesFloor,
        Self::TombstonesNeverFall,
        Self::RepeatIsKnown,
        Self::FillOfOwnEpoch,
        Self::FillAboveFloor,
        Self::FillAboveTombstones,
        Self::FillNotOlder,
        Self::ReadAboveFloor,
        Self::ReadAboveTombstones,
        Self::ReadAboveGeneration,
        Self::DroppedEntryAbsent,
        Self::CollectionRaisesFloor,
        Self::EpochResetRaisesFloor,
        Self::WatermarkNeedsSnapshot,
        Self::WatermarkInOrder,
        Self::WatermarkWaitsForCommits,
        Self::ProofNeedsPosition,
        Self::ProofNeedsAppliedSchema,
        Self::ResumeSameServer,
        Self::ResumeUnbroken,
        Self::ResumeWithoutGap,
        Self::LeaseExclusive,
        Self::LeaseRenewedByHolder,
        Self::LeaseReleasedByHolder,
        Self::LeaseReassigned,
        Self::SoftStaleStopsBefore,
        Self::SoftStaleKeepsFirst,
        Self::LateFillReachesToken,
        Self::KeyFilterOfOwnEpoch,
        Self::KeyFilterWithoutGap,
        Self::KeyFilterFromReceived,
        Self::KeyFilterScansVisible,
        Self::KeyFilterAddsKeys,
        Self::KeyFilterClearedByEverything,
        Self::KeyFilterWaitsForScan,
        Self::StandbyOwnToken,
        Self::StandbySameLog,
        Self::LagDelaysToken,
        Self::FillOfOwnLog,
        Self::ProofOfOwnLog,
        Self::LiveClaimStands,
        Self::BatchOfStatedCoverage,
        Self::CoverageNeeded,
        Self::CoverageGainedByEvent,
        Self::StatedWhenCaughtUp,
        Self::EntryOfOwnDefinition,
        Self::TurnEndsEntry,
        Self::TurnCountsFromQuestion,
        Self::WitnessOfSameLoad,
        Self::WitnessOfEveryLog,
    ];
}

#[cfg(feature = "switches")]
std::thread_local! {
    static OFF: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

/// Returns whether the rule is in force.
#[cfg(feature = "switches")]
pub(crate) fn on(rule: Rule) -> bool {
    OFF.get() != Some(rule)
}

/// Returns whether the rule is in force: always.
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
