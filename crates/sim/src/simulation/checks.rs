//! The checks of every answer against the recorded history.

use std::time::Duration;

use cache::{Answer, AtomicBatch, Content, Policy, ReadError, Stale, Tier};
use coherence::{Epoch, Lsn};
use contract::Unproven;

use super::commits::{Cell, Version};
use super::contracts::cells_of;
use super::database::Database;
use super::environment::Environment;
use super::trace::TraceEvent;
use super::values::{nanos, versions};

/// The largest bound of an answer in a period without faults.
const CALM_BOUND: Duration = Duration::from_secs(2);

/// Checks the first promise about tiers: an entry misses no commit that its tier has applied.
pub(super) fn check_entry(
    env: &Environment,
    what: &str,
    key: Option<usize>,
    content: &Content,
    epoch: Epoch,
    applied: Lsn,
) {
    // The entries of another database are its own concern.
    let Some(key) = key.filter(|_| env.is_own(epoch)) else { return };
    let required = |db: &Database, cell| db.upto(cell, db.generation_of(epoch.server), applied);
    if let Some(missing) = missing(env, key, content, 0, required) {
        env.violation(format!(
            "{what} of row {key} misses a commit that its tier has applied ({applied} of {epoch}): {missing}"
        ));
    }
}

/// Returns the error of an answer as of `then`: it must include every commit that was visible before,
/// and no commit that was lost before.
fn missing_as_of(env: &Environment, key: usize, content: &Content, then: u64) -> Option<String> {
    missing(env, key, content, then, |db, cell| db.required(cell, then))
}

/// Checks that an answer includes the writer's own commit.
pub(super) fn check_own_write(env: &Environment, key: usize, content: &Content, commit: usize) {
    if env.db.lock().commits[commit].lost.is_some() {
        return;
    }
    let wrote = |db: &Database, cell: Cell| {
        let cells = &db.commits[commit].cells;
        let version = cells.iter().find(|(written, _)| *written == cell);
        version.map_or(Version { commit: 0, present: true }, |(_, present)| Version {
            commit,
            present: *present,
        })
    };
    if let Some(missing) = missing(env, key, content, 0, wrote) {
        env.violation(format!("an answer to a token misses its write: row {key}: {missing}"));
    }
}

/// Returns the error of an answer for which `required` returns the required version of each cell: a cell
/// that is older, or one that was lost before `then`.
fn missing(
    env: &Environment,
    key: usize,
    content: &Content,
    then: u64,
    required: impl Fn(&Database, Cell) -> Version,
) -> Option<String> {
    env.counts.lock().checks += 1;
    let db = env.db.lock();
    let Some(included) = versions(content) else {
        let required = required(&db, key);
        let gone = db.was_gone(key, required, then);
        return (!gone).then(|| format!("the row is reported absent; required is {required:?}"));
    };
    cells_of(key).into_iter().zip(included).find_map(|(cell, included)| {
        let included = usize::try_from(included).unwrap_or(usize::MAX);
        let required = required(&db, cell);
        let text = |what: &str| {
            let (has, needs) = (db.commits.get(included), &db.commits[required.commit]);
            Some(format!(
                "cell {cell} {what}; it has commit {included} {has:?}, required is {needs:?}"
            ))
        };
        if included < required.commit {
            return text("is old");
        }
        match db.commits.get(included) {
            None => text("is of no commit"),
            // A value of another database has the numbers of other commits.
            Some(commit)
                if included > 0 && commit.cells.iter().all(|(wrote, _)| *wrote != cell) =>
            {
                text("is of a commit that did not write it")
            }
            Some(commit) if commit.lost.is_some_and(|lost| lost < then) => text("was lost"),
            Some(_) => None,
        }
    })
}

/// A read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) node: usize,
    pub(super) key: usize,
    /// The time of its start.
    pub(super) asked: u64,
}

