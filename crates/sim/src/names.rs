//! The keys and the tag of the model, and what a commit can touch.

use std::sync::LazyLock;

use coherence::Subject;
use contract::{Key, Tag};

/// A key, by its number.
pub type KeyId = u8;

static KEYS: LazyLock<[Key; 3]> = LazyLock::new(|| {
    ["v1:model:k:0", "v1:model:k:1", "v1:model:k:2"]
        .map(|text| Key::parse(text).expect("it is written as a key"))
});

static TAGS: LazyLock<[Tag; 1]> = LazyLock::new(|| [Tag::parse("t").expect("visible ASCII")]);

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
    /// All there is (TRUNCATE).
    Everything,
}

impl Touch {
    /// Whether an entry under `id` depends on it.
    #[must_use]
    pub fn concerns(self, id: KeyId) -> bool {
        match self {
            Self::Key(key) => key == id,
            Self::Tag => !tags(id).is_empty(),
            Self::Everything => true,
        }
    }

    /// As the log tells it.
    #[must_use]
    pub fn subject(self) -> Subject {
        match self {
            Self::Key(id) => Subject::Key(key(id).clone()),
            Self::Tag => Subject::Tag(TAGS[0].clone()),
            Self::Everything => Subject::Everything,
        }
    }
}
