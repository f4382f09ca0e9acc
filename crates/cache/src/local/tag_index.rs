//! The index from tags to the keys of the entries that carry them.
//!
//! A link joins one entry to one tag. It is on the doubly linked list of its tag, so that the removal of one
//! entry of a tag with a million entries needs no search, and on the chain of its entry. Links are stored in
//! one slab and refer to each other by number: 32 bytes per entry and tag.

use std::collections::HashMap;

use contract::{Key, Tag};

/// The number of no link and no group.
const NONE: u32 = u32::MAX;

/// The first link of an entry. Needed to remove the entry from the index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Links(u32);

impl Links {
    /// The links of an entry without tags.
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
    /// `None`: the link is free, and `next` is the next free link.
    key: Option<Key>,
    group: u32,
    prev: u32,
    next: u32,
    /// The next link of the same entry.
    sibling: u32,
}

#[derive(Debug)]
struct Group {
    /// `None`: the group is free, and `head` is the next free group.
    tag: Option<Tag>,
    head: u32,
}

/// Maps tags to keys.
#[derive(Debug)]
pub(super) struct TagIndex {
    groups_by_tag: HashMap<Tag, u32>,
    groups: Vec<Group>,
    free_group: u32,
    links: Vec<Link>,
    free_link: u32,
}

impl Default for TagIndex {
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

impl TagIndex {
    /// Adds `key` under each of `tags`.
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

    /// Removes the entry with these links.
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

    /// Returns the keys under `tag`, in no particular order.
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

    /// Returns all tags, in no particular order.
    pub(super) fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.groups_by_tag.keys()
    }

    /// Returns the number of tags.
    #[cfg(test)]
    pub(super) fn tag_count(&self) -> usize {
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
        #[test]
        fn agrees_with_a_map_of_sets(
            steps in proptest::collection::vec(
                (0_u8..12, proptest::collection::btree_set(0_u8..5, 0..4)), 1..80),
        ) {
            let mut index = TagIndex::default();
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
            prop_assert_eq!(index.tag_count(), 0, "a tag is removed with its last entry");
        }
    }
}
