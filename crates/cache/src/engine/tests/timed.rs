//! Values that change by the clock. The database's clock is three seconds behind the node's.

use coherence::{ClockReading, ClockTime};
use contract::Tiers;

use super::*;
use crate::origin::TimedChange;

const SECOND: Duration = Duration::from_secs(1);
const SKEW: Duration = Duration::from_secs(3);

/// A price that changes once, and how the database computes it.
#[derive(Clone)]
struct Sale {
    clock: Arc<dyn Clock>,
    starts: ClockTime,
}

impl Sale {
    /// A price that changes after `wait`.
    fn after(world: &World, wait: Duration) -> Self {
        let clock = Arc::clone(&world.clock);
        let starts = micros(shown(&*clock).micros() + wait.as_micros() as u64);
        Self { clock, starts }
    }

    fn price(&self, before: Loaded, after: Loaded) -> Loaded {
        let now = shown(&*self.clock);
        let change =
            (now < self.starts).then_some(TimedChange { at: self.starts, shown: Some(now) });
        Loaded { change, ..if change.is_some() { before } else { after } }
    }

    /// A row whose price changes then.
    fn row(&self, takes: Duration) -> Arc<Row> {
        let sale = self.clone();
        Row::new(takes, move |_| Ok(sale.price(present("old"), present("new"))))
    }
}

fn micros(micros: u64) -> ClockTime {
    ClockTime::from_micros(micros).expect("after 1970")
}

/// The time that the database's clock shows.
fn shown(clock: &dyn Clock) -> ClockTime {
    micros(clock.wall_us() - SKEW.as_micros() as u64)
}

/// Has a node read the database's clock.
fn read_clock(world: &World, node: &Engine) {
    let now = world.clock.mono();
    let reading = ClockReading { asked: now, answered: now, shown: shown(&*world.clock) };
    node.record_clock(EPOCH.log(), reading);
}

fn rules_of(unproven: Unproven) -> Rules {
    Rules { follows_wall_clock: false, changes_by_clock: true, ..rules(unproven) }
}

