//! The keys and the tag of the model, and what a commit can touch.

use std::sync::LazyLock;

use coherence::Subject;
use contract::{Key, Pattern, Tag};

/// A key, by its number.
pub type KeyId = u8;

static KEYS: LazyLock<[Key; 3]> = LazyLock::new(|| {
    ["v1:model:one:0", "v1:model:one:1", "v1:model:other:2"]
        .map(|text| Key::parse(text).expect("it is written as a key"))
});

static TAGS: LazyLock<[Tag; 1]> = LazyLock::new(|| [Tag::parse("the-tag").expect("visible ASCII")]);

/// Several keys, and the tag.
static PATTERNS: LazyLock<[Pattern; 2]> = LazyLock::new(|| {
    [Pattern::of_keys("v1:model:one*"), Pattern::of_tags("the-*")]
        .map(|pattern| pattern.expect("it is written as a pattern"))
});

/// The key as the rules know it.
#[must_use]
pub fn key(id: KeyId) -> &'static Key {
    &KEYS[usize::from(id)]
}

/// One tag lies over the keys 0 and 1; key 2 has none.
#[must_use]
pub fn tags(id: KeyId) -> &'static [Tag] {
    if id < 2 { &*TAGS } else { &[] }
}

/// What a commit touches.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Touch {
    /// The row of one key.
    Key(KeyId),
    /// A row that the entries under the tag are made of.
    Tag,
    /// What a wildcard over keys is about, which names the keys 0 and 1.
    KeysLike,
    /// What a wildcard over tags is about.
    TagsLike,
    /// All there is (TRUNCATE).
    Everything,
}

impl Touch {
    /// Whether an entry under `id` depends on it.
    #[must_use]
    pub fn concerns(self, id: KeyId) -> bool {
        match self {
            Self::Key(key) => key == id,
            Self::Tag | Self::TagsLike => !tags(id).is_empty(),
            Self::KeysLike => id < 2,
            Self::Everything => true,
        }
    }

    /// As the log tells it.
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
