//! Several things at once.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Runs all of them; answers their outputs in order. They are begun in order too, which matters where
/// beginning means writing to one connection.
///
/// Each wake-up looks at all that are left, so this is for some hundreds at most.
pub(crate) async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut parts: Vec<Part<F>> = futures.into_iter().map(|f| Part::Runs(Box::pin(f))).collect();
    poll_fn(|cx| {
        let mut left = 0;
        for part in &mut parts {
            if let Part::Runs(future) = part {
                match future.as_mut().poll(cx) {
                    Poll::Ready(output) => *part = Part::Done(output),
                    Poll::Pending => left += 1,
                }
            }
        }
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let done = parts.into_iter().filter_map(|part| match part {
        Part::Done(output) => Some(output),
        Part::Runs(_) => None,
    });
    done.collect()
}

enum Part<F: Future> {
    Runs(Pin<Box<F>>),
    Done(F::Output),
}

// The future is pinned on the heap; outputs are never pinned.
impl<F: Future> Unpin for Part<F> {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::together;

    #[tokio::test(start_paused = true)]
    async fn they_begin_in_order_run_at_once_and_answer_in_order() {
        let begun = Mutex::new(Vec::new());
        let started = tokio::time::Instant::now();
        let parts = [3_u64, 1, 2].map(|n| {
            let begun = &begun;
            async move {
                begun.lock().push(n);
                tokio::time::sleep(Duration::from_millis(n)).await;
                n * 10
            }
        });
        assert_eq!(together(parts).await, [30, 10, 20]);
        assert_eq!(*begun.lock(), [3, 1, 2]);
        assert_eq!(started.elapsed(), Duration::from_millis(3));
        assert_eq!(together(Vec::<std::future::Ready<()>>::new()).await, []);
    }
}
