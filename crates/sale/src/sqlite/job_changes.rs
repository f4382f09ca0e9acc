//! Changes of jobs, inside a transaction.

use rusqlite::params;

use super::transaction::Session;
use crate::job_columns::parse_run;
use crate::ledger::{
    Claim, EndJob, EndedJob, EnqueueOutcome, Leased, LeasedJob, LedgerError, NewJob,
};
use crate::request::RequestKey;
use crate::rules::{
    AttemptEnd, JobEffect, JobInput, JobPhase, JobRun, JobState, KeyVerdict, judge_key, step_job,
};

/// A kind as it is recorded.
struct StoredKind {
    attempts: u32,
    ttl_ms: Option<i64>,
    run: JobRun,
}

fn kind(session: &Session<'_>, name: &str) -> Result<Option<StoredKind>, LedgerError> {
    let sql = "select attempts, ttl_ms, run from tidegate_job_kind where kind = ?1";
    let found = session
        .find(sql, [name], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
    let Some((attempts, ttl_ms, run)) = found else { return Ok(None) };
    Ok(Some(StoredKind { attempts, ttl_ms, run: parse_run(&run)? }))
}

/// Enqueues a job.
pub(super) fn enqueue(session: &Session<'_>, job: &NewJob) -> Result<EnqueueOutcome, LedgerError> {
    if let Some(request) = &job.request {
        let known = key(session, &job.kind, request.key.as_str(), true)?;
        match (judge_key(known.map(|(digest, _)| digest), request.digest), known) {
            (KeyVerdict::Reused, _) => return Ok(EnqueueOutcome::KeyReused),
            (KeyVerdict::Repeat, Some((_, id))) => return Ok(EnqueueOutcome::Repeated(id)),
            _ => {}
        }
    }
    let Some(StoredKind { attempts, ttl_ms, run }) = kind(session, &job.kind)? else {
        return Ok(EnqueueOutcome::UnknownKind);
    };
    if run == JobRun::Draining {
        return Ok(EnqueueOutcome::Draining);
    }
    let open = match &job.unique {
        Some(unique) => key(session, &job.kind, unique, false)?.map(|(_, id)| id),
        None => None,
    };
    if let Some(id) = open {
        store_request(session, job.request.as_ref(), &job.kind, id)?;
        return Ok(EnqueueOutcome::Repeated(id));
    }
    session.run("update tidegate_job_id set last = last + 1", [])?;
    let id = session.find("select last from tidegate_job_id", [], |row| row.get(0))?;
    let id: i64 = id.unwrap_or_default();
    let due = session.now_ms + job.delay_ms;
    let expires = job.ttl_ms.or(ttl_ms).map(|ttl| due + ttl);
    session.run(
        "insert into tidegate_job_entry(id, attempt, attempts_left, kind, body, unique_key, is_new, is_delayed, \
           enqueued_at, due_at, expires_at) values (?1, 1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8, ?9)",
        params![
            id,
            attempts,
            job.kind,
            job.body,
            job.unique,
            job.delay_ms > 0,
            session.now_ms,
            due,
            expires
        ],
    )?;
    if let Some(unique) = &job.unique {
        store_key(session, &job.kind, unique, false, 0, id)?;
    }
    store_request(session, job.request.as_ref(), &job.kind, id)?;
    Ok(EnqueueOutcome::Enqueued(id))
}

fn key(
    session: &Session<'_>,
    kind: &str,
    key: &str,
    is_request: bool,
) -> Result<Option<(u64, i64)>, LedgerError> {
    let sql =
        "select digest, id from tidegate_job_key where kind = ?1 and key = ?2 and is_request = ?3";
    session.find(sql, params![kind, key, is_request], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
    })
}

