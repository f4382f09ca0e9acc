//! The workers of a node: each class has its own, and takes its kinds in turn.

use std::time::Duration;

use coherence::BreakerPass;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::handler::JobResult;
use super::options::milliseconds;
use super::request::recordable;
use super::service::{Jobs, Kind, delay_ms};
use crate::ledger::{EndJob, LeasedJob, LedgerError};
use crate::rules::{AttemptOutcome, JobClass};

/// Returns the pause of a class whose kinds have no due jobs: well below its goal.
const fn pause(class: JobClass) -> Duration {
    match class {
        JobClass::High => Duration::from_millis(100),
        JobClass::Medium => Duration::from_millis(250),
        JobClass::Low => Duration::from_secs(1),
    }
}

/// The time that calls in flight have when the process stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

impl Jobs {
    /// Leases and runs jobs until `stop` completes; then finishes those that are running.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) {
        let (stopping, _) = watch::channel(false);
        let classes = JobClass::ALL.map(|class| self.run_class(class, stopping.subscribe()));
        let [high, medium, low] = classes;
        let signal = async {
            stop.await;
            stopping.send_replace(true);
        };
        tokio::join!(signal, high, medium, low);
    }

    async fn run_class(&self, class: JobClass, mut stop: watch::Receiver<bool>) {
        let is_ours = |kind: &Kind| kind.options.class == class && kind.handler.is_some();
        let kinds = self.kinds.iter().filter(|(_, kind)| is_ours(kind));
        let kinds: Vec<&str> = kinds.map(|(name, _)| name.as_str()).collect();
        if kinds.is_empty() {
            return;
        }
        let (mut running, mut turn) = (JoinSet::new(), 0);
        while !*stop.borrow() {
            while running.try_join_next().is_some() {}
            let found = self.take_up(class, &kinds, turn, &mut running, &stop).await;
            turn = turn.wrapping_add(1);
            let is_full = running.len() >= self.workers.of(class);
            if found
                .inspect_err(|error| tracing::warn!(%error, "jobs can't be leased"))
                .is_ok_and(|found| found && !is_full)
            {
                continue;
            }
            tokio::select! {
                _ = running.join_next(), if is_full => {}
                () = self.arrived.notified(), if !is_full => {}
                () = tokio::time::sleep(pause(class)) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
        let finished = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, finished).await.is_err() {
            tracing::warn!(
                class = class.word(),
                "jobs were still running at the stop; their leases run out"
            );
        }
    }

    /// Leases jobs for the free workers, from one kind after the other. Returns whether there were any.
    async fn take_up(
        &self,
        class: JobClass,
        kinds: &[&str],
        turn: usize,
        running: &mut JoinSet<()>,
        stop: &watch::Receiver<bool>,
    ) -> Result<bool, LedgerError> {
        let mut found = false;
        for at in 0..kinds.len() {
            let free = self.workers.of(class).saturating_sub(running.len());
            let name = kinds[(turn + at) % kinds.len()];
            let Some(kind) = self.kinds.get(name) else { continue };
            // The kinds that come after it in this turn get their part.
            let calls = free.div_ceil(kinds.len() - at);
            let Some((pass, calls)) = admit(self, kind, calls) else { continue };
            let most = calls.saturating_mul(kind.options.batch as usize).min(1_000);
            let most = u32::try_from(most).unwrap_or(u32::MAX);
            let leased = self.lease(name, most, kind.options.lease(), "node").await;
            let leased = match leased {
                Ok(leased) if !leased.is_empty() => leased,
                other => {
                    // The pass of a probe is given back as it was: the probe is due again.
                    if let Some(pass) = pass {
                        kind.breaker.lock().record(self.clock.mono(), pass, false);
                    }
                    other?;
                    continue;
                }
            };
            found = true;
            if *stop.borrow() {
                // Jobs that were not started are given back at once.
                let released = |job: &LeasedJob| EndJob {
                    id: job.id,
                    attempt: job.attempt,
                    outcome: AttemptOutcome::Released,
                    reason: None,
                };
                self.record(name, leased.iter().map(released).collect()).await;
                break;
            }
            for jobs in into_calls(leased, kind.options.batch as usize) {
                let (worker, name) = (self.clone(), name.to_owned());
                running.spawn(async move { worker.run_call(&name, jobs, pass).await });
            }
        }
        Ok(found)
    }

    async fn run_call(&self, name: &str, jobs: Vec<LeasedJob>, probe: Option<BreakerPass>) {
        let Some(kind) = self.kinds.get(name) else { return };
        let Some(handler) = kind.handler.clone() else { return };
        let results = tokio::select! {
            results = handler.run(&jobs) => results,
            () = self.keep_leases(kind, &jobs) => {
                tracing::warn!(kind = name, "a lease was lost during a call; another worker has the job");
                return;
            }
        };
        let is_well = !results.iter().any(|result| matches!(result, JobResult::Unwell(_)));
        let pass = probe.unwrap_or(BreakerPass::Free);
        kind.breaker.lock().record(self.clock.mono(), pass, is_well);
        let mut results = results.into_iter();
        let ends = jobs.iter().map(|job| {
            let none = || JobResult::Failed("the handler returned no result".to_owned());
            end_of(kind, job, results.next().unwrap_or_else(none))
        });
        self.record(name, ends.collect()).await;
    }

    /// Records ends, again and again while the ledger is away: the work is done, and a lost record would repeat it.
    async fn record(&self, name: &str, ends: Vec<EndJob>) {
        for pause_ms in [50, 200, 1_000, 3_000, 0] {
            match self.ledger.end_jobs(ends.clone()).await {
                Ok(ended) => {
                    let firsts = ended.iter().filter(|ended| ended.is_first);
                    for end in firsts.filter_map(|ended| ended.end) {
                        self.metrics.ended(name, end);
                    }
                    for (end, job) in ended.iter().zip(&ends).filter(|(end, _)| !end.is_first) {
                        let recorded = end.end.map(crate::rules::AttemptEnd::word);
                        tracing::debug!(
                            kind = name,
                            job = job.id,
                            recorded,
                            "an end was on record"
                        );
                    }
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, kind = name, "the ends of jobs can't be recorded");
                    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                }
            }
        }
    }

    /// Extends the leases while a call lasts. Returns when one is lost.
    async fn keep_leases(&self, kind: &Kind, jobs: &[LeasedJob]) {
        let lease = kind.options.lease();
        loop {
            tokio::time::sleep(lease / 3).await;
            for job in jobs {
                let extended =
                    self.ledger.extend_job(job.id, job.attempt, milliseconds(lease)).await;
                if matches!(extended, Ok(None)) {
                    return;
                }
            }
        }
    }
}

