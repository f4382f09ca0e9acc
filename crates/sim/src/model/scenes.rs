//! The scenes that are explored. Each one is the smallest in which its rules matter.

use crate::model::keys::Touch;
use crate::model::scene::{Design, Remaining, Scene, lazy, write};

const NONE: Remaining = Remaining {
    reads: 0,
    reads_past_shared: 0,
    reads_from_standby: 0,
    samples: 0,
    deaths: 0,
    late_calls: 0,
    crashes: 0,
    quiet_crashes: 0,
    failovers: 0,
    slot_losses: 0,
    flushes: 0,
    rollbacks: 0,
    losses: 0,
    breaks: 0,
    repeats: 0,
    evictions: 0,
    collections: 0,
    lease_ends: 0,
    renewals: 0,
    abandoned: 0,
    errors: 0,
};

/// Fills against events of a key and of its tag, repeated by the next leader.
#[must_use]
pub fn fills() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Key(0)), write(Touch::Tag)],
        remaining: Remaining { reads: 2, deaths: 1, ..NONE },
        heals: true,
        ..Scene::named("fills")
    }
}

/// Commits that become visible in another sequence than they were written, and slots that begin among them.
#[must_use]
pub fn visibility() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Key(1))],
        keys: vec![0, 1],
        remaining: Remaining { reads: 1, deaths: 1, slot_losses: 1, ..NONE },
        heals: true,
        ..Scene::named("visibility")
    }
}

/// TRUNCATE, eviction and the collection of tombstones.
#[must_use]
pub fn tombstones() -> Scene {
    Scene {
        writes: vec![write(Touch::Tag), write(Touch::Everything)],
        remaining: Remaining { reads: 2, collections: 1, evictions: 1, ..NONE },
        heals: true,
        ..Scene::named("tombstones")
    }
}

/// The in-process tier: messages of the node stream are lost and repeated, the stream breaks, and the
/// leader's own tier applies a batch early.
#[must_use]
pub fn stream() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Tag)],
        remaining: Remaining { reads_past_shared: 1, losses: 1, repeats: 1, breaks: 1, ..NONE },
        local: true,
        shortcut: true,
        ahead: true,
        ..Scene::named("stream")
    }
}

/// TRUNCATE and collection in the in-process tier.
#[must_use]
pub fn local_tombstones() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Everything)],
        remaining: Remaining { reads_past_shared: 2, collections: 1, evictions: 1, ..NONE },
        local: true,
        ..Scene::named("local tombstones")
    }
}

/// Wildcards over keys and tags in both tiers, while entries are read, loaded and evicted and tombstones
/// are collected.
#[must_use]
pub fn wildcards() -> Scene {
    Scene {
        writes: vec![write(Touch::KeysLike), write(Touch::TagsLike)],
        remaining: Remaining { reads: 2, collections: 1, evictions: 1, ..NONE },
        local: true,
        ..Scene::named("wildcards")
    }
}

/// Wildcards with two nodes: entries found in one tier go into the other.
#[must_use]
pub fn wildcards_two_nodes() -> Scene {
    Scene {
        writes: vec![write(Touch::KeysLike)],
        ..Scene { name: "wildcards, two nodes", ..both_tiers() }
    }
}

/// Invalidations by tag and TRUNCATE, and drops after a broken stream, whose entries are removed later.
#[must_use]
pub fn sweeps() -> Scene {
    Scene {
        writes: vec![write(Touch::Tag), write(Touch::Everything)],
        remaining: Remaining { reads_past_shared: 2, breaks: 1, collections: 1, ..NONE },
        local: true,
        sweeps: true,
        ..Scene::named("sweeps")
    }
}

/// The same by key, wildcard and tag, with entries that become soft-stale when they are settled.
#[must_use]
pub fn soft_sweeps() -> Scene {
    Scene {
        writes: vec![write(Touch::Tag), write(Touch::KeysLike)],
        remaining: Remaining { reads_past_shared: 2, samples: 2, ..NONE },
        local: true,
        lenient: true,
        sweeps: true,
        ..Scene::named("soft sweeps")
    }
}

/// A database that loses its last commits while entries of its old log wait for their removal.
#[must_use]
pub fn sweeps_failover() -> Scene {
    Scene {
        writes: vec![write(Touch::Tag), write(Touch::Tag)],
        remaining: Remaining { reads_past_shared: 2, failovers: 1, samples: 1, ..NONE },
        local: true,
        sweeps: true,
        ..Scene::named("sweeps, failover")
    }
}

