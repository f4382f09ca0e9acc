//! Waiting for something rare beside something frequent.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled when *it* has something to say, not each time its task is woken for
/// another reason. A connection is woken for every request, and its alarms ring once in a while.
pub(crate) struct Seldom<F> {
    future: F,
    bell: Option<Arc<Bell>>,
}

struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Before the task is woken, or it might look too early.
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl<F> Seldom<F> {
    pub(crate) fn new(future: F) -> Self {
        Self { future, bell: None }
    }
}

impl<F: Future + Unpin> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let known = self.bell.as_ref().filter(|bell| bell.task.will_wake(cx.waker()));
        let bell = match known {
            Some(bell) if !bell.rung.load(Ordering::Relaxed) => return Poll::Pending,
            Some(bell) => Arc::clone(bell),
            None => {
                let (rung, task) = (AtomicBool::new(true), cx.waker().clone());
                Arc::clone(self.bell.insert(Arc::new(Bell { rung, task })))
            }
        };
        // What rings from here on is heard the next time.
        bell.rung.swap(false, Ordering::Acquire);
        let waker = Waker::from(bell);
        Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn polls_when_it_is_due_and_not_in_between() {
        let polls = AtomicUsize::new(0);
        let mut sleep = pin!(tokio::time::sleep(Duration::from_secs(10)));
        let counted = std::future::poll_fn(|cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            sleep.as_mut().poll(cx)
        });
        let mut seldom = Seldom::new(counted);
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let mut frequent = 0;
        loop {
            tokio::select! {
                () = &mut seldom => break,
                _ = ticks.tick() => frequent += 1,
            }
        }
        assert!(frequent >= 999, "{frequent}");
        assert_eq!(polls.load(Ordering::Relaxed), 2, "once to begin with, once when it was due");
    }

    #[tokio::test(start_paused = true)]
    async fn moves_to_another_task() {
        let (rings, bell) = tokio::sync::oneshot::channel();
        let mut seldom = Seldom::new(bell);
        assert!(futures_ready(&mut seldom).is_none());
        let waiting = tokio::spawn(seldom);
        tokio::task::yield_now().await;
        rings.send(7).expect("somebody waits");
        assert_eq!(waiting.await.expect("no panic"), Ok(7));
    }

    /// One poll by a task that does not stay.
    fn futures_ready<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }
}
