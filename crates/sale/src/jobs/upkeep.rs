//! The loops that keep the log of jobs: recovery of lost leases, schedules, compaction and counts. All nodes run them, so that
//! any of them suffices.

use std::collections::HashMap;
use std::time::Duration;

use super::request::JobRequest;
use super::service::Jobs;
use crate::ledger::{JobStats, LedgerError, OldestSnapshot};
use crate::request::IdempotencyKey;
use crate::rules::schedule_slot;

/// The pause between two passes over leases and schedules.
const PAUSE: Duration = Duration::from_millis(500);

/// The passes between two that read all leases again: a minute.
const PASSES_PER_WHOLE: u32 = 120;

/// The pause between two compactions, and between two counts.
const LONG_PAUSE: Duration = Duration::from_secs(2);

/// The passes between two warnings about the same state.
const PASSES_PER_WARNING: u32 = 30;

/// A snapshot of this age is warned about: it keeps the old versions of all rows alive.
const SNAPSHOT_AGE_SECONDS: i64 = 300;

impl Jobs {
    /// Keeps the log, for ever.
    pub async fn run_upkeep(&self) {
        tokio::join!(self.run_recovery(), self.run_compaction(), self.run_counts());
    }

    async fn run_recovery(&self) {
        let (mut since, mut slots, mut pass) = (HashMap::new(), HashMap::new(), 0_u32);
        loop {
            if pass.is_multiple_of(PASSES_PER_WHOLE) {
                since.clear();
            }
            pass = pass.wrapping_add(1);
            if let Err(error) = self.recover(&mut since).await {
                tracing::warn!(%error, "lost leases of jobs can't be read");
            }
            if let Err(error) = self.follow_schedules(&mut slots).await {
                tracing::warn!(%error, "scheduled jobs can't be enqueued");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn recover(&self, since: &mut HashMap<String, i64>) -> Result<(), LedgerError> {
        for name in self.kinds.keys() {
            let from = since.get(name).copied().unwrap_or_default();
            let (recovered, next) = self.ledger.recover_jobs(name, from).await?;
            since.insert(name.clone(), next);
            if recovered > 0 {
                tracing::warn!(kind = name, recovered, "workers lost their leases; the jobs go on");
                self.arrived.notify_waiters();
            }
        }
        Ok(())
    }

    /// Enqueues the job of the present slot of each schedule. Its key makes it the only one over all nodes.
    async fn follow_schedules(&self, slots: &mut HashMap<String, i64>) -> Result<(), LedgerError> {
        let scheduled =
            self.kinds.iter().filter_map(|(name, kind)| Some((name, kind.options.every?)));
        let scheduled: Vec<_> = scheduled.collect();
        if scheduled.is_empty() {
            return Ok(());
        }
        let now_ms = self.ledger.job_clock_ms().await?;
        for (name, every) in scheduled {
            let slot = schedule_slot(every, now_ms);
            if slots.get(name) == Some(&slot) {
                continue;
            }
            let content = serde_json::json!({ "slot": slot, "every_seconds": every.as_secs() });
            let key = IdempotencyKey::new(&format!("tidegate schedule {} {slot}", every.as_secs()));
            let request = JobRequest::new(name, &content, None, 0, None);
            let (Ok(key), Ok(request)) = (key, request) else { continue };
            self.ledger.enqueue_jobs(vec![request.with_key(&key).job]).await?;
            slots.insert(name.clone(), slot);
        }
        Ok(())
    }

    async fn run_compaction(&self) {
        loop {
            if let Err(error) = self.ledger.compact_jobs().await {
                tracing::warn!(%error, "ended jobs can't be taken out of the log");
            }
            tokio::time::sleep(LONG_PAUSE.mul_f64(rand::random_range(0.5..=1.0))).await;
        }
    }

    async fn run_counts(&self) {
        let mut pass = 0_u32;
        loop {
            let may_warn = pass.is_multiple_of(PASSES_PER_WARNING);
            pass = pass.wrapping_add(1);
            match self.stats().await {
                Ok(stats) if may_warn => self.warn_about(&stats),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "jobs can't be counted"),
            }
            match self.ledger.oldest_snapshot().await {
                Ok(Some(snapshot)) => self.report_snapshot(snapshot, may_warn),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the sessions of the database can't be read"),
            }
            tokio::time::sleep(LONG_PAUSE).await;
        }
    }

    fn warn_about(&self, stats: &[JobStats]) {
        let open: i64 = stats.iter().map(JobStats::open).sum();
        if open.unsigned_abs() >= self.depth && open > 0 {
            tracing::warn!(
                open,
                depth = self.depth,
                "many jobs are open; new ones of class low are refused"
            );
        }
        for JobStats { kind, class, waiting, oldest_ms, run, .. } in stats {
            let goal_ms = i64::try_from(class.goal().as_millis()).unwrap_or(i64::MAX);
            if *oldest_ms > goal_ms {
                let (class, run) = (class.word(), run.word());
                tracing::warn!(
                    kind,
                    class,
                    run,
                    waiting,
                    oldest_ms,
                    "jobs wait for longer than the goal of their class"
                );
            }
        }
    }

    fn report_snapshot(&self, snapshot: OldestSnapshot, may_warn: bool) {
        self.metrics.observe_snapshot(snapshot);
        let OldestSnapshot { age_seconds, hidden_sessions } = snapshot;
        if may_warn && age_seconds >= SNAPSHOT_AGE_SECONDS {
            tracing::warn!(
                age_seconds,
                "an old transaction keeps the old versions of rows alive; find it in pg_stat_activity"
            );
        }
        if may_warn && hidden_sessions > 0 {
            tracing::debug!(
                hidden_sessions,
                "sessions of other roles are hidden; grant pg_read_all_stats to see their ages"
            );
        }
    }
}
