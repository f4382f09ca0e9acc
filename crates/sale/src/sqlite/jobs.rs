//! Jobs.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::job_changes;
use super::ledger::SqliteLedger;
use super::transaction::{NOW, Session, failed};
use crate::job_columns::{parse_class, parse_run};
use crate::job_invariants;
use crate::ledger::{
    Claim, DeadJob, EndJob, EndedJob, EnqueueOutcome, Finding, JobKind, JobLedger, JobStats,
    Leased, LedgerError, NewJob, OldestSnapshot,
};
use crate::rules::JobRun;

const SET_KIND: &str = "insert into tidegate_job_kind(kind, class, attempts, ttl_ms, events, changed_at) \
    values (?1, ?2, ?3, ?4, ?5, ?6) on conflict (kind) do update set class = excluded.class, \
    attempts = excluded.attempts, ttl_ms = excluded.ttl_ms, events = excluded.events, changed_at = excluded.changed_at";
const STATS: &str = "with attempt as (select e.kind, e.is_new, e.due_at, \
      exists (select 1 from tidegate_job_claim c where c.id = e.id and c.attempt = e.attempt) as is_leased, d.outcome \
      from tidegate_job_entry e left join tidegate_job_end d on d.id = e.id and d.attempt = e.attempt), \
    sums as (select kind, sum(outcome is null and not is_leased and due_at <= ?1) as waiting, \
      sum(outcome is null and not is_leased and due_at > ?1) as later, \
      sum(outcome is null and is_leased) as leased, \
      max(case when outcome is null and not is_leased and due_at <= ?1 then ?1 - due_at else 0 end) as oldest, \
      sum(is_new) as enqueued, coalesce(sum(outcome = 'done'), 0) as done, \
      coalesce(sum(outcome = 'expired'), 0) as expired from attempt group by kind) \
    select k.kind, k.class, k.run, coalesce(s.waiting, 0), coalesce(s.later, 0), coalesce(s.leased, 0), \
      (select count(*) from tidegate_job_dead x where x.kind = k.kind), coalesce(s.oldest, 0), \
      coalesce(s.enqueued, 0) + coalesce(t.enqueued, 0), coalesce(s.done, 0) + coalesce(t.done, 0), \
      coalesce(s.expired, 0) + coalesce(t.expired, 0) \
    from tidegate_job_kind k left join sums s on s.kind = k.kind left join tidegate_job_total t on t.kind = k.kind \
    order by k.kind";

#[async_trait]
impl JobLedger for SqliteLedger {
    async fn set_job_kinds(&self, kinds: Vec<JobKind>) -> Result<(), LedgerError> {
        let events_text = |events: &[String]| serde_json::json!(events).to_string();
        self.write(move |session| {
            for JobKind { name, class, attempts, ttl_ms, events } in &kinds {
                let events = events_text(events);
                let values = params![name, class.word(), attempts, ttl_ms, events, session.now_ms];
                session.run(SET_KIND, values)?;
            }
            Ok(())
        })
        .await
    }

    async fn enqueue_jobs(&self, jobs: Vec<NewJob>) -> Result<Vec<EnqueueOutcome>, LedgerError> {
        self.write(move |session| {
            jobs.iter().map(|job| job_changes::enqueue(session, job)).collect()
        })
        .await
    }

    async fn lease_jobs(&self, claim: Claim) -> Result<Leased, LedgerError> {
        self.write(move |session| job_changes::lease(session, &claim)).await
    }

    async fn end_jobs(&self, ends: Vec<EndJob>) -> Result<Vec<EndedJob>, LedgerError> {
        self.write(move |session| ends.iter().map(|end| job_changes::end(session, end)).collect())
            .await
    }

    async fn extend_job(
        &self,
        id: i64,
        attempt: u32,
        lease_ms: i64,
    ) -> Result<Option<i64>, LedgerError> {
        self.write(move |session| job_changes::extend(session, id, attempt, lease_ms)).await
    }

