//! The allowed dependencies between crates. ARCHITECTURE.md has the reasons for this table.

use std::collections::BTreeSet;

use crate::{
    assert_none,
    metadata::{direct, members, shipped_closure, text},
};

struct Room {
    name: &'static str,
    /// Own crates that it may use.
    ours: &'static [&'static str],
    /// Groups of external crates that it may not depend on directly.
    not_directly: &'static [&'static [&'static str]],
    /// Groups of external crates that it may not depend on, not even through another crate.
    not_at_all: &'static [&'static [&'static str]],
}

/// Pools of connections: `database` alone has them.
const POOLS: &[&str] = &["deadpool", "deadpool-postgres"];
const SQL: &[&str] =
    &["mysql_async", "pgwire-replication", "postgres-protocol", "rusqlite", "tokio-postgres"];
const HTTP: &[&str] = &["axum", "http", "http-body", "http-body-util", "hyper", "hyper-util"];
const HTTP_SERVERS: &[&str] = &["axum", "hyper", "hyper-util"];
const REDIS: &[&str] = &["redis"];
const STORE: &[&str] = &["quick_cache"];
const RUNTIME: &[&str] = &["async-trait", "mio", "rand", "socket2", "tokio"];
/// The loops of a node get servers and drivers through traits.
const DRIVERS: &[&[&str]] = &[POOLS, SQL, HTTP, REDIS];
const DATABASES: &[&[&str]] = &[POOLS, SQL];
const IO: &[&[&str]] = &[POOLS, SQL, HTTP_SERVERS, REDIS, RUNTIME];
const NOTHING: &[&[&str]] = &[];
const NO_ROOM: &[&str] = &[];

#[rustfmt::skip]
const ROOMS: &[Room] = &[
    Room { name: "contract",  ours: NO_ROOM,                              not_directly: NOTHING, not_at_all: IO },
    Room { name: "coherence", ours: &["contract"],                        not_directly: NOTHING, not_at_all: IO },
    Room { name: "access",    ours: &["contract", "coherence", "listen", "tls"], not_directly: &[POOLS, SQL, REDIS, &["axum"]], not_at_all: &[REDIS] },
    Room { name: "redis_transport", ours: NO_ROOM,                        not_directly: &[POOLS, SQL, HTTP_SERVERS], not_at_all: NOTHING },
    Room { name: "tls",       ours: NO_ROOM,                              not_directly: &[HTTP], not_at_all: DATABASES },
    Room { name: "acme",      ours: &["contract", "listen", "tls"],       not_directly: &[HTTP_SERVERS], not_at_all: &[POOLS, SQL, REDIS] },
    Room { name: "database",  ours: &["tls"],                             not_directly: &[HTTP], not_at_all: &[REDIS] },
    Room { name: "cache",     ours: &["contract", "coherence", "database", "redis_transport"], not_directly: &[POOLS, HTTP], not_at_all: NOTHING },
    Room { name: "feed",      ours: &["contract", "coherence", "database"], not_directly: &[POOLS, HTTP_SERVERS, REDIS, STORE], not_at_all: NOTHING },
    Room { name: "node",      ours: &["contract", "coherence", "cache", "feed"], not_directly: DRIVERS, not_at_all: NOTHING },
    Room { name: "listen",    ours: &["tls"],                             not_directly: &[HTTP], not_at_all: DATABASES },
    Room { name: "edge",      ours: &["access", "contract", "coherence", "cache", "listen", "tls"], not_directly: DATABASES, not_at_all: NOTHING },
    Room { name: "control",   ours: &["access", "contract", "coherence", "cache", "node", "listen"], not_directly: DATABASES, not_at_all: NOTHING },
    Room { name: "sale",      ours: &["access", "listen", "contract", "coherence", "database"], not_directly: &[POOLS, REDIS, STORE], not_at_all: &[REDIS] },
    Room { name: "drill",     ours: NO_ROOM,                              not_directly: NOTHING, not_at_all: DATABASES },
    Room { name: "shop",      ours: NO_ROOM,                              not_directly: &[REDIS], not_at_all: NOTHING },
    Room { name: "sim",       ours: &["contract", "coherence", "cache", "feed", "node", "sale"], not_directly: DRIVERS, not_at_all: NOTHING },
    Room { name: "fuzz",      ours: &["contract", "coherence", "cache", "edge", "feed", "sale", "tls"], not_directly: DRIVERS, not_at_all: NOTHING },
    Room { name: "harness",   ours: NO_ROOM,                              not_directly: NOTHING, not_at_all: NOTHING },
    Room { name: "tidegate",  ours: &["access", "acme", "contract", "coherence", "database", "cache", "feed", "node", "listen", "edge", "control", "sale", "drill", "shop", "tls"],
           not_directly: NOTHING, not_at_all: NOTHING },
];

/// Crates that all tests may use in addition to the row above: real servers, and the shop as an
/// example application.
const IN_TESTS: &[&str] = &["harness", "shop"];

#[test]
fn crate_table_complete() {
    let declared: BTreeSet<&str> = ROOMS.iter().map(|room| room.name).collect();
    let there: BTreeSet<&str> = members().into_iter().map(|member| text(member, "name")).collect();
    assert_eq!(declared, there, "the table in this file and the workspace differ");
}

#[test]
fn own_crates_depend_one_way() {
    let ours: BTreeSet<&str> = ROOMS.iter().map(|room| room.name).collect();
    let mut offenders = Vec::new();
    for (room, member) in rooms() {
        for (dev, kind) in [(false, "depends"), (true, "depends in its tests")] {
            let used = direct(member, dev);
            let allowed =
                |name: &str| room.ours.contains(&name) || (dev && IN_TESTS.contains(&name));
            let bad = used.into_iter().filter(|name| ours.contains(name) && !allowed(name));
            offenders.extend(bad.map(|name| format!("{} {kind} on {name}", room.name)));
        }
    }
    assert_none(&offenders, "forbidden dependencies between own crates");
}

#[test]
fn forbidden_dependencies_absent() {
    let mut offenders = Vec::new();
    for (room, member) in rooms() {
        let used = direct(member, false);
        let bad = room.not_directly.iter().copied().flatten().filter(|name| used.contains(*name));
        offenders.extend(bad.map(|name| format!("{} → {name}", room.name)));
        let paths = shipped_closure(member);
        offenders.extend(
            room.not_at_all.iter().copied().flatten().filter_map(|name| paths.get(*name).cloned()),
        );
    }
    assert_none(&offenders, "forbidden external crates");
}

#[test]
fn harness_never_shipped() {
    let ship = rooms().filter(|(room, _)| room.name != "harness");
    let offenders: Vec<String> =
        ship.filter_map(|(_, member)| shipped_closure(member).remove("harness")).collect();
    assert_none(&offenders, "the harness is for tests only");
}

/// The models enable the feature that switches rules off.
#[test]
fn models_never_shipped() {
    let ship = rooms().filter(|(room, _)| room.name != "sim");
    let offenders: Vec<String> =
        ship.filter_map(|(_, member)| shipped_closure(member).remove("sim")).collect();
    assert_none(&offenders, "the models are for tests only");
}

fn rooms() -> impl Iterator<Item = (&'static Room, &'static serde_json::Value)> {
    members().into_iter().filter_map(|member| {
        let room = ROOMS.iter().find(|room| room.name == text(member, "name"))?;
        Some((room, member))
    })
}
