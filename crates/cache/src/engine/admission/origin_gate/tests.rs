//! The gate in virtual time.

use super::*;
use crate::chance::ThreadChance;
use crate::engine::options::EngineOptions;

const MS: Duration = Duration::from_millis(1);

/// Tokio's clock.
struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
    fn mono(&self) -> Mono {
        Mono(u64::try_from(self.0.elapsed().as_nanos()).expect("a short test"))
    }

    fn wall_ms(&self) -> u64 {
        0
    }
}

/// A gate with room for ten requests.
fn gate() -> Arc<OriginGate> {
    let options =
        EngineOptions { queue_timeout: 100 * MS, slow_load: 500 * MS, ..EngineOptions::default() };
    gate_with(GateOptions::new(&options, Some(10)))
}

fn gate_with(options: GateOptions) -> Arc<OriginGate> {
    let clock = Arc::new(TokioClock(tokio::time::Instant::now()));
    let chance = Arc::new(ThreadChance);
    Arc::new(OriginGate::new("shop", options, chance, clock, Metrics::detached()))
}

async fn admitted(gate: &Arc<OriginGate>, class: Class) -> Vec<Permit> {
    let mut permits = Vec::new();
    while let Ok(permit) = gate.admit(class).await {
        permits.push(permit);
    }
    permits
}

#[tokio::test(start_paused = true)]
async fn lower_class_rejected_first() {
    let gate = gate();
    let ephemeral = admitted(&gate, Class::Ephemeral).await;
    let standard = admitted(&gate, Class::Standard).await;
    let critical = admitted(&gate, Class::Critical).await;
    assert_eq!((ephemeral.len(), standard.len(), critical.len()), (7, 2, 1));
    let rejected = gate.admit(Class::Critical).await.expect_err("the limit is reached");
    assert_eq!(rejected, Rejected { reason: RejectReason::Limit, retry_after: RETRY_AFTER });
    assert!(matches!(rejected.into(), ReadError::Overloaded { reason: "limit", .. }));
}

#[tokio::test(start_paused = true)]
async fn queue_admits_higher_class_first() {
    let gate = gate();
    let mut permits = admitted(&gate, Class::Critical).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for class in [Class::Ephemeral, Class::Critical, Class::Standard] {
        let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
        waiting.push(tokio::spawn(async move {
            let permit = gate.admit(class).await.expect("a turn");
            order.lock().push(class);
            permit
        }));
    }
    tokio::task::yield_now().await;
    while let Some(permit) = permits.pop() {
        permit.finish(RequestOutcome::Answered);
        tokio::time::sleep(MS).await;
    }
    for waiter in waiting {
        waiter.await.expect("no panic");
    }
    assert_eq!(*order.lock(), [Class::Critical, Class::Standard, Class::Ephemeral]);
}

