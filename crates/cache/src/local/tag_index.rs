//! The index from tags to the keys of the entries that carry them.
//!
//! A link joins one entry to one tag. It is on a doubly linked list of its tag, so that the removal of one
//! entry of a tag with a million entries needs no search, and on the chain of its entry. Links are stored in
//! one [slab](super::slab) and refer to each other by number: 40 bytes per entry and tag.
//!
//! The first entry of a tag has a [sole link](Sole), which is on no list: an invalidation of the tag is applied to that
//! entry at once, like one of its key. So a tag of one entry, such as that of its row, needs neither lists nor a
//! cell. The group of a tag is made with the second entry.
//!
//! An invalidation of a tag raises its [cell](TagCell), which is constant work, and counts the raise in its
//! lists. The links that were there before lag behind that count. They are at the tail, since links are added
//! at the head, and [`take_lagging`](TagIndex::take_lagging) returns them one by one.

use std::collections::{HashMap, hash_map};
use std::sync::Arc;

use coherence::{Lsn, Raise};
use contract::{Key, Tag};

use super::slab::{DiscardedSlab, NONE, Slab};
use super::tag_cell::TagCell;
use super::tag_table::TagTable;

/// The number of events that a tag remembers while entries lag behind. An entry that lacks a forgotten event
/// only is removed instead of becoming soft-stale.
const MAX_RAISES: usize = 64;

/// Set in the numbers of sole links.
const SOLE: u32 = 1 << 31;

/// The list of the entries that are not soft-stale, and that of the soft-stale ones.
const STANDING: usize = 0;
const SOFT: usize = 1;

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
    key: Key,
    group: u32,
    prev: u32,
    next: u32,
    /// The next link of the same entry.
    sibling: u32,
    /// The raises of its list when it was put there.
    raises: u32,
    list: u8,
}

/// The link of the entry that was the first of its tag.
#[derive(Debug)]
struct Sole {
    key: Key,
    tag: Tag,
    /// The next link of the same entry.
    sibling: u32,
}

/// A list of the links of one tag.
#[derive(Debug)]
struct List {
    head: u32,
    tail: u32,
    len: u32,
    /// The number of raises so far. Wraps around.
    raises: u32,
    /// The number of links that were there before the last raise.
    lagging: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, len: 0, raises: 0, lagging: 0 }
    }
}

#[derive(Debug)]
struct Group {
    tag: Tag,
    cell: Arc<TagCell>,
    lists: [List; 2],
    /// The sole link of the tag, while its entry is there.
    sole: u32,
}

impl Group {
    /// Whether it has links beside the sole link.
    fn has_links(&self) -> bool {
        self.lists.iter().any(|list| list.len > 0)
    }
}

/// Maps tags to keys.
#[derive(Debug, Default)]
pub(super) struct TagIndex {
    /// For each tag its sole link, or its group.
    tags: TagTable,
    groups: Slab<Group>,
    links: Slab<Link>,
    soles: Slab<Sole>,
    /// The groups with lagging links, and others that had some. The last one is settled first: a small tag does
    /// not wait for a large one.
    queue: Vec<u32>,
    /// For each group in the queue the events that may leave its lagging entries soft-stale.
    raises: HashMap<u32, Vec<Raise>>,
    lagging: usize,
}

/// The effect of an invalidation on the index.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Raising {
    /// The entry that the caller has to apply the event to.
    pub(super) sole: Option<Key>,
    /// The entries that were soft-stale already, and stay so.
    pub(super) merged: usize,
    /// Whether the tag was in the queue before, so that the queue's length does not show the invalidation.
    pub(super) again: bool,
}

/// The effect of an eviction on the index.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Evicting {
    /// The entry that the caller has to remove.
    pub(super) sole: Option<Key>,
    /// Whether there are other entries.
    pub(super) has_others: bool,
}

impl TagIndex {
    /// Adds `key` under each of `tags`. Returns the links, and the cells of the tags that have other entries.
    pub(super) fn insert(
        &mut self,
        key: &Key,
        tags: &[Tag],
        is_soft: bool,
    ) -> (Links, Box<[Arc<TagCell>]>) {
        let list = if is_soft { SOFT } else { STANDING };
        let mut first = NONE;
        let mut cells = Vec::with_capacity(tags.len());
        for tag in tags {
            let Some(at) = self.find(tag) else {
                let sole = Sole { key: key.clone(), tag: tag.clone(), sibling: first };
                first = self.soles.insert(sole) | SOLE;
                self.tags.insert(tag, first);
                continue;
            };
            let group = if is_sole(at) { self.form_group(tag, at) } else { at };
            cells.push(Arc::clone(&self.groups[group].cell));
            let link = Link {
                key: key.clone(),
                group,
                prev: NONE,
                next: NONE,
                sibling: first,
                raises: 0,
                list: STANDING as u8,
            };
            first = self.links.insert(link);
            self.push(first, list);
        }
        (Links(first), cells.into())
    }

