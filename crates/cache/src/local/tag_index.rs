//! The index from tags to the entries that carry them.
//!
//! A link joins one entry to one tag. It is on a doubly linked list of its tag, so that the removal of one
//! entry of a tag with a million entries needs no search, and on the chain of its entry. Links are stored in
//! one [slab](super::slab) and refer to each other by number: 32 bytes per entry and tag.
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

use super::entry::LocalEntry;
use super::links::Links;
use super::slab::{DiscardedSlab, NONE, Slab};
use super::tag_cell::TagCell;
use super::tag_table::TagTable;
use coherence::{Lsn, Raise};

/// The number of events that a tag remembers while entries lag behind. An entry that lacks a forgotten event
/// only is removed instead of becoming soft-stale.
const MAX_RAISES: usize = 64;

/// Set in the numbers of sole links.
const SOLE: u32 = 1 << 31;

/// The list of the entries that are not soft-stale, and that of the soft-stale ones.
const STANDING: usize = 0;
const SOFT: usize = 1;

#[derive(Debug)]
struct Link {
    entry: LocalEntry,
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
    entry: LocalEntry,
    /// The tag's place among those of the entry.
    tag: u32,
    /// The next link of the same entry.
    sibling: u32,
}

impl Sole {
    fn has_tag(&self, tag: &str) -> bool {
        self.entry.tags().nth(self.tag as usize) == Some(tag)
    }
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
    tag: Box<str>,
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
#[derive(Clone, Debug, Default)]
pub(super) struct Raising {
    /// The entry that the caller has to apply the event to.
    pub(super) sole: Option<LocalEntry>,
    /// The entries that were soft-stale already, and stay so.
    pub(super) merged: usize,
    /// Whether the tag was in the queue before, so that the queue's length does not show the invalidation.
    pub(super) again: bool,
}

/// The effect of an eviction on the index.
#[derive(Clone, Debug, Default)]
pub(super) struct Evicting {
    /// The entry that the caller has to remove.
    pub(super) sole: Option<LocalEntry>,
    /// Whether there are other entries.
    pub(super) has_others: bool,
}

impl TagIndex {
    /// Adds an entry under each of its tags. Returns the links, and the cells of the tags that have other entries.
    pub(super) fn insert(&mut self, entry: &LocalEntry) -> (Links, Vec<Arc<TagCell>>) {
        let list = if entry.is_soft() { SOFT } else { STANDING };
        let mut first = NONE;
        let mut cells = Vec::new();
        for (tag, text) in (0..).zip(entry.tags()) {
            let Some(at) = self.find(text) else {
                let sole = Sole { entry: entry.clone(), tag, sibling: first };
                first = self.soles.insert(sole) | SOLE;
                self.tags.insert(text, first);
                continue;
            };
            let group = if is_sole(at) { self.form_group(text, at) } else { at };
            cells.push(Arc::clone(&self.groups[group].cell));
            let link = Link {
                entry: entry.clone(),
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
        (Links::from(first), cells)
    }

    /// Removes the entry with these links.
    pub(super) fn remove(&mut self, links: Links) {
        let mut at = u32::from(links);
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
        let Some(Sole { entry, tag, .. }) = self.soles.get(at & !SOLE) else { return };
        let (entry, tag) = (entry.clone(), *tag as usize);
        let text = entry.tags().nth(tag).expect("the entry has the tag");
        match self.find(text) {
            Some(group) if !is_sole(group) => {
                self.groups[group].sole = NONE;
                self.retire_if_empty(group);
            }
            _ => self.tags.remove(text, at),
        }
        self.soles.remove(at & !SOLE);
    }

    /// Puts a soft-stale copy in the place of the entry with these links.
    pub(super) fn replace_by_soft(&mut self, links: Links, copy: &LocalEntry) {
        let mut at = u32::from(links);
        while at != NONE {
            if is_sole(at) {
                self.soles[at & !SOLE].entry = copy.clone();
            } else {
                self.links[at].entry = copy.clone();
                self.unlink(at);
                self.push(at, SOFT);
            }
            at = self.sibling(at);
        }
    }

    /// Puts an event about `tag` in force.
    pub(super) fn raise(&mut self, tag: &str, raise: Raise) -> Raising {
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
    pub(super) fn evict(&mut self, tag: &str, stamp: u64) -> Evicting {
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

    /// Returns the entry of the sole link of a tag with this number.
    fn sole_of(&self, at: u32) -> Option<&LocalEntry> {
        let sole = if is_sole(at) { at } else { self.groups[at].sole };
        self.soles.get(sole & !SOLE).filter(|_| sole != NONE).map(|sole| &sole.entry)
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
    pub(super) fn newest<'a>(&self, tags: impl Iterator<Item = &'a str>) -> Lsn {
        let groups = tags.filter_map(|tag| self.find(tag)).filter(|at| !is_sole(*at));
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

    /// Returns an entry that lags behind an invalidation. The caller settles it.
    pub(super) fn take_lagging(&mut self) -> Option<LocalEntry> {
        self.drop_settled();
        let group = &self.groups[*self.queue.last()?];
        let list = group.lists.iter().position(|list| list.lagging > 0)?;
        let at = group.lists[list].tail;
        self.unlink(at);
        self.push(at, list);
        Some(self.links[at].entry.clone())
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
        let links =
            std::iter::successors(Some(u32::from(links)), next).take_while(|at| *at != NONE);
        let links = links.filter_map(|at| self.links.get(at));
        let raises = links.filter_map(|link| self.raises.get(&link.group));
        raises.flatten().copied()
    }

    /// Returns the entries under `tag` that are not soft-stale, the last stored first, and that of its sole link.
    pub(super) fn standing(&self, tag: &str) -> impl Iterator<Item = &LocalEntry> {
        let sole = self.find(tag).and_then(|at| self.sole_of(at));
        self.entries_of(tag, STANDING).chain(sole)
    }

    /// Returns all keys under `tag`.
    #[cfg(test)]
    pub(super) fn keys(&self, tag: &str) -> Vec<contract::Key> {
        self.standing(tag).chain(self.entries_of(tag, SOFT)).map(LocalEntry::key).collect()
    }

    fn entries_of(&self, tag: &str, list: usize) -> impl Iterator<Item = &LocalEntry> {
        let group = self.find(tag).filter(|at| !is_sole(*at)).map(|at| &self.groups[at]);
        let first = group.map_or(NONE, |group| group.lists[list].head);
        let next = |at: &u32| self.links.get(*at).map(|link| link.next);
        let links = std::iter::successors(Some(first), next).take_while(|at| *at != NONE);
        links.map(|at| &self.links[at].entry)
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
    fn find(&self, tag: &str) -> Option<u32> {
        self.tags.find(tag, |at| match is_sole(at) {
            true => self.soles[at & !SOLE].has_tag(tag),
            false => &*self.groups[at].tag == tag,
        })
    }

    /// Returns the next link of the same entry.
    fn sibling(&self, at: u32) -> u32 {
        if is_sole(at) {
            return self.soles.get(at & !SOLE).map_or(NONE, |sole| sole.sibling);
        }
        self.links.get(at).map_or(NONE, |link| link.sibling)
    }

    /// Makes the group of a tag that has had a sole link only.
    fn form_group(&mut self, tag: &str, sole: u32) -> u32 {
        let (cell, lists) = (Arc::default(), Default::default());
        let at = self.groups.insert(Group { tag: tag.into(), cell, lists, sole });
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
