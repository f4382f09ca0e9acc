use std::time::Duration;

use coherence::{Cause, Followed, Lsn, Mono, Refusal, SlidingTtl, Subject, Verdict};
use contract::{Class, Pattern, Tag};

use super::*;
use crate::entry::{Content, Entry};
use crate::local::entry::EntryPolicy;
use crate::local::pools::Assured;
use crate::local::tests::{EPOCH, batch, entry_with, key, local_with};
use crate::shared::Touch;

const ENTRIES: u32 = 1_000;

fn tag(name: &str) -> Tag {
    Tag::parse(name).unwrap()
}

fn tagged(name: &str) -> Subject {
    Subject::Tag(tag(name))
}

/// Creates a tier at position 10, proven as of time 100, that settles `at_once` entries with an event, with a
/// thousand entries of the tags `all` and `own-<id>`.
fn local(at_once: usize, soft_allowed: bool) -> Local {
    let local = local_with(64 << 20, Assured::default(), at_once);
    local.apply(&batch(0, 10, Vec::new()), Mono(0), true);
    local.sample(EPOCH.log(), Mono(100), Lsn(10));
    for id in 0..ENTRIES {
        let own = format!("own-{id}");
        let verdict =
            local.fill(&key(id), entry_with(id, 10, &["all", &own], soft_allowed), EPOCH, &[]);
        assert_eq!(verdict, Verdict::Accept);
    }
    local
}

fn served(local: &Local) -> usize {
    (0..ENTRIES).filter(|id| local.get(&key(*id)).is_some()).count()
}

fn stored(local: &Local) -> usize {
    local.store.len()
}

fn finish(local: &Local) {
    let mut sweep = Sweep::of(local);
    while sweep.step(64) {}
}

#[test]
fn old_entries_unserved_before_their_removal() {
    for subject in [
        tagged("all"),
        Subject::KeysLike(Pattern::of_keys("v1:catalog:*").unwrap()),
        Subject::TagsLike(Pattern::of_tags("own-*").unwrap()),
        Subject::Everything,
    ] {
        let local = local(4, false);
        local.fill(&key(5_000), entry_with(5_000, 12, &["all", "own-5000"], false), EPOCH, &[]);
        let applied = local.apply(&batch(10, 11, vec![subject.clone()]), Mono(1), true);
        assert_eq!(applied, Followed::Applied);
        assert!(stored(&local) > 900, "most are still in memory: {subject}");
        assert_eq!(served(&local), 0, "{subject}");
        assert!(local.get(&key(5_000)).is_some(), "it was read after the commit");
        assert!(local.status(Mono(1)).entries <= 1, "{subject}");
        let survey = local.survey(std::slice::from_ref(&subject), Mono(1));
        assert_eq!(survey.total(), 1, "{subject}");
        assert!(local.snapshot([(&key(7), None)], Mono(1)).entries[0].is_none());
        assert!(local.peek(&key(8)).is_none());
        finish(&local);
        assert_eq!((stored(&local), local.status(Mono(1)).entries), (1, 1), "{subject}");
        assert_eq!(local.writer.lock().index.tag_count(), 2, "{subject}");
    }
}

#[test]
fn eviction_counts_before_the_removal() {
    for subject in [
        tagged("all"),
        Subject::KeysLike(Pattern::of_keys("v1:catalog:*").unwrap()),
        Subject::Everything,
    ] {
        let local = local(4, true);
        local.evict(std::slice::from_ref(&subject));
        assert_eq!((served(&local), stored(&local) > 900), (0, true), "{subject}");
        assert_eq!(local.status(Mono(1)).entries, 0, "{subject}");
        // An eviction has no position: the value may be stored again.
        let again = local.fill(&key(1), entry_with(1, 10, &["all"], true), EPOCH, &[]);
        assert_eq!(again, Verdict::Accept);
        assert_eq!(served(&local), 1, "{subject}");
        finish(&local);
        assert_eq!((served(&local), stored(&local)), (1, 1), "{subject}");
    }
}

#[test]
fn tag_raised_again_behind_a_larger_one_is_in_force() {
    let local = local(4, false);
    let refill = |tau| {
        for id in 5_000..5_010 {
            local.fill(&key(id), entry_with(id, tau, &["small"], false), EPOCH, &[]);
        }
    };
    refill(10);
    local.apply(&batch(10, 11, vec![tagged("small")]), Mono(1), true);
    local.apply(&batch(11, 12, vec![tagged("all")]), Mono(1), true);
    // The entries that lagged behind the first event are replaced while the other tag is swept.
    refill(12);
    let served = || (5_000..5_010).filter(|id| local.get(&key(*id)).is_some()).count();
    assert_eq!(served(), 10);
    local.apply(&batch(12, 13, vec![tagged("small")]), Mono(1), true);
    assert_eq!(served(), 0);
}

