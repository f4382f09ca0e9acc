//! The body of a stored page that is still being loaded, on its way to one client.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use cache::{BrokenBody, PartialBody, PartialReader};
use http_body::SizeHint;
use prometheus_client::metrics::counter::Counter;

use super::in_flight::ClientRequest;

/// A body that is read while it is loaded. The load does not wait for this client.
#[derive(Debug)]
pub(crate) struct PartialStream {
    reader: PartialReader,
    /// The rest of a part that is handed over in pieces.
    rest: Bytes,
    sent_bytes: Option<Counter>,
    client_request: Option<ClientRequest>,
}

impl PartialStream {
    pub(crate) fn new(body: &PartialBody) -> Self {
        let reader = body.reader();
        Self { reader, rest: Bytes::new(), sent_bytes: None, client_request: None }
    }

    /// Adds the bytes sent from here on to `sent_bytes`, and keeps the client's connection in use
    /// until the body ends.
    pub(crate) fn attach(&mut self, sent_bytes: Counter, client_request: ClientRequest) {
        self.sent_bytes = Some(sent_bytes);
        self.client_request = Some(client_request);
    }

    /// Returns the next piece, of at most `most_bytes`; `None`: the body is complete.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        most_bytes: usize,
    ) -> Poll<Option<Result<Bytes, BrokenBody>>> {
        while self.rest.is_empty() {
            match ready!(self.reader.poll_part(cx)) {
                Some(Ok(part)) => self.rest = part,
                end => return Poll::Ready(end),
            }
        }
        let piece = self.rest.split_to(most_bytes.min(self.rest.len()));
        if let Some(sent) = &self.sent_bytes {
            sent.inc_by(piece.len() as u64);
        }
        Poll::Ready(Some(Ok(piece)))
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.reader.left() {
            Some(left) => SizeHint::with_exact(left + self.rest.len() as u64),
            None => SizeHint::default(),
        }
    }
}