/// Both tiers: entries found in one go into the other.
#[must_use]
pub fn both_tiers() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0))],
        nodes: 2,
        remaining: Remaining { reads: 2, reads_past_shared: 1, ..NONE },
        local: true,
        ..Scene::named("both tiers")
    }
}

/// The leader's own tier is ahead of the shared one or behind it, and so is the other node's; the
/// leader may die in between.
#[must_use]
pub fn ahead() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0))],
        nodes: 2,
        remaining: Remaining { reads: 2, deaths: 1, ..NONE },
        local: true,
        shortcut: true,
        ahead: true,
        ..Scene::named("ahead")
    }
}

/// The shared tier is flushed; its leader dies, possibly during a call.
#[must_use]
pub fn flush() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Key(0))],
        remaining: Remaining { reads: 2, flushes: 1, late_calls: 1, ..NONE },
        heals: true,
        ..Scene::named("flush")
    }
}

/// The shared tier is restored to an earlier state.
#[must_use]
pub fn rollback() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Key(0))],
        remaining: Remaining { reads: 2, rollbacks: 1, deaths: 1, ..NONE },
        heals: true,
        ..Scene::named("rollback")
    }
}

/// The shared tier is restored, and a node has applied more.
#[must_use]
pub fn rollback_seen() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0))],
        remaining: Remaining { reads: 2, rollbacks: 1, samples: 2, ..NONE },
        local: true,
        ..Scene::named("rollback seen")
    }
}

/// The database crashes and loses a commit that was visible.
#[must_use]
pub fn crash() -> Scene {
    Scene {
        writes: vec![lazy(Touch::Key(0)), write(Touch::Key(0))],
        remaining: Remaining { reads: 1, crashes: 1, samples: 1, ..NONE },
        local: true,
        heals: true,
        ..Scene::named("crash")
    }
}

/// The database crashes, and a newly started node reaches it first.
#[must_use]
pub fn crash_seen_by_other_node() -> Scene {
    Scene {
        writes: vec![lazy(Touch::Key(0))],
        nodes: 2,
        remaining: Remaining { reads: 1, crashes: 1, ..NONE },
        heals: true,
        design: Design { waiters_report_crashes: false, ..Design::PRESENT },
        ..Scene::named("crash seen by other node")
    }
}

/// The database crashes, and only a broken connection shows it.
#[must_use]
pub fn quiet_crash() -> Scene {
    Scene {
        writes: vec![lazy(Touch::Key(0))],
        remaining: Remaining { reads: 1, quiet_crashes: 1, samples: 1, ..NONE },
        local: true,
        ..Scene::named("quiet crash")
    }
}

/// The database crashes quietly, and the node that takes over had been waiting for the slot.
#[must_use]
pub fn quiet_crash_seen_by_other_node() -> Scene {
    Scene {
        nodes: 2,
        local: false,
        ..Scene { name: "quiet crash seen by other node", ..quiet_crash() }
    }
}

/// A standby takes over that lacks the last commit.
#[must_use]
pub fn failover() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Key(0))],
        remaining: Remaining { reads: 1, failovers: 1, samples: 1, ..NONE },
        local: true,
        heals: true,
        ..Scene::named("failover")
    }
}

/// The bound against commits that arrive while it is sampled.
#[must_use]
pub fn bound() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0))],
        remaining: Remaining { reads: 2, samples: 3, ..NONE },
        local: true,
        ..Scene::named("bound")
    }
}

/// A database that answers with an error in place of a row, or of the log's end.
#[must_use]
pub fn errors() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0))],
        remaining: Remaining { reads: 1, reads_past_shared: 1, samples: 2, errors: 1, ..NONE },
        local: true,
        ..Scene::named("errors")
    }
}

/// Soft-stale entries stay while the log's end is sampled and loads arrive late.
#[must_use]
pub fn soft() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Tag)],
        remaining: Remaining { reads_past_shared: 2, samples: 2, ..NONE },
        local: true,
        lenient: true,
        ..Scene::named("soft")
    }
}

/// Soft-stale entries with a TRUNCATE and the collection of tombstones.
#[must_use]
pub fn soft_tombstones() -> Scene {
    Scene {
        lenient: true,
        remaining: Remaining { samples: 1, ..local_tombstones().remaining },
        ..Scene { name: "soft, tombstones", ..local_tombstones() }
    }
}

/// Soft-stale entries with lost and repeated messages and a broken stream.
#[must_use]
pub fn soft_stream() -> Scene {
    Scene {
        lenient: true,
        // See `large`.
        ahead: false,
        remaining: Remaining { samples: 1, ..stream().remaining },
        ..Scene { name: "soft, stream", ..stream() }
    }
}

