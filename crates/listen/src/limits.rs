//! Limits of the connections of a listener, in all and per client.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::client::ClientNetwork;

/// How many connections a listener has at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConnectionLimits {
    /// The most in all. Further connections wait to be accepted.
    pub total: usize,
    /// The most of one client. Further connections of it are closed.
    pub per_client: usize,
}

impl ConnectionLimits {
    /// Returns limits of `total` connections, of which one client leaves half to others.
    #[must_use]
    pub fn of(total: usize) -> Self {
        Self { total, per_client: total.div_ceil(2) }
    }

    /// Returns these limits with at most `most` connections.
    #[must_use]
    pub fn at_most(self, most: usize) -> Self {
        let total = self.total.min(most).max(1);
        let per_client = if self.per_client < self.total {
            self.per_client.min(total.div_ceil(2))
        } else {
            // One client may have all of them.
            self.per_client
        };
        Self { total, per_client }
    }
}

/// The state machine of the limit per client.
#[derive(Debug, Default)]
struct ClientCounts(HashMap<ClientNetwork, usize>);

impl ClientCounts {
    /// Counts a connection. False: the client has `most` connections already.
    fn enter(&mut self, client: ClientNetwork, most: usize) -> bool {
        let count = self.0.entry(client).or_default();
        let has_room = *count < most;
        *count += usize::from(has_room);
        has_room
    }

    fn leave(&mut self, client: ClientNetwork) {
        if let Some(count) = self.0.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&client);
            }
        }
    }
}

/// The slots of a listener's connections.
#[derive(Debug)]
pub(crate) struct ConnectionSlots {
    total: Arc<Semaphore>,
    clients: Arc<Mutex<ClientCounts>>,
    per_client: usize,
}

/// A slot in the limit of all connections, of no client yet.
#[derive(Debug)]
pub(crate) struct FreeSlot(OwnedSemaphorePermit);

/// The slot of a connection; freed when dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    _total: OwnedSemaphorePermit,
    clients: Arc<Mutex<ClientCounts>>,
    /// `None`: the peer stands for many clients.
    client: Option<ClientNetwork>,
}

impl ConnectionSlots {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        Self {
            total: Arc::new(Semaphore::new(limits.total.min(Semaphore::MAX_PERMITS))),
            clients: Arc::default(),
            per_client: limits.per_client,
        }
    }

    /// Waits until there is room in the limit of all connections.
    pub(crate) async fn room(&self) -> FreeSlot {
        let permit = Arc::clone(&self.total).acquire_owned().await;
        FreeSlot(permit.expect("the semaphore is never closed"))
    }

    /// Gives a free slot to a connection of `client`; `None`: its peer stands for many clients. Returns `None` if
    /// the client has all that it may have.
    pub(crate) fn take(
        &self,
        free: FreeSlot,
        client: Option<ClientNetwork>,
    ) -> Option<ConnectionSlot> {
        let enter = |client| self.clients.lock().enter(client, self.per_client);
        let has_room = client.is_none_or(enter);
        let clients = Arc::clone(&self.clients);
        has_room.then(|| ConnectionSlot { _total: free.0, clients, client })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        if let Some(client) = self.client {
            self.clients.lock().leave(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Option<ClientNetwork> = Some(ClientNetwork(1));
    const OTHER: Option<ClientNetwork> = Some(ClientNetwork(2));

    #[tokio::test]
    async fn client_leaves_connections_for_others() {
        let slots = ConnectionSlots::new(ConnectionLimits::of(4));
        let first = slots.take(slots.room().await, ONE).expect("a slot");
        let second = slots.take(slots.room().await, ONE).expect("a slot");
        assert!(slots.take(slots.room().await, ONE).is_none(), "half of them");
        let others = [slots.room().await, slots.room().await].map(|free| slots.take(free, OTHER));
        assert!(others.iter().all(Option::is_some), "a refused connection has no slot");
        let waits = tokio::time::timeout(std::time::Duration::ZERO, slots.room()).await;
        assert!(waits.is_err(), "all slots are taken");
        drop(first);
        let third = slots.take(slots.room().await, ONE);
        assert!(third.is_some());
        drop((second, third, others));
        assert!(slots.clients.lock().0.is_empty(), "nothing is left of clients that are gone");
    }

    #[test]
    fn smaller_limit_keeps_the_share_of_a_client() {
        let limits = ConnectionLimits { total: 100, per_client: 10 };
        assert_eq!(limits.at_most(50), ConnectionLimits { total: 50, per_client: 10 });
        assert_eq!(limits.at_most(10), ConnectionLimits { total: 10, per_client: 5 });
        let all = ConnectionLimits { total: 100, per_client: 100 };
        assert_eq!(all.at_most(50).per_client, 100, "one proxy may have all connections");
    }
}