fn store_key(
    session: &Session<'_>,
    kind: &str,
    key: &str,
    is_request: bool,
    digest: u64,
    id: i64,
) -> Result<(), LedgerError> {
    session.run(
        "insert into tidegate_job_key(kind, key, is_request, digest, id, at) values (?1, ?2, ?3, ?4, ?5, ?6)",
        params![kind, key, is_request, digest.cast_signed(), id, session.now_ms],
    )?;
    Ok(())
}

fn store_request(
    session: &Session<'_>,
    request: Option<&RequestKey>,
    kind: &str,
    id: i64,
) -> Result<(), LedgerError> {
    match request {
        Some(request) => store_key(session, kind, request.key.as_str(), true, request.digest, id),
        None => Ok(()),
    }
}

/// An attempt as it is recorded.
struct StoredAttempt {
    id: i64,
    kind: String,
    body: String,
    unique: Option<String>,
    enqueued_ms: i64,
    due_ms: i64,
    state: JobState,
    recorded_end: Option<String>,
}

const COLUMNS: &str = "e.id, e.kind, e.body, e.unique_key, e.enqueued_at, e.due_at, e.attempt, e.attempts_left, \
    e.expires_at, (select max(c.leased_until) from tidegate_job_claim c where c.id = e.id and c.attempt = e.attempt), \
    (select d.outcome from tidegate_job_end d where d.id = e.id and d.attempt = e.attempt)";

fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredAttempt> {
    let due_ms = row.get(5)?;
    let phase = match row.get(9)? {
        Some(until_ms) => JobPhase::Leased { until_ms },
        None => JobPhase::Waiting { due_ms },
    };
    Ok(StoredAttempt {
        id: row.get(0)?,
        kind: row.get(1)?,
        body: row.get(2)?,
        unique: row.get(3)?,
        enqueued_ms: row.get(4)?,
        due_ms,
        state: JobState {
            attempt: row.get(6)?,
            attempts_left: row.get(7)?,
            expires_ms: row.get(8)?,
            phase,
        },
        recorded_end: row.get(10)?,
    })
}

fn attempt(
    session: &Session<'_>,
    id: i64,
    attempt: u32,
) -> Result<Option<StoredAttempt>, LedgerError> {
    let sql =
        format!("select {COLUMNS} from tidegate_job_entry e where e.id = ?1 and e.attempt = ?2");
    session.find(&sql, params![id, attempt], stored)
}

/// Leases due attempts of a kind.
pub(super) fn lease(session: &Session<'_>, claim: &Claim) -> Result<Leased, LedgerError> {
    let Some(StoredKind { run, .. }) = kind(session, &claim.kind)? else {
        return Ok(Leased::default());
    };
    let sql = format!(
        "select {COLUMNS} from tidegate_job_entry e where e.kind = ?1 and e.due_at <= ?2 \
           and not exists (select 1 from tidegate_job_claim c where c.id = e.id and c.attempt = e.attempt) \
           and not exists (select 1 from tidegate_job_end d where d.id = e.id and d.attempt = e.attempt) \
         order by e.due_at, e.place limit ?3"
    );
    let waiting = session.list(&sql, params![claim.kind, session.now_ms, claim.most], stored)?;
    let input = JobInput::Lease { lease_ms: claim.lease_ms, paused: run == JobRun::Paused };
    let mut leased = Leased::default();
    for waits in waiting {
        match step_job(waits.state, input, session.now_ms) {
            Ok((next, JobEffect::Run)) => {
                let until_ms = store_lease(session, &waits, next, 0, &claim.worker)?;
                let StoredAttempt { id, body, enqueued_ms, due_ms, state, .. } = waits;
                let JobState { attempt, attempts_left, .. } = state;
                leased.jobs.push(LeasedJob {
                    id,
                    attempt,
                    attempts_left,
                    body,
                    enqueued_ms,
                    due_ms,
                    until_ms,
                });
            }
            Ok((next, JobEffect::End(end))) => store_end(session, &waits, next, end, None)?,
            _ => {}
        }
    }
    Ok(leased)
}