    /// Removes the entry with these links.
    pub(super) fn remove(&mut self, links: Links) {
        let mut at = links.0;
        while at != NONE {
            let next = self.sibling(at);
            if is_sole(at) {
                self.remove_sole(at);
            } else {
                self.unlink(at);
                if let Some(Link { group, .. }) = self.links.remove(at) {
                    self.retire_if_empty(group);
                }
            }
            at = next;
        }
    }

    fn remove_sole(&mut self, at: u32) {
        let Some(sole) = self.soles.get(at & !SOLE) else { return };
        match self.find(&sole.tag) {
            Some(group) if !is_sole(group) => {
                self.groups[group].sole = NONE;
                self.retire_if_empty(group);
            }
            _ => self.tags.remove(&sole.tag, at),
        }
        self.soles.remove(at & !SOLE);
    }

    /// Moves the entry with these links to the soft-stale ones.
    pub(super) fn make_soft(&mut self, links: Links) {
        let mut at = links.0;
        while at != NONE {
            if !is_sole(at) {
                self.unlink(at);
                self.push(at, SOFT);
            }
            at = self.sibling(at);
        }
    }

    /// Puts an event about `tag` in force.
    pub(super) fn raise(&mut self, tag: &Tag, raise: Raise) -> Raising {
        let Some(at) = self.find(tag) else { return Raising::default() };
        let sole = self.sole_of(at).cloned();
        let is_raised = |group: &Group| group.cell.generation().is_raised_by(raise);
        if !self.has_links(at) || !is_raised(&self.groups[at]) {
            return Raising { sole, ..Raising::default() };
        }
        let group = &mut self.groups[at];
        group.cell.raise(raise);
        let merged = if raise.is_soft { group.lists[SOFT].len as usize } else { 0 };
        let again = self.leave_behind(at, !raise.is_soft);
        if let Some(raises) = self.raises.get_mut(&at)
            && raise.is_soft
            && raises.len() < MAX_RAISES
        {
            raises.push(raise);
        }
        Raising { sole, merged, again }
    }

    /// Puts an eviction of `tag` in force. Entries with a lower stamp are evicted.
    pub(super) fn evict(&mut self, tag: &Tag, stamp: u64) -> Evicting {
        let Some(at) = self.find(tag) else { return Evicting::default() };
        let sole = self.sole_of(at).cloned();
        let has_others = self.has_links(at);
        if has_others {
            self.groups[at].cell.evict(stamp);
            self.leave_behind(at, true);
        }
        Evicting { sole, has_others }
    }

    /// Whether a tag's number stands for links beside the sole link.
    fn has_links(&self, at: u32) -> bool {
        !is_sole(at) && self.groups[at].has_links()
    }

    /// Returns the key of the sole link among what a tag's number stands for.
    fn sole_of(&self, at: u32) -> Option<&Key> {
        let sole = if is_sole(at) { at } else { self.groups[at].sole };
        self.soles.get(sole & !SOLE).filter(|_| sole != NONE).map(|sole| &sole.key)
    }

    /// Makes all links of a group lag, the soft-stale ones if that is said. Returns whether the group was in the
    /// queue before; its earlier laggards may have gone meanwhile.
    fn leave_behind(&mut self, at: u32, with_soft: bool) -> bool {
        let group = &mut self.groups[at];
        let lists = if with_soft { &mut group.lists[..] } else { &mut group.lists[..1] };
        for list in lists {
            self.lagging += (list.len - list.lagging) as usize;
            list.lagging = list.len;
            list.raises = list.raises.wrapping_add(1);
        }
        match self.raises.entry(at) {
            hash_map::Entry::Occupied(_) => true,
            hash_map::Entry::Vacant(free) => {
                free.insert(Vec::new());
                self.queue.push(at);
                false
            }
        }
    }

    /// Returns the newest event about one of the tags.
    pub(super) fn newest(&self, tags: &[Tag]) -> Lsn {
        let groups = tags.iter().filter_map(|tag| self.find(tag)).filter(|at| !is_sole(*at));
        let newest = groups.map(|at| self.groups[at].cell.generation().newest);
        newest.max().unwrap_or_default()
    }

    /// Returns the number of links that lag behind an invalidation.
    pub(super) fn lagging(&self) -> usize {
        self.lagging
    }

    /// Returns the number of tags that entries lag behind of.
    pub(super) fn lagging_tags(&mut self) -> usize {
        self.drop_settled();
        self.queue.len()
    }

    /// Returns the key of an entry that lags behind an invalidation. The caller settles the entry.
    pub(super) fn take_lagging(&mut self) -> Option<Key> {
        self.drop_settled();
        let group = &self.groups[*self.queue.last()?];
        let list = group.lists.iter().position(|list| list.lagging > 0)?;
        let at = group.lists[list].tail;
        self.unlink(at);
        self.push(at, list);
        Some(self.links[at].key.clone())
    }

    /// Drops the groups without lagging links from the end of the queue.
    fn drop_settled(&mut self) {
        while let Some(at) = self.queue.last() {
            // The group may have been retired meanwhile.
            let group = self.groups.get(*at);
            if group.is_some_and(|group| group.lists.iter().any(|list| list.lagging > 0)) {
                break;
            }
            self.raises.remove(at);
            self.queue.pop();
        }
    }

