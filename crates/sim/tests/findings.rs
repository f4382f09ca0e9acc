//! What the checker found in the protocol as it was first composed. Each is mended in the product and
//! in [`Design::PRESENT`]; without the mend the checker finds it again.

use sim::invariants::{BOUND, MISSES_NOTHING, NEVER_AGAIN};
use sim::run::explore;
use sim::scene::{Design, Scene};
use sim::scenes;

const MOST_STEPS: usize = 4_000_000;

#[expect(clippy::print_stdout, reason = "the way to it is what a reader wants")]
fn found(invariant: &str, scene: Scene) {
    let report = explore(Scene { heals: false, ..scene }, MOST_STEPS);
    println!("{report}");
    assert!(report.broken.contains_key(invariant), "not found any more: {report}");
}

/// A standby takes over that lacks the last commit. Until the feed has begun the new history, the
/// tiers stand at a position that the new log reaches with other commits; a sample of the new log
/// then calls them fresh.
#[test]
fn after_a_failover_samples_of_the_new_log_prove_tiers_of_the_old_one() {
    let design = Design { samples_name_their_log: false, ..Design::PRESENT };
    found(BOUND, Scene { design, ..scenes::failover() });
}

/// The shared tier comes back with older data, in the same history. A node whose own tier has
/// applied the invalidation serves the invalidated entry from it nevertheless, with an honest bound.
#[test]
fn after_a_rollback_a_node_serves_what_it_saw_invalidated() {
    let design = Design { nodes_know_better: false, ..Design::PRESENT };
    found(NEVER_AGAIN, Scene { design, ..scenes::rollback_seen() });
}

/// A slot was made while a commit before it was not visible yet. The leader that made it waits for
/// that; it dies, and its successor finds an ordinary slot and takes its position for visible.
#[test]
fn the_successor_of_a_leader_that_made_the_slot_does_not_wait() {
    let design = Design { starts_seen: false, ..Design::PRESENT };
    found(MISSES_NOTHING, Scene { design, ..scenes::visibility() });
}

/// The server crashes and recovers without looking restarted. The node that takes over had a
/// connection that broke, but only one that led before says so.
#[test]
fn who_waited_for_the_slot_does_not_tell_that_its_connection_broke() {
    let design = Design { waiting_is_witness: false, ..Design::PRESENT };
    found(BOUND, Scene { design, ..scenes::quiet_crash_seen_by_another() });
}
