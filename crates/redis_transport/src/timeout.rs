//! Timeouts that do not blame a peer for the delay of this process.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use redis::RedisResult;

use crate::error::TransportError;

/// The time limit of a connection attempt, with the checks of the server.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of times other tasks run after the timeout before the future counts as timed out.
const GRACE_YIELDS: u32 = 8;

/// Returns the future's output, or `None` if it is not ready after `limit` and a grace period.
///
/// When the limit has passed, the reply may already be in the socket buffer while this process was too busy
/// to read it, as in a burst of a thousand requests: then the task that delivers the reply is waiting to be
/// scheduled too. Therefore other tasks run 8 times, and the future is polled once after each.
pub async fn timeout_with_grace<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    if let Ok(output) = tokio::time::timeout(limit, &mut future).await {
        return Some(output);
    }
    for _ in 0..GRACE_YIELDS {
        tokio::task::yield_now().await;
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
    }
    None
}

/// Waits for the reply to a request.
///
/// # Errors
/// The request failed, or there was no reply within `limit`.
pub async fn reply_within<T>(
    limit: Duration,
    request: impl Future<Output = RedisResult<T>>,
) -> Result<T, TransportError> {
    match tokio::time::timeout(limit, request).await {
        Ok(reply) => reply.map_err(|err| TransportError::from_redis(&err, limit)),
        Err(_) => Err(TransportError::Timeout(limit)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    #[tokio::test(start_paused = true)]
    async fn reply_awaiting_its_task_returned() {
        let (reply, pending) = oneshot::channel();
        tokio::spawn(async move {
            tokio::time::sleep(LIMIT).await;
            tokio::task::yield_now().await;
            let _ = reply.send(1);
        });
        assert_eq!(timeout_with_grace(LIMIT, pending).await, Some(Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn late_reply_times_out() {
        assert_eq!(timeout_with_grace(LIMIT, tokio::time::sleep(LIMIT * 2)).await, None);
    }
}