#[tokio::test(start_paused = true)]
async fn finished_permit_frees_its_place() {
    let gate = gate();
    for outcome in [None, Some(RequestOutcome::Succeeded), Some(RequestOutcome::Answered)] {
        let mut permits = admitted(&gate, Class::Critical).await;
        assert_eq!(permits.len(), 10, "{outcome:?}");
        for permit in permits.drain(..) {
            match outcome {
                Some(outcome) => permit.finish(outcome),
                None => drop(permit),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failures_open_the_breaker() {
    let gate = gate();
    for _ in 0..gate.options.breaker.min_calls {
        gate.admit(Class::Standard).await.expect("closed").finish(RequestOutcome::Failed);
    }
    for rejected in [gate.admit(Class::Critical).await, gate.try_admit()] {
        assert_eq!(rejected.expect_err("open").reason, RejectReason::Breaker);
    }
    tokio::time::sleep(gate.options.breaker.open_for).await;
    let probe = gate.admit(Class::Standard).await.expect("the probe");
    assert!(gate.admit(Class::Standard).await.is_err(), "one probe only");
    probe.finish(RequestOutcome::Answered);
    gate.admit(Class::Standard).await.expect("closed again");
}

#[tokio::test(start_paused = true)]
async fn refusals_and_cancellations_leave_the_breaker_closed() {
    let gate = gate();
    for _ in 0..20 {
        gate.admit(Class::Critical).await.expect("closed").finish(RequestOutcome::Refused);
        drop(gate.admit(Class::Critical).await.expect("closed"));
    }
    assert_eq!(admitted(&gate, Class::Critical).await.len(), 4, "refusals shrink the limit");
}

#[tokio::test(start_paused = true)]
async fn slow_success_counts_as_failed_for_the_breaker() {
    for (outcome, closed) in [(RequestOutcome::Succeeded, false), (RequestOutcome::Answered, true)]
    {
        let gate = gate();
        for _ in 0..gate.options.breaker.min_calls {
            let permit = gate.admit(Class::Standard).await.expect("closed");
            tokio::time::sleep(600 * MS).await;
            permit.finish(outcome);
        }
        assert_eq!(gate.admit(Class::Standard).await.is_ok(), closed, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn background_request_does_not_queue() {
    let gate = gate();
    let permits = admitted(&gate, Class::Ephemeral).await;
    let began = tokio::time::Instant::now();
    assert_eq!(gate.try_admit().expect_err("no room").reason, RejectReason::Limit);
    assert_eq!(began.elapsed(), Duration::ZERO);
    drop(permits);
    gate.try_admit().expect("room");
}

#[tokio::test(start_paused = true)]
async fn cancelled_waiter_leaves_the_queue() {
    let gate = gate();
    let mut permits = admitted(&gate, Class::Critical).await;
    let waiter = tokio::spawn({
        let gate = Arc::clone(&gate);
        async move { gate.admit(Class::Critical).await.map(drop) }
    });
    tokio::task::yield_now().await;
    waiter.abort();
    assert!(waiter.await.is_err());
    permits.pop();
    gate.admit(Class::Critical).await.expect("the place is free");
}

#[tokio::test(start_paused = true)]
async fn timeout_of_an_answering_origin_leaves_the_breaker_closed() {
    for answers in [true, false] {
        let gate = gate();
        for _ in 0..20 {
            let slow = gate.admit(Class::Standard).await;
            let Ok(slow) = slow else { break };
            tokio::time::sleep(MS).await;
            if answers {
                let other = gate.admit(Class::Standard).await.expect("closed");
                other.finish(RequestOutcome::Answered);
            }
            slow.finish(RequestOutcome::Silent);
        }
        assert_eq!(gate.admit(Class::Standard).await.is_ok(), answers, "answers: {answers}");
    }
}

#[tokio::test(start_paused = true)]
async fn paused_permit_frees_its_place() {
    let gate = gate();
    let mut permits = admitted(&gate, Class::Critical).await;
    permits.iter_mut().for_each(Permit::pause);
    let others = admitted(&gate, Class::Critical).await;
    assert_eq!(others.len(), 10);
    permits.iter_mut().for_each(Permit::resume);
    drop(others);
    gate.admit(Class::Critical).await.expect_err("the resumed requests have the places");
    permits.truncate(9);
    gate.admit(Class::Critical).await.expect("a free place");
    drop(permits);
    assert_eq!(admitted(&gate, Class::Critical).await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_the_outcome_of_a_probe() {
    for back in [true, false] {
        let gate = gate();
        for _ in 0..gate.options.breaker.min_calls {
            gate.admit(Class::Standard).await.expect("closed").finish(RequestOutcome::Failed);
        }
        tokio::time::sleep(gate.options.breaker.open_for).await;
        let probe = gate.admit(Class::Standard).await.expect("the probe");
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let gate = Arc::clone(&gate);
                tokio::spawn(async move { gate.admit(Class::Standard).await.is_ok() })
            })
            .collect();
        tokio::time::sleep(50 * MS).await;
        probe.finish(if back { RequestOutcome::Answered } else { RequestOutcome::Failed });
        for waiting in waiting {
            assert_eq!(waiting.await.expect("no panic"), back, "back: {back}");
        }
    }
}