fn store_lease(
    session: &Session<'_>,
    stored: &StoredAttempt,
    next: JobState,
    number: i64,
    worker: &str,
) -> Result<i64, LedgerError> {
    let JobPhase::Leased { until_ms } = next.phase else {
        return Err(LedgerError::Unreadable(format!("job {} has no lease", stored.id)));
    };
    session.run(
        "insert into tidegate_job_claim(id, attempt, number, kind, worker, at, leased_until) \
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![stored.id, next.attempt, number, stored.kind, worker, session.now_ms, until_ms],
    )?;
    Ok(until_ms)
}

/// Records the end of an attempt, with the rows that follow from it. `next`: the state after it.
fn store_end(
    session: &Session<'_>,
    before: &StoredAttempt,
    next: JobState,
    end: AttemptEnd,
    reason: Option<&str>,
) -> Result<(), LedgerError> {
    let StoredAttempt { id, kind, body, unique, enqueued_ms, state, .. } = before;
    session.run(
        "insert into tidegate_job_end(id, attempt, kind, outcome, reason, at) values (?1, ?2, ?3, ?4, ?5, ?6)",
        params![id, state.attempt, kind, end.word(), reason, session.now_ms],
    )?;
    match next.phase {
        JobPhase::Waiting { due_ms } => {
            session.run(
                "insert into tidegate_job_entry(id, attempt, attempts_left, kind, body, unique_key, is_new, \
                   is_delayed, enqueued_at, due_at, expires_at) values (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9, ?10)",
                params![
                    id,
                    next.attempt,
                    next.attempts_left,
                    kind,
                    body,
                    unique,
                    due_ms > session.now_ms,
                    enqueued_ms,
                    due_ms,
                    next.expires_ms
                ],
            )?;
            return Ok(());
        }
        JobPhase::Ended(_) | JobPhase::Leased { .. } => {}
    }
    if end == AttemptEnd::Dead {
        session.run(
            "insert into tidegate_job_dead(id, attempt, kind, body, reason, enqueued_at, died_at) \
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![id, state.attempt, kind, body, reason, enqueued_ms, session.now_ms],
        )?;
    }
    let sql =
        "delete from tidegate_job_key where kind = ?1 and key = ?2 and is_request = 0 and id = ?3";
    session.run(sql, params![kind, unique, id])?;
    Ok(())
}

/// Ends an attempt.
pub(super) fn end(session: &Session<'_>, report: &EndJob) -> Result<EndedJob, LedgerError> {
    let none = EndedJob { end: None, is_first: false };
    let Some(found) = attempt(session, report.id, report.attempt)? else { return Ok(none) };
    if let Some(word) = &found.recorded_end {
        let end = crate::job_columns::parse_end(word)?;
        return Ok(EndedJob { end: Some(end), is_first: false });
    }
    let input = JobInput::Report { attempt: report.attempt, outcome: report.outcome };
    match step_job(found.state, input, session.now_ms) {
        Ok((next, JobEffect::End(end))) => {
            store_end(session, &found, next, end, report.reason.as_deref())?;
            Ok(EndedJob { end: Some(end), is_first: true })
        }
        _ => Ok(none),
    }
}

/// Extends a lease.
pub(super) fn extend(
    session: &Session<'_>,
    id: i64,
    number: u32,
    lease_ms: i64,
) -> Result<Option<i64>, LedgerError> {
    let Some(found) = attempt(session, id, number)? else { return Ok(None) };
    if found.recorded_end.is_some() {
        return Ok(None);
    }
    let input = JobInput::Extend { attempt: number, lease_ms };
    let Ok((next, _)) = step_job(found.state, input, session.now_ms) else { return Ok(None) };
    let sql = "select max(number), worker from tidegate_job_claim where id = ?1 and attempt = ?2";
    let last = session.find(sql, params![id, number], |row| {
        Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<String>>(1)?))
    })?;
    let Some((Some(last), Some(worker))) = last else { return Ok(None) };
    store_lease(session, &found, next, last + 1, &worker).map(Some)
}

