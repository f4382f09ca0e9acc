//! No rule can be left out: without any one of them the checker finds a counterexample.

use coherence::Rule::{self, *};
use sim::habit::Habit::{self, *};
use sim::habit::Without;
use sim::invariants::{BOUND, HEALS, IN_PLACE, LEASE, MISSES_NOTHING, VERSION};
use sim::run::explore;
use sim::scene::{Design, Scene};
use sim::scenes;

const MOST_STEPS: usize = 2_000_000;

#[expect(clippy::print_stdout, reason = "the way to it is what a reader wants")]
fn breaks(without: Without, invariant: &str, scene: Scene) {
    // Whether everything mends is asked of every state: only where that is what breaks.
    let report = explore(Scene { without, heals: invariant == HEALS, ..scene }, MOST_STEPS);
    println!("{report}");
    assert!(report.broken.contains_key(invariant), "holds without {without:?}: {report}");
}

macro_rules! needed {
    ($($name:ident: $kind:ident($rule:ident) in $scene:ident breaks $invariant:ident;)*) => {
        $(#[test] fn $name() { breaks(Without::$kind($rule), $invariant, scenes::$scene()); })*

        /// Every switch, so that a new one can't be forgotten.
        const TESTED: &[Without] = &[$(Without::$kind($rule)),*];
    };
}

needed! {
    race_22_a_batch_of_another_history_is_not_applied:
        Rule(BatchOfOwnHistory) in quiet_crash breaks BOUND;
    race_21_a_batch_after_a_gap_is_not_applied:
        Rule(BatchWithoutGap) in rollback breaks MISSES_NOTHING;
    race_10_a_lost_message_is_noticed:
        Rule(BatchWithoutGap) in stream breaks MISSES_NOTHING;
    race_01_events_mark_keys: Rule(MarkKeys) in visibility breaks MISSES_NOTHING;
    events_mark_tags: Rule(MarkTags) in marks breaks MISSES_NOTHING;
    wildcards_mark_what_is_like_them: Rule(MarkPatterns) in wildcards breaks MISSES_NOTHING;
    race_14_events_about_everything_raise_the_floor:
        Rule(MarkEverything) in marks breaks MISSES_NOTHING;
    race_06_an_event_told_again_lowers_no_mark:
        Rule(MarksNeverFall) in fills breaks MISSES_NOTHING;
    race_18_a_fill_of_another_history_is_refused:
        Rule(FillOfOwnHistory) in quiet_crash breaks BOUND;
    a_fill_below_the_floor_is_refused: Rule(FillAboveFloor) in local_marks breaks MISSES_NOTHING;
    race_01_a_fill_below_a_mark_is_refused:
        Rule(FillAboveMarks) in local_marks breaks MISSES_NOTHING;
    race_04_an_older_fill_replaces_nothing: Rule(FillNotOlder) in both_tiers breaks IN_PLACE;
    race_14_entries_below_the_floor_are_gone: Rule(ReadAboveFloor) in marks breaks MISSES_NOTHING;
    entries_below_a_mark_are_gone: Rule(ReadAboveMarks) in marks breaks MISSES_NOTHING;
    collected_marks_leave_a_floor: Rule(CollectionRaisesFloor) in marks breaks MISSES_NOTHING;
    race_09_a_new_history_forbids_older_fills:
        Rule(BeginningRaisesFloor) in visibility breaks MISSES_NOTHING;
    race_23_the_watermark_needs_sight: Rule(WatermarkNeedsSight) in visibility breaks MISSES_NOTHING;
    race_23_the_watermark_goes_in_order: Rule(WatermarkInOrder) in visibility breaks MISSES_NOTHING;
    race_23_a_keepalive_passes_no_hidden_commit:
        Rule(WatermarkWaitsForCommits) in visibility breaks MISSES_NOTHING;
    a_sample_proves_only_to_who_got_there: Rule(ProofNeedsPosition) in bound breaks BOUND;
    race_22_another_server_begins_a_new_history:
        Rule(ResumeSameServer) in crash_seen_by_another breaks HEALS;
    race_22_a_broken_connection_begins_a_new_history:
        Rule(ResumeUnbroken) in quiet_crash breaks BOUND;
    a_held_lease_is_not_given_to_another: Rule(LeaseExclusive) in leases breaks LEASE;
    race_20_only_the_holder_renews: Rule(LeaseRenewedByHolder) in leases breaks LEASE;
    race_20_only_the_holder_gives_back: Rule(LeaseReleasedByHolder) in leases breaks LEASE;
    race_20_a_late_holder_does_not_store: Rule(LeaseGivenOn) in leases breaks LEASE;
    a_marked_entry_is_proven_up_to_what_it_misses_and_no_further:
        Rule(MarkStopsBefore) in soft breaks BOUND;
    an_entry_keeps_its_first_mark: Rule(MarkKeepsFirst) in soft breaks MISSES_NOTHING;
    a_late_fill_reaches_as_far_as_its_token:
        Rule(LateFillReachesToken) in soft breaks MISSES_NOTHING;
    race_07_the_token_comes_before_the_load: Habit(TokenBeforeLoad) in fills breaks MISSES_NOTHING;
    race_11_12_the_standing_is_read_with_the_entry:
        Habit(StandingWithEntry) in both_tiers breaks VERSION;
    race_21_a_tier_vouches_for_itself: Habit(TierVouchesForItself) in rollback_seen breaks BOUND;
    the_clock_is_read_before_the_question: Habit(AskedBeforeAnswer) in bound breaks BOUND;
    a_load_proves_as_of_its_beginning: Habit(LoadedAsOfBeginning) in local_marks breaks BOUND;
    only_own_loads_prove: Habit(OnlyOwnLoadsProve) in bound breaks BOUND;
    a_node_fells_keys: Habit(LocalFellsKeys) in local_marks breaks MISSES_NOTHING;
    a_node_fells_tags: Habit(LocalFellsTags) in stream breaks MISSES_NOTHING;
    a_node_fells_what_is_like_a_wildcard:
        Habit(LocalFellsPatterns) in wildcards breaks MISSES_NOTHING;
    race_14_a_node_fells_everything: Habit(LocalFellsEverything) in local_marks breaks MISSES_NOTHING;
    race_10_a_node_that_missed_something_drops_all:
        Habit(RestartDropsEntries) in quiet_crash breaks BOUND;
    race_22_a_new_history_has_no_entries: Habit(BeginningDropsEntries) in quiet_crash breaks BOUND;
    race_23_a_new_history_has_no_watermark:
        Habit(BeginningWithoutWatermark) in visibility breaks MISSES_NOTHING;
    race_23_a_new_slot_waits: Habit(NewSlotWaits) in visibility breaks MISSES_NOTHING;
    race_20_no_two_leases_have_one_token: Habit(LeaseTokensDiffer) in leases breaks LEASE;
    race_05_a_standby_has_a_token_of_its_own: Rule(StandbyOwnToken) in standby breaks MISSES_NOTHING;
    race_05_a_standby_of_another_log_is_not_asked:
        Rule(StandbySameLog) in standby_failover breaks BOUND;
    race_05_a_standby_says_how_far_it_is_before_it_reads:
        Habit(StandbySaysFirst) in standby breaks BOUND;
    race_05_a_load_from_a_standby_proves_nothing_by_its_beginning:
        Habit(StandbyLoadsProveNothing) in standby breaks BOUND;
    samples_are_of_one_log: Habit(SamplesOfOwnLog) in failover breaks BOUND;
}

/// As long as a feed that begins does not ask the tier's watermark (`Design::starts_seen`).
#[test]
fn race_23_only_what_is_visible_is_acknowledged() {
    let design = Design { starts_seen: false, ..Design::PRESENT };
    breaks(Without::Habit(AcknowledgeVisible), MISSES_NOTHING, Scene { design, ..scenes::fills() });
}

/// A feed that begins past the tier's position: its first piece finds the gap anyway.
#[test]
fn the_gap_that_a_start_may_show_is_found_by_its_first_piece_too() {
    let without = Without::Rule(ResumeWithoutGap);
    let report = explore(Scene { without, ..scenes::rollback() }, 4_000_000);
    println!("{report}");
    assert!(report.whole && report.broken.is_empty(), "{report}");
}

#[test]
fn every_switch_is_tried() {
    let elsewhere = [Without::Rule(ResumeWithoutGap), Without::Habit(AcknowledgeVisible)];
    let rules = Rule::ALL.iter().map(|rule| Without::Rule(*rule));
    let habits = Habit::ALL.iter().map(|habit| Without::Habit(*habit));
    let forgotten: Vec<_> = rules
        .chain(habits)
        .filter(|switch| !TESTED.contains(switch) && !elsewhere.contains(switch))
        // Those of the register of keys have a model of their own: `tests/absence.rs`.
        .filter(|switch| !format!("{switch:?}").contains("Register"))
        // As has that of services: `tests/service.rs`.
        .filter(|switch| *switch != Without::Rule(LagHoldsToken))
        .collect();
    assert!(forgotten.is_empty(), "nothing shows that these are needed: {forgotten:?}");
}
