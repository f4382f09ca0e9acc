//! The targets.

use std::sync::Arc;

use coherence::{Clock, Mono};

use crate::seeds;

/// A parser under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// The name in commands.
    pub name: &'static str,
    /// Runs one input. It panics where an invariant does not hold.
    pub run: fn(&[u8]),
    /// Returns the first inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "http_head", run: edge::fuzzing::head, seeds: seeds::http_heads },
    Target { name: "proxy_header", run: edge::fuzzing::proxy_header, seeds: seeds::proxy_headers },
    Target { name: "stored_page", run: edge::fuzzing::stored_page, seeds: seeds::stored_pages },
    Target { name: "redis_entry", run: cache::shared::fuzzing::entry, seeds: seeds::redis_entries },
    Target { name: "redis_reply", run: cache::shared::fuzzing::reply, seeds: seeds::redis_replies },
    Target {
        name: "node_message",
        run: cache::shared::fuzzing::node_message,
        seeds: seeds::node_messages,
    },
    Target {
        name: "pgoutput",
        run: |bytes| feed::postgres::fuzzing::transaction(bytes, clock()),
        seeds: seeds::pgoutput,
    },
    Target {
        name: "purge_request",
        run: feed::postgres::fuzzing::purge_request,
        seeds: seeds::purge_requests,
    },
    Target {
        name: "binlog",
        run: |bytes| feed::mariadb::fuzzing::events(bytes, clock()),
        seeds: seeds::binlog,
    },
    Target {
        name: "debezium",
        run: feed::postgres::debezium::fuzzing::body,
        seeds: seeds::debezium,
    },
    Target {
        name: "debezium_mariadb",
        run: feed::mariadb::debezium::fuzzing::body,
        seeds: seeds::debezium_mariadb,
    },
    Target { name: "contract", run: contract, seeds: seeds::contracts },
    Target { name: "webhook", run: sale::payment::fuzzing::webhook, seeds: seeds::webhooks },
    Target { name: "certificate", run: certificate, seeds: seeds::certificates },
];

/// Parses and lints contracts in TOML.
fn contract(bytes: &[u8]) {
    let table = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<toml::Table>().ok());
    for finding in table.iter().flat_map(contract::lint_toml) {
        assert!(!finding.to_string().is_empty());
    }
}

fn certificate(bytes: &[u8]) {
    let _ = tls::Certificate::parse(bytes);
    let _ = tls::RevocationList::parse(bytes);
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(Stopped)
}

/// A clock that stands, so that an input always takes the same way.
struct Stopped;

impl Clock for Stopped {
    fn mono(&self) -> Mono {
        Mono(0)
    }

    fn wall_ms(&self) -> u64 {
        1_800_000_000_000
    }
}
