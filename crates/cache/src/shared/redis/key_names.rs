//! The names of the tier's keys in Redis.
//!
//! `{tg:0}:state`, `{tg:0}:k:v1:catalog:price:42`, … The braces make a cluster store all keys of a bucket
//! in one slot, where one script can use them together. The buckets are in [`super::buckets`].

use contract::{Key, Pattern};

/// The names of one bucket.
#[derive(Clone, Debug)]
pub(super) struct KeyNames {
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
    /// Stream: messages to the nodes. No expiry, limited in length.
    pub(super) stream: String,
    /// Sorted set: announcement of a node → the time of its end. It expires, and nothing depends on it.
    pub(super) nodes: String,
    /// Nothing is stored under it. The rights of the user are tried on it.
    pub(super) rehearsal: String,
    /// The keys of all buckets, as an ACL rule names them.
    pub(super) acl_pattern: String,
}

impl KeyNames {
    /// `tag`: the installation's prefix, a colon, and the number of the bucket.
    pub(super) fn new(tag: &str) -> Self {
        let base = format!("{{{tag}}}:");
        let prefix = tag.split_once(':').map_or(tag, |(prefix, _)| prefix);
        Self {
            tag: tag.to_owned(),
            state: format!("{base}state"),
            tombstones: format!("{base}tombstones"),
            evictions: format!("{base}evictions"),
            stream: format!("{base}stream"),
            nodes: format!("{base}nodes"),
            rehearsal: format!("{base}rehearsal"),
            acl_pattern: format!("~{{{prefix}:*"),
            base,
        }
    }

    /// Returns the hash tag, which determines the slot.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// Returns the name of an entry: a string, with expiry. The part after the base is the entry's
    /// subject, and the scripts rely on that.
    pub(super) fn entry(&self, key: &Key) -> String {
        format!("{}k:{key}", self.base)
    }

    /// Returns the key of an entry with this name, if it is a name of this bucket.
    pub(super) fn key(&self, name: &str) -> Option<Key> {
        Key::parse(name.strip_prefix(&self.base)?.strip_prefix("k:")?).ok()
    }

    /// Returns the glob for `SCAN`: the entries of all buckets, or of the keys that match the pattern.
    pub(super) fn entries_glob(&self, like: Option<&Pattern>) -> String {
        let mut glob = String::new();
        let prefix = self.acl_pattern.trim_start_matches('~').trim_end_matches('*');
        let keys = like.map_or("*", Pattern::as_str);
        for (part, star) in [(prefix, false), ("*", true), ("}:k:", false), (keys, true)] {
            for char in part.chars() {
                // The other special characters of Redis are escaped.
                if matches!(char, '?' | '[' | ']' | '^' | '\\') || (char == '*' && !star) {
                    glob.push('\\');
                }
                glob.push(char);
            }
        }
        glob
    }

    /// Returns the name of a lease: a string of epoch and token, with expiry.
    pub(super) fn lease(&self, key: &Key) -> String {
        format!("{}l:{key}", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_names_parse_back() {
        let names = KeyNames::new("odd*[name:0");
        let key = Key::parse("v1:a:b:1*?").expect("a key");
        assert_eq!(names.key(&names.entry(&key)), Some(key.clone()));
        assert_eq!(names.key(&names.lease(&key)), None);
        assert_eq!(names.key(&KeyNames::new("other:0").entry(&key)), None);
        assert_eq!(names.entries_glob(None), r"{odd\*\[name:*}:k:*");
        let like = Pattern::of_keys("v1:a:b?:*").expect("a pattern");
        assert_eq!(names.entries_glob(Some(&like)), r"{odd\*\[name:*}:k:v1:a:b\?:*");
    }
}
