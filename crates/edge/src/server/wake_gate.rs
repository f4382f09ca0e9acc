//! Polling a rarely ready future beside a busy one in the same task.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled only after its own waker was called, not each time its task is woken for
/// another reason. A connection's task wakes for every request; its timer and the shutdown signal
/// are rare.
pub(crate) struct PollOnWake<F> {
    future: F,
    flag: Option<Arc<WakeFlag>>,
}

struct WakeFlag {
    woken: AtomicBool,
    task: Waker,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Set before the task is woken; otherwise the task could read the flag too early.
        self.woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl<F> PollOnWake<F> {
    pub(crate) fn new(future: F) -> Self {
        Self { future, flag: None }
    }
}

impl<F: Future + Unpin> Future for PollOnWake<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let known = self.flag.as_ref().filter(|flag| flag.task.will_wake(cx.waker()));
        let flag = match known {
            Some(flag) if !flag.woken.load(Ordering::Relaxed) => return Poll::Pending,
            Some(flag) => Arc::clone(flag),
            None => {
                let (woken, task) = (AtomicBool::new(true), cx.waker().clone());
                Arc::clone(self.flag.insert(Arc::new(WakeFlag { woken, task })))
            }
        };
        // A wake from here on causes the next poll.
        flag.woken.swap(false, Ordering::Acquire);
        let waker = Waker::from(flag);
        Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    /// In a task of its own, as every connection is: the waker of `block_on` and its clones may have tables at
    /// different addresses, and then they do not compare as equal.
    #[tokio::test(start_paused = true)]
    async fn polled_only_when_woken() {
        let polls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&polls);
        let connection = tokio::spawn(async move {
            let mut sleep = pin!(tokio::time::sleep(Duration::from_secs(10)));
            let counted = std::future::poll_fn(|cx| {
                counter.fetch_add(1, Ordering::Relaxed);
                sleep.as_mut().poll(cx)
            });
            let mut rare = PollOnWake::new(counted);
            let mut ticks = tokio::time::interval(Duration::from_millis(10));
            let mut frequent = 0;
            loop {
                tokio::select! {
                    () = &mut rare => break frequent,
                    _ = ticks.tick() => frequent += 1,
                }
            }
        });
        let frequent = connection.await.expect("no panic");
        assert!(frequent >= 999, "{frequent}");
        assert_eq!(polls.load(Ordering::Relaxed), 2, "the first poll, and one when due");
    }

    #[tokio::test(start_paused = true)]
    async fn moves_to_another_task() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut rare = PollOnWake::new(receiver);
        assert!(poll_once(&mut rare).is_none());
        let waiting = tokio::spawn(rare);
        tokio::task::yield_now().await;
        sender.send(7).expect("the receiver exists");
        assert_eq!(waiting.await.expect("no panic"), Ok(7));
    }

    /// Polls once, with a waker that does nothing.
    fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }
}
