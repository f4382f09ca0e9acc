use std::collections::{BTreeMap, BTreeSet};

use coherence::Lsn;
use proptest::prelude::*;

use super::*;

fn key(id: u8) -> Key {
    Key::parse(&format!("v1:catalog:price:{id}")).expect("a key")
}

fn tag(id: u8) -> Tag {
    Tag::parse(&format!("category-{id}")).expect("a tag")
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
                        let named: Vec<Tag> = tags.iter().map(|id| tag(*id)).collect();
                        let (links, cells) = index.insert(&key(id), &named, false);
                        prop_assert!(cells.len() <= tags.len());
                        let lags = BTreeSet::new();
                        entries.insert(id, Entry { links, tags, lags, is_soft: false });
                    }
                },
                Step::MakeSoft(id) => if let Some(entry) = entries.get_mut(&id) {
                    index.make_soft(entry.links);
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
                    let others = entries.iter_mut().filter(|(id, _)| raising.sole != Some(key(**id)));
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
                    let others = entries.iter_mut().filter(|(id, _)| evicting.sole != Some(key(**id)));
                    let mut has_others = false;
                    for (_, entry) in others.filter(|(_, entry)| entry.tags.contains(&t)) {
                        has_others = true;
                        entry.lags.insert(t);
                    }
                    prop_assert_eq!(evicting.has_others, has_others);
                    if let Some(sole) = evicting.sole {
                        let id = *entries.keys().find(|id| key(**id) == sole).expect("it is there");
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
                    let id = *entries.keys().find(|id| key(**id) == taken).expect("it is there");
                    let entry = entries.get_mut(&id).expect("it is there");
                    prop_assert!(!entry.lags.is_empty(), "it lags");
                    if n % 2 == 0 {
                        index.remove(entry.links);
                        entries.remove(&id);
                    } else {
                        // Which of its tags it was taken for is not known here: settle them all.
                        index.make_soft(entry.links);
                        entry.is_soft = true;
                        entry.lags.clear();
                    }
                },
            }
            let lagging: usize = entries.values().map(|entry| entry.lags.len()).sum();
            prop_assert_eq!(index.lagging(), lagging);
            prop_assert_eq!(index.lagging_tags() > 0, lagging > 0);
            for t in 0..5 {
                let found: BTreeSet<Key> = index.keys(&tag(t)).into_iter().collect();
                let tagged = || entries.iter().filter(|(_, entry)| entry.tags.contains(&t));
                prop_assert_eq!(found, tagged().map(|(id, _)| key(*id)).collect::<BTreeSet<_>>());
                let soft: BTreeSet<Key> =
                    tagged().filter(|(_, entry)| entry.is_soft).map(|(id, _)| key(*id)).collect();
                let mut standing: BTreeSet<Key> = index.standing(&tag(t)).cloned().collect();
                standing.retain(|key| !soft.contains(key));
                let expected = tagged().filter(|(_, entry)| !entry.is_soft);
                prop_assert_eq!(standing, expected.map(|(id, _)| key(*id)).collect::<BTreeSet<_>>());
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
        index.insert(&key(id), std::slice::from_ref(&large), false);
    }
    for id in [201, 200] {
        index.insert(&key(id), std::slice::from_ref(&small), false);
    }
    let raise = |lsn| Raise { lsn: Lsn(lsn), is_soft: false, as_of: None };
    index.raise(&large, raise(1));
    index.take_lagging();
    index.raise(&small, raise(2));
    assert_eq!(index.take_lagging(), Some(key(200)));
}

#[test]
fn first_entry_of_a_tag_is_invalidated_by_the_caller() {
    let mut index = TagIndex::default();
    let raise = |lsn| Raise { lsn: Lsn(lsn), is_soft: false, as_of: None };
    let tags = [tag(1)];
    let (first, cells) = index.insert(&key(1), &tags, false);
    assert!(cells.is_empty(), "no reader has to compare it with the tag");
    let alone = Raising { sole: Some(key(1)), ..Raising::default() };
    assert_eq!((index.raise(&tags[0], raise(1)), index.lagging()), (alone, 0));
    let (second, cells) = index.insert(&key(2), &tags, false);
    assert_eq!(cells.len(), 1);
    let raising = index.raise(&tags[0], raise(2));
    assert_eq!((raising.sole, index.take_lagging()), (Some(key(1)), Some(key(2))));
    index.remove(first);
    assert_eq!(index.raise(&tags[0], raise(3)).sole, None);
    assert_eq!(index.take_lagging(), Some(key(2)));
    index.remove(second);
    assert_eq!(index.tag_count(), 0);
}

#[test]
fn discarded_index_freed_in_parts() {
    let mut index = TagIndex::default();
    for n in 0..1_200 {
        let own = Tag::parse(&format!("own-{n}")).expect("a tag");
        index.insert(&key(1), &[own], false);
    }
    let mut discarded = index.discard();
    assert!(discarded.free(4) && discarded.free(4) && !discarded.free(4));
}