/// Soft-stale entries with a database that loses its last commits.
#[must_use]
pub fn soft_crash() -> Scene {
    Scene { lenient: true, ..Scene { name: "soft, crash", ..crash() } }
}

/// Reads from a standby that lags.
#[must_use]
pub fn standby() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Key(0))],
        remaining: Remaining { reads_from_standby: 1, samples: 1, ..NONE },
        local: true,
        ..Scene::named("standby")
    }
}

/// Another standby takes over, without a commit that this one may have.
#[must_use]
pub fn standby_failover() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0))],
        remaining: Remaining { failovers: 1, ..standby().remaining },
        ..Scene { name: "standby, failover", ..standby() }
    }
}

/// Leases with holders that are slow, die, or come back late.
#[must_use]
pub fn leases() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0))],
        remaining: Remaining {
            reads: 3,
            lease_ends: 2,
            renewals: 2,
            abandoned: 1,
            flushes: 1,
            ..NONE
        },
        leases: true,
        ..Scene::named("leases")
    }
}

/// Returns larger scenes, which take minutes and gigabytes.
#[must_use]
pub fn large() -> Vec<Scene> {
    let three = || vec![write(Touch::Key(0)), write(Touch::Tag), write(Touch::Key(0))];
    let more = |scene: Scene, name, remaining| Scene { name, remaining, ..scene };
    vec![
        Scene {
            local: true,
            writes: vec![write(Touch::Key(0))],
            ..more(flush(), "flush, both tiers", Remaining { breaks: 1, ..flush().remaining })
        },
        Scene {
            local: true,
            nodes: 2,
            writes: vec![write(Touch::Key(0))],
            ..more(flush(), "two leaders", Remaining { reads: 1, late_calls: 2, ..NONE })
        },
        Scene {
            local: true,
            ..more(
                rollback(),
                "rollback, both tiers",
                Remaining { samples: 1, ..rollback().remaining },
            )
        },
        Scene {
            local: true,
            ..more(
                crash(),
                "crash and rollback",
                Remaining { reads: 1, crashes: 1, rollbacks: 1, samples: 1, ..NONE },
            )
        },
        Scene {
            local: true,
            ..more(
                visibility(),
                "slot lost and flush",
                Remaining { reads: 1, slot_losses: 1, flushes: 1, deaths: 1, ..NONE },
            )
        },
        more(fills(), "fills, large", Remaining { reads: 3, deaths: 2, ..NONE }),
        Scene { ahead: true, ..Scene { name: "soft, stream, ahead", ..soft_stream() } },
        Scene {
            writes: vec![write(Touch::Key(0)), write(Touch::Tag)],
            ..Scene { name: "ahead, large", ..ahead() }
        },
        more(stream(), "stream, large", Remaining { reads_past_shared: 2, ..stream().remaining }),
        Scene { writes: three(), ..more(flush(), "flush, large", flush().remaining) },
        Scene { writes: three(), ..more(rollback(), "rollback, large", rollback().remaining) },
        more(crash(), "crash, large", Remaining { reads: 2, samples: 2, ..crash().remaining }),
        more(
            failover(),
            "failover, large",
            Remaining { reads: 2, samples: 2, ..failover().remaining },
        ),
        soft_sweeps(),
        sweeps_failover(),
        more(soft(), "soft, large", Remaining { reads: 1, samples: 3, ..soft().remaining }),
        Scene { nodes: 2, ..more(bound(), "bound, large", bound().remaining) },
        more(standby(), "standby, large", Remaining { reads_from_standby: 2, samples: 2, ..NONE }),
        Scene { nodes: 2, ..more(leases(), "leases, large", leases().remaining) },
    ]
}

/// Returns the scenes that every run of the tests explores.
#[must_use]
pub fn all() -> Vec<Scene> {
    vec![
        fills(),
        visibility(),
        tombstones(),
        stream(),
        local_tombstones(),
        wildcards(),
        wildcards_two_nodes(),
        both_tiers(),
        ahead(),
        flush(),
        rollback(),
        rollback_seen(),
        crash(),
        crash_seen_by_other_node(),
        quiet_crash(),
        quiet_crash_seen_by_other_node(),
        failover(),
        bound(),
        errors(),
        soft(),
        soft_tombstones(),
        soft_stream(),
        soft_crash(),
        sweeps(),
        standby(),
        standby_failover(),
        leases(),
    ]
}
