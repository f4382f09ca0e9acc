//! The scenes that are explored. Each has the least that its rules need to matter.

use crate::names::Touch;
use crate::scene::{Design, Left, Scene, lazy, write};

const NONE: Left = Left {
    reads: 0,
    reads_past_shared: 0,
    reads_of_standby: 0,
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
};

/// Fills against events of a key and of its tag, told again by the next leader.
#[must_use]
pub fn fills() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Key(0)), write(Touch::Tag)],
        left: Left { reads: 2, deaths: 1, ..NONE },
        heals: true,
        ..Scene::named("fills")
    }
}

/// Commits that become visible in another order, and slots that begin among them.
#[must_use]
pub fn visibility() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Key(1))],
        keys: vec![0, 1],
        left: Left { reads: 1, deaths: 1, slot_losses: 1, ..NONE },
        heals: true,
        ..Scene::named("visibility")
    }
}

/// TRUNCATE, eviction, marks that are let go.
#[must_use]
pub fn marks() -> Scene {
    Scene {
        writes: vec![write(Touch::Tag), write(Touch::Everything)],
        left: Left { reads: 2, collections: 1, evictions: 1, ..NONE },
        heals: true,
        ..Scene::named("marks")
    }
}

/// The in-process tier: the node stream loses, repeats and breaks, and the leader's own piece comes
/// early.
#[must_use]
pub fn stream() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Tag)],
        left: Left { reads_past_shared: 1, losses: 1, repeats: 1, breaks: 1, ..NONE },
        local: true,
        shortcut: true,
        ahead: true,
        ..Scene::named("stream")
    }
}

/// TRUNCATE and collection in the in-process tier.
#[must_use]
pub fn local_marks() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Everything)],
        left: Left { reads_past_shared: 2, collections: 1, evictions: 1, ..NONE },
        local: true,
        ..Scene::named("local marks")
    }
}

/// Wildcards over keys and tags in both tiers, while entries are read, loaded and
/// evicted, and marks let go.
#[must_use]
pub fn wildcards() -> Scene {
    Scene {
        writes: vec![write(Touch::KeysLike), write(Touch::TagsLike)],
        left: Left { reads: 2, collections: 1, evictions: 1, ..NONE },
        local: true,
        ..Scene::named("wildcards")
    }
}

/// The same with two nodes: what was found in one tier goes into the other.
#[must_use]
pub fn wildcards_two_nodes() -> Scene {
    Scene {
        writes: vec![write(Touch::KeysLike)],
        ..Scene { name: "wildcards, two nodes", ..both_tiers() }
    }
}

/// Both tiers: what was found in one goes into the other.
#[must_use]
pub fn both_tiers() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0))],
        nodes: 2,
        left: Left { reads: 2, reads_past_shared: 1, ..NONE },
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
        left: Left { reads: 2, deaths: 1, ..NONE },
        local: true,
        shortcut: true,
        ahead: true,
        ..Scene::named("ahead")
    }
}

/// The shared tier is flushed; its leader dies, perhaps in the middle of a call.
#[must_use]
pub fn flush() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Key(0))],
        left: Left { reads: 2, flushes: 1, late_calls: 1, ..NONE },
        heals: true,
        ..Scene::named("flush")
    }
}

/// The shared tier comes back as it was before.
#[must_use]
pub fn rollback() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Key(0))],
        left: Left { reads: 2, rollbacks: 1, deaths: 1, ..NONE },
        heals: true,
        ..Scene::named("rollback")
    }
}

/// The same under the eyes of a node that has applied more.
#[must_use]
pub fn rollback_seen() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0))],
        left: Left { reads: 2, rollbacks: 1, samples: 2, ..NONE },
        local: true,
        ..Scene::named("rollback seen")
    }
}

/// The database crashes and loses a commit that was seen.
#[must_use]
pub fn crash() -> Scene {
    Scene {
        writes: vec![lazy(Touch::Key(0)), write(Touch::Key(0))],
        left: Left { reads: 1, crashes: 1, samples: 1, ..NONE },
        local: true,
        heals: true,
        ..Scene::named("crash")
    }
}

/// The same, and the first to reach the database again is a node that was started only now.
#[must_use]
pub fn crash_seen_by_another() -> Scene {
    Scene {
        writes: vec![lazy(Touch::Key(0))],
        nodes: 2,
        left: Left { reads: 1, crashes: 1, ..NONE },
        heals: true,
        design: Design { waiting_is_witness: false, ..Design::PRESENT },
        ..Scene::named("crash seen by another")
    }
}

/// The same, and nothing tells it but the connection that broke.
#[must_use]
pub fn quiet_crash() -> Scene {
    Scene {
        writes: vec![lazy(Touch::Key(0))],
        left: Left { reads: 1, quiet_crashes: 1, samples: 1, ..NONE },
        local: true,
        ..Scene::named("quiet crash")
    }
}

/// The same, and the node that takes over had been waiting.
#[must_use]
pub fn quiet_crash_seen_by_another() -> Scene {
    Scene {
        nodes: 2,
        local: false,
        ..Scene { name: "quiet crash seen by another", ..quiet_crash() }
    }
}

/// A standby takes over that lacks the last commit.
#[must_use]
pub fn failover() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Key(0))],
        left: Left { reads: 1, failovers: 1, samples: 1, ..NONE },
        local: true,
        heals: true,
        ..Scene::named("failover")
    }
}

