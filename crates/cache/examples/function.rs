//! The engine as a library: one load for concurrent readers, and a bound with every answer.
//!
//! ```text
//! cargo run -p cache --example function
//! ```

#![expect(clippy::print_stdout, reason = "an example prints its steps")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use cache::origin::function::FunctionOrigin;
use cache::shared::{MemoryTier, SharedTier};
use cache::{
    Content, Engine, EngineOptions, Loaded, Metrics, Origin, OriginError, Policy, SystemClock,
};
use coherence::{Batch, Cause, CoverageDigest, Epoch, Event, Lsn, Subject};
use contract::{Contract, Key, Tag};

const CONTRACT: &str = r#"
key       = "v1:money:rate:{id}"
tags      = ["rates"]
staleness = "30s"
"#;

/// A slow source of data.
async fn rate(_: Key, currency: Arc<str>) -> Result<Loaded, OriginError> {
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(match &*currency {
        "eur" => Loaded::value(r#"{"per_gbp":1.17}"#),
        _ => Loaded::absent(),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let contract = Contract::from_toml("rate", &CONTRACT.parse()?)?;
    let policy = Arc::new(Policy::from(&contract));
    let origin: Arc<dyn Origin> = Arc::new(FunctionOrigin::new(contract.clone(), rate).at_most(8));

    let clock = Arc::new(SystemClock::start());
    let shared = Arc::new(MemoryTier::new(clock.clone(), 64 << 20));
    let engine = Engine::new(EngineOptions::default(), shared.clone(), clock, Metrics::detached());
    let follower = engine.clone();
    tokio::spawn(async move { follower.follow(std::future::pending()).await });

    // No database is followed, so the tiers start an epoch of their own. With a database, the batches of its
    // feed are applied here, and they invalidate the entries of a contract with `from`.
    let epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
    let batch = |prev: u64, upto: u64, events| {
        let (prev, upto) = (Lsn(prev), Lsn(upto));
        Batch { epoch, prev, upto, watermark: upto, coverage: CoverageDigest::NONE, events }
    };
    shared.reset_epoch(epoch, Lsn::ZERO, Lsn::ZERO).await?;
    while engine.status().epoch.is_none() {
        // A heartbeat, as a leader sends it: every subscriber learns the epoch and its position.
        shared.apply(&batch(0, 0, Vec::new())).await??;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let read = async |currency: &str| -> Result<(), Box<dyn Error>> {
        let key = contract.key(currency)?;
        let answer = engine.get(&key, currency, &policy, &origin).await?;
        let proof = answer.proof();
        let text = match &answer.entry.content {
            Content::Present(value) => String::from_utf8_lossy(&value.body).into_owned(),
            Content::Absent | Content::Uncacheable => "nothing".to_owned(),
        };
        println!("{currency}: {text}, from {}, bound {:?}", proof.tier.as_str(), proof.bound);
        Ok(())
    };
    println!("two concurrent reads, one load:");
    let (one, two) = tokio::join!(read("eur"), read("eur"));
    one.and(two)?;
    println!("from memory, with its bound:");
    read("eur").await?;
    println!("absence is cached too:");
    read("xxx").await?;
    read("xxx").await?;
    println!("after an invalidation of the tag `rates`:");
    let subjects = vec![Subject::Tag(Tag::parse("rates")?)];
    let cause = Cause::Purge;
    let event = Event { lsn: Lsn(1), cause, committed_us: 0, subjects, renewals: Vec::new() };
    shared.apply(&batch(0, 1, vec![event])).await??;
    while engine.status().applied < Lsn(1) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    read("eur").await
}
