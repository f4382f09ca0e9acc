//! The keys and the tag of the model, and the subjects of its commits.

use std::sync::LazyLock;

use coherence::Subject;
use contract::{Key, Pattern, Tag};

/// The number of a key.
pub type KeyId = u8;

static KEYS: LazyLock<[Key; 3]> = LazyLock::new(|| {
    ["v1:model:one:0", "v1:model:one:1", "v1:model:other:2"]
        .map(|text| Key::parse(text).expect("a well-formed key"))
});

static TAGS: LazyLock<[Tag; 1]> = LazyLock::new(|| [Tag::parse("the-tag").expect("visible ASCII")]);

/// A pattern for several keys, and one for the tag.
static PATTERNS: LazyLock<[Pattern; 2]> = LazyLock::new(|| {
    [Pattern::of_keys("v1:model:one*"), Pattern::of_tags("the-*")]
        .map(|pattern| pattern.expect("a well-formed pattern"))
});

/// Returns the key with that number.
#[must_use]
pub fn key(id: KeyId) -> &'static Key {
    &KEYS[usize::from(id)]
}

/// Returns the tags of a key: keys 0 and 1 share one tag, key 2 has none.
#[must_use]
pub fn tags(id: KeyId) -> &'static [Tag] {
    if id < 2 { &*TAGS } else { &[] }
}

/// The subject of a commit.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Touch {
    /// The row of one key.
    Key(KeyId),
    /// A row that is in all entries with the tag.
    Tag,
    /// The keys 0 and 1, named by a wildcard over keys.
    KeysLike,
    /// The entries with the tag, named by a wildcard over tags.
    TagsLike,
    /// Everything (TRUNCATE).
    Everything,
}

impl Touch {
    /// Returns whether an entry under `id` depends on it.
    #[must_use]
    pub fn concerns(self, id: KeyId) -> bool {
        match self {
            Self::Key(key) => key == id,
            Self::Tag | Self::TagsLike => !tags(id).is_empty(),
            Self::KeysLike => id < 2,
            Self::Everything => true,
        }
    }

    /// Returns the subject as an event names it.
    #[must_use]
    pub fn subject(self) -> Subject {
        match self {
            Self::Key(id) => Subject::Key(key(id).clone()),
            Self::Tag => Subject::Tag(TAGS[0].clone()),
            Self::KeysLike => Subject::KeysLike(PATTERNS[0].clone()),
            Self::TagsLike => Subject::TagsLike(PATTERNS[1].clone()),
            Self::Everything => Subject::Everything,
        }
    }
}