    async fn recover_jobs(&self, kind: &str, since_ms: i64) -> Result<(u64, i64), LedgerError> {
        let kind = kind.to_owned();
        let recovered = self.write(move |session| job_changes::recover(session, &kind)).await?;
        Ok((recovered, since_ms))
    }

    async fn set_job_run(&self, kind: &str, run: JobRun) -> Result<bool, LedgerError> {
        let kind = kind.to_owned();
        let set = move |session: &Session<'_>| {
            let sql = "update tidegate_job_kind set run = ?2, changed_at = ?3 where kind = ?1";
            session.run(sql, params![kind, run.word(), session.now_ms])
        };
        Ok(self.write(set).await? > 0)
    }

    async fn job_stats(&self) -> Result<Vec<JobStats>, LedgerError> {
        let read = |connection: &Connection| {
            let session = Session::snapshot(connection)?;
            let rows = session.list(STATS, [session.now_ms], |row| {
                let numbers = (3..11).map(|at| row.get::<_, i64>(at));
                let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
                let words = (row.get::<_, String>(1)?, row.get::<_, String>(2)?);
                Ok((row.get::<_, String>(0)?, words, numbers))
            })?;
            let stats = |(kind, (class, run), numbers): (String, (String, String), Vec<i64>)| {
                let number = |at: usize| numbers.get(at).copied().unwrap_or_default();
                Ok(JobStats {
                    kind,
                    class: parse_class(&class)?,
                    run: parse_run(&run)?,
                    waiting: number(0),
                    delayed: number(1),
                    leased: number(2),
                    dead: number(3),
                    oldest_ms: number(4),
                    enqueued: number(5),
                    done: number(6),
                    expired: number(7),
                })
            };
            rows.into_iter().map(stats).collect()
        };
        self.run(read).await
    }

    async fn dead_jobs(&self, kind: &str, limit: u32) -> Result<Vec<DeadJob>, LedgerError> {
        let kind = kind.to_owned();
        let read = move |connection: &Connection| {
            let sql = "select id, kind, attempt, reason, enqueued_at, died_at, body from tidegate_job_dead \
                where kind = ?1 order by died_at, id limit ?2";
            Session::snapshot(connection)?.list(sql, params![kind, limit], |row| {
                Ok(DeadJob {
                    id: row.get(0)?,
                    kind: row.get(1)?,
                    attempts: row.get(2)?,
                    reason: row.get(3)?,
                    enqueued_ms: row.get(4)?,
                    died_ms: row.get(5)?,
                    body: row.get(6)?,
                })
            })
        };
        self.run(read).await
    }

    async fn replay_jobs(&self, kind: &str, id: Option<i64>) -> Result<u64, LedgerError> {
        let kind = kind.to_owned();
        self.write(move |session| job_changes::replay(session, &kind, id)).await
    }

    async fn compact_jobs(&self) -> Result<(), LedgerError> {
        self.write(job_changes::compact).await
    }

    async fn job_clock_ms(&self) -> Result<i64, LedgerError> {
        let read = |connection: &Connection| {
            connection.query_row(&format!("select {NOW}"), [], |row| row.get(0)).map_err(failed)
        };
        self.run(read).await
    }

    /// A reader of a file delays no removal of rows.
    async fn oldest_snapshot(&self) -> Result<Option<OldestSnapshot>, LedgerError> {
        Ok(None)
    }

    async fn audit_jobs(&self) -> Result<Vec<Finding>, LedgerError> {
        let read = |connection: &Connection| {
            let session = Session::snapshot(connection)?;
            let sql = job_invariants::statement("tidegate_");
            let rows = session.list(&sql, [], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })?;
            let finding = |(name, subject, detail): (String, String, String)| {
                job_invariants::finding(&name, subject, detail).map_err(LedgerError::Unreadable)
            };
            rows.into_iter().map(finding).collect()
        };
        self.run(read).await
    }
}
