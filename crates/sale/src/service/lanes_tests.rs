use std::sync::atomic::AtomicBool;

use database::{DatabaseError, Failure, ServerCode};
use tokio::sync::Semaphore;

use super::*;

/// Records its calls. A call waits for a permit.
struct Recorder {
    calls: Mutex<Vec<Vec<u32>>>,
    permits: Semaphore,
    /// The database refuses calls with this item.
    refused: u32,
    /// The first call gets no answer.
    silent: AtomicBool,
}

impl Recorder {
    fn lanes(permits: usize) -> Arc<Lanes<Self>> {
        Lanes::new(Self {
            calls: Mutex::default(),
            permits: Semaphore::new(permits),
            refused: 666,
            silent: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl BatchCall for Recorder {
    type Item = u32;
    type Outcome = u32;

    fn identity(item: &u32) -> u128 {
        u128::from(*item)
    }

    async fn call(&self, batch: Arc<[u32]>) -> Result<Vec<u32>, LedgerError> {
        self.calls.lock().push(batch.to_vec());
        self.permits.acquire().await.expect("open").forget();
        let rejected = |state: &str| {
            let code = ServerCode::SqlState(state.to_owned());
            let failure = Failure::Rejected { message: String::new(), code };
            LedgerError::from(DatabaseError { operation: "testing", failure })
        };
        if self.silent.swap(false, Ordering::Relaxed) {
            return Err(rejected("57P01"));
        }
        if batch.contains(&self.refused) {
            return Err(rejected("22003"));
        }
        Ok(batch.iter().map(|item| item * 10).collect())
    }
}

async fn submit_all(
    lanes: &Arc<Lanes<Recorder>>,
    lane: u32,
    items: impl IntoIterator<Item = u32>,
) -> Vec<tokio::task::JoinHandle<Result<u32, NoOutcome>>> {
    let mut tasks = Vec::new();
    for item in items {
        let lanes = Arc::clone(lanes);
        tasks.push(tokio::spawn(async move { lanes.submit(lane, item, None).await }));
        tokio::task::yield_now().await;
    }
    tasks
}

#[tokio::test]
async fn arrivals_during_a_call_share_the_next() {
    let lanes = Recorder::lanes(0);
    let tasks = submit_all(&lanes, 1, 0..5).await;
    lanes.call.permits.add_permits(2);
    for (item, task) in (0..).zip(tasks) {
        assert_eq!(task.await.expect("joined").expect("an outcome"), item * 10);
    }
    assert_eq!(*lanes.call.calls.lock(), [vec![0], vec![1, 2, 3, 4]]);
    assert_eq!(lanes.waiting.load(Ordering::Relaxed), 0);
    while !lanes.lanes.lock().is_empty() {
        tokio::task::yield_now().await;
    }
}

/// Else the first of them has a call of its own each time, and the others wait for it.
#[tokio::test]
async fn answered_clients_share_the_next_call() {
    const CLIENTS: u32 = 8;
    let lanes = Recorder::lanes(0);
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let lanes = Arc::clone(&lanes);
        clients.push(tokio::spawn(async move {
            for round in 0..3 {
                lanes.submit(1, client + CLIENTS * round, None).await.expect("an outcome");
            }
        }));
        tokio::task::yield_now().await;
    }
    while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        lanes.call.permits.add_permits(1);
    }
    let sizes: Vec<_> = lanes.call.calls.lock().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 8, 8, 7]);
}

#[tokio::test]
async fn lanes_do_not_wait_for_each_other() {
    let lanes = Recorder::lanes(0);
    let stuck = submit_all(&lanes, 1, [1]).await;
    let other = submit_all(&lanes, 2, [2]).await;
    while lanes.call.calls.lock().len() < 2 {
        tokio::task::yield_now().await;
    }
    lanes.call.permits.add_permits(2);
    for task in stuck.into_iter().chain(other) {
        assert!(task.await.expect("joined").is_ok());
    }
}

#[tokio::test]
async fn refused_request_fails_alone() {
    let lanes = Recorder::lanes(0);
    let tasks = submit_all(&lanes, 1, [0, 1, 666, 3]).await;
    lanes.call.permits.add_permits(9);
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.expect("joined").ok());
    }
    assert_eq!(outcomes, [Some(0), Some(10), None, Some(30)]);
}

#[tokio::test]
async fn equal_items_go_into_different_calls() {
    let lanes = Recorder::lanes(0);
    let tasks = submit_all(&lanes, 1, [0, 1, 1, 2]).await;
    lanes.call.permits.add_permits(9);
    for task in tasks {
        assert!(task.await.expect("joined").is_ok());
    }
    assert_eq!(*lanes.call.calls.lock(), [vec![0], vec![1, 2], vec![1]]);
}

#[tokio::test(start_paused = true)]
async fn unanswered_call_is_repeated() {
    let lanes = Recorder::lanes(2);
    lanes.call.silent.store(true, Ordering::Relaxed);
    assert_eq!(lanes.submit(1, 7, None).await.expect("an outcome"), 70);
    assert_eq!(*lanes.call.calls.lock(), [vec![7], vec![7]]);
}

#[tokio::test]
async fn request_of_absent_client_is_executed() {
    let lanes = Recorder::lanes(0);
    let tasks = submit_all(&lanes, 1, [1]).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    lanes.call.permits.add_permits(1);
    while lanes.waiting.load(Ordering::Relaxed) > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*lanes.call.calls.lock(), [vec![1]]);
}
