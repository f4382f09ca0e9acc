//! Fan-out of node messages inside one process.

use tokio::sync::mpsc;

use super::NodeMessage;

/// How many messages a subscriber may be behind.
const BACKLOG: usize = 1_024;

/// All subscribers of one tier. Never waits: the publisher holds the tier's lock.
#[derive(Debug, Default)]
pub(super) struct Hub {
    subscribers: Vec<Subscriber>,
}

#[derive(Debug)]
struct Subscriber {
    messages: mpsc::Sender<NodeMessage>,
    /// It was told that it fell behind and has not heard that yet.
    lost: bool,
}

impl Hub {
    pub(super) fn subscribe(&mut self) -> mpsc::Receiver<NodeMessage> {
        let (messages, receiver) = mpsc::channel(BACKLOG);
        self.subscribers.push(Subscriber { messages, lost: false });
        receiver
    }

    pub(super) fn publish(&mut self, message: &NodeMessage) {
        self.subscribers.retain_mut(|subscriber| subscriber.offer(message));
    }
}

impl Subscriber {
    /// False: nobody listens any more.
    ///
    /// The last place in the channel belongs to `Lost`, so whoever falls behind learns it from the
    /// channel itself, even if nothing is published ever after. Nothing is queued behind it until
    /// it was taken out: what is left out in between lies before the standing that the subscriber
    /// reads when it hears of the loss.
    fn offer(&mut self, message: &NodeMessage) -> bool {
        let free = self.messages.capacity();
        if self.lost && free < self.messages.max_capacity() {
            return !self.messages.is_closed();
        }
        self.lost = free == 1;
        let message = if self.lost { NodeMessage::Lost } else { message.clone() };
        self.messages.try_send(message).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use coherence::Subject;

    use super::*;

    fn message() -> NodeMessage {
        NodeMessage::Evict(vec![Subject::Everything])
    }

    #[test]
    fn who_falls_behind_is_told_and_then_served_again() {
        let mut hub = Hub::default();
        let mut slow = hub.subscribe();
        for _ in 0..3 * BACKLOG {
            hub.publish(&message());
        }
        for n in 1..BACKLOG {
            assert!(matches!(slow.try_recv(), Ok(NodeMessage::Evict(_))), "message {n}");
        }
        hub.publish(&message());
        assert!(matches!(slow.try_recv(), Ok(NodeMessage::Lost)));
        assert!(slow.try_recv().is_err(), "nothing may follow before the loss was heard of");
        hub.publish(&message());
        assert!(matches!(slow.try_recv(), Ok(NodeMessage::Evict(_))));
    }

    #[test]
    fn who_left_is_forgotten() {
        let mut hub = Hub::default();
        drop(hub.subscribe());
        hub.publish(&message());
        assert!(hub.subscribers.is_empty());
    }
}
