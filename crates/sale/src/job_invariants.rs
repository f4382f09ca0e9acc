//! The invariants of jobs (20 and 21 of the design), as queries for both databases.

use crate::ledger::Finding;

/// An invariant: rows of subject and detail are violations. `{t}` is the prefix of tables.
struct Invariant {
    name: &'static str,
    repair: &'static str,
    query: &'static str,
}

const ALL: &[Invariant] = &[
    // 20
    Invariant {
        name: "jobs-are-conserved",
        repair: "compare the kind's jobs with what should have been done, and enqueue those that are missing; find the program that changed the tables",
        query: "select n.kind, 'enqueued ' || n.enqueued || '; open ' || n.open || ', ended ' || n.ended from ( \
              select u.kind, sum(u.enqueued) as enqueued, sum(u.open) as open, sum(u.ended) as ended from ( \
                select kind, enqueued, 0 as open, done + dead + expired as ended from {t}job_total \
                union all select e.kind, case when e.is_new then 1 else 0 end, \
                    case when d.id is null then 1 else 0 end, 0 \
                  from {t}job_entry e left join {t}job_end d on d.id = e.id and d.attempt = e.attempt \
                union all select kind, 0, 0, 1 from {t}job_end where outcome in ('done', 'dead', 'expired')) u \
              group by u.kind) n where n.enqueued <> n.open + n.ended",
    },
    Invariant {
        name: "dead-letters-are-kept-once",
        repair: "let the open attempt end, and do not replay the dead letter: the job would run twice",
        query: "select 'job ' || x.id, 'attempt ' || x.attempt || ' is open beside its dead letter' \
            from {t}job_dead x join {t}job_entry e on e.id = x.id and e.attempt > x.attempt",
    },
    // 21
    Invariant {
        name: "leases-are-exclusive",
        repair: "look for effects that were made twice: both attempts have the same job id",
        query: "select 'job ' || d.id, 'attempt ' || n.attempt || ' was leased before attempt ' || d.attempt || ' ended' \
            from {t}job_end d join {t}job_claim n on n.id = d.id and n.attempt = d.attempt + 1 and n.number = 0 \
            where n.at < d.at",
    },
    Invariant {
        name: "leases-run-out-before-recovery",
        repair: "look for effects that were made twice: the attempt may have gone on",
        query: "select 'job ' || d.id, 'attempt ' || d.attempt || ' was taken away before its lease was over' \
            from {t}job_end d where d.outcome = 'lost' and exists (select 1 from {t}job_claim c \
              where c.id = d.id and c.attempt = d.attempt and c.leased_until > d.at)",
    },
    Invariant {
        name: "attempts-are-bounded",
        repair: "drain the kind; find the program that changed the tables",
        query: "select 'job ' || e.id, 'attempt ' || e.attempt || ' has ' || e.attempts_left || ' left' \
            from {t}job_entry e where e.attempts_left < 1",
    },
    Invariant {
        name: "expired-jobs-do-not-run",
        repair: "look at the effect of the job: it came too late",
        query: "select 'job ' || c.id, 'attempt ' || c.attempt || ' was leased after its time to live' \
            from {t}job_claim c join {t}job_entry e on e.id = c.id and e.attempt = c.attempt \
            where c.number = 0 and c.at >= e.expires_at",
    },
    Invariant {
        name: "attempts-start-when-due",
        repair: "look at the effect of the job: it came too early",
        query: "select 'job ' || c.id, 'attempt ' || c.attempt || ' was leased before it was due' \
            from {t}job_claim c join {t}job_entry e on e.id = c.id and e.attempt = c.attempt \
            where c.number = 0 and c.at < e.due_at",
    },
];

/// Returns the statement that checks all invariants: rows of name, subject and detail.
pub(crate) fn statement(prefix: &str) -> String {
    let parts = ALL.iter().map(|Invariant { name, query, .. }| {
        let (query, alias) = (query.replace("{t}", prefix), name.replace('-', "_"));
        format!("select '{name}', {alias}.* from ({query}) as {alias}")
    });
    parts.collect::<Vec<_>>().join(" union all ")
}

/// Returns the finding of a row.
///
/// # Errors
/// The name is none of the statement's.
pub(crate) fn finding(name: &str, subject: String, detail: String) -> Result<Finding, String> {
    let invariant = ALL.iter().find(|invariant| invariant.name == name);
    let Invariant { name, repair, .. } =
        invariant.ok_or_else(|| format!("the invariant {name:?}"))?;
    Ok(Finding { invariant: name, subject, detail, repair })
}

/// Returns the names of the invariants.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|invariant| invariant.name)
}