#[test]
fn reset_leaves_nothing_to_readers() {
    let local = local(4, true);
    let proven = local.get(&key(1)).expect("a hit").1;
    assert_eq!(proven, Some(Mono(100)));
    local.reset();
    assert_eq!((served(&local), stored(&local)), (0, ENTRIES as usize));
    local.apply(&batch(0, 5, Vec::new()), Mono(1), true);
    // The new epoch's log is behind the old one's; the dropped entry does not refuse the fill.
    let fill = local.fill(&key(1), entry_with(1, 5, &["all"], false), EPOCH, &[]);
    assert_eq!(fill, Verdict::Accept);
    assert_eq!(served(&local), 1);
    assert!(local.status(Mono(1)).entries <= 1);
    local.apply(&batch(5, 6, vec![tagged("all")]), Mono(1), true);
    assert_eq!(served(&local), 0);
    finish(&local);
    assert_eq!((stored(&local), local.writer.lock().index.tag_count()), (0, 0));
}

#[test]
fn lagging_entry_becomes_soft_stale_when_read() {
    let local = local(4, true);
    local.apply(&batch(10, 12, vec![tagged("all")]), Mono(1), true);
    local.sample(EPOCH.log(), Mono(200), Lsn(12));
    local.apply(&batch(12, 14, vec![tagged("all"), tagged("own-7")]), Mono(1), true);
    for id in [0, 7, 999] {
        let (entry, proven) = local.get(&key(id)).expect("it stays");
        assert!(entry.is_soft());
        // Its proof ends before the first commit that it misses, at 12.
        assert_eq!((entry.as_of(proven), entry.reaches(Lsn(14))), (Some(Mono(100)), Lsn(11)));
    }
    assert_eq!(served(&local), ENTRIES as usize);
    finish(&local);
    let soft = |id| local.get(&key(id)).expect("it stays").0.is_soft();
    assert!((0..ENTRIES).all(soft));
    let status = local.status(Mono(1));
    assert_eq!((status.soft_stale, status.entries), (1_000, 1_000));
}

#[test]
fn soft_stale_entries_not_visited_by_later_commits() {
    let local = local(usize::MAX, true);
    local.apply(&batch(10, 12, vec![tagged("all")]), Mono(1), true);
    local.apply(&batch(12, 13, vec![tagged("all")]), Mono(1), true);
    let status = local.status(Mono(1));
    assert_eq!((status.soft_stale, status.merged), (1_000, 1_000));
    assert_eq!(local.writer.lock().index.lagging(), 0);
    let mut purge = batch(13, 14, vec![tagged("all")]);
    purge.events[0].cause = Cause::Purge;
    local.apply(&purge, Mono(1), true);
    assert_eq!(stored(&local), 0);
}

#[test]
fn purge_of_soft_stale_entries_counts_before_the_removal() {
    let local = local(4, true);
    local.apply(&batch(10, 12, vec![tagged("all")]), Mono(1), true);
    finish(&local);
    let mut purge = batch(12, 13, vec![tagged("all")]);
    purge.events[0].cause = Cause::Purge;
    local.apply(&purge, Mono(1), true);
    assert_eq!((served(&local), local.status(Mono(1)).entries), (0, 0));
    assert!(stored(&local) > 900);
    finish(&local);
    assert_eq!(stored(&local), 0);
}

#[test]
fn lagging_entry_not_renewed_or_kept_by_fills() {
    let local = local(0, false);
    local.apply(&batch(10, 12, vec![tagged("all")]), Mono(1), true);
    let late = local.fill(&key(1), entry_with(1, 11, &["all"], false), EPOCH, &[]);
    assert_eq!(late, Verdict::Refuse(Refusal::Tombstone));
    let mut renewing = batch(12, 13, vec![Subject::Key(key(2))]);
    renewing.events[0].renewals = vec![coherence::Renewal {
        key: key(2),
        value: Some("{}".into()),
        tags: vec![tag("all")],
        ttl: Duration::from_secs(60),
        definition: 0,
    }];
    local.apply(&renewing, Mono(2), true);
    assert_eq!((served(&local), local.status(Mono(2)).renewals), (0, 0));
    assert_eq!(
        local.fill(&key(1), entry_with(1, 13, &["all"], false), EPOCH, &[]),
        Verdict::Accept
    );
    finish(&local);
    assert_eq!((served(&local), stored(&local)), (1, 1));
}

