//! Broadcast of node messages inside one process.

use tokio::sync::mpsc;

use super::tier::NodeMessage;

/// The number of messages that may wait for a subscriber.
const BACKLOG: usize = 1_024;

/// The subscribers of one tier. Publishing never waits, since the publisher has the tier's lock.
#[derive(Debug, Default)]
pub(super) struct Broadcast {
    subscribers: Vec<Subscriber>,
}

#[derive(Debug)]
struct Subscriber {
    messages: mpsc::Sender<NodeMessage>,
    /// A [`NodeMessage::Lost`] is in its channel, not received yet.
    lost: bool,
}

impl Broadcast {
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
    /// Sends the message, or `Lost` if the subscriber has fallen behind. Returns `false` if the receiver is
    /// gone.
    ///
    /// The last slot of the channel is reserved for `Lost`, so a subscriber that falls behind receives it
    /// even if nothing is published afterwards. Nothing is queued behind `Lost` until it has been
    /// received: the messages that are skipped meanwhile lie before the position that the subscriber
    /// reads after the loss.
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
    fn slow_subscriber_receives_lost() {
        let mut broadcast = Broadcast::default();
        let mut slow = broadcast.subscribe();
        for _ in 0..3 * BACKLOG {
            broadcast.publish(&message());
        }
        for n in 1..BACKLOG {
            assert!(matches!(slow.try_recv(), Ok(NodeMessage::Evict(_))), "message {n}");
        }
        broadcast.publish(&message());
        assert!(matches!(slow.try_recv(), Ok(NodeMessage::Lost)));
        assert!(slow.try_recv().is_err(), "nothing is queued behind a pending loss");
        broadcast.publish(&message());
        assert!(matches!(slow.try_recv(), Ok(NodeMessage::Evict(_))));
    }

    #[test]
    fn dropped_receiver_removed() {
        let mut broadcast = Broadcast::default();
        drop(broadcast.subscribe());
        broadcast.publish(&message());
        assert!(broadcast.subscribers.is_empty());
    }
}
