//! The server that an address leads to now.
//!
//! An address may come to lead to another server: a virtual address moves, a name is changed, a standby is promoted.
//! Connections that are open stay with the old server, which may still run. So all connections that have to see one
//! database share a [`CurrentServer`]: the newest connection decides, and older ones to another server are replaced.

use std::sync::Arc;

use parking_lot::Mutex;

/// The identity of the server that the newest of several connections leads to. Clones share it.
#[derive(Debug)]
pub struct CurrentServer<I>(Arc<Mutex<Option<I>>>);

impl<I> Clone for CurrentServer<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I> Default for CurrentServer<I> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<I: Clone + PartialEq> CurrentServer<I> {
    /// Records a connection that has just been opened.
    pub fn opened(&self, identity: &I) {
        let mut current = self.0.lock();
        if current.as_ref() != Some(identity) {
            *current = Some(identity.clone());
        }
    }

    /// Returns whether a connection leads to the server that the newest one leads to, and records it if it is the
    /// first one.
    pub(crate) fn is_current_or_first(&self, identity: &I) -> bool {
        self.0.lock().get_or_insert_with(|| identity.clone()) == identity
    }

    /// Returns whether a connection leads to the server that the newest one leads to.
    #[must_use]
    pub fn is_current(&self, identity: &I) -> bool {
        self.0.lock().as_ref().is_none_or(|current| current == identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_connection_decides() {
        let server = CurrentServer::default();
        assert!(server.is_current(&"old"), "nothing is known yet");
        server.opened(&"old");
        server.clone().opened(&"new");
        assert!(!server.is_current(&"old") && server.is_current(&"new"));
    }
}
