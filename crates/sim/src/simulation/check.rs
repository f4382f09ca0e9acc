//! What must hold, judged by the world's own history.

use std::time::Duration;

use cache::{Answer, Content, OneMoment, Policy, ReadError, Stale, Tier};
use coherence::{Epoch, Lsn};
use contract::Unproven;

use super::database::{Cell, Database, Version};
use super::setup::cells_of;
use super::stage::Stage;
use super::trace::What;

/// What is proven in a time without faults is proven within this.
const A_MOMENT: Duration = Duration::from_secs(2);

/// A value says which versions it was made from.
pub(super) fn encode(versions: [u64; 3]) -> String {
    format!("{versions:?}")
}

/// The versions that a value says it was made from; `None`: the row is not there.
pub(super) fn versions(content: &Content) -> Option<[u64; 3]> {
    let Content::Present(value) = content else { return None };
    let text = std::str::from_utf8(&value.body).unwrap_or_default();
    let mut versions = [u64::MAX; 3];
    let parts = text.trim_matches(['[', ']']).split(", ");
    for (version, part) in versions.iter_mut().zip(parts) {
        *version = part.parse().unwrap_or(u64::MAX);
    }
    Some(versions)
}

/// The first promise about tiers: what they hold misses nothing that they have applied.
pub(super) fn holds(
    stage: &Stage,
    what: &str,
    key: Option<usize>,
    content: &Content,
    epoch: Epoch,
    applied: Lsn,
) {
    let Some(key) = key else { return };
    let owed = |db: &Database, cell| db.upto(cell, epoch.server, applied);
    if let Some(missing) = missing(stage, key, content, 0, owed) {
        stage.violation(format!(
            "{what} under row {key} misses what its tier has applied ({applied} of {epoch}): {missing}"
        ));
    }
}

/// The bound: an answer as of a moment holds all that was visible before it, and nothing that was
/// lost before it.
fn is_as_of(stage: &Stage, key: usize, content: &Content, then: u64) -> Option<String> {
    missing(stage, key, content, then, |db, cell| db.owed(cell, then))
}

/// The writer's own write is in it.
pub(super) fn has_written(stage: &Stage, key: usize, content: &Content, commit: usize) {
    if stage.db.lock().commits[commit].lost.is_some() {
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
    if let Some(missing) = missing(stage, key, content, 0, wrote) {
        stage.violation(format!("an answer for a token misses its write: row {key}: {missing}"));
    }
}

/// What is missing in an answer that owes a version of each cell, or is in it although it was lost
/// before `then`.
fn missing(
    stage: &Stage,
    key: usize,
    content: &Content,
    then: u64,
    owed: impl Fn(&Database, Cell) -> Version,
) -> Option<String> {
    stage.counts.lock().checks += 1;
    let db = stage.db.lock();
    let Some(held) = versions(content) else {
        let owed = owed(&db, key);
        let gone = db.was_gone(key, owed, then);
        return (!gone).then(|| format!("it says that the row is absent; owed {owed:?}"));
    };
    cells_of(key).into_iter().zip(held).find_map(|(cell, held)| {
        let held = usize::try_from(held).unwrap_or(usize::MAX);
        let owed = owed(&db, cell);
        let text = |what: &str| {
            let (has, owes) = (db.commits.get(held), &db.commits[owed.commit]);
            Some(format!("cell {cell} {what}; it holds commit {held} {has:?}, owed is {owes:?}"))
        };
        if held < owed.commit {
            return text("is old");
        }
        match db.commits.get(held) {
            None => text("is of no commit"),
            Some(commit) if commit.lost.is_some_and(|lost| lost < then) => text("was lost"),
            Some(_) => None,
        }
    })
}

/// A reader's question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) node: usize,
    pub(super) key: usize,
    /// When it was asked.
    pub(super) asked: u64,
}