/// Checks the answer of a read, at the time of the answer.
pub(super) fn check_answer(
    env: &Environment,
    question: Question,
    policy: &Policy,
    result: &Result<Answer, ReadError>,
) {
    let Question { node, key, asked } = question;
    let answer = match result {
        Ok(answer) => answer,
        Err(err) => {
            env.note(Some(node), TraceEvent::ReadFailed(key, err.as_str()));
            *env.counts.lock().answers.entry(err.as_str()).or_default() += 1;
            if env.setup.fault_every.is_none() {
                env.violation(format!("without faults, row {key} on node {node}: {err}"));
            }
            if matches!(err, ReadError::Aborted) {
                env.violation(format!("a load of row {key} on node {node} panicked"));
            }
            if matches!(err, ReadError::Unproven { .. }) && policy.rules.unproven != Unproven::Fail
            {
                let rule = policy.rules.unproven;
                env.violation(format!("row {key}: {err}, although its contract says {rule:?}"));
            }
            return;
        }
    };
    let now = env.now();
    let proof = &answer.proof();
    let as_of = proof.bound.map(|bound| now.saturating_sub(nanos(bound)));
    let stale = proof.stale.map(Stale::as_str);
    let content = &answer.entry.content();
    let what = TraceEvent::Answer(key, proof.tier.as_str(), versions(content), as_of, stale);
    env.note(Some(node), what);
    let label = match proof.stale {
        None if proof.soft => "soft",
        None => proof.tier.as_str(),
        Some(stale) => stale.as_str(),
    };
    *env.counts.lock().answers.entry(label).or_default() += 1;
    if let Some(then) = as_of
        && let Some(missing) = missing_as_of(env, key, content, then)
    {
        env.violation(format!(
            "an answer is staler than its bound: row {key} on node {node}, {proof:?}, as of \
             {:.6} s: {missing}",
            then as f64 / 1e9
        ));
    }
    // An answer does not name the log of its version.
    let first_log = env.db.lock().generation == 1;
    let upto = |db: &Database, cell| db.upto(cell, 1, proof.version);
    if first_log && let Some(missing) = missing(env, key, content, 0, upto) {
        env.violation(format!(
            "an answer misses a commit up to its version: row {key} on node {node}, {proof:?}: {missing}"
        ));
    }
    if versions(content) != truth(env, key) {
        env.counts.lock().old += 1;
    }
    // A soft-stale answer spends its budget while the origin is under pressure, with or without faults.
    let calm = env.setup.fault_every.is_none() && !proof.soft;
    if calm && proof.bound.is_none_or(|bound| bound > CALM_BOUND) {
        env.violation(format!("without faults, row {key} on node {node}: {proof:?}"));
    }
    let within = as_of.is_some_and(|then| then + nanos(policy.rules.budget) >= asked);
    let allowed = match proof.stale {
        None => within,
        Some(Stale::Revalidating) => within && !policy.rules.stale_while_revalidate.is_zero(),
        Some(Stale::Unproven | Stale::OriginFailed) => {
            policy.rules.unproven == Unproven::ServeStale
        }
    };
    if !allowed {
        env.violation(format!(
            "an answer breaks its contract {}: row {key} on node {node}, asked at {:.6} s: {proof:?}",
            policy.rules.name,
            asked as f64 / 1e9
        ));
    }
}

/// Checks that no transaction is torn between the answers of an atomic batch. Answers from tiers are
/// also the state at one position; a snapshot may show commits in another sequence than they were
/// logged.
pub(super) fn check_batch(env: &Environment, node: usize, keys: &[usize], together: &AtomicBatch) {
    let db = env.db.lock();
    let answers = keys.iter().zip(&together.answers);
    let included: Vec<(Cell, usize)> = answers
        .filter_map(|(key, answer)| Some((*key, versions(&answer.as_ref().ok()?.entry.content())?)))
        .flat_map(|(key, included)| cells_of(key).into_iter().zip(included))
        .map(|(cell, commit)| (cell, usize::try_from(commit).unwrap_or(usize::MAX)))
        .collect();
    // After a failover, one answer may include a lost commit and another may not.
    if included.iter().any(|(_, commit)| db.commits.get(*commit).is_none_or(|c| c.lost.is_some())) {
        return;
    }
    let newest = included.iter().map(|(_, commit)| *commit).max().unwrap_or_default();
    let oldest = included.iter().map(|(_, commit)| *commit).min().unwrap_or_default();
    // Changes that the log lacks divide its snapshots.
    if db.commits[oldest..].iter().any(|commit| commit.unlogged) {
        return;
    }
    let at_newest = |cell| db.upto(cell, db.generation, db.commits[newest].lsn).commit;
    let torn = included.iter().find(|(cell, commit)| {
        let writes = |other: usize| db.commits[other].cells.iter().any(|(wrote, _)| wrote == cell);
        let misses = included.iter().any(|(_, other)| other > commit && writes(*other));
        misses || (together.by != Tier::Origin && at_newest(*cell) != *commit)
    });
    let torn = torn.copied();
    drop(db);
    env.counts.lock().checks += 1;
    if let Some(torn) = torn {
        env.violation(format!(
            "answers of two snapshots on node {node}, by {:?}: cell and commit {torn:?} among {included:?}",
            together.by
        ));
    }
}

/// Checks an answer after a period without faults: it must be the present value, with a small bound.
pub(super) fn check_converged(
    env: &Environment,
    question: Question,
    result: &Result<Answer, ReadError>,
    from: Option<Tier>,
) {
    let Question { node, key, .. } = question;
    let answer = match result {
        Ok(answer) => answer,
        Err(err) => {
            env.violation(format!("row {key} on node {node} has not converged: {err}"));
            return;
        }
    };
    let truth = truth(env, key);
    let proof = &answer.proof();
    // An entry that is renewed before its end, or just after it, is current too.
    let marked = proof.stale.is_some_and(|stale| stale != Stale::Revalidating);
    let fresh = !marked && proof.bound.is_some_and(|bound| bound <= CALM_BOUND);
    let found = versions(&answer.entry.content());
    if found != truth || !fresh {
        env.violation(format!(
            "row {key} on node {node} has not converged: {found:?} instead of {truth:?}, {proof:?}"
        ));
    }
    if from.is_some_and(|from| from != proof.tier) {
        env.violation(format!("row {key} on node {node} is not stored: {proof:?}"));
    }
}

/// Returns the versions that a statement would read now.
fn truth(env: &Environment, key: usize) -> Option<[u64; 3]> {
    let db = env.db.lock();
    let read = cells_of(key).map(|cell| db.read(cell));
    read[0].present.then(|| read.map(|version| version.commit as u64))
}
