use std::collections::{BTreeMap, BTreeSet};

use coherence::Lsn;
use proptest::prelude::*;

use super::*;
use crate::local::tests::entry_with;

fn tag(id: u8) -> String {
    format!("category-{id}")
}

fn stored(id: u8, tags: impl IntoIterator<Item = u8>) -> LocalEntry {
    let tags: Vec<String> = tags.into_iter().map(tag).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    entry_with(id.into(), 10, &tags, true)
}

fn number(entry: &LocalEntry) -> u8 {
    id_of(entry.key_text())
}

/// Returns the ID in a key.
fn id_of(key: &str) -> u8 {
    key.rsplit_once(':').and_then(|(_, id)| id.parse().ok()).expect("an ID")
}

#[derive(Clone, Debug)]
enum Step {
    /// Stores an entry, or removes it if it is there.
    Toggle(u8, BTreeSet<u8>),
    MakeSoft(u8),
    Raise(u8, bool),
    Evict(u8),
    /// Takes that many lagging entries, and removes every second one.
    Settle(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..12, proptest::collection::btree_set(0_u8..5, 0..4))
            .prop_map(|(id, tags)| Step::Toggle(id, tags)),
        1 => (0_u8..12).prop_map(Step::MakeSoft),
        2 => (0_u8..5, any::<bool>()).prop_map(|(tag, soft)| Step::Raise(tag, soft)),
        1 => (0_u8..5).prop_map(Step::Evict),
        1 => (0_u8..6).prop_map(Step::Settle),
    ]
}

/// An entry of the reference, with the tags that it lags behind of.
struct Entry {
    stored: LocalEntry,
    links: Links,
    tags: BTreeSet<u8>,
    lags: BTreeSet<u8>,
    is_soft: bool,
}

proptest! {
    #[test]
    fn agrees_with_a_map_of_sets(steps in proptest::collection::vec(step(), 1..120)) {
        let mut index = TagIndex::default();
        let mut entries: BTreeMap<u8, Entry> = BTreeMap::new();
        let mut position = 0;
        for step in steps {
            match step {
                Step::Toggle(id, tags) => match entries.remove(&id) {
                    Some(entry) => index.remove(entry.links),
                    None => {
                        let stored = stored(id, tags.iter().copied());
                        let (links, cells) = index.insert(&stored);
                        prop_assert!(cells.len() <= tags.len());
                        let lags = BTreeSet::new();
                        entries.insert(id, Entry { stored, links, tags, lags, is_soft: false });
                    }
                },
                Step::MakeSoft(id) => if let Some(entry) = entries.get_mut(&id) {
                    index.replace_by_soft(entry.links, &entry.stored);
                    entry.is_soft = true;
                    entry.lags.clear();
                },
                Step::Raise(t, is_soft) => {
                    position += 1;
                    let raise = Raise { lsn: Lsn(position), is_soft, as_of: None };
                    let queued = index.lagging_tags();
                    let raising = index.raise(&tag(t), raise);
                    let (mut merged, mut concerned) = (0, 0);
                    // The caller applies the event to this one itself.
                    let sole = raising.sole.as_ref().map(number);
                    let others = entries.iter_mut().filter(|(id, _)| sole != Some(**id));
                    for (_, entry) in others.filter(|(_, entry)| entry.tags.contains(&t)) {
                        merged += usize::from(is_soft && entry.is_soft);
                        if !(is_soft && entry.is_soft) {
                            entry.lags.insert(t);
                            concerned += 1;
                        }
                    }
                    prop_assert_eq!(raising.merged, merged);
                    let is_told = raising.again || index.lagging_tags() > queued;
                    prop_assert!(is_told || concerned == 0, "readers have to be told of it");
                }
                Step::Evict(t) => {
                    let evicting = index.evict(&tag(t), 1);
                    let sole = evicting.sole.as_ref().map(number);
                    let others = entries.iter_mut().filter(|(id, _)| sole != Some(**id));
                    let mut has_others = false;
                    for (_, entry) in others.filter(|(_, entry)| entry.tags.contains(&t)) {
                        has_others = true;
                        entry.lags.insert(t);
                    }
                    prop_assert_eq!(evicting.has_others, has_others);
                    if let Some(id) = sole {
                        let entry = entries.remove(&id).expect("it is there");
                        prop_assert!(entry.tags.contains(&t));
                        index.remove(entry.links);
                    }
                }
                Step::Settle(count) => for n in 0..count {
                    let before = index.lagging();
                    let Some(taken) = index.take_lagging() else {
                        prop_assert_eq!(before, 0);
                        break;
                    };
                    prop_assert_eq!(index.lagging(), before - 1);
                    let id = number(&taken);
                    let entry = entries.get_mut(&id).expect("it is there");
                    prop_assert!(!entry.lags.is_empty(), "it lags");
                    if n % 2 == 0 {
                        index.remove(entry.links);
                        entries.remove(&id);
                    } else {
                        // Which of its tags it was taken for is not known here: settle them all.
                        index.replace_by_soft(entry.links, &entry.stored);
                        entry.is_soft = true;
                        entry.lags.clear();
                    }
                },
            }
            let lagging: usize = entries.values().map(|entry| entry.lags.len()).sum();
            prop_assert_eq!(index.lagging(), lagging);
            prop_assert_eq!(index.lagging_tags() > 0, lagging > 0);
            for t in 0..5 {
                let found: Vec<u8> = {
                    let mut found: Vec<u8> =
                        index.keys(&tag(t)).iter().map(|key| id_of(key.as_str())).collect();
                    found.sort_unstable();
                    found
                };
                let tagged = || entries.iter().filter(|(_, entry)| entry.tags.contains(&t));
                prop_assert_eq!(found, tagged().map(|(id, _)| *id).collect::<Vec<_>>());
                let soft: BTreeSet<u8> =
                    tagged().filter(|(_, entry)| entry.is_soft).map(|(id, _)| *id).collect();
                let mut standing: BTreeSet<u8> = index.standing(&tag(t)).map(number).collect();
                standing.retain(|id| !soft.contains(id));
                let expected = tagged().filter(|(_, entry)| !entry.is_soft);
                prop_assert_eq!(standing, expected.map(|(id, _)| *id).collect::<BTreeSet<_>>());
            }
        }
        for entry in entries.into_values() {
            index.remove(entry.links);
        }
        prop_assert_eq!(index.tag_count(), 0, "a tag is removed with its last entry");
        prop_assert_eq!(index.lagging(), 0);
    }
}