/// Judges what a reader got, at the moment it got it.
pub(super) fn judge(
    stage: &Stage,
    question: Question,
    policy: &Policy,
    result: &Result<Answer, ReadError>,
) {
    let Question { node, key, asked } = question;
    let answer = match result {
        Ok(answer) => answer,
        Err(err) => {
            stage.note(Some(node), What::NoAnswer(key, err.as_str()));
            *stage.counts.lock().answers.entry(err.as_str()).or_default() += 1;
            if stage.setup.fault_every.is_none() {
                stage.violation(format!("nothing is wrong, but row {key} on node {node}: {err}"));
            }
            if matches!(err, ReadError::Aborted) {
                stage.violation(format!("a load of row {key} on node {node} panicked"));
            }
            if matches!(err, ReadError::Unproven { .. }) && policy.unproven != Unproven::Fail {
                let rule = policy.unproven;
                stage.violation(format!("row {key}: {err}, although its rule is {rule:?}"));
            }
            return;
        }
    };
    let now = stage.now();
    let proof = &answer.proof();
    let as_of = proof.bound.map(|bound| now.saturating_sub(nanos(bound)));
    let stale = proof.stale.map(Stale::as_str);
    let content = &answer.entry.content;
    let what = What::Answer(key, proof.tier.as_str(), versions(content), as_of, stale);
    stage.note(Some(node), what);
    let label = match proof.stale {
        None if proof.soft => "soft",
        None => proof.tier.as_str(),
        Some(stale) => stale.as_str(),
    };
    *stage.counts.lock().answers.entry(label).or_default() += 1;
    if let Some(then) = as_of
        && let Some(missing) = is_as_of(stage, key, content, then)
    {
        stage.violation(format!(
            "an answer is staler than it shows: row {key} on node {node}, {proof:?}, as of \
             {:.6} s: {missing}",
            then as f64 / 1e9
        ));
    }
    // Which log a version is of, the answer does not say.
    let first_log = stage.db.lock().life == 1;
    let upto = |db: &Database, cell| db.upto(cell, 1, proof.version);
    if first_log && let Some(missing) = missing(stage, key, content, 0, upto) {
        stage.violation(format!(
            "an answer misses what its version promises: row {key} on node {node}, {proof:?}: {missing}"
        ));
    }
    if versions(content) != truth(stage, key) {
        stage.counts.lock().old += 1;
    }
    // A soft answer spends its budget where the origin is pressed, faults or not.
    let calm = stage.setup.fault_every.is_none() && !proof.soft;
    if calm && proof.bound.is_none_or(|bound| bound > A_MOMENT) {
        stage.violation(format!("nothing is wrong, but row {key} on node {node}: {proof:?}"));
    }
    let within = as_of.is_some_and(|then| then + nanos(policy.budget) >= asked);
    let allowed = match proof.stale {
        None => within,
        Some(Stale::Revalidating) => within && !policy.stale_while_revalidate.is_zero(),
        Some(Stale::Unproven | Stale::OriginFailed) => policy.unproven == Unproven::ServeStale,
    };
    if !allowed {
        stage.violation(format!(
            "an answer breaks its contract {}: row {key} on node {node}, asked at {:.6} s: {proof:?}",
            policy.name,
            asked as f64 / 1e9
        ));
    }
}

/// No transaction is torn between answers of one moment. What tiers give is moreover the state at one
/// position; a snapshot may show commits in another order than they were logged.
pub(super) fn is_of_one_moment(stage: &Stage, node: usize, keys: &[usize], together: &OneMoment) {
    let db = stage.db.lock();
    let answers = keys.iter().zip(&together.answers);
    let held: Vec<(Cell, usize)> = answers
        .filter_map(|(key, answer)| Some((*key, versions(&answer.as_ref().ok()?.entry.content)?)))
        .flat_map(|(key, held)| cells_of(key).into_iter().zip(held))
        .map(|(cell, commit)| (cell, usize::try_from(commit).unwrap_or(usize::MAX)))
        .collect();
    // That of a commit which is lost one may have and another may not, is a failover's doing.
    if held.iter().any(|(_, commit)| db.commits.get(*commit).is_none_or(|c| c.lost.is_some())) {
        return;
    }
    let newest = held.iter().map(|(_, commit)| *commit).max().unwrap_or_default();
    let at_newest = |cell| db.upto(cell, db.life, db.commits[newest].lsn).commit;
    let torn = held.iter().find(|(cell, commit)| {
        let writes = |other: usize| db.commits[other].cells.iter().any(|(wrote, _)| wrote == cell);
        let misses = held.iter().any(|(_, other)| other > commit && writes(*other));
        misses || (together.by != Tier::Origin && at_newest(*cell) != *commit)
    });
    let torn = torn.copied();
    drop(db);
    stage.counts.lock().checks += 1;
    if let Some(torn) = torn {
        stage.violation(format!(
            "answers of two moments on node {node}, by {:?}: cell and commit {torn:?} among {held:?}",
            together.by
        ));
    }
}

/// A time without faults has passed: the answer is the present truth, proven within a moment.
pub(super) fn is_the_truth(
    stage: &Stage,
    question: Question,
    result: &Result<Answer, ReadError>,
    from: Option<Tier>,
) {
    let Question { node, key, .. } = question;
    let answer = match result {
        Ok(answer) => answer,
        Err(err) => {
            stage.violation(format!("row {key} on node {node} has not converged: {err}"));
            return;
        }
    };
    let truth = truth(stage, key);
    let proof = &answer.proof();
    // An entry that is renewed ahead of its end, or just after it, is the truth too.
    let marked = proof.stale.is_some_and(|stale| stale != Stale::Revalidating);
    let fresh = !marked && proof.bound.is_some_and(|bound| bound <= A_MOMENT);
    let found = versions(&answer.entry.content);
    if found != truth || !fresh {
        stage.violation(format!(
            "row {key} on node {node} has not converged: {found:?} instead of {truth:?}, {proof:?}"
        ));
    }
    if from.is_some_and(|from| from != proof.tier) {
        stage.violation(format!("row {key} on node {node} is not kept: {proof:?}"));
    }
}

/// What a statement would read now.
fn truth(stage: &Stage, key: usize) -> Option<[u64; 3]> {
    let db = stage.db.lock();
    let read = cells_of(key).map(|cell| db.read(cell));
    read[0].present.then(|| read.map(|version| version.commit as u64))
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