    /// Returns the events that may have left the entry with these links soft-stale.
    pub(super) fn raises(&self, links: Links) -> impl Iterator<Item = Raise> {
        let next = |at: &u32| Some(self.sibling(*at));
        let links = std::iter::successors(Some(links.0), next).take_while(|at| *at != NONE);
        let links = links.filter_map(|at| self.links.get(at));
        let raises = links.filter_map(|link| self.raises.get(&link.group));
        raises.flatten().copied()
    }

    /// Returns the keys of the entries under `tag` that are not soft-stale, the last stored first, and that of its
    /// sole link.
    pub(super) fn standing(&self, tag: &Tag) -> impl Iterator<Item = &Key> {
        let sole = self.find(tag).and_then(|at| self.sole_of(at));
        self.keys_of(tag, STANDING).chain(sole)
    }

    /// Returns all keys under `tag`.
    #[cfg(test)]
    pub(super) fn keys(&self, tag: &Tag) -> Vec<Key> {
        self.standing(tag).chain(self.keys_of(tag, SOFT)).cloned().collect()
    }

    fn keys_of(&self, tag: &Tag, list: usize) -> impl Iterator<Item = &Key> {
        let group = self.find(tag).filter(|at| !is_sole(*at)).map(|at| &self.groups[at]);
        let first = group.map_or(NONE, |group| group.lists[list].head);
        let next = |at: &u32| self.links.get(*at).map(|link| link.next);
        let links = std::iter::successors(Some(first), next).take_while(|at| *at != NONE);
        links.map(|at| &self.links[at].key)
    }

    /// Returns the number of tags.
    #[cfg(test)]
    pub(super) fn tag_count(&self) -> usize {
        self.tags.len()
    }

    /// Returns the memory of an index that is not needed any more, to be freed in parts.
    pub(super) fn discard(self) -> DiscardedIndex {
        DiscardedIndex {
            links: self.links.discard(),
            soles: self.soles.discard(),
            groups: self.groups.discard(),
        }
    }

    /// Puts a link at the head of a list of its group.
    fn push(&mut self, at: u32, list: usize) {
        let group = self.links[at].group;
        let of = &mut self.groups[group].lists[list];
        let next = std::mem::replace(&mut of.head, at);
        if next == NONE {
            of.tail = at;
        } else {
            self.links[next].prev = at;
        }
        of.len += 1;
        let link = &mut self.links[at];
        (link.prev, link.next, link.raises) = (NONE, next, of.raises);
        link.list = list as u8;
    }

    /// Takes a link from its list.
    fn unlink(&mut self, at: u32) {
        let Link { group, prev, next, raises, list, .. } = self.links[at];
        let of = &mut self.groups[group].lists[usize::from(list)];
        of.len -= 1;
        if raises != of.raises {
            of.lagging -= 1;
            self.lagging -= 1;
        }
        match next {
            NONE => of.tail = prev,
            _ => self.links[next].prev = prev,
        }
        match prev {
            NONE => of.head = next,
            _ => self.links[prev].next = next,
        }
    }

    /// Returns the number of a tag: that of its sole link, or of its group.
    fn find(&self, tag: &Tag) -> Option<u32> {
        let tag_of = |at: u32| match is_sole(at) {
            true => &self.soles[at & !SOLE].tag,
            false => &self.groups[at].tag,
        };
        self.tags.find(tag, |at| tag_of(at) == tag)
    }

    /// Returns the next link of the same entry.
    fn sibling(&self, at: u32) -> u32 {
        if is_sole(at) {
            return self.soles.get(at & !SOLE).map_or(NONE, |sole| sole.sibling);
        }
        self.links.get(at).map_or(NONE, |link| link.sibling)
    }

    /// Makes the group of a tag that has had a sole link only.
    fn form_group(&mut self, tag: &Tag, sole: u32) -> u32 {
        let (cell, lists) = (Arc::default(), Default::default());
        let at = self.groups.insert(Group { tag: tag.clone(), cell, lists, sole });
        self.tags.renumber(tag, sole, at);
        at
    }

    fn retire_if_empty(&mut self, at: u32) {
        let group = &self.groups[at];
        if group.has_links() || group.sole != NONE {
            return;
        }
        if let Some(retired) = self.groups.remove(at) {
            self.tags.remove(&retired.tag, at);
        }
        // Its place in the queue is dropped later, maybe after another tag has taken the group.
        if let Some(raises) = self.raises.get_mut(&at) {
            raises.clear();
        }
    }
}

/// Whether a number is that of a sole link.
fn is_sole(at: u32) -> bool {
    at & SOLE != 0 && at != NONE
}

/// An index that is not needed any more.
#[derive(Debug)]
pub(super) struct DiscardedIndex {
    links: DiscardedSlab<Link>,
    soles: DiscardedSlab<Sole>,
    groups: DiscardedSlab<Group>,
}

impl DiscardedIndex {
    /// Frees a part. Returns whether there is more.
    pub(super) fn free(&mut self, count: usize) -> bool {
        self.links.free(count) | self.soles.free(count) | self.groups.free(count)
    }
}

#[cfg(test)]
#[path = "tag_index_tests.rs"]
mod tests;
