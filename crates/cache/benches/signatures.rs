//! The cost of signatures in a hit of the shared tier: the same entries in one Redis, signed and not.
//!
//! `cargo bench -p cache --bench signatures [-- <rounds>]`

mod support;

use std::time::Duration;

use bytes::Bytes;
use cache::shared::{Fill, Outcome, RedisOptions, RedisTier};
use cache::{Content, Entry, SharedTier, Value};
use coherence::{Epoch, Lsn, Verdict};
use contract::SigningKeys;
use rustix::time::{ClockId, clock_gettime};
use support::{key, say};

/// Hits in one slice.
const SLICE: u64 = 200;

fn main() {
    let rounds = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(100);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run(rounds));
}

async fn run(rounds: u32) {
    let redis = harness::Redis::start().expect("a Redis server");
    let plain = RedisOptions {
        timeout: Duration::from_secs(10),
        prefix: "plain".into(),
        ..RedisOptions::new(redis.url())
    };
    let keys = SigningKeys::new(&["k".repeat(64)]).expect("a key");
    let signed = RedisOptions { prefix: "signed".into(), signing: Some(keys), ..plain.clone() };
    let tiers = [
        RedisTier::connect(plain).await.expect("a tier"),
        RedisTier::connect(signed).await.expect("a tier"),
    ];
    for (at, bytes) in (0..).zip([300, 4 << 10, 64 << 10]) {
        for tier in &tiers {
            fill(tier, at, bytes).await;
        }
        // Microseconds of this process's processor per hit, and of time.
        let mut slices = [const { Vec::new() }; 2];
        for round in 0..rounds {
            for step in 0..2 {
                let turn = if round % 2 == 0 { step } else { 1 - step };
                let (cpu, time) = (clock(ClockId::ThreadCPUTime), clock(ClockId::Monotonic));
                for _ in 0..SLICE {
                    let read = tiers[turn].read(&key(at), None).await.expect("a reply");
                    assert!(matches!(read.outcome, Outcome::Found { .. }));
                }
                let per_hit = |from: f64, clock_id| (clock(clock_id) - from) / SLICE as f64;
                slices[turn].push([
                    per_hit(cpu, ClockId::ThreadCPUTime),
                    per_hit(time, ClockId::Monotonic),
                ]);
            }
        }
        let [plain, signed] = slices.map(|slices| [0, 1].map(|n| median(&slices, n)));
        say(&format!(
            "{bytes} bytes: {:.1} us of CPU per hit signed, {:.1} without; {:.1} us of time per hit signed, \
             {:.1} without: {:+.1} %",
            signed[0],
            plain[0],
            signed[1],
            plain[1],
            (signed[1] / plain[1] - 1.0) * 100.0,
        ));
    }
}

async fn fill(tier: &RedisTier, at: u32, bytes: usize) {
    let epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
    tier.reset_epoch(epoch, Lsn(1), Lsn(1)).await.expect("reset");
    let entry = Entry {
        tau: Lsn(1),
        content: Content::Present(Value { head: Bytes::new(), body: vec![b'x'; bytes].into() }),
        tags: Default::default(),
        loaded_wall_ms: 0,
        changes_at: None,
        cost_us: 0,
        ttl: Duration::from_secs(3_600),
        seen: Lsn(1),
        definition: 0,
    };
    let fill = Fill { key: key(at), entry, epoch, lease: None };
    assert_eq!(tier.fill(&fill).await.expect("a reply"), Verdict::Accept);
}

fn median(slices: &[[f64; 2]], of: usize) -> f64 {
    let mut values: Vec<f64> = slices.iter().map(|slice| slice[of]).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns a clock's time in microseconds.
fn clock(id: ClockId) -> f64 {
    let time = clock_gettime(id);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
