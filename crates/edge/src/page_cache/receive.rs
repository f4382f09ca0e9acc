//! Receiving the body of a page that may be stored.
//!
//! A body that comes at once is collected, and its readers get the complete page. One that takes its time goes to
//! its readers part by part while it is collected. Readers that come during the load get it from the beginning. A
//! body that breaks off is not stored, and is broken for each of its readers.

use std::time::Duration;

use bytes::Bytes;
use cache::{Content, EarlyAnswer, Loaded, OriginError, PartialBody, PartialWriter, Value};
use contract::Key;
use http::response;
use http_body::Frame;

use super::origin::PageLoad;
use super::other_logs::Positions;
use crate::http::body::Stream;
use crate::http::collect::{CollectEnd, Collector};
use crate::http::not_stored::NotStored;
use crate::upstream::error::UpstreamError;

/// The time that a body has to come before its readers get it part by part. Within it a page is answered with its
/// size, and with the statement that it is stored.
const WHOLE_WITHIN: Duration = Duration::from_millis(25);

/// The most bytes that wait for the slowest reader of a page that is too large to be stored.
const RELAYED_BYTES: u64 = 256 << 10;

impl PageLoad {
    /// Receives the body of a storable response; any other stays with the client of this load. `positions`: those of
    /// the other logs before the load.
    pub(super) async fn receive(
        &self,
        key: &Key,
        head: response::Parts,
        mut body: Stream,
        (is_unshared, positions): (bool, &Positions),
        early: &EarlyAnswer<'_>,
    ) -> Result<Loaded, OriginError> {
        let uncacheable =
            |head, body, reason| self.uncacheable(key, head, body, reason, is_unshared);
        let storable = match self.storability(&head, &body) {
            Ok(storable) => storable,
            Err(reason) => return uncacheable(head, body, reason),
        };
        if is_unshared {
            self.found_shared(key);
            return uncacheable(head, body, NotStored::Headers);
        }
        let Some(loaded) = self.entry(&head, storable, positions) else {
            return uncacheable(head, body, NotStored::TooLarge);
        };
        let mut collector = Collector::new(self.max_bytes());
        let whole = collector.run(&mut body, |_| ());
        let whole = match early.is_possible() {
            true => tokio::time::timeout(WHOLE_WITHIN, whole).await.ok(),
            false => Some(whole.await),
        };
        match whole {
            Some(CollectEnd::Complete) => Ok(with_body(loaded, collector.into_bytes())),
            Some(CollectEnd::TooLarge) => {
                body.unread(collector.parts);
                uncacheable(head, body, NotStored::TooLarge)
            }
            Some(CollectEnd::Incomplete(text)) => Err(self.incomplete(text)),
            None => self.receive_for_readers(loaded, body, collector, early).await,
        }
    }

    /// Hands a body to its readers while it is collected.
    async fn receive_for_readers(
        &self,
        loaded: Loaded,
        mut body: Stream,
        mut collector: Collector,
        early: &EarlyAnswer<'_>,
    ) -> Result<Loaded, OriginError> {
        let before: u64 = collector.parts.iter().map(|part| part.len() as u64).sum();
        let length = body.size_hint().exact().map(|left| left + before);
        let (writer, partial) = PartialBody::new(length);
        collector.parts.iter().for_each(|part| writer.push(part.clone()));
        early.publish(loaded.clone(), partial);
        match collector.run(&mut body, |part| writer.push(part.clone())).await {
            CollectEnd::Complete => {
                writer.complete();
                Ok(with_body(loaded, collector.into_bytes()))
            }
            CollectEnd::TooLarge => {
                // Its readers get the rest, which is kept as far as the slowest of them needs it.
                if let Some(body) = self.open_response(body) {
                    tokio::spawn(relay(body, writer));
                }
                Ok(self.not_stored(NotStored::TooLarge))
            }
            CollectEnd::Incomplete(text) => {
                writer.fail(&text);
                Err(self.incomplete(text))
            }
        }
    }

    fn incomplete(&self, text: String) -> OriginError {
        let err = UpstreamError::Incomplete(text);
        self.record_upstream_error(err.proxy_error());
        self.failed(err)
    }
}

fn with_body(loaded: Loaded, body: Bytes) -> Loaded {
    let content = match loaded.content {
        Content::Present(value) => Content::Present(Value { body, ..value }),
        other => other,
    };
    Loaded { content, ..loaded }
}

/// Hands on a body that is too large to be stored, at the pace of its slowest reader.
async fn relay(mut body: Stream, writer: PartialWriter) {
    while writer.room(RELAYED_BYTES).await {
        match body.next().await.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(part))) => writer.push(part),
            Some(Ok(Err(_))) => {}
            Some(Err(err)) => return writer.fail(&err.to_string()),
            None => return writer.complete(),
        }
    }
}