fn end_of(kind: &Kind, job: &LeasedJob, result: JobResult) -> EndJob {
    let (outcome, reason) = match result {
        JobResult::Done => (AttemptOutcome::Done, None),
        JobResult::Failed(reason) | JobResult::Unwell(reason) => {
            let delay_ms = delay_ms(&kind.options, job.attempt);
            (AttemptOutcome::Failed { delay_ms }, Some(reason))
        }
        JobResult::Hopeless(reason) => (AttemptOutcome::Hopeless, Some(reason)),
    };
    let reason = reason.as_deref().map(recordable);
    EndJob { id: job.id, attempt: job.attempt, outcome, reason }
}

/// Returns the number of calls that a kind may make now; `None`: none. A probe of the breaker is one call.
fn admit(jobs: &Jobs, kind: &Kind, calls: usize) -> Option<(Option<BreakerPass>, usize)> {
    if calls == 0 {
        return None;
    }
    match kind.breaker.lock().try_pass(jobs.clock.mono()) {
        BreakerPass::Free => Some((None, calls)),
        pass @ BreakerPass::Probe => Some((Some(pass), 1)),
        BreakerPass::Refused(_) | BreakerPass::Probing(_) => None,
    }
}

/// Divides jobs into calls. A job that failed before is sent alone, so that it fails no others.
fn into_calls(jobs: Vec<LeasedJob>, batch: usize) -> Vec<Vec<LeasedJob>> {
    let (fresh, again): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.attempt == 1);
    let fresh = fresh.chunks(batch.max(1)).map(<[LeasedJob]>::to_vec);
    fresh.chain(again.into_iter().map(|job| vec![job])).collect()
}
