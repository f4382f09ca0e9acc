//! What those who take part in a scene say to each other, while somebody films it.

use std::time::Duration;

use cache::shared::{Outcome, SharedRead};
use cache::{Answer, Content, ReadError, Stale};
use coherence::fence::Gap;
use coherence::{Batch, Verdict};
use parking_lot::Mutex;

use super::check;

/// Who takes part.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Who {
    Reader,
    Node(usize),
    Shared,
    Log,
    Database,
    Writer,
}

/// How it is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mood {
    Plain,
    /// It is the truth, or was kept.
    Good,
    /// It was refused, is old, or is broken.
    Bad,
    /// It goes on all the time.
    Faint,
}

/// One thing that was seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Shot {
    /// Somebody tells somebody something. Times are in ns since the world began.
    Said { from: Who, to: Who, left: u64, arrived: u64, text: String, mood: Mood },
    /// Something happens to somebody.
    Happened { who: Who, at: u64, text: String, mood: Mood },
}

/// Takes up what happens, if it is running.
#[derive(Debug, Default)]
pub(super) struct Film(Mutex<Option<Reel>>);

#[derive(Debug)]
struct Reel {
    shots: Vec<Shot>,
    routine: bool,
}

impl Film {
    pub(super) fn roll(&self) {
        *self.0.lock() = Some(Reel { shots: Vec::new(), routine: false });
    }

    /// From now on also what goes on whether something happens or not ([`Mood::Faint`]).
    pub(super) fn with_routine(&self) {
        self.0.lock().iter_mut().for_each(|reel| reel.routine = true);
    }

    pub(super) fn cut(&self) -> Vec<Shot> {
        self.0.lock().take().map(|reel| reel.shots).unwrap_or_default()
    }

    pub(super) fn shoot(&self, shot: impl FnOnce() -> Shot) {
        if let Some(reel) = &mut *self.0.lock() {
            let shot = shot();
            let faint = matches!(&shot, Shot::Said { mood: Mood::Faint, .. });
            if reel.routine || !faint {
                reel.shots.push(shot);
            }
        }
    }

    /// A question and its answer; `times`: when it left, was answered, and the answer arrived.
    pub(super) fn dialogue(
        &self,
        [who, whom]: [Who; 2],
        [left, turned, back]: [u64; 3],
        question: impl FnOnce() -> String,
        answer: impl FnOnce() -> (String, Mood),
    ) {
        if self.0.lock().is_none() {
            return;
        }
        let (told, mood) = answer();
        let asks = if mood == Mood::Faint { Mood::Faint } else { Mood::Plain };
        let text = question();
        self.shoot(|| Shot::Said { from: who, to: whom, left, arrived: turned, text, mood: asks });
        self.shoot(|| Shot::Said {
            from: whom,
            to: who,
            left: turned,
            arrived: back,
            text: told,
            mood,
        });
    }
}

/// A value by the commit that wrote its row.
pub(super) fn value(content: &Content) -> String {
    version(check::versions(content))
}

pub(super) fn version(versions: Option<[u64; 3]>) -> String {
    versions.map_or("no row".into(), |versions| format!("v{}", versions[0]))
}

/// What a reader gets.
pub(super) fn answer(result: &Result<Answer, ReadError>) -> (String, Mood) {
    let answer = match result {
        Ok(answer) => answer,
        Err(err) => return (err.to_string(), Mood::Bad),
    };
    let proof = answer.proof();
    let (value, tier) = (value(&answer.entry.content), proof.tier.as_str());
    let bound = proof.bound.map_or("unproven".into(), |bound| format!("bound {}", short(bound)));
    let stale = proof.stale.map_or(String::new(), |stale| format!(", {}", Stale::as_str(stale)));
    let mood = if proof.stale.is_none() { Mood::Good } else { Mood::Bad };
    (format!("{value} ({tier}, {bound}{stale})"), mood)
}

/// What the shared tier says to a question for a key.
pub(super) fn found(read: &SharedRead) -> (String, Mood) {
    let Some(standing) = read.standing else { return ("no epoch".into(), Mood::Bad) };
    let (applied, watermark) = (standing.applied.0, standing.watermark.0);
    match &read.outcome {
        Outcome::Found { entry, .. } => {
            let (value, tau) = (value(&entry.content), entry.tau.0);
            (format!("{value}, τ={tau}, A={applied}"), Mood::Plain)
        }
        Outcome::Lead(_) | Outcome::Miss => (format!("miss, W={watermark}"), Mood::Plain),
        Outcome::Wait(_) => ("another is loading it".into(), Mood::Plain),
    }
}

/// What the shared tier says to a fill.
pub(super) fn kept(verdict: Verdict) -> (String, Mood) {
    match verdict {
        Verdict::Accept => ("stored".into(), Mood::Good),
        Verdict::Refuse(why) => (format!("✗ refused: {}", why.as_str()), Mood::Bad),
    }
}

/// A piece of the log, to the shared tier or from it.
pub(super) fn piece(batch: &Batch) -> String {
    let (upto, watermark) = (batch.upto.0, batch.watermark.0);
    let renews = batch.events.iter().any(|event| !event.renewals.is_empty());
    let events: Vec<String> = batch.events.iter().map(|event| event.lsn.0.to_string()).collect();
    match (events.is_empty(), renews) {
        (true, _) => format!("up to {upto}, W={watermark}"),
        (false, false) => format!("e={}, W={watermark}", events.join(", ")),
        (false, true) => format!("e={} with the row, W={watermark}", events.join(", ")),
    }
}

/// What the shared tier says to a piece of the log.
pub(super) fn applied(batch: &Batch, applied: &Result<(), Gap>) -> (String, Mood) {
    match applied {
        Ok(()) if batch.events.is_empty() => (format!("A={}", batch.upto.0), Mood::Plain),
        Ok(()) => (format!("tombstone, A={}", batch.upto.0), Mood::Plain),
        Err(Gap::Missing { applied, .. }) => (format!("✗ a gap: A={}", applied.0), Mood::Bad),
        Err(_) => ("✗ another epoch".into(), Mood::Bad),
    }
}

/// As a person would say it.
pub(super) fn short(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 999.5 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1e3) }
}
