//! Jobs.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::client::unreadable;
use super::ledger::PostgresLedger;
use crate::job_columns::{outcome_columns, parse_class, parse_end, parse_run};
use crate::job_invariants;
use crate::ledger::{
    Claim, DeadJob, EndJob, EndedJob, EnqueueOutcome, Finding, JobKind, JobLedger, JobStats,
    Leased, LeasedJob, LedgerError, NewJob, OldestSnapshot, Reading,
};
use crate::rules::{JobRun, SegmentRows, SegmentStep, plan_segments};

const SET_KINDS: &str = "insert into tidegate.job_kind(kind, class, attempts, ttl_ms, events) \
      select g.kind, g.class, g.attempts::int, g.ttl_ms, string_to_array(g.events, ' ') \
      from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[]) \
        g(kind, class, attempts, ttl_ms, events) \
    on conflict (kind) do update set class = excluded.class, attempts = excluded.attempts, \
      ttl_ms = excluded.ttl_ms, events = excluded.events, changed_at = clock_timestamp()";
const ENQUEUE: &str = "select * from tidegate.enqueue_jobs($1, $2, $3, $4, $5, $6, $7)";
const CLAIM: &str = "select * from tidegate.claim_jobs($1, $2, $3, $4, $5, $6)";
const END: &str = "select * from tidegate.end_jobs($1, $2, $3, $4, $5)";
const EXTEND: &str = "select tidegate.extend_job($1, $2, $3)";
const RECOVER: &str = "select * from tidegate.recover_jobs($1, $2, 256)";
/// The lock is that of claims: no attempt starts after this statement.
const SET_RUN: &str = "with locked as materialized (select pg_advisory_xact_lock(hashtextextended($1, 7410))) \
    update tidegate.job_kind k set run = $2, changed_at = clock_timestamp() from locked where k.kind = $1 returning 1";
const STATS: &str = "with entry as (select e.kind, count(*) as rows, count(*) filter (where e.is_new) as enqueued, \
        count(*) filter (where e.is_delayed and e.due_at > statement_timestamp()) as delayed \
      from tidegate.job_entry e group by e.kind), \
    ended as (select d.kind, count(*) as rows, count(*) filter (where d.outcome <> 'expired') as leased, \
        count(*) filter (where d.outcome = 'done') as done, count(*) filter (where d.outcome = 'expired') as expired \
      from tidegate.job_end d group by d.kind), \
    claim as (select c.kind, count(*) as rows from tidegate.job_claim c where c.number = 0 group by c.kind), \
    dead as (select x.kind, count(*) as rows from tidegate.job_dead x group by x.kind) \
    select k.kind, k.class, k.run, \
      coalesce(entry.rows, 0) - coalesce(ended.rows, 0) as open, coalesce(entry.delayed, 0) as delayed, \
      coalesce(claim.rows, 0) - coalesce(ended.leased, 0) as leased, coalesce(dead.rows, 0) as dead, \
      coalesce(floor(extract(epoch from statement_timestamp() - oldest.due_at) * 1000)::bigint, 0) as oldest_ms, \
      coalesce(entry.enqueued, 0) + coalesce(t.enqueued, 0) as enqueued, \
      coalesce(ended.done, 0) + coalesce(t.done, 0) as done, \
      coalesce(ended.expired, 0) + coalesce(t.expired, 0) as expired \
    from tidegate.job_kind k left join entry on entry.kind = k.kind left join ended on ended.kind = k.kind \
      left join claim on claim.kind = k.kind left join dead on dead.kind = k.kind \
      left join tidegate.job_total t on t.kind = k.kind \
      left join lateral (select min(e.due_at) as due_at from tidegate.job_entry e \
        where e.kind = k.kind and e.due_at <= statement_timestamp() \
          and not exists (select 1 from tidegate.job_claim c where c.id = e.id and c.attempt = e.attempt) \
          and not exists (select 1 from tidegate.job_end d where d.id = e.id and d.attempt = e.attempt) \
      ) oldest on true order by k.kind";
const DEAD: &str = "select id, kind, attempt::bigint, reason, tidegate.ms(enqueued_at), tidegate.ms(died_at), body \
    from tidegate.job_dead where kind = $1 order by died_at, id limit $2";
