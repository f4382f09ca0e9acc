//! Time limits that are not mistaken for somebody else's slowness.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// How many turns everybody else gets before an answer counts as not there.
const TURNS: u32 = 8;

/// The future's output, or `None` if it is not there after `limit`.
///
/// When the limit has passed, the answer may lie in the socket and only this process has been too
/// busy to look, as in a burst of a thousand requests: then whoever would have handed it over is
/// waiting for a turn too. So others run a few times, and it is looked for once more.
pub(crate) async fn in_time<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    if let Ok(output) = tokio::time::timeout(limit, &mut future).await {
        return Some(output);
    }
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
        let looked = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = looked {
            return Some(output);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_only_waits_for_a_turn_is_waited_for() {
        let (answer, asked) = oneshot::channel();
        tokio::spawn(async move {
            tokio::time::sleep(LIMIT).await;
            tokio::task::yield_now().await;
            let _ = answer.send(1);
        });
        assert_eq!(in_time(LIMIT, asked).await, Some(Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_late_is_not() {
        assert_eq!(in_time(LIMIT, tokio::time::sleep(LIMIT * 2)).await, None);
    }
}
