//! Faults that the checker found in the first composition of the protocol. Each is corrected in the product
//! and in [`Design::PRESENT`]; without the correction the checker finds it again.

use sim::model::explore::explore;
use sim::model::invariants::{BOUND, NO_STALE_ENTRY, NOT_SERVED_AGAIN};
use sim::model::scene::{Design, Scene};
use sim::model::scenes;

const MOST_STEPS: usize = 4_000_000;

#[expect(clippy::print_stdout, reason = "the path to the fault is the result")]
fn found(invariant: &str, scene: Scene) {
    let report = explore(Scene { heals: false, ..scene }, MOST_STEPS);
    println!("{report}");
    assert!(report.broken.contains_key(invariant), "no longer found: {report}");
}

/// A standby takes over that lacks the last commit. Until the feed has reset the epoch, the tiers are at a
/// position that the new log reaches with other commits, and a sample of the new log proves them fresh.
#[test]
fn failover_samples_prove_old_tiers() {
    let design = Design { samples_name_their_log: false, ..Design::PRESENT };
    found(BOUND, Scene { design, ..scenes::failover() });
}

/// The shared tier is restored to older data, in the same epoch. A node whose own tier has applied an
/// invalidation still serves the invalidated entry from it, with a true bound.
#[test]
fn rollback_serves_invalidated_entry() {
    let design = Design { nodes_reject_outdated: false, ..Design::PRESENT };
    found(NOT_SERVED_AGAIN, Scene { design, ..scenes::rollback_seen() });
}

/// A slot is created while a commit before it is not visible yet. The leader that created it waits for the
/// commit and dies; its successor finds an ordinary slot and considers its position visible.
#[test]
fn successor_does_not_wait_for_new_slot() {
    let design = Design { restores_watermark: false, ..Design::PRESENT };
    found(NO_STALE_ENTRY, Scene { design, ..scenes::visibility() });
}

/// The server crashes and recovers without a visible restart. The connection of the node that takes over
/// broke, but only a former leader reports that.
#[test]
fn waiting_node_hides_broken_connection() {
    let design = Design { waiters_report_crashes: false, ..Design::PRESENT };
    found(BOUND, Scene { design, ..scenes::quiet_crash_seen_by_other_node() });
}