/// One statement: the letters of its snapshot, so that jobs that die again meanwhile are not taken up again.
const REPLAY: &str = "with gone as (delete from tidegate.job_dead x \
      where x.kind = $1 and ($2::bigint is null or x.id = $2) returning x.*), \
    back as (insert into tidegate.job_entry(segment, id, attempt, attempts_left, kind, body, is_new, is_delayed, \
        enqueued_at, due_at, expires_at) \
      select s.current, g.id, g.attempt + 1, k.attempts, g.kind, g.body, true, false, g.enqueued_at, t.now, \
        t.now + k.ttl_ms * interval '1 millisecond' \
      from gone g join tidegate.job_kind k on k.kind = g.kind cross join tidegate.job_segment s \
        cross join (select clock_timestamp() as now) t returning 1) \
    select count(*) from back";
const SEGMENTS: &str = "select s.current::bigint, n.n::bigint, count(e.id) as rows, \
      count(e.id) filter (where d.id is null) as open \
    from tidegate.job_segment s cross join generate_series(0, 3) n(n) \
      left join tidegate.job_entry e on e.segment = n.n \
      left join tidegate.job_end d on d.id = e.id and d.attempt = e.attempt \
    group by s.current, n.n order by n.n";
const TURN: &str =
    "update tidegate.job_segment set current = $1::bigint where current = $2::bigint returning 1";
const CLEAR: &str = "select tidegate.clear_job_segment($1::bigint::int)";
const FORGET: &str = "delete from tidegate.job_key \
    where is_request and at < statement_timestamp() - interval '24 hours' returning 1";
const CLOCK: &str = "select tidegate.ms(clock_timestamp())";
const SNAPSHOT: &str = "select coalesce(floor(extract(epoch from clock_timestamp() - min(xact_start) \
      filter (where backend_xmin is not null or backend_xid is not null)))::bigint, 0), \
      count(*) filter (where query = '<insufficient privilege>') \
    from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";

fn enqueued(row: &Row) -> Result<EnqueueOutcome, LedgerError> {
    let id = || -> Result<i64, LedgerError> { row.try_get("job").map_err(unreadable) };
    match row.try_get("outcome").map_err(unreadable)? {
        "enqueued" => Ok(EnqueueOutcome::Enqueued(id()?)),
        "repeated" => Ok(EnqueueOutcome::Repeated(id()?)),
        "reused" => Ok(EnqueueOutcome::KeyReused),
        "unknown" => Ok(EnqueueOutcome::UnknownKind),
        "draining" => Ok(EnqueueOutcome::Draining),
        other => Err(LedgerError::Unreadable(format!("the outcome {other:?}"))),
    }
}

fn leased(rows: &[Row]) -> Result<Leased, LedgerError> {
    let mut leased = Leased::default();
    for row in rows {
        let number = |name| row.try_get::<_, i64>(name).map_err(unreadable);
        let optional = |name| row.try_get::<_, Option<i64>>(name).map_err(unreadable);
        let count = |name| row.try_get::<_, i32>(name).map_err(unreadable).map(i32::cast_unsigned);
        let Some(id) = optional("job")? else {
            leased.reading = Some(Reading {
                place: optional("read_place")?,
                due_ms: optional("read_due_ms")?,
                read: count("attempts_left")?,
                oldest_open: number("oldest_open")?,
                next_open: number("next_open")?,
            });
            continue;
        };
        leased.jobs.push(LeasedJob {
            id,
            attempt: count("attempt")?,
            attempts_left: count("attempts_left")?,
            body: row.try_get("body").map_err(unreadable)?,
            enqueued_ms: number("enqueued_ms")?,
            due_ms: number("due_ms")?,
            until_ms: number("until_ms")?,
        });
    }
    Ok(leased)
}

fn stats(row: &Row) -> Result<JobStats, LedgerError> {
    let number = |name| row.try_get::<_, i64>(name).map_err(unreadable);
    let (delayed, leased) = (number("delayed")?, number("leased")?);
    Ok(JobStats {
        kind: row.try_get("kind").map_err(unreadable)?,
        class: parse_class(row.try_get("class").map_err(unreadable)?)?,
        run: parse_run(row.try_get("run").map_err(unreadable)?)?,
        waiting: number("open")? - delayed - leased,
        delayed,
        leased,
        dead: number("dead")?,
        oldest_ms: number("oldest_ms")?,
        enqueued: number("enqueued")?,
        done: number("done")?,
        expired: number("expired")?,
    })
}