#[test]
fn uncacheable_entry_outlives_earlier_events() {
    let local = local(0, false);
    local.apply(&batch(10, 12, vec![tagged("all")]), Mono(1), true);
    let value =
        Entry { content: Content::Uncacheable, ..entry_with(1, 9, &["all"], false).to_entry() };
    let policy = EntryPolicy { soft_allowed: false, age_bound: false, pool: Class::Standard };
    let uncacheable = LocalEntry::new(&key(1), &value, Mono(0), Mono(u64::MAX), false, policy);
    local.insert_uncacheable(uncacheable);
    local.evict(&[tagged("own-3")]);
    assert!(local.get(&key(1)).is_some(), "the event was applied before");
    local.apply(&batch(12, 13, vec![tagged("all")]), Mono(1), true);
    assert!(local.get(&key(1)).is_none());
}

#[test]
fn more_wildcards_than_remembered_remove_everything_older() {
    let local = local(0, true);
    let wildcard = |n: u64| Subject::KeysLike(Pattern::of_keys(&format!("v1:other{n}:*")).unwrap());
    for n in 0..40 {
        local.apply(&batch(10 + n, 11 + n, vec![wildcard(n)]), Mono(1), true);
    }
    assert_eq!(served(&local), 0, "their proof is not known any more");
    finish(&local);
    assert_eq!(stored(&local), 0);
}

#[test]
fn wildcard_spares_entries_stored_later() {
    let local = local(0, false);
    let wildcard = Subject::KeysLike(Pattern::of_keys("v1:catalog:*").unwrap());
    local.apply(&batch(10, 12, vec![wildcard]), Mono(1), true);
    assert_eq!(
        local.fill(&key(1), entry_with(1, 12, &["all"], false), EPOCH, &[]),
        Verdict::Accept
    );
    local.apply(&batch(12, 13, vec![tagged("own-5")]), Mono(1), true);
    assert_eq!(served(&local), 1);
    finish(&local);
    assert_eq!((served(&local), stored(&local)), (1, 1));
}

/// A use does not prolong the life of an entry that an invalidation has made old.
#[test]
fn old_entry_with_sliding_ttl_stays_absent() {
    let local = local(0, false);
    let ttl = SlidingTtl { length: Duration::from_secs(60), cap: Mono(u64::MAX) };
    let touch = Touch::within(Duration::MAX);
    let policy = EntryPolicy { soft_allowed: false, age_bound: false, pool: Class::Standard };
    let value = entry_with(1, 10, &["all"], false).to_entry();
    let (times, life) = ((Mono(0), Mono(0)), (policy, touch, ttl));
    let sliding = LocalEntry::with_sliding_ttl(&key(1), &value, times, Mono(0), false, life);
    local.fill(&key(1), sliding.clone(), EPOCH, &[]);
    local.apply(&batch(10, 12, vec![tagged("all")]), Mono(1), true);
    sliding.record_use(Mono(30_000_000_000), |end| end);
    assert!(local.get(&key(1)).is_none());
    finish(&local);
    assert_eq!(stored(&local), 0);
}

#[test]
fn wildcards_are_in_force_until_their_own_pass_ends() {
    let local = local(0, false);
    let wildcard = |text: &str| vec![Subject::KeysLike(Pattern::of_keys(text).unwrap())];
    local.apply(&batch(10, 11, wildcard("v1:other:*")), Mono(1), true);
    let mut sweep = Sweep::of(&local);
    for _ in 0..8 {
        assert!(sweep.step(64), "the pass is under way");
    }
    local.apply(&batch(11, 12, wildcard("v1:catalog:*")), Mono(1), true);
    for _ in 0..9 {
        sweep.step(64);
    }
    assert_eq!(local.store.raised.wildcards(), 1, "the first pass may have missed matches");
    assert_eq!(served(&local), 0);
    while sweep.step(64) {}
    assert_eq!((local.store.raised.wildcards(), stored(&local)), (0, 0));
}

#[test]
fn keys_to_audit_found_among_many() {
    let local = local(0, false);
    let events = batch(10, 12, vec![tagged("all"), Subject::Everything]).events;
    assert_eq!(local.keys_invalidated_by(&events[0], 10).len(), 10);
    local.apply(&batch(10, 11, vec![tagged("all")]), Mono(1), true);
    assert_eq!(local.keys_invalidated_by(&events[0], 10), [], "an earlier event has them");
}

