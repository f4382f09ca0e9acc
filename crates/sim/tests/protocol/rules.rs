//! No rule can be omitted: without any one of them the checker finds a counterexample.

use coherence::Rule::{self, *};
use sim::model::composition::CompositionRule::{self, *};
use sim::model::composition::Omitted;
use sim::model::explore::explore;
use sim::model::invariants::{BOUND, CONVERGES, LEASE, MONOTONIC, NO_STALE_ENTRY, VERSION};
use sim::model::scene::{Design, Scene};
use sim::model::scenes;

const MOST_STEPS: usize = 2_000_000;

#[expect(clippy::print_stdout, reason = "the path to the counterexample is the result")]
fn breaks(omitted: Omitted, invariant: &str, scene: Scene) {
    // Convergence is checked in every state, so only for the rules that it depends on.
    let report = explore(Scene { omitted, heals: invariant == CONVERGES, ..scene }, MOST_STEPS);
    println!("{report}");
    assert!(report.broken.contains_key(invariant), "holds without {omitted:?}: {report}");
}

macro_rules! needed {
    ($($name:ident: $kind:ident($rule:ident) in $scene:ident breaks $invariant:ident;)*) => {
        $(#[test] fn $name() { breaks(Omitted::$kind($rule), $invariant, scenes::$scene()); })*

        /// Every switch that a test omits, so that a new one can't be forgotten.
        const TESTED: &[Omitted] = &[$(Omitted::$kind($rule)),*];
    };
}

needed! {
    race_22_foreign_batch_rejected: Rule(BatchOfOwnEpoch) in quiet_crash breaks BOUND;
    race_21_batch_after_gap_rejected: Rule(BatchWithoutGap) in rollback breaks NO_STALE_ENTRY;
    race_10_lost_message_detected: Rule(BatchWithoutGap) in stream breaks NO_STALE_ENTRY;
    race_01_events_leave_key_tombstones: Rule(TombstoneKeys) in visibility breaks NO_STALE_ENTRY;
    events_leave_tag_tombstones: Rule(TombstoneTags) in tombstones breaks NO_STALE_ENTRY;
    wildcards_leave_tombstones: Rule(TombstonePatterns) in wildcards breaks NO_STALE_ENTRY;
    race_14_truncate_raises_floor: Rule(EverythingRaisesFloor) in tombstones breaks NO_STALE_ENTRY;
    race_06_repeat_lowers_no_tombstone: Rule(TombstonesNeverFall) in fills breaks NO_STALE_ENTRY;
    skipped_repeat_is_known: Rule(RepeatIsKnown) in stream breaks NO_STALE_ENTRY;
    race_18_foreign_fill_rejected: Rule(FillOfOwnEpoch) in quiet_crash breaks BOUND;
    fill_below_floor_rejected: Rule(FillAboveFloor) in local_tombstones breaks NO_STALE_ENTRY;
    race_01_fill_below_tombstone_rejected:
        Rule(FillAboveTombstones) in local_tombstones breaks NO_STALE_ENTRY;
    race_04_older_fill_rejected: Rule(FillNotOlder) in both_tiers breaks MONOTONIC;
    race_14_entry_below_floor_invalid: Rule(ReadAboveFloor) in tombstones breaks NO_STALE_ENTRY;
    entry_below_tombstone_invalid: Rule(ReadAboveTombstones) in tombstones breaks NO_STALE_ENTRY;
    entry_older_than_its_tag_unserved: Rule(ReadAboveGeneration) in sweeps breaks NO_STALE_ENTRY;
    dropped_entry_unserved: Rule(DroppedEntryAbsent) in sweeps breaks NO_STALE_ENTRY;
    collected_tombstones_leave_floor:
        Rule(CollectionRaisesFloor) in tombstones breaks NO_STALE_ENTRY;
    race_09_epoch_reset_rejects_older_fill:
        Rule(EpochResetRaisesFloor) in visibility breaks NO_STALE_ENTRY;
    race_23_watermark_needs_snapshot:
        Rule(WatermarkNeedsSnapshot) in visibility breaks NO_STALE_ENTRY;
    race_23_watermark_in_order: Rule(WatermarkInOrder) in visibility breaks NO_STALE_ENTRY;
    race_23_keepalive_passes_no_hidden_commit:
        Rule(WatermarkWaitsForCommits) in visibility breaks NO_STALE_ENTRY;
    sample_proves_reached_positions_only: Rule(ProofNeedsPosition) in bound breaks BOUND;
    race_22_other_server_resets_epoch:
        Rule(ResumeSameServer) in crash_seen_by_other_node breaks CONVERGES;
    race_22_broken_connection_resets_epoch: Rule(ResumeUnbroken) in quiet_crash breaks BOUND;
    lease_is_exclusive: Rule(LeaseExclusive) in leases breaks LEASE;
    race_20_holder_alone_renews: Rule(LeaseRenewedByHolder) in leases breaks LEASE;
    race_20_holder_alone_releases: Rule(LeaseReleasedByHolder) in leases breaks LEASE;
    race_20_late_holder_fill_rejected: Rule(LeaseReassigned) in leases breaks LEASE;
    soft_stale_proof_stops_before_miss: Rule(SoftStaleStopsBefore) in soft breaks BOUND;
    soft_stale_entry_keeps_its_proof: Rule(SoftStaleKeepsFirst) in soft breaks NO_STALE_ENTRY;
    late_fill_reaches_its_token_only: Rule(LateFillReachesToken) in soft breaks NO_STALE_ENTRY;
    race_07_token_before_load: Composition(TokenBeforeLoad) in fills breaks NO_STALE_ENTRY;
    race_11_12_position_read_with_entry:
        Composition(PositionWithEntry) in both_tiers breaks VERSION;
    race_21_tier_proves_itself: Composition(TierProvesItself) in rollback_seen breaks BOUND;
    sample_clock_before_question: Composition(ClockBeforeQuestion) in bound breaks BOUND;
    load_proves_as_of_its_start: Composition(LoadProvesAsOfStart) in local_tombstones breaks BOUND;
    only_own_loads_prove: Composition(OnlyOwnLoadsProve) in bound breaks BOUND;
    node_invalidates_keys:
        Composition(LocalInvalidatesKeys) in local_tombstones breaks NO_STALE_ENTRY;
    node_invalidates_tags: Composition(LocalInvalidatesTags) in stream breaks NO_STALE_ENTRY;
    node_invalidates_by_pattern:
        Composition(LocalInvalidatesPatterns) in wildcards breaks NO_STALE_ENTRY;
    race_14_node_invalidates_everything:
        Composition(LocalInvalidatesEverything) in local_tombstones breaks NO_STALE_ENTRY;
    race_10_gap_drops_entries: Composition(GapDropsEntries) in quiet_crash breaks BOUND;
    race_22_epoch_reset_drops_entries:
        Composition(EpochResetDropsEntries) in quiet_crash breaks BOUND;
    race_23_epoch_reset_has_no_watermark:
        Composition(EpochResetWithoutWatermark) in visibility breaks NO_STALE_ENTRY;
    race_23_new_slot_waits: Composition(NewSlotWaits) in visibility breaks NO_STALE_ENTRY;
    race_20_lease_tokens_unique: Composition(LeaseTokensUnique) in leases breaks LEASE;
    race_05_standby_has_own_token: Rule(StandbyOwnToken) in standby breaks NO_STALE_ENTRY;
    race_05_standby_of_other_log_rejected: Rule(StandbySameLog) in standby_failover breaks BOUND;
    race_05_standby_reports_before_reading:
        Composition(StandbyReportsFirst) in standby breaks BOUND;
    race_05_standby_load_start_no_proof:
        Composition(StandbyLoadsProveNothing) in standby breaks BOUND;
    samples_of_one_log_only: Composition(SamplesOfOwnLog) in failover breaks BOUND;
    failed_load_is_no_absence: Composition(FailedLoadIsNoAbsence) in errors breaks BOUND;
    failed_sample_proves_nothing: Composition(FailedSampleProvesNothing) in errors breaks BOUND;
}

/// With a feed that does not restore the tier's watermark at its start (`Design::restores_watermark`).
#[test]
fn race_23_only_visible_commits_confirmed() {
    let design = Design { restores_watermark: false, ..Design::PRESENT };
    breaks(
        Omitted::Composition(AcknowledgeVisible),
        NO_STALE_ENTRY,
        Scene { design, ..scenes::fills() },
    );
}

/// A feed that begins after the tier's position: its first batch detects the gap in any case.
#[test]
fn start_gap_found_by_first_batch() {
    let omitted = Omitted::Rule(ResumeWithoutGap);
    let report = explore(Scene { omitted, ..scenes::rollback() }, 4_000_000);
    println!("{report}");
    assert!(report.whole && report.broken.is_empty(), "{report}");
}

/// The rule that `demoted_server.rs` omits.
const DEMOTED: [Rule; 1] = [ProofOfOwnLog];

/// The rules that `two_logs.rs` and `mixed_contracts.rs` omit.
const TWO_LEADERS: [Rule; 7] = [
    FillOfOwnLog,
    LiveClaimStands,
    BatchOfStatedCoverage,
    CoverageNeeded,
    CoverageGainedByEvent,
    StatedWhenCaughtUp,
    EntryOfOwnDefinition,
];

/// The rules that `two_sources.rs` omits.
const TWO_SOURCES: [Rule; 2] = [WitnessOfSameLoad, WitnessOfEveryLog];

/// The rules that `timed_values.rs` omits.
const TIMED: [Rule; 2] = [TurnEndsEntry, TurnCountsFromQuestion];

#[test]
fn every_switch_is_tested() {
    let elsewhere = [
        Omitted::Rule(ResumeWithoutGap),
        Omitted::Composition(AcknowledgeVisible),
        // `simulation.rs`: the model has neither a schema nor key scans.
        Omitted::Rule(ProofNeedsAppliedSchema),
        Omitted::Composition(FailedPageIsNoPage),
        // Nor has it a second database.
        Omitted::Composition(LogNamesItsDatabase),
    ];
    let rules = Rule::ALL.iter().map(|rule| Omitted::Rule(*rule));
    let composition = CompositionRule::ALL.iter().map(|rule| Omitted::Composition(*rule));
    let forgotten: Vec<_> = rules
        .chain(composition)
        .filter(|switch| !TESTED.contains(switch) && !elsewhere.contains(switch))
        // The rules of the key filter have a model of their own: `key_filter.rs`.
        .filter(|switch| !format!("{switch:?}").contains("KeyFilter"))
        // So has the rule of services that lag: `lagging_service.rs`.
        .filter(|switch| *switch != Omitted::Rule(LagDelaysToken))
        // And those of tiers that nodes of two databases, or with different contracts, share.
        .filter(|switch| !TWO_LEADERS.iter().any(|rule| *switch == Omitted::Rule(*rule)))
        // And those of pages that show rows of two databases: `two_sources.rs`.
        .filter(|switch| !DEMOTED.iter().any(|rule| *switch == Omitted::Rule(*rule)))
        // And those of values that change by the clock.
        .filter(|switch| !TIMED.iter().any(|rule| *switch == Omitted::Rule(*rule)))
        .filter(|switch| !TWO_SOURCES.iter().any(|rule| *switch == Omitted::Rule(*rule)))
        .collect();
    assert!(forgotten.is_empty(), "no test shows that these are needed: {forgotten:?}");
}