#[test]
fn small_tag_settled_before_large_one() {
    let mut index = TagIndex::default();
    let [large, small] = [tag(0), tag(1)];
    for id in 0..100 {
        index.insert(&stored(id, [0]));
    }
    for id in [201, 200] {
        index.insert(&stored(id, [1]));
    }
    let raise = |lsn| Raise { lsn: Lsn(lsn), is_soft: false, as_of: None };
    index.raise(&large, raise(1));
    index.take_lagging();
    index.raise(&small, raise(2));
    assert_eq!(index.take_lagging().as_ref().map(number), Some(200));
}

#[test]
fn first_entry_of_a_tag_is_invalidated_by_the_caller() {
    let mut index = TagIndex::default();
    let raise = |lsn| Raise { lsn: Lsn(lsn), is_soft: false, as_of: None };
    let sole_of = |raising: &Raising| raising.sole.as_ref().map(number);
    let (first, cells) = index.insert(&stored(1, [1]));
    assert!(cells.is_empty(), "no reader has to compare it with the tag");
    let alone = index.raise(&tag(1), raise(1));
    assert_eq!((sole_of(&alone), alone.merged, alone.again), (Some(1), 0, false));
    assert_eq!(index.lagging(), 0);
    let (second, cells) = index.insert(&stored(2, [1]));
    assert_eq!(cells.len(), 1);
    let raising = index.raise(&tag(1), raise(2));
    let lagging = index.take_lagging();
    assert_eq!((sole_of(&raising), lagging.as_ref().map(number)), (Some(1), Some(2)));
    index.remove(first);
    assert_eq!(sole_of(&index.raise(&tag(1), raise(3))), None);
    assert_eq!(index.take_lagging().as_ref().map(number), Some(2));
    index.remove(second);
    assert_eq!(index.tag_count(), 0);
}

#[test]
fn discarded_index_freed_in_parts() {
    let mut index = TagIndex::default();
    for n in 0..1_200 {
        index.insert(&entry_with(n, 10, &[&format!("own-{n}")], false));
    }
    let mut discarded = index.discard();
    assert!(discarded.free(4) && discarded.free(4) && !discarded.free(4));
}
