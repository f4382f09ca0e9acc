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
use cache::{Content, Engine, Loaded, Origin, OriginError};
use coherence::Subject;
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
    let origin: Arc<dyn Origin> = Arc::new(FunctionOrigin::new(contract.clone(), rate).at_most(8));

    // No database is followed: entries end by their TTL and by invalidations. A contract with `from` is refused here,
    // since nothing would feed it; its engine is one of `Engine::new`, to which the batches of a feed are applied.
    let standalone = Engine::standalone().await?;
    let (engine, policy) = (standalone.engine(), standalone.policy(&contract)?);

    let read = async |currency: &str| -> Result<(), Box<dyn Error>> {
        let key = contract.key(currency)?;
        let answer = engine.get(&key, currency, &policy, &origin).await?;
        let proof = answer.proof();
        let text = match answer.entry.content() {
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
    standalone.invalidate(vec![Subject::Tag(Tag::parse("rates")?)]).await?;
    read("eur").await
}
