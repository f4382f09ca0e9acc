//! What our keys in Redis are called.
//!
//! `{tg:0}:state`, `{tg:0}:k:v1:catalog:price:42`, … The braces make a cluster keep all keys of a
//! bucket in one slot, where one script can see them. Which buckets there are: [`super::buckets`].

use contract::{Key, Pattern};

/// The names within one bucket.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// `tg:0`
    tag: String,
    /// `{tg:0}:`
    base: String,
    /// Hash: epoch, applied, watermark, floor and counters. No expiry.
    pub(super) state: String,
    /// Sorted set: subject → position, and the guard. No expiry.
    pub(super) tombstones: String,
    /// Sorted set: evicted tag → number of the eviction. No expiry.
    pub(super) evictions: String,
    /// Stream: what the nodes shall know. No expiry, bounded in length.
    pub(super) stream: String,
    /// Nothing: to try on what the user may do.
    pub(super) rehearsal: String,
    /// All keys of all buckets, as an ACL names them.
    pub(super) pattern: String,
}

impl Names {
    /// `tag`: the installation's prefix, a colon, and which bucket of it this is.
    pub(super) fn new(tag: &str) -> Self {
        let base = format!("{{{tag}}}:");
        let prefix = tag.split_once(':').map_or(tag, |(prefix, _)| prefix);
        Self {
            tag: tag.to_owned(),
            state: format!("{base}state"),
            tombstones: format!("{base}tombstones"),
            evictions: format!("{base}evictions"),
            stream: format!("{base}stream"),
            rehearsal: format!("{base}rehearsal"),
            pattern: format!("~{{{prefix}:*"),
            base,
        }
    }

    /// What a cluster makes the slot from.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// String, with expiry. What follows the base is the entry's subject, and the scripts rely on
    /// that.
    pub(super) fn entry(&self, key: &Key) -> String {
        format!("{}k:{key}", self.base)
    }

    /// Of which key this is the entry, if it is one of ours.
    pub(super) fn key(&self, name: &str) -> Option<Key> {
        Key::parse(name.strip_prefix(&self.base)?.strip_prefix("k:")?).ok()
    }

    /// For `SCAN`: the entries of all buckets, or those of keys that are like the pattern.
    pub(super) fn entries(&self, like: Option<&Pattern>) -> String {
        let mut glob = String::new();
        let prefix = self.pattern.trim_start_matches('~').trim_end_matches('*');
        let keys = like.map_or("*", Pattern::as_str);
        for (part, star) in [(prefix, false), ("*", true), ("}:k:", false), (keys, true)] {
            for char in part.chars() {
                // What else means something to Redis stands for itself.
                if matches!(char, '?' | '[' | ']' | '^' | '\\') || (char == '*' && !star) {
                    glob.push('\\');
                }
                glob.push(char);
            }
        }
        glob
    }

    /// String, with expiry: epoch and token.
    pub(super) fn lease(&self, key: &Key) -> String {
        format!("{}l:{key}", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_again_and_nothing_else() {
        let names = Names::new("odd*[name:0");
        let key = Key::parse("v1:a:b:1*?").expect("a key");
        assert_eq!(names.key(&names.entry(&key)), Some(key.clone()));
        assert_eq!(names.key(&names.lease(&key)), None);
        assert_eq!(names.key(&Names::new("other:0").entry(&key)), None);
        assert_eq!(names.entries(None), r"{odd\*\[name:*}:k:*");
        let like = Pattern::of_keys("v1:a:b?:*").expect("a pattern");
        assert_eq!(names.entries(Some(&like)), r"{odd\*\[name:*}:k:v1:a:b\?:*");
    }
}
