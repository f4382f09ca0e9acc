//! Origins other than databases: services and functions, which may lag, and whose changes may be in no log.

use contract::{Contract, Evidence};

use super::*;
use crate::origin::function::FunctionOrigin;

const LAG: Duration = Duration::from_millis(200);

fn row_1() -> Vec<Subject> {
    vec![Subject::Key(key(1))]
}

/// A service that reads the followed database, at most [`LAG`] behind.
fn lagging(unproven: Unproven) -> Arc<Policy> {
    policy(Rules { evidence: Evidence::Lease, lag: LAG, ..rules(unproven) })
}

/// A service whose changes are in no log.
fn aged(unproven: Unproven) -> Arc<Policy> {
    policy(Rules { evidence: Evidence::Age, ..rules(unproven) })
}

/// Creates a world and waits until the lag can be proven.
async fn begun() -> World {
    let world = World::new().await;
    tokio::time::sleep(MS).await;
    world
}

async fn read_after(
    engine: &Engine,
    policy: &Arc<Policy>,
    row: &Arc<Row>,
    after: CausalToken,
) -> Result<Answer, ReadError> {
    let origin = Arc::clone(row) as Arc<dyn Origin>;
    engine.get_after(&key(1), "1", policy, &origin, Some(after)).await
}

fn late(text: &'static str, behind: Duration) -> Loaded {
    Loaded { behind, ..present(text) }
}

#[tokio::test(start_paused = true)]
async fn race_05_lagging_service_fill_rejected() {
    let world = begun().await;
    let node = world.node().await;
    tokio::time::sleep(LAG + MS).await;
    let lagging = lagging(Unproven::ReadOrigin);
    let row = Row::returning(MS, "old");
    assert_eq!(served(&node, &lagging, &row).await, is("old", Tier::Origin));
    assert_eq!(served(&node, &lagging, &row).await, is("old", Tier::Local));
    world.commit(row_1()).await;
    // The service reads a standby that has not replayed the commit, within its declared lag.
    for _ in 0..3 {
        let answer = read(&node, &lagging, &row).await.expect("an answer");
        assert!(matches!(answer.proof().stored, Some(Verdict::Refuse(_))), "not stored");
        assert_eq!(answer.proof().bound, Some(LAG + MS), "the bound includes the lag");
        tokio::time::sleep(50 * MS).await;
    }
    row.update("new");
    tokio::time::sleep(50 * MS).await;
    assert_eq!(served(&node, &lagging, &row).await, is("new", Tier::Origin));
    assert_eq!(served(&node, &lagging, &row).await, is("new", Tier::Local));

    // The answer of a service that declares no lag is stored.
    let punctual = policy(Rules { lag: Duration::ZERO, ..rules(Unproven::ReadOrigin) });
    world.commit(row_1()).await;
    assert_eq!(served(&node, &punctual, &row).await, is("new", Tier::Origin));
    row.update("newer");
    assert_eq!(served(&node, &punctual, &row).await, is("new", Tier::Local));
}