/// Ends attempts whose leases are over.
pub(super) fn recover(session: &Session<'_>, kind: &str) -> Result<u64, LedgerError> {
    let sql = format!(
        "select {COLUMNS} from tidegate_job_entry e where e.kind = ?1 \
           and exists (select 1 from tidegate_job_claim c where c.id = e.id and c.attempt = e.attempt) \
           and not exists (select 1 from tidegate_job_end d where d.id = e.id and d.attempt = e.attempt)"
    );
    let mut recovered = 0;
    for leased in session.list(&sql, [kind], stored)? {
        let stepped = step_job(leased.state, JobInput::Recover, session.now_ms);
        if let Ok((next, JobEffect::End(end))) = stepped {
            let reason = "its lease ended without an outcome";
            store_end(session, &leased, next, end, Some(reason))?;
            recovered += 1;
        }
    }
    Ok(recovered)
}

/// Enqueues dead letters again.
pub(super) fn replay(
    session: &Session<'_>,
    name: &str,
    only: Option<i64>,
) -> Result<u64, LedgerError> {
    let Some(StoredKind { attempts, ttl_ms, .. }) = kind(session, name)? else { return Ok(0) };
    let sql = "insert into tidegate_job_entry(id, attempt, attempts_left, kind, body, is_new, is_delayed, enqueued_at, \
          due_at, expires_at) \
        select id, attempt + 1, ?3, kind, body, 1, 0, enqueued_at, ?4, ?5 from tidegate_job_dead \
        where kind = ?1 and (?2 is null or id = ?2) order by died_at, id";
    let now = session.now_ms;
    let expires = ttl_ms.map(|ttl| now + ttl);
    let replayed = session.run(sql, params![name, only, attempts, now, expires])?;
    let sql = "delete from tidegate_job_dead where kind = ?1 and (?2 is null or id = ?2)";
    session.run(sql, params![name, only])?;
    Ok(replayed as u64)
}

/// The most attempts that are deleted in one transaction, so that others do not wait for long.
const COMPACT_MAX: i64 = 2_000;

/// Deletes ended attempts of jobs that have ended, and counts them.
pub(super) fn compact(session: &Session<'_>) -> Result<(), LedgerError> {
    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
    let now = session.now_ms;
    session.run("delete from tidegate_job_key where is_request = 1 and at < ?1", [now - DAY_MS])?;
    // A worker may repeat its report for a minute.
    session.run(
        "create temp table if not exists tidegate_gone(id, attempt, kind, outcome, is_new)",
        [],
    )?;
    session.run("delete from temp.tidegate_gone", [])?;
    session.run(
        "insert into temp.tidegate_gone select d.id, d.attempt, d.kind, d.outcome, e.is_new \
         from tidegate_job_end d join tidegate_job_entry e on e.id = d.id and e.attempt = d.attempt \
         where d.at < ?1 limit ?2",
        [now - 60_000, COMPACT_MAX],
    )?;
    session.run(
        "insert into tidegate_job_total(kind, enqueued, done, dead, expired) \
         select kind, sum(is_new), sum(outcome = 'done'), sum(outcome = 'dead'), sum(outcome = 'expired') \
         from temp.tidegate_gone where true group by kind \
         on conflict (kind) do update set enqueued = enqueued + excluded.enqueued, done = done + excluded.done, \
           dead = dead + excluded.dead, expired = expired + excluded.expired",
        [],
    )?;
    for table in ["tidegate_job_entry", "tidegate_job_claim", "tidegate_job_end"] {
        let sql = format!(
            "delete from {table} where (id, attempt) in (select id, attempt from temp.tidegate_gone)"
        );
        session.run(&sql, [])?;
    }
    Ok(())
}
