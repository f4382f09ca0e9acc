//! Which entries carry a tag.
//!
//! Entries and tags meet in links: a link is on the ring-less list of its tag (so that removing
//! one entry of a tag with a million costs no search) and on the chain of its entry. Links live in
//! one slab and name each other by number: 32 bytes per entry and tag.

use std::collections::HashMap;

use contract::{Key, Tag};

/// No link, no group.
const NONE: u32 = u32::MAX;

/// The first of an entry's links; needed to take the entry out of the index again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Links(u32);

impl Links {
    /// An entry without tags.
    pub(super) const NONE: Self = Self(NONE);
}

impl From<u32> for Links {
    fn from(first: u32) -> Self {
        Self(first)
    }
}

impl From<Links> for u32 {
    fn from(links: Links) -> Self {
        links.0
    }
}

#[derive(Debug)]
struct Link {
    /// `None`: free, and `next` is the next free one.
    key: Option<Key>,
    group: u32,
    prev: u32,
    next: u32,
    /// The same entry's next link.
    sibling: u32,
}

#[derive(Debug)]
struct Group {
    /// `None`: free, and `head` is the next free one.
    tag: Option<Tag>,
    head: u32,
}

/// Tag → keys.
#[derive(Debug)]
pub(super) struct Index {
    groups_by_tag: HashMap<Tag, u32>,
    groups: Vec<Group>,
    free_group: u32,
    links: Vec<Link>,
    free_link: u32,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            groups_by_tag: HashMap::new(),
            groups: Vec::new(),
            free_group: NONE,
            links: Vec::new(),
            free_link: NONE,
        }
    }
}

impl Index {
    /// Enters `key` under each of `tags`.
    pub(super) fn insert(&mut self, key: &Key, tags: &[Tag]) -> Links {
        let mut first = NONE;
        for tag in tags {
            let group = self.group(tag);
            let next = self.groups[group as usize].head;
            let link = Link { key: Some(key.clone()), group, prev: NONE, next, sibling: first };
            first = self.place(link);
            if next != NONE {
                self.links[next as usize].prev = first;
            }
            self.groups[group as usize].head = first;
        }
        Links(first)
    }

    /// Takes an entry out again.
    pub(super) fn remove(&mut self, links: Links) {
        let mut at = links.0;
        while at != NONE {
            let link = &mut self.links[at as usize];
            let (group, prev, next, sibling) = (link.group, link.prev, link.next, link.sibling);
            link.key = None;
            link.next = self.free_link;
            self.free_link = at;
            if next != NONE {
                self.links[next as usize].prev = prev;
            }
            if prev != NONE {
                self.links[prev as usize].next = next;
            } else {
                self.groups[group as usize].head = next;
                if next == NONE {
                    self.retire(group);
                }
            }
            at = sibling;
        }
    }

    /// The keys under `tag`, in no order.
    pub(super) fn keys(&self, tag: &Tag) -> Vec<Key> {
        let mut keys = Vec::new();
        let group = self.groups_by_tag.get(tag).copied();
        let mut at = group.map_or(NONE, |group| self.groups[group as usize].head);
        while at != NONE {
            let link = &self.links[at as usize];
            keys.extend(link.key.clone());
            at = link.next;
        }
        keys
    }

    /// The tags there are, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Tag> {
        self.groups_by_tag.keys()
    }

    /// How many tags there are.
    #[cfg(test)]
    pub(super) fn tags(&self) -> usize {
        self.groups_by_tag.len()
    }

    fn group(&mut self, tag: &Tag) -> u32 {
        if let Some(group) = self.groups_by_tag.get(tag) {
            return *group;
        }
        let group = Group { tag: Some(tag.clone()), head: NONE };
        let at = self.free_group;
        let at = if at == NONE {
            self.groups.push(group);
            number(self.groups.len() - 1)
        } else {
            self.free_group = self.groups[at as usize].head;
            self.groups[at as usize] = group;
            at
        };
        self.groups_by_tag.insert(tag.clone(), at);
        at
    }

    fn retire(&mut self, at: u32) {
        let group = &mut self.groups[at as usize];
        group.head = self.free_group;
        self.free_group = at;
        if let Some(tag) = group.tag.take() {
            self.groups_by_tag.remove(&tag);
        }
    }

    fn place(&mut self, link: Link) -> u32 {
        let at = self.free_link;
        if at == NONE {
            self.links.push(link);
            return number(self.links.len() - 1);
        }
        self.free_link = self.links[at as usize].next;
        self.links[at as usize] = link;
        at
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).ok().filter(|at| *at != NONE).expect("memory ends before 2^32 - 1 links")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn key(id: u8) -> Key {
        Key::parse(&format!("v1:catalog:price:{id}")).expect("a key")
    }

    fn tag(id: u8) -> Tag {
        Tag::parse(&format!("category-{id}")).expect("a tag")
    }

    proptest! {
        /// Against a map of sets.
        #[test]
        fn finds_what_is_there_and_forgets_what_is_gone(
            steps in proptest::collection::vec(
                (0_u8..12, proptest::collection::btree_set(0_u8..5, 0..4)), 1..80),
        ) {
            let mut index = Index::default();
            let mut entries: BTreeMap<u8, (Links, BTreeSet<u8>)> = BTreeMap::new();
            for (id, tags) in steps {
                if let Some((links, _)) = entries.remove(&id) {
                    index.remove(links);
                } else {
                    let named: Vec<Tag> = tags.iter().map(|id| tag(*id)).collect();
                    entries.insert(id, (index.insert(&key(id), &named), tags));
                }
                for t in 0..5 {
                    let found: BTreeSet<Key> = index.keys(&tag(t)).into_iter().collect();
                    let expected: BTreeSet<Key> = entries
                        .iter()
                        .filter(|(_, (_, tags))| tags.contains(&t))
                        .map(|(id, _)| key(*id))
                        .collect();
                    prop_assert_eq!(found, expected);
                }
            }
            for (_, (links, _)) in entries {
                index.remove(links);
            }
            prop_assert_eq!(index.tags(), 0, "no tag outlives its entries");
        }
    }
}