#[tokio::test(start_paused = true)]
async fn race_12_overtaken_service_fill_rejected() {
    let world = begun().await;
    let node = world.node().await;
    tokio::time::sleep(LAG + MS).await;
    for lag in [Duration::ZERO, LAG] {
        let evidence = Evidence::Lease;
        let policy = policy(Rules { evidence, lag, ..rules(Unproven::ReadOrigin) });
        let row = Row::returning(500 * MS, "old");
        let slow = tokio::spawn({
            let (node, policy, row) = (node.clone(), Arc::clone(&policy), Arc::clone(&row));
            async move { read(&node, &policy, &row).await }
        });
        tokio::time::sleep(50 * MS).await;
        row.update("new");
        world.commit(row_1()).await;
        let answer = slow.await.unwrap().expect("an answer");
        assert!(matches!(answer.proof().stored, Some(Verdict::Refuse(_))), "but not stored");
        assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Origin));
        world.commit(row_1()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn race_23_invisible_event_rejects_fills() {
    let world = begun().await;
    let node = world.node().await;
    tokio::time::sleep(LAG + MS).await;
    let lagging = lagging(Unproven::ReadOrigin);
    let row = Row::returning(MS, "old");
    let visible = world.commit_unapplied(row_1());
    let unapplied = Batch { watermark: visible.prev, ..visible };
    world.shared.apply(&unapplied).await.unwrap().unwrap();
    settle().await;
    // For as long as the commit is not visible.
    tokio::time::sleep(3 * LAG).await;
    assert_eq!(served(&node, &lagging, &row).await, is("old", Tier::Origin));
    world.heartbeat().await;
    settle().await;
    tokio::time::sleep(LAG / 2).await;
    assert_eq!(
        served(&node, &lagging, &row).await,
        is("old", Tier::Origin),
        "nor right after it became visible"
    );
    row.update("new");
    tokio::time::sleep(LAG / 2 + MS).await;
    assert_eq!(served(&node, &lagging, &row).await, is("new", Tier::Origin));
    assert_eq!(served(&node, &lagging, &row).await, is("new", Tier::Local));
}

#[tokio::test(start_paused = true)]
async fn race_02_service_fill_invalidated_by_commit() {
    let world = begun().await;
    let nodes = [world.node().await, world.node().await];
    tokio::time::sleep(LAG + MS).await;
    let lagging = lagging(Unproven::ReadOrigin);
    let row = Row::returning(MS, "old");
    // The application's own invalidation, while its transaction is open.
    world.commit(row_1()).await;
    tokio::time::sleep(LAG + MS).await;
    assert_eq!(
        served(&nodes[0], &lagging, &row).await,
        is("old", Tier::Origin),
        "the transaction is still open"
    );
    assert_eq!(served(&nodes[1], &lagging, &row).await, is("old", Tier::Shared));
    world.commit(row_1()).await;
    row.update("new");
    tokio::time::sleep(LAG + MS).await;
    assert_eq!(served(&nodes[0], &lagging, &row).await, is("new", Tier::Origin));
    assert_eq!(served(&nodes[1], &lagging, &row).await, is("new", Tier::Shared));
}

#[tokio::test(start_paused = true)]
async fn race_20_dead_service_leaseholder_replaced() {
    let world = begun().await;
    let (taking, other) = (world.node().await, world.node().await);
    let aged = aged(Unproven::ReadOrigin);
    let lead = async || {
        let read = world.shared.read(&key(1), Some(Duration::from_secs(2))).await.unwrap();
        match read.outcome {
            crate::shared::Outcome::Lead(token) => token,
            other => panic!("{other:?}"),
        }
    };
    // The lease is granted and not renewed.
    let dead = lead().await;
    let row = Row::returning(MS, "value");
    let begun = world.clock.mono();
    let answer = read(&taking, &aged, &row).await.expect("an answer");
    assert_eq!((text(&answer).as_str(), answer.proof().tier), ("value", Tier::Origin));
    assert!(
        world.clock.mono().since(begun) >= Duration::from_secs(2),
        "it waited for the lease to expire"
    );
    assert_eq!(served(&other, &aged, &row).await, is("value", Tier::Shared));
    // The first holder was only slow, and fills while another one loads.
    tokio::time::sleep(BUDGET).await;
    let next = lead().await;
    let fill = |lease| {
        let entry = answer.entry.to_entry();
        Fill { key: key(1), entry, epoch: EPOCH, lease: Some(lease) }
    };
    let verdict = world.shared.fill(&fill(dead)).await.unwrap();
    assert_eq!(verdict, Verdict::Refuse(coherence::Refusal::Lease));
    assert_eq!(world.shared.fill(&fill(next)).await.unwrap(), Verdict::Accept);
}

#[tokio::test(start_paused = true)]
async fn age_bound_entry_expires_with_budget() {
    let world = begun().await;
    let (node, other) = (world.node().await, world.node().await);
    let aged = aged(Unproven::ReadOrigin);
    let row = Row::returning(100 * MS, "value");
    let bound = async |node: &Engine, tier| {
        let answer = read(node, &aged, &row).await.expect("an answer");
        assert_eq!(answer.proof().tier, tier);
        answer.proof().bound.expect("its age")
    };
    assert_eq!(bound(&node, Tier::Origin).await, 100 * MS, "since the request began");
    tokio::time::sleep(300 * MS).await;
    assert_eq!(bound(&node, Tier::Local).await, 400 * MS, "proofs of the log do not apply");
    assert_eq!(bound(&other, Tier::Shared).await, 401 * MS, "wall clocks truncate to milliseconds");
    tokio::time::sleep(598 * MS).await;
    assert_eq!(bound(&other, Tier::Local).await, BUDGET - MS, "just within it");
    tokio::time::sleep(2 * MS).await;
    assert_eq!(bound(&other, Tier::Origin).await, 100 * MS, "its age has used up the budget");
    assert_eq!(row.calls(), 2);
    // It needs no log.
    world.cut_off_primary();
    tokio::time::sleep(500 * MS).await;
    assert_eq!(bound(&node, Tier::Shared).await, 601 * MS);
}

#[tokio::test(start_paused = true)]
async fn purge_rejects_age_bound_fill() {
    let world = begun().await;
    let node = world.node().await;
    let aged = aged(Unproven::ServeStale);
    let row = Row::returning(100 * MS, "old");
    let slow = tokio::spawn({
        let (node, policy, row) = (node.clone(), Arc::clone(&aged), Arc::clone(&row));
        async move { read(&node, &policy, &row).await }
    });
    tokio::time::sleep(50 * MS).await;
    row.update("new");
    world.commit(vec![Subject::Tag(tag("product-1"))]).await;
    let answer = slow.await.unwrap().expect("an answer");
    assert!(matches!(answer.proof().stored, Some(Verdict::Refuse(_))), "but not stored");
    assert_eq!(served(&node, &aged, &row).await, is("new", Tier::Origin));
    assert_eq!(served(&node, &aged, &row).await, is("new", Tier::Local));
    // A purge also removes stored entries, and none of them is served stale.
    world.commit(vec![Subject::Tag(tag("product-1"))]).await;
    row.set(|_| Err(failing()));
    assert!(read(&node, &aged, &row).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn age_bound_failure_follows_contract() {
    for unproven in [Unproven::ServeStale, Unproven::ReadOrigin, Unproven::Fail] {
        let world = begun().await;
        let node = world.node().await;
        let aged = aged(unproven);
        let row = Row::returning(MS, "value");
        assert_eq!(served(&node, &aged, &row).await, is("value", Tier::Origin));
        row.set(|_| Err(failing()));
        tokio::time::sleep(BUDGET / 2).await;
        assert_eq!(served(&node, &aged, &row).await, is("value", Tier::Local), "within its budget");
        tokio::time::sleep(BUDGET).await;
        match read(&node, &aged, &row).await {
            Ok(answer) => {
                assert_eq!(unproven, Unproven::ServeStale);
                assert_eq!(answer.proof().stale, Some(Stale::OriginFailed));
                assert!(answer.proof().bound > Some(BUDGET), "the bound shows the age");
            }
            Err(err) => assert!(unproven != Unproven::ServeStale, "{err}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn age_header_adds_to_the_bound() {
    let world = begun().await;
    let node = world.node().await;
    tokio::time::sleep(BUDGET).await;
    for policy in [aged(Unproven::ReadOrigin), lagging(Unproven::ReadOrigin)] {
        world.commit(row_1()).await;
        tokio::time::sleep(BUDGET).await;
        let row = Row::new(MS, |_| Ok(late("value", 700 * MS)));
        let behind = policy.rules.lag + 700 * MS;
        let answer = read(&node, &policy, &row).await.expect("an answer");
        assert_eq!(answer.proof().bound, Some(behind + MS));
        assert_eq!(answer.proof().age, behind + MS);
        assert_eq!(served(&node, &policy, &row).await, is("value", Tier::Local));
    }
    let aged = aged(Unproven::ReadOrigin);
    let row = Row::new(MS, |_| Ok(late("value", 700 * MS)));
    assert_eq!(served(&node, &aged, &row).await.1, Tier::Local, "stored under the other contract");
    tokio::time::sleep(300 * MS).await;
    world.commit(row_1()).await;
    assert_eq!(served(&node, &aged, &row).await.1, Tier::Origin);
    tokio::time::sleep(298 * MS).await;
    assert_eq!(served(&node, &aged, &row).await.1, Tier::Local);
    tokio::time::sleep(3 * MS).await;
    assert_eq!(
        served(&node, &aged, &row).await.1,
        Tier::Origin,
        "its budget began before its load"
    );
}

#[tokio::test(start_paused = true)]
async fn other_node_counts_full_age() {
    let world = begun().await;
    let (node, other) = (world.node().await, world.node().await);
    let aged = aged(Unproven::ReadOrigin);
    // 300 ms in a cache on the way, and the load itself took 200 ms.
    let row = Row::new(200 * MS, |_| Ok(late("value", 300 * MS)));
    let answer = read(&node, &aged, &row).await.expect("an answer");
    assert_eq!(answer.proof().bound, Some(500 * MS));
    tokio::time::sleep(100 * MS).await;
    let answer = read(&other, &aged, &row).await.expect("an answer");
    assert_eq!((answer.proof().tier, answer.proof().bound), (Tier::Shared, Some(601 * MS)));
}

#[tokio::test(start_paused = true)]
async fn too_old_answer_follows_contract() {
    for unproven in [Unproven::ServeStale, Unproven::ReadOrigin, Unproven::Fail] {
        let world = begun().await;
        let node = world.node().await;
        let aged = aged(unproven);
        let row = Row::new(MS, |_| Ok(late("value", 2 * BUDGET)));
        for calls in 1..=2 {
            match read(&node, &aged, &row).await {
                Ok(answer) => {
                    assert!(unproven != Unproven::Fail);
                    assert_eq!(
                        answer.proof().stale,
                        Some(Stale::Unproven),
                        "the answer reports it"
                    );
                    assert_eq!(answer.proof().bound, Some(2 * BUDGET + MS));
                }
                Err(err) => {
                    assert_eq!(unproven, Unproven::Fail);
                    assert!(matches!(err, ReadError::Unproven { .. }), "{err}");
                }
            }
            assert_eq!(row.calls(), calls, "nothing was stored");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn race_15_token_waits_out_service_lag() {
    let world = begun().await;
    let node = world.node().await;
    tokio::time::sleep(LAG + MS).await;
    let lagging = lagging(Unproven::ReadOrigin);
    let row = Row::returning(MS, "old");
    served(&node, &lagging, &row).await;
    let unapplied = world.commit_unapplied(row_1());
    let after = CausalToken::new(Some(unapplied.epoch.log()), unapplied.upto);
    // The service shows the write at the end of its lag.
    let service = Arc::clone(&row);
    tokio::spawn(async move {
        tokio::time::sleep(LAG).await;
        service.update("new");
    });
    settle().await;
    let asked = world.clock.mono();
    let answer = read_after(&node, &lagging, &row, after).await.expect("an answer");
    assert_eq!(text(&answer), "new");
    assert!(world.clock.mono().since(asked) >= LAG);
    // A tier that has reached the token answers.
    world.shared.apply(&unapplied).await.unwrap().unwrap();
    settle().await;
    tokio::time::sleep(LAG + MS).await;
    assert_eq!(served(&node, &lagging, &row).await, is("new", Tier::Origin));
    let answer = read_after(&node, &lagging, &row, after).await.expect("an answer");
    assert_eq!((text(&answer).as_str(), answer.proof().tier), ("new", Tier::Local));
}

#[tokio::test(start_paused = true)]
async fn race_15_token_bypasses_age_bound_entry() {
    let world = begun().await;
    let (node, other) = (world.node().await, world.node().await);
    let aged = aged(Unproven::ReadOrigin);
    let row = Row::returning(MS, "value");
    served(&node, &aged, &row).await;
    let after = CausalToken::new(Some(EPOCH.log()), Lsn(10));
    for node in [&node, &other] {
        assert!(node.peek_after(&key(1), &aged, after).is_none());
        let calls = row.calls();
        let answer = read_after(node, &aged, &row, after).await.expect("an answer");
        assert_eq!((answer.proof().tier, row.calls()), (Tier::Origin, calls + 1));
    }
    // An answer from a cache on the way may be from before the write.
    row.set(|_| Ok(late("value", MS)));
    let err = read_after(&node, &aged, &row, after).await.expect_err("it may be old");
    assert!(matches!(err, ReadError::Unproven { .. }), "{err}");
}

fn contract(more: &str) -> Contract {
    let text = format!("key = \"v1:shipping:quote:{{id}}\"\nstaleness = \"1s\"\n{more}");
    Contract::from_toml("quote", &text.parse().expect("well-formed")).expect("valid")
}

#[tokio::test(start_paused = true)]
async fn function_concurrency_limited() {
    let world = begun().await;
    let node = world.node().await;
    let contract = contract("");
    let policy = Arc::new(Policy::from(&contract));
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let counts = (Arc::clone(&running), Arc::clone(&most));
    let function = FunctionOrigin::new(contract.clone(), move |_, id| {
        let (running, most) = counts.clone();
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(10 * MS).await;
            running.fetch_sub(1, Ordering::Relaxed);
            Ok(Loaded::value(id.to_string()))
        }
    });
    let origin: Arc<dyn Origin> = Arc::new(function.at_most(4));
    let items: Vec<Item> = (0..50)
        .map(|id| Item {
            key: contract.key(&id.to_string()).expect("a key"),
            id: id.to_string().into(),
            policy: Arc::clone(&policy),
            origin: Arc::clone(&origin),
        })
        .collect();
    let answers = node.get_many(&items, None).await;
    for (id, answer) in answers.into_iter().enumerate() {
        assert_eq!(text(&answer.expect("an answer")), id.to_string());
    }
    assert_eq!(most.load(Ordering::Relaxed), 4);
    let apart = node.get_atomic(&items[..2], None).await.expect_err("no common snapshot");
    assert!(matches!(apart, ReadError::NoCommonSnapshot), "{apart}");
}

#[tokio::test(start_paused = true)]
async fn function_position_becomes_tau() {
    let world = begun().await;
    let node = world.node().await;
    let contract =
        contract("from = { source = \"shop\", table = \"quotes\" }\ntags = [\"quote-{id}\"]");
    let policy = Arc::new(Policy::from(&contract));
    let upto = Arc::new(AtomicU64::new(10));
    let position = Arc::clone(&upto);
    let origin: Arc<dyn Origin> = Arc::new(FunctionOrigin::new(contract.clone(), move |_, _| {
        let upto = Lsn(position.load(Ordering::Relaxed));
        let replayed = Some(coherence::Replayed { log: EPOCH.log(), upto });
        async move { Ok(Loaded { replayed, ..Loaded::value("value") }) }
    }));
    let key = contract.key("1").expect("a key");
    let stored = async || {
        let answer = node.get(&key, "1", &policy, &origin).await.expect("an answer");
        (answer.proof().tier, answer.proof().stored)
    };
    assert_eq!(stored().await, (Tier::Origin, Some(Verdict::Accept)));
    // The tag of its id invalidates the entry, and an answer with an older position is not stored.
    world.commit(vec![Subject::Tag(tag("quote-1"))]).await;
    let (tier, refused) = stored().await;
    assert!(tier == Tier::Origin && matches!(refused, Some(Verdict::Refuse(_))), "{refused:?}");
    upto.store(11, Ordering::Relaxed);
    assert_eq!(stored().await, (Tier::Origin, Some(Verdict::Accept)));
    assert_eq!(stored().await.0, Tier::Local);
}