#[async_trait]
impl JobLedger for PostgresLedger {
    async fn set_job_kinds(&self, kinds: Vec<JobKind>) -> Result<(), LedgerError> {
        let names: Vec<&str> = kinds.iter().map(|kind| &*kind.name).collect();
        let classes: Vec<&str> = kinds.iter().map(|kind| kind.class.word()).collect();
        let attempts: Vec<i64> = kinds.iter().map(|kind| kind.attempts.into()).collect();
        let ttls: Vec<Option<i64>> = kinds.iter().map(|kind| kind.ttl_ms).collect();
        let events: Vec<String> = kinds.iter().map(|kind| kind.events.join(" ")).collect();
        let parameters: [&(dyn ToSql + Sync); 5] = [&names, &classes, &attempts, &ttls, &events];
        self.client.rows("recording kinds of jobs", SET_KINDS, &parameters).await?;
        Ok(())
    }

    async fn enqueue_jobs(&self, jobs: Vec<NewJob>) -> Result<Vec<EnqueueOutcome>, LedgerError> {
        let kinds: Vec<&str> = jobs.iter().map(|job| &*job.kind).collect();
        let bodies: Vec<&str> = jobs.iter().map(|job| &*job.body).collect();
        let requests = || jobs.iter().map(|job| job.request.as_ref());
        let keys: Vec<Option<&str>> =
            requests().map(|request| request.map(|request| request.key.as_str())).collect();
        let digests: Vec<Option<i64>> =
            requests().map(|request| request.map(|key| key.digest.cast_signed())).collect();
        let uniques: Vec<Option<&str>> = jobs.iter().map(|job| job.unique.as_deref()).collect();
        let delays: Vec<i64> = jobs.iter().map(|job| job.delay_ms).collect();
        let ttls: Vec<Option<i64>> = jobs.iter().map(|job| job.ttl_ms).collect();
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&kinds, &bodies, &keys, &digests, &uniques, &delays, &ttls];
        let rows = self.client.rows("enqueuing jobs", ENQUEUE, &parameters).await?;
        if rows.len() != jobs.len() {
            let (answered, sent) = (rows.len(), jobs.len());
            return Err(LedgerError::Unreadable(format!("{answered} outcomes for {sent} jobs")));
        }
        rows.iter().map(enqueued).collect()
    }

    async fn lease_jobs(&self, claim: Claim) -> Result<Leased, LedgerError> {
        let Claim { kind, most, lease_ms, worker, read } = &claim;
        let most = i64::from(*most);
        let parameters: [&(dyn ToSql + Sync); 6] =
            [kind, &most, lease_ms, worker, &read.place, &read.due_ms];
        leased(&self.client.rows("leasing jobs", CLAIM, &parameters).await?)
    }

    async fn end_jobs(&self, ends: Vec<EndJob>) -> Result<Vec<EndedJob>, LedgerError> {
        let ids: Vec<i64> = ends.iter().map(|end| end.id).collect();
        let attempts: Vec<i32> = ends.iter().map(|end| end.attempt.cast_signed()).collect();
        let reasons: Vec<Option<&str>> = ends.iter().map(|end| end.reason.as_deref()).collect();
        let (words, delays): (Vec<&str>, Vec<i64>) =
            ends.iter().map(|end| outcome_columns(end.outcome)).unzip();
        let parameters: [&(dyn ToSql + Sync); 5] = [&ids, &attempts, &words, &reasons, &delays];
        let rows = self.client.rows("ending jobs", END, &parameters).await?;
        let ended = |row: &Row| {
            let word: Option<&str> = row.try_get(0).map_err(unreadable)?;
            let is_first = row.try_get(1).map_err(unreadable)?;
            Ok(EndedJob { end: word.map(parse_end).transpose()?, is_first })
        };
        rows.iter().map(ended).collect()
    }

    async fn extend_job(
        &self,
        id: i64,
        attempt: u32,
        lease_ms: i64,
    ) -> Result<Option<i64>, LedgerError> {
        let attempt = attempt.cast_signed();
        let row = self.client.row("extending a lease", EXTEND, &[&id, &attempt, &lease_ms]).await?;
        row.try_get(0).map_err(unreadable)
    }

    async fn recover_jobs(&self, kind: &str, since_ms: i64) -> Result<(u64, i64), LedgerError> {
        let row = self.client.row("recovering jobs", RECOVER, &[&kind, &since_ms]).await?;
        let recovered: i64 = row.try_get(0).map_err(unreadable)?;
        Ok((recovered.cast_unsigned(), row.try_get(1).map_err(unreadable)?))
    }

    async fn set_job_run(&self, kind: &str, run: JobRun) -> Result<bool, LedgerError> {
        let rows = self.client.rows("changing a kind", SET_RUN, &[&kind, &run.word()]).await?;
        Ok(!rows.is_empty())
    }

    async fn job_stats(&self) -> Result<Vec<JobStats>, LedgerError> {
        self.reports.rows("counting jobs", STATS, &[]).await?.iter().map(stats).collect()
    }

    async fn dead_jobs(&self, kind: &str, limit: u32) -> Result<Vec<DeadJob>, LedgerError> {
        let rows =
            self.client.rows("reading dead letters", DEAD, &[&kind, &i64::from(limit)]).await?;
        let dead = |row: &Row| {
            let number = |at| row.try_get::<_, i64>(at).map_err(unreadable);
            Ok(DeadJob {
                id: number(0)?,
                kind: row.try_get(1).map_err(unreadable)?,
                attempts: number(2)?,
                reason: row.try_get(3).map_err(unreadable)?,
                enqueued_ms: number(4)?,
                died_ms: number(5)?,
                body: row.try_get(6).map_err(unreadable)?,
            })
        };
        rows.iter().map(dead).collect()
    }

    async fn replay_jobs(&self, kind: &str, id: Option<i64>) -> Result<u64, LedgerError> {
        let row = self.client.row("replaying dead letters", REPLAY, &[&kind, &id]).await?;
        row.try_get::<_, i64>(0).map(i64::cast_unsigned).map_err(unreadable)
    }

    async fn compact_jobs(&self) -> Result<(), LedgerError> {
        self.client.rows("forgetting keys of jobs", FORGET, &[]).await?;
        let rows = self.reports.rows("reading segments", SEGMENTS, &[]).await?;
        let number = |row: &Row, at| row.try_get::<_, i64>(at).map_err(unreadable);
        let segment = |row: &Row| Ok(SegmentRows { rows: number(row, 2)?, open: number(row, 3)? });
        let segments = rows.iter().map(segment).collect::<Result<Vec<_>, LedgerError>>()?;
        let current = rows.first().map(|row| number(row, 0)).transpose()?.unwrap_or_default();
        match plan_segments(usize::try_from(current).unwrap_or_default(), &segments) {
            Some(SegmentStep::Turn(to)) => {
                let to = i64::try_from(to).unwrap_or_default();
                self.client.rows("turning a segment", TURN, &[&to, &current]).await?;
            }
            Some(SegmentStep::Clear(segment)) => {
                let segment = i64::try_from(segment).unwrap_or_default();
                self.client.row("emptying a segment", CLEAR, &[&segment]).await?;
            }
            None => {}
        }
        Ok(())
    }

    async fn job_clock_ms(&self) -> Result<i64, LedgerError> {
        let row = self.client.row("reading the clock", CLOCK, &[]).await?;
        row.try_get(0).map_err(unreadable)
    }

    async fn oldest_snapshot(&self) -> Result<Option<OldestSnapshot>, LedgerError> {
        let row = self.client.row("reading sessions", SNAPSHOT, &[]).await?;
        let number = |at| row.try_get::<_, i64>(at).map_err(unreadable);
        Ok(Some(OldestSnapshot { age_seconds: number(0)?, hidden_sessions: number(1)? }))
    }

    async fn audit_jobs(&self) -> Result<Vec<Finding>, LedgerError> {
        let sql = job_invariants::statement("tidegate.");
        let rows = self.reports.rows("checking jobs", &sql, &[]).await?;
        let finding = |row: &Row| {
            let text = |at| row.try_get::<_, String>(at).map_err(unreadable);
            job_invariants::finding(&text(0)?, text(1)?, text(2)?).map_err(LedgerError::Unreadable)
        };
        rows.iter().map(finding).collect()
    }
}
