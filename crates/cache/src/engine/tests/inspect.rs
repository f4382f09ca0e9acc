//! What the auditor sees and hears of an engine.

use super::*;
use crate::audit::{Felled, Filled, Note, Witness};

#[derive(Default)]
struct Notebook(Mutex<Vec<Note>>);

impl Witness for Notebook {
    fn note(&self, note: Note) {
        self.0.lock().push(note);
    }
}

#[tokio::test(start_paused = true)]
async fn inspect_has_no_side_effects() {
    let world = World::new().await;
    let (one, two) = (world.node().await, world.node().await);
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::saying(10 * MS, "old");
    assert!(two.inspect(&key(1), &policy).await.expect("a look").is_empty());
    read(&one, &policy, &row).await.expect("an answer");
    assert_eq!(row.calls(), 1, "nobody held a lease for having looked");

    let tiers = |holdings: Vec<Holding>| {
        holdings.iter().map(|held| (held.tier, held.answers)).collect::<Vec<_>>()
    };
    let fresh = Answers::Fresh;
    let seen = one.inspect(&key(1), &policy).await.expect("a look");
    assert_eq!(tiers(seen), [(Tier::Local, fresh), (Tier::Shared, fresh)]);
    for _ in 0..2 {
        let seen = two.inspect(&key(1), &policy).await.expect("a look");
        assert_eq!(seen[0].entry.tau, Lsn(10));
        assert!(seen[0].bound.is_some_and(|bound| bound <= BUDGET), "{seen:?}");
        assert_eq!(tiers(seen), [(Tier::Shared, fresh)], "it was not copied");
    }
    let embedded = world.shared.tier.inspect(&key(1)).await.expect("a look");
    assert!(matches!(embedded.outcome, crate::shared::Outcome::Found { .. }), "{embedded:?}");

    world.cut_off_primary();
    tokio::time::sleep(3 * BUDGET).await;
    let seen = one.inspect(&key(1), &policy).await.expect("a look");
    let no = Answers::No;
    assert_eq!(
        tiers(seen),
        [(Tier::Local, no), (Tier::Shared, no)],
        "unproven: the origin is read"
    );

    world.shared.down.store(true, Ordering::Relaxed);
    one.inspect(&key(1), &policy).await.expect_err("half a look is none");
}

#[tokio::test(start_paused = true)]
async fn observer_receives_loads_fills_and_events() {
    let world = World::new().await;
    let node = world.node().await;
    let notebook = Arc::new(Notebook::default());
    node.witness(Arc::clone(&notebook) as _);
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::saying(10 * MS, "old");
    read(&node, &policy, &row).await.expect("an answer");
    world.commit(vec![Subject::Tag(tag("product-1"))]).await;
    let reader = (node.clone(), Arc::clone(&policy), Arc::clone(&row));
    let reading = tokio::spawn(async move { read(&reader.0, &reader.1, &reader.2).await });
    settle().await;
    world.commit(vec![Subject::Key(key(1))]).await;
    reading.await.expect("it ends").expect("an answer");

    let notes = notebook.0.lock();
    let told: Vec<String> = notes
        .iter()
        .map(|note| match note {
            Note::Load(named) => format!("load {}", named.id),
            Note::Fill(Filled { tier, tau, verdict, .. }) => {
                format!("{} {} {}", tier.as_str(), tau.0, *verdict == Verdict::Accept)
            }
            Note::Event(Felled { lsn, felled, loading, .. }) => {
                format!("event {} felled {} loading {}", lsn.0, felled.len(), loading.len())
            }
            Note::Answer(_) => "answer".into(),
        })
        .collect();
    assert_eq!(
        told,
        [
            "load 1",
            "shared 10 true",
            "local 10 true",
            "event 11 felled 1 loading 0",
            "load 1",
            "event 12 felled 0 loading 1",
            "shared 11 false",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn unproven_peek_skips_the_proof() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    assert!(node.peek_unproven(&key(1), &policy).is_none(), "nothing is there");
    read(&node, &policy, &Row::saying(10 * MS, "old")).await.expect("an answer");
    assert!(node.peek(&key(1), &policy).is_some());
    assert!(node.peek_unproven(&key(1), &policy).is_some());
    world.cut_off_primary();
    tokio::time::sleep(3 * BUDGET).await;
    assert!(node.peek(&key(1), &policy).is_none(), "nothing is proven any more");
    assert!(node.peek_unproven(&key(1), &policy).is_some(), "and that is not looked at");
}