async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn entry_ends_when_the_databases_clock_says_so() {
    let world = World::new().await;
    let (node, policy) = (world.node().await, policy(rules_of(Unproven::Fail)));
    let row = Sale::after(&world, 10 * SECOND).row(MS);
    assert_eq!(served(&node, &policy, &row).await, ("old".into(), Tier::Origin));
    sleep(9_980 * MS).await;
    assert_eq!(served(&node, &policy, &row).await, ("old".into(), Tier::Local));
    sleep(20 * MS).await;
    assert_eq!(served(&node, &policy, &row).await, ("new".into(), Tier::Origin));
    assert_eq!(served(&node, &policy, &row).await, ("new".into(), Tier::Local));
    assert_eq!(row.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn readers_at_the_change_need_one_load() {
    let world = World::new().await;
    let nodes = [world.node().await, world.node().await];
    let policy = policy(rules_of(Unproven::ReadOrigin));
    let row = Sale::after(&world, 10 * SECOND).row(3 * MS);
    for node in &nodes {
        read_clock(&world, node);
        assert_eq!(served(node, &policy, &row).await.0, "old");
    }
    assert_eq!(row.calls(), 1, "the second node has it from the tier");
    sleep(9_990 * MS).await;
    // Readers of two nodes, from just before the change until after it.
    let mut readers = Vec::new();
    for _ in 0..30 {
        for node in &nodes {
            let (node, policy, row) = (node.clone(), Arc::clone(&policy), Arc::clone(&row));
            let (clock, starts) = (Arc::clone(&world.clock), world.clock.wall_us());
            readers.push(tokio::spawn(async move {
                let answer = served(&node, &policy, &row).await.0;
                (starts, clock.wall_us(), answer)
            }));
        }
        sleep(MS).await;
    }
    for reader in readers {
        let (_, _, answer) = reader.await.expect("it ends");
        assert!(answer == "old" || answer == "new");
    }
    assert_eq!(served(&nodes[0], &policy, &row).await.0, "new");
    assert!(row.calls() <= 4, "{} loads", row.calls());
}

#[tokio::test(start_paused = true)]
async fn load_just_before_the_change_is_repeated_after_it() {
    let world = World::new().await;
    let (node, policy) = (world.node().await, policy(rules_of(Unproven::Fail)));
    let row = Sale::after(&world, 20 * MS).row(5 * MS);
    assert_eq!(served(&node, &policy, &row).await, ("new".into(), Tier::Origin));
    assert_eq!(row.calls(), 2);
    assert_eq!(served(&node, &policy, &row).await, ("new".into(), Tier::Local));
}

#[tokio::test(start_paused = true)]
async fn other_node_uses_the_tier_only_while_it_knows_the_clock() {
    let world = World::new().await;
    let policy = policy(Rules { tiers: Tiers::SHARED, ..rules_of(Unproven::Fail) });
    let loader = world.node().await;
    let row = Sale::after(&world, 10 * SECOND).row(MS);
    assert_eq!(served(&loader, &policy, &row).await.0, "old");
    let node = world.node().await;
    assert_eq!(served(&node, &policy, &row).await, ("old".into(), Tier::Origin), "unknown clock");
    read_clock(&world, &node);
    assert_eq!(served(&node, &policy, &row).await, ("old".into(), Tier::Shared));
    sleep(10 * SECOND).await;
    assert_eq!(served(&node, &policy, &row).await, ("new".into(), Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn entry_that_the_tier_keeps_too_long_is_not_served() {
    let world = World::new().await;
    let policy = policy(Rules { tiers: Tiers::SHARED, ..rules_of(Unproven::Fail) });
    let (loader, node) = (world.node().await, world.node().await);
    read_clock(&world, &node);
    let row = Sale::after(&world, 10 * SECOND).row(MS);
    served(&loader, &policy, &row).await;
    // The same entry, as if its fill had arrived a minute late.
    let read = world.shared.read(&key(1), None).await.expect("the tier answers");
    let crate::shared::Outcome::Found { entry, .. } = read.outcome else { panic!("{read:?}") };
    let entry = Entry { ttl: 60 * SECOND, ..entry };
    sleep(10 * SECOND).await;
    let fill = Fill { key: key(1), entry, epoch: EPOCH, lease: None };
    assert_eq!(world.shared.fill(&fill).await.expect("it answers"), Verdict::Accept);
    let inspected = node.inspect(&key(1), &policy).await.expect("the tier answers");
    assert_eq!(inspected[0].served_as, ServedAs::NotServed, "nor does the auditor count it");
    assert_eq!(served(&node, &policy, &row).await, ("new".into(), Tier::Origin));
    assert_eq!(served(&loader, &policy, &row).await.0, "new");
}

#[tokio::test(start_paused = true)]
async fn absent_row_appears_at_its_time() {
    let world = World::new().await;
    let (node, policy) = (world.node().await, policy(rules_of(Unproven::Fail)));
    let sale = Sale::after(&world, 10 * SECOND);
    let row = Row::new(MS, move |_| Ok(sale.price(absent(), present("here"))));
    assert_eq!(served(&node, &policy, &row).await.0, "absent");
    sleep(9 * SECOND).await;
    assert_eq!(served(&node, &policy, &row).await, ("absent".into(), Tier::Local));
    sleep(SECOND).await;
    assert_eq!(served(&node, &policy, &row).await, ("here".into(), Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn stale_answers_count_from_the_change() {
    let world = World::new().await;
    let node = world.node().await;
    let stale_while_revalidate = 5 * SECOND;
    let policy = policy(Rules { stale_while_revalidate, ..rules_of(Unproven::ServeStale) });
    let row = Sale::after(&world, 10 * SECOND).row(MS);
    served(&node, &policy, &row).await;
    sleep(10_400 * MS).await;
    let answer = read(&node, &policy, &row).await.expect("an answer");
    let bound = answer.proof().bound.expect("it is proven");
    assert_eq!((text(&answer), answer.proof().stale), ("old".into(), Some(Stale::Revalidating)));
    assert!(bound >= 400 * MS && bound < 420 * MS, "{bound:?}");
    sleep(10 * MS).await;
    assert_eq!(served(&node, &policy, &row).await, ("new".into(), Tier::Local));
}

#[tokio::test(start_paused = true)]
async fn stale_answer_of_a_failed_load_counts_from_the_change() {
    let world = World::new().await;
    let (node, policy) = (world.node().await, policy(rules_of(Unproven::ServeStale)));
    let row = Sale::after(&world, 10 * SECOND).row(MS);
    served(&node, &policy, &row).await;
    row.set(|_| Err(failing()));
    sleep(13 * SECOND).await;
    let answer = read(&node, &policy, &row).await.expect("an answer");
    assert_eq!(answer.proof().stale, Some(Stale::OriginFailed));
    assert!(answer.proof().bound >= Some(3 * SECOND), "{:?}", answer.proof().bound);
}

#[tokio::test(start_paused = true)]
async fn use_prolongs_no_entry_past_its_change() {
    let world = World::new().await;
    let node = world.node().await;
    let sliding = Some(Touch::within(3_600 * SECOND));
    let policy = policy(Rules { sliding, ttl: 5 * SECOND, ..rules_of(Unproven::Fail) });
    let row = Sale::after(&world, 20 * SECOND).row(MS);
    read_clock(&world, &node);
    for _ in 0..19 {
        assert_eq!(served(&node, &policy, &row).await.0, "old");
        sleep(SECOND).await;
    }
    assert_eq!(row.calls(), 1, "each use has prolonged it");
    sleep(SECOND).await;
    assert_eq!(served(&node, &policy, &row).await, ("new".into(), Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn without_a_database_the_wall_clock_decides() {
    let world = World::new().await;
    let (node, policy) = (world.node().await, policy(rules(Unproven::Fail)));
    let at = micros(world.clock.wall_us() + 10_000_000);
    let row = Row::new(MS, move |call| {
        let change = (call == 0).then_some(TimedChange { at, shown: None });
        Ok(Loaded { change, ..present(if call == 0 { "old" } else { "new" }) })
    });
    assert_eq!(served(&node, &policy, &row).await.0, "old");
    sleep(9 * SECOND).await;
    assert_eq!(served(&node, &policy, &row).await, ("old".into(), Tier::Local));
    sleep(SECOND).await;
    assert_eq!(served(&node, &policy, &row).await, ("new".into(), Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn origin_whose_clock_is_late_is_asked_once() {
    let world = World::new().await;
    let (node, policy) = (world.node().await, policy(rules(Unproven::Fail)));
    let at = micros(world.clock.wall_us() - 1_000_000);
    let change = Some(TimedChange { at, shown: None });
    let row = Row::new(MS, move |_| Ok(Loaded { change, ..present("old") }));
    for calls in 1..=2 {
        assert_eq!(served(&node, &policy, &row).await, ("old".into(), Tier::Origin));
        assert_eq!(row.calls(), calls, "answered, and not stored");
    }
}

/// Four hundred prices change at one time, and the database computes two at once.
#[tokio::test(start_paused = true)]
async fn prices_that_change_together_do_not_overrun_the_database() {
    const PRICES: u32 = 400;
    let world = World::new().await;
    let node = world.node_governed(true).await;
    let policy =
        policy(Rules { ttl: 600 * SECOND, budget: 10 * SECOND, ..rules_of(Unproven::ReadOrigin) });
    let origin = Arc::new(Slow {
        sale: Sale::after(&world, 60 * SECOND),
        now: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    });
    for id in 0..PRICES {
        let origin = Arc::clone(&origin) as Arc<dyn Origin>;
        node.get(&key(id), "", &policy, &origin).await.expect("an answer");
    }
    sleep(Duration::from_nanos(world.turn_in(&origin.sale))).await;
    origin.most.store(0, Ordering::Relaxed);
    let (mut readers, mut soft) = (Vec::new(), 0);
    for at in 0..4_000_u32 {
        let (node, policy) = (node.clone(), Arc::clone(&policy));
        let origin = Arc::clone(&origin) as Arc<dyn Origin>;
        readers.push(tokio::spawn(async move {
            let answer = node.get(&key(at * 7 % PRICES), "", &policy, &origin).await;
            answer.map(|answer| (text(&answer), answer.proof()))
        }));
        if at % 4 == 0 {
            sleep(MS).await;
        }
    }
    for reader in readers {
        let (answer, proof) = reader.await.expect("it ends").expect("no read fails");
        soft += usize::from(answer == "old");
        assert!(answer == "new" || proof.bound < Some(10 * SECOND), "{answer} {proof:?}");
    }
    assert!(origin.most.load(Ordering::Relaxed) <= 2, "the gate limits the loads");
    assert!(soft > 0, "the budget was spent");
    sleep(10 * SECOND).await;
    let origin = origin as Arc<dyn Origin>;
    let late = node.get(&key(1), "", &policy, &origin).await;
    assert_eq!(text(&late.expect("an answer")), "new");
}

/// A database that computes two prices at once, in 10 ms.
struct Slow {
    sale: Sale,
    now: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl Origin for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn concurrency(&self) -> Option<usize> {
        Some(2)
    }

    async fn load(&self, _key: &Key, _id: &str) -> Result<Loaded, OriginError> {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        let loaded = self.sale.price(present("old"), present("new"));
        tokio::time::sleep(10 * MS).await;
        self.now.fetch_sub(1, Ordering::Relaxed);
        Ok(loaded)
    }
}

impl World {
    /// The time until a sale starts, in ns.
    fn turn_in(&self, sale: &Sale) -> u64 {
        (sale.starts.micros() - shown(&*self.clock).micros()) * 1_000
    }
}