/// The bound against commits that come while it is proven.
#[must_use]
pub fn bound() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0))],
        left: Left { reads: 2, samples: 3, ..NONE },
        local: true,
        ..Scene::named("bound")
    }
}

/// Entries that commits have made old stay, marked, while the log's end is sampled and loads come
/// late.
#[must_use]
pub fn soft() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Tag)],
        left: Left { reads_past_shared: 2, samples: 2, ..NONE },
        local: true,
        lenient: true,
        ..Scene::named("soft")
    }
}

/// The same with a TRUNCATE and marks that are let go.
#[must_use]
pub fn soft_marks() -> Scene {
    Scene {
        lenient: true,
        left: Left { samples: 1, ..local_marks().left },
        ..Scene { name: "soft, marks", ..local_marks() }
    }
}

/// The same with a stream that loses, repeats and breaks.
#[must_use]
pub fn soft_stream() -> Scene {
    Scene {
        lenient: true,
        // See `large`.
        ahead: false,
        left: Left { samples: 1, ..stream().left },
        ..Scene { name: "soft, stream", ..stream() }
    }
}

/// The same when a database comes back without its last commits.
#[must_use]
pub fn soft_crash() -> Scene {
    Scene { lenient: true, ..Scene { name: "soft, crash", ..crash() } }
}

/// A standby that replays late answers reads.
#[must_use]
pub fn standby() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0)), write(Touch::Key(0))],
        left: Left { reads_of_standby: 1, samples: 1, ..NONE },
        local: true,
        ..Scene::named("standby")
    }
}

/// Another standby takes over, which lacks a commit that this one may have.
#[must_use]
pub fn standby_failover() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0))],
        left: Left { failovers: 1, ..standby().left },
        ..Scene { name: "standby, failover", ..standby() }
    }
}

/// Leases: holders that are slow, die, or come back late.
#[must_use]
pub fn leases() -> Scene {
    Scene {
        writes: vec![write(Touch::Key(0))],
        left: Left { reads: 3, lease_ends: 2, renewals: 2, abandoned: 1, flushes: 1, ..NONE },
        leases: true,
        ..Scene::named("leases")
    }
}

/// More of everything: minutes and gigabytes.
#[must_use]
pub fn large() -> Vec<Scene> {
    let three = || vec![write(Touch::Key(0)), write(Touch::Tag), write(Touch::Key(0))];
    let more = |scene: Scene, name, left| Scene { name, left, ..scene };
    vec![
        Scene {
            local: true,
            writes: vec![write(Touch::Key(0))],
            ..more(flush(), "flush, both tiers", Left { breaks: 1, ..flush().left })
        },
        Scene {
            local: true,
            nodes: 2,
            writes: vec![write(Touch::Key(0))],
            ..more(flush(), "two leaders", Left { reads: 1, late_calls: 2, ..NONE })
        },
        Scene {
            local: true,
            ..more(rollback(), "rollback, both tiers", Left { samples: 1, ..rollback().left })
        },
        Scene {
            local: true,
            ..more(
                crash(),
                "crash and rollback",
                Left { reads: 1, crashes: 1, rollbacks: 1, samples: 1, ..NONE },
            )
        },
        Scene {
            local: true,
            ..more(
                visibility(),
                "slot lost and flush",
                Left { reads: 1, slot_losses: 1, flushes: 1, deaths: 1, ..NONE },
            )
        },
        more(fills(), "fills, large", Left { reads: 3, deaths: 2, ..NONE }),
        Scene { ahead: true, ..Scene { name: "soft, stream, ahead", ..soft_stream() } },
        Scene {
            writes: vec![write(Touch::Key(0)), write(Touch::Tag)],
            ..Scene { name: "ahead, large", ..ahead() }
        },
        more(stream(), "stream, large", Left { reads_past_shared: 2, ..stream().left }),
        Scene { writes: three(), ..more(flush(), "flush, large", flush().left) },
        Scene { writes: three(), ..more(rollback(), "rollback, large", rollback().left) },
        more(crash(), "crash, large", Left { reads: 2, samples: 2, ..crash().left }),
        more(failover(), "failover, large", Left { reads: 2, samples: 2, ..failover().left }),
        more(soft(), "soft, large", Left { reads: 1, samples: 3, ..soft().left }),
        Scene { nodes: 2, ..more(bound(), "bound, large", bound().left) },
        more(standby(), "standby, large", Left { reads_of_standby: 2, samples: 2, ..NONE }),
        Scene { nodes: 2, ..more(leases(), "leases, large", leases().left) },
    ]
}

/// Those that are explored with every run of the tests.
#[must_use]
pub fn all() -> Vec<Scene> {
    vec![
        fills(),
        visibility(),
        marks(),
        stream(),
        local_marks(),
        wildcards(),
        wildcards_two_nodes(),
        both_tiers(),
        ahead(),
        flush(),
        rollback(),
        rollback_seen(),
        crash(),
        crash_seen_by_another(),
        quiet_crash(),
        quiet_crash_seen_by_another(),
        failover(),
        bound(),
        soft(),
        soft_marks(),
        soft_stream(),
        soft_crash(),
        standby(),
        standby_failover(),
        leases(),
    ]
}
