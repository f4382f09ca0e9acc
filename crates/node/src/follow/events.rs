//! Row changes to invalidation events, by the contracts.

use std::collections::BTreeSet;
use std::sync::Arc;

use coherence::{Cause, Event, Lsn, Subject};
use contract::{Affected, Contracts, Incomplete, Op, RowChange};
use feed::Commit;

use super::metrics::FollowMetrics;
use crate::renew::{Renewals, Renewer};

/// Maps the commits of one source to events: keys and tags by the contracts, new values by the [`Renewer`],
/// purge requests as they are.
pub(super) struct EventMapper {
    contracts: Arc<Contracts>,
    renewer: Renewer,
    metrics: FollowMetrics,
    /// `contract template column` of each incomplete mapping that was logged.
    warned: BTreeSet<String>,
}

impl EventMapper {
    pub(super) fn new(contracts: Arc<Contracts>, renewer: Renewer, metrics: FollowMetrics) -> Self {
        Self { contracts, renewer, metrics, warned: BTreeSet::new() }
    }

    /// Checks again which contracts can be renewed; to be called whenever a stream starts.
    pub(super) async fn check_renewals(&mut self) {
        self.renewer.check().await;
    }

    /// Returns the events of `commits`, a batch of the log that ends at `upto`. A commit after `upto` is not
    /// complete yet, so it only invalidates and renews nothing.
    pub(super) fn events(&mut self, commits: &[Commit], upto: Lsn) -> Vec<Event> {
        let mut events = Vec::new();
        for commit in commits {
            let mut subjects = BTreeSet::new();
            let mut renewals = Renewals::default();
            for change in &commit.changes {
                let affected = self.contracts.affected(change);
                self.report_incomplete(&affected);
                if commit.lsn <= upto {
                    self.renewer.add(commit.lsn, change, &affected, &mut renewals);
                }
                subjects.extend(subjects_of(affected));
            }
            if !subjects.is_empty() {
                let subjects = subjects.into_iter().collect();
                let deletes = |change: &RowChange| matches!(change.op, Op::Delete | Op::Truncate);
                let deletes = commit.changes.iter().any(deletes);
                let cause = if deletes { Cause::Delete } else { Cause::Commit };
                let event = event(commit, cause, subjects);
                events.push(Event { renewals: renewals.into_events(), ..event });
            }
            for message in &commit.messages {
                events.push(event(commit, message.cause, message.subjects.clone()));
            }
        }
        events
    }

    /// Counts tags whose old value the log does not carry, and logs each template once: the cause is the
    /// table's replica identity, not the row.
    fn report_incomplete(&mut self, affected: &Affected) {
        for incomplete in &affected.incomplete {
            self.metrics.incomplete.inc();
            let Incomplete { contract, template, column, .. } = incomplete;
            if self.warned.insert(format!("{contract} {template} {column}")) {
                tracing::warn!(
                    contract,
                    template,
                    column,
                    "the log does not carry the old value of a column that a tag is made of; run \
                     `alter table … replica identity full`"
                );
            }
        }
    }
}

/// Returns the subjects of an invalidation.
pub(super) fn subjects_of(affected: Affected) -> impl Iterator<Item = Subject> {
    let Affected { keys, tags, key_patterns, tag_patterns, everything, incomplete: _ } = affected;
    let names = keys.into_iter().map(Subject::Key).chain(tags.into_iter().map(Subject::Tag));
    let patterns = key_patterns.into_iter().map(Subject::KeysLike);
    let patterns = patterns.chain(tag_patterns.into_iter().map(Subject::TagsLike));
    names.chain(patterns).chain(everything.then_some(Subject::Everything))
}

fn event(commit: &Commit, cause: Cause, subjects: Vec<Subject>) -> Event {
    Event {
        lsn: commit.lsn,
        cause,
        committed_us: commit.committed_us,
        subjects,
        renewals: Vec::new(),
    }
}