/// The visible state of the tier does not depend on the time of the sweep.
mod differential {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Fill(u32, u64),
        Event(Subject, Cause),
        Evict(Subject),
        Reset,
        Sweep(u8),
        Sample,
        /// Compares the tiers. Not after each step, since a read settles the entry that it finds.
        Compare,
    }

    fn subject() -> impl Strategy<Value = Subject> {
        prop_oneof![
            3 => (0_u32..3).prop_map(|n| tagged(&format!("third-{n}"))),
            3 => (0_u32..2).prop_map(|n| tagged(&format!("half-{n}"))),
            1 => (0_u32..12).prop_map(|id| Subject::Key(key(id))),
            1 => Just(Subject::KeysLike(Pattern::of_keys("v1:catalog:price:1*").unwrap())),
            1 => Just(Subject::TagsLike(Pattern::of_tags("half-1*").unwrap())),
            1 => Just(Subject::Everything),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        let cause = prop_oneof![3 => Just(Cause::Commit), 1 => Just(Cause::Purge)];
        prop_oneof![
            8 => (0_u32..12, 0_u64..3).prop_map(|(id, behind)| Step::Fill(id, behind)),
            4 => (subject(), cause).prop_map(|(subject, cause)| Step::Event(subject, cause)),
            1 => subject().prop_map(Step::Evict),
            1 => Just(Step::Reset),
            2 => (0_u8..4).prop_map(Step::Sweep),
            1 => Just(Step::Sample),
            3 => Just(Step::Compare),
        ]
    }

    /// The proof of each entry that is served: its τ, and the rest of it if it is soft-stale.
    fn visible(local: &Local) -> Vec<Option<(Lsn, Lsn, Option<Mono>)>> {
        let proof = |id| {
            let (entry, proven) = local.peek(&key(id))?;
            Some((entry.tau, entry.reaches(local.applied()), entry.as_of(proven)))
        };
        (0..12).map(proof).collect()
    }

    proptest! {
        #[test]
        fn late_sweep_shows_the_same(
            steps in proptest::collection::vec(step(), 1..60), at_once in 0_usize..3,
        ) {
            let [eager, lazy] = [usize::MAX, at_once]
                .map(|at_once| local_with(64 << 20, Assured::default(), at_once));
            let both = [&eager, &lazy];
            let mut sweep = Sweep::of(&lazy);
            let (mut position, mut time) = (10, 100);
            for local in both {
                local.apply(&batch(0, 10, Vec::new()), Mono(0), true);
                local.sample(EPOCH.log(), Mono(100), Lsn(10));
            }
            for step in steps {
                match step {
                    Step::Fill(id, behind) => {
                        let tags = [format!("third-{}", id % 3), format!("half-{}", id % 2)];
                        let tags = [tags[0].as_str(), tags[1].as_str()];
                        let tau = position - behind;
                        let fill = |local: &Local| {
                            local.fill(&key(id), entry_with(id, tau, &tags, id % 4 > 0), EPOCH, &[])
                        };
                        prop_assert_eq!(fill(&eager), fill(&lazy));
                    }
                    Step::Event(subject, cause) => {
                        let mut batch = batch(position, position + 1, vec![subject]);
                        batch.events[0].cause = cause;
                        position += 1;
                        for local in both {
                            local.apply(&batch, Mono(1), true);
                        }
                    }
                    Step::Evict(subject) => {
                        for local in both {
                            local.evict(std::slice::from_ref(&subject));
                        }
                    }
                    Step::Reset => {
                        for local in both {
                            local.reset();
                            local.apply(&batch(position, position, Vec::new()), Mono(1), true);
                        }
                    }
                    Step::Sweep(limit) => drop(sweep.step(usize::from(limit))),
                    Step::Sample => {
                        time += 10;
                        for local in both {
                            local.sample(EPOCH.log(), Mono(time), Lsn(position));
                        }
                    }
                    Step::Compare => {
                        let expected = visible(&eager);
                        let held = expected.iter().flatten().count();
                        prop_assert!(lazy.status(Mono(1)).entries <= held);
                        prop_assert_eq!(visible(&lazy), expected);
                    }
                }
            }
            prop_assert_eq!(visible(&lazy), visible(&eager));
            while sweep.step(3) {}
            prop_assert_eq!(lazy.store.len(), eager.store.len());
            prop_assert_eq!(lazy.status(Mono(1)).entries, eager.status(Mono(1)).entries);
            // Not those of the other: it depends on the order of entries which of them is the first of a tag.
            for local in both {
                let of_pools = local.store.pool_status().iter().map(|pool| pool.bytes).sum::<u64>();
                prop_assert_eq!(local.store.bytes(), of_pools);
            }
        }
    }
}
