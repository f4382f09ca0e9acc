use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

/// An upstream with workers that take requests in turn, and clients that always have more requests.
struct Upstream {
    workers: usize,
    /// The seconds of work of a page.
    work: fn(u64) -> f64,
    refuses_above: usize,
}

impl Upstream {
    /// Runs `requests` requests under the search, and returns it with the time that they took.
    fn run(&self, search: LimitSearch, requests: u64) -> (LimitSearch, f64) {
        self.run_with(search, requests, usize::MAX)
    }

    /// Runs as [`run`](Self::run) does, with clients that have at most `demand` requests at once.
    fn run_with(
        &self,
        mut search: LimitSearch,
        requests: u64,
        demand: usize,
    ) -> (LimitSearch, f64) {
        let begun = search.window.since.0 + 1;
        let mut free: BinaryHeap<Reverse<u64>> =
            (0..self.workers).map(|_| Reverse(begun)).collect();
        let mut ends: BinaryHeap<Reverse<(u64, u64, u64)>> = BinaryHeap::new();
        let (mut sent, mut now) = (0_u64, begun);
        loop {
            while sent < requests && ends.len() < (search.limit() as usize).min(demand) {
                sent += 1;
                let Some(Reverse(worker)) = free.pop() else { break };
                let page = sent.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                let end = worker.max(now) + ((self.work)(page) * 1e9) as u64;
                free.push(Reverse(end));
                ends.push(Reverse((end, now, page)));
            }
            let in_flight = ends.len();
            let Some(Reverse((end, began, page))) = ends.pop() else { break };
            now = end;
            let took = Duration::from_nanos(end - began);
            let refused = in_flight > self.refuses_above;
            let exchange = Exchange { began: Mono(began), took, page, refused };
            let waiting = sent < requests && demand > in_flight;
            search.learn(Mono(now), exchange, waiting);
        }
        (search, (now - begun) as f64 / 1e9)
    }
}

fn search() -> LimitSearch {
    LimitSearch::new(LimitRange { min: 32, start: 512 }, 512.0)
}

/// 8 workers, 200 pages a second.
const SMALL: Upstream = Upstream {
    workers: 8,
    work: |page| 0.03 + (page % 21) as f64 / 1_000.0,
    refuses_above: usize::MAX,
};

#[test]
fn small_upstream_gets_few_requests() {
    let (soon, seconds) = SMALL.run(search(), 2_400);
    assert!(soon.limit() < 64.0, "{} after {seconds} s", soon.limit());
    let (search, _) = SMALL.run(search(), 10_000);
    assert!(search.limit() < 64.0, "{}", search.limit());
}

#[test]
fn slow_upstream_with_room_gets_many_requests() {
    let slow = Upstream { workers: 10_000, work: |_| 1.0, refuses_above: usize::MAX };
    let (_, seconds) = slow.run(search(), 500);
    assert!(seconds < 1.1, "500 cold pages take {seconds} s");
    let (search, _) = slow.run(search(), 5_000);
    assert!(search.limit() > 350.0, "{}", search.limit());
    let low = LimitSearch::new(LimitRange { min: 32, start: 64 }, 512.0);
    let (search, _) = slow.run(low, 5_000);
    assert!(search.limit() > 350.0, "{}", search.limit());
}

/// A tenth of the pages are reports of 12 s.
#[test]
fn slow_reports_lower_no_limit() {
    let mixed = Upstream {
        workers: 10_000,
        work: |page| if page % 10 == 0 { 12.0 } else { 0.02 + (page % 30) as f64 / 1_000.0 },
        refuses_above: usize::MAX,
    };
    let (search, _) = mixed.run(search(), 20_000);
    assert!(search.limit() > 350.0, "{}", search.limit());
    let reports = Upstream { workers: 10_000, work: |_| 12.0, refuses_above: usize::MAX };
    let (unbound, _) = reports.run_with(super::tests::search(), 200, 12);
    assert_eq!(unbound.limit(), 512.0, "nothing waits");
}

#[test]
fn upstream_that_was_scaled_up_gets_more() {
    let (small, _) = SMALL.run(search(), 4_000);
    let large = Upstream { workers: 400, ..SMALL };
    let (search, _) = large.run(small, 20_000);
    assert!(search.limit() > 200.0, "{}", search.limit());
}

#[test]
fn refusals_of_many_pages_lower_the_limit() {
    let refusing = Upstream { workers: 10_000, work: |_| 0.01, refuses_above: 60 };
    let (search, _) = refusing.run(search(), 4_000);
    assert!(search.limit() < 90.0, "{}", search.limit());
}

#[test]
fn refusals_of_one_page_lower_nothing() {
    let mut search = search();
    for nth in 1..10_000 {
        let took = Duration::from_millis(10);
        let exchange = Exchange { began: Mono(nth), took, page: nth % 2, refused: nth % 2 == 0 };
        search.learn(Mono(nth), exchange, false);
    }
    assert_eq!(search.limit(), 512.0);
}
