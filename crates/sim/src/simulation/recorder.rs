//! A recorder of the messages between the participants of a scene.

use std::time::Duration;

use cache::shared::{Outcome, SharedRead};
use cache::{Answer, Content, ReadError, Stale};
use coherence::fence::Gap;
use coherence::{Batch, Verdict};
use parking_lot::Mutex;

use super::values;

/// A participant.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Participant {
    Reader,
    Node(usize),
    Shared,
    Log,
    Database,
    Writer,
}

/// The tone of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tone {
    Plain,
    /// The message is current, or was stored.
    Good,
    /// The message was rejected, is stale, or is an error.
    Bad,
    /// The message is routine.
    Faint,
}

/// A recorded interaction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Interaction {
    /// A message. Times are in ns since the start of the run.
    Message {
        from: Participant,
        to: Participant,
        left: u64,
        arrived: u64,
        text: String,
        tone: Tone,
    },
    /// An event at one participant.
    Note { who: Participant, at: u64, text: String, tone: Tone },
}

/// Records interactions while it is started.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<Option<Recording>>);

#[derive(Debug)]
struct Recording {
    interactions: Vec<Interaction>,
    routine: bool,
}

impl Recorder {
    pub(super) fn start(&self) {
        *self.0.lock() = Some(Recording { interactions: Vec::new(), routine: false });
    }

    /// Records routine messages ([`Tone::Faint`]) too from now on.
    pub(super) fn include_routine(&self) {
        self.0.lock().iter_mut().for_each(|recording| recording.routine = true);
    }

    pub(super) fn finish(&self) -> Vec<Interaction> {
        self.0.lock().take().map(|recording| recording.interactions).unwrap_or_default()
    }

    pub(super) fn record(&self, interaction: impl FnOnce() -> Interaction) {
        if let Some(recording) = &mut *self.0.lock() {
            let interaction = interaction();
            let faint = matches!(&interaction, Interaction::Message { tone: Tone::Faint, .. });
            if recording.routine || !faint {
                recording.interactions.push(interaction);
            }
        }
    }

    /// Records a question and its answer: the times at which it left, was answered, and the answer
    /// arrived.
    pub(super) fn record_exchange(
        &self,
        [asker, answerer]: [Participant; 2],
        [left, turned, back]: [u64; 3],
        question: impl FnOnce() -> String,
        answer: impl FnOnce() -> (String, Tone),
    ) {
        if self.0.lock().is_none() {
            return;
        }
        let (reply, tone) = answer();
        let question_tone = if tone == Tone::Faint { Tone::Faint } else { Tone::Plain };
        let text = question();
        self.record(|| Interaction::Message {
            from: asker,
            to: answerer,
            left,
            arrived: turned,
            text,
            tone: question_tone,
        });
        self.record(|| Interaction::Message {
            from: answerer,
            to: asker,
            left: turned,
            arrived: back,
            text: reply,
            tone,
        });
    }
}

/// Returns a value as text, by the commit that wrote its row.
pub(super) fn value(content: &Content) -> String {
    version(values::versions(content))
}

pub(super) fn version(versions: Option<[u64; 3]>) -> String {
    versions.map_or("no row".into(), |versions| format!("v{}", versions[0]))
}

/// Returns the answer of a read as text.
pub(super) fn answer(result: &Result<Answer, ReadError>) -> (String, Tone) {
    let answer = match result {
        Ok(answer) => answer,
        Err(err) => return (err.to_string(), Tone::Bad),
    };
    let proof = answer.proof();
    let (value, tier) = (value(&answer.entry.content()), proof.tier.as_str());
    let bound = proof.bound.map_or("unproven".into(), |bound| format!("bound {}", short(bound)));
    let stale = proof.stale.map_or(String::new(), |stale| format!(", {}", Stale::as_str(stale)));
    let tone = if proof.stale.is_none() { Tone::Good } else { Tone::Bad };
    (format!("{value} ({tier}, {bound}{stale})"), tone)
}

/// Returns the shared tier's answer to a lookup as text.
pub(super) fn found(read: &SharedRead) -> (String, Tone) {
    let Some(position) = read.position else { return ("no epoch".into(), Tone::Bad) };
    let (applied, watermark) = (position.applied.0, position.watermark.0);
    match &read.outcome {
        Outcome::Found { entry, .. } => {
            let (value, tau) = (value(&entry.content), entry.tau.0);
            (format!("{value}, τ={tau}, A={applied}"), Tone::Plain)
        }
        Outcome::Lead(_) | Outcome::Miss => (format!("miss, W={watermark}"), Tone::Plain),
        Outcome::Wait(_) => ("another is loading it".into(), Tone::Plain),
    }
}

/// Returns the shared tier's answer to a fill as text.
pub(super) fn kept(verdict: Verdict) -> (String, Tone) {
    match verdict {
        Verdict::Accept => ("stored".into(), Tone::Good),
        Verdict::Refuse(why) => (format!("✗ refused: {}", why.as_str()), Tone::Bad),
    }
}

/// Returns a batch as text.
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

/// Returns the shared tier's answer to a batch as text.
pub(super) fn applied(batch: &Batch, applied: &Result<(), Gap>) -> (String, Tone) {
    match applied {
        Ok(()) if batch.events.is_empty() => (format!("A={}", batch.upto.0), Tone::Plain),
        Ok(()) => (format!("tombstone, A={}", batch.upto.0), Tone::Plain),
        Err(Gap::Missing { applied, .. }) => (format!("✗ a gap: A={}", applied.0), Tone::Bad),
        Err(_) => ("✗ another epoch".into(), Tone::Bad),
    }
}

/// Returns a rounded duration as text.
pub(super) fn short(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 999.5 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1e3) }
}
