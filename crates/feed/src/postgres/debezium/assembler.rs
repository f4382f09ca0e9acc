//! Assembly of events into commits.

use std::sync::Arc;

use coherence::Lsn;
use contract::RowChange;

use crate::changes::BoundedChanges;
use crate::event::Commit;
use crate::message::LogMessage;

/// The changes of the transaction that has not ended.
#[derive(Default)]
pub(super) struct OpenTransaction {
    xid: u32,
    committed_us: u64,
    changes: BoundedChanges,
    messages: Vec<LogMessage>,
}

impl OpenTransaction {
    /// Continues transaction `xid`; discards another one.
    pub(super) fn resume(&mut self, xid: u32, committed_us: u64) {
        if self.xid != xid {
            *self = Self { xid, ..Self::default() };
        }
        self.committed_us = committed_us;
    }

    /// Adds a change. Returns true if it is the one that exceeds `limit`.
    pub(super) fn add_change(&mut self, change: RowChange, limit: usize) -> bool {
        self.changes.push(change, limit)
    }

    pub(super) fn add_message(&mut self, message: LogMessage) {
        self.messages.push(message);
    }

    /// Discards transaction `xid`.
    pub(super) fn discard(&mut self, xid: u32) {
        if self.xid == xid {
            *self = Self::default();
        }
    }

    /// Ends transaction `xid`. Returns its commit, or `None` if it changed no tracked table.
    pub(super) fn commit(&mut self, xid: u32, end: Lsn, source: &Arc<str>) -> Option<Commit> {
        if self.xid != xid {
            return None;
        }
        let Self { committed_us, changes, messages, .. } = std::mem::take(self);
        let changes = changes.into_changes(source);
        let is_empty = changes.is_empty() && messages.is_empty();
        (!is_empty).then_some(Commit { lsn: end, committed_us, changes, messages })
    }
}
