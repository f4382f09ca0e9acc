//! The keys that code reads, for tests and for the schema of the configuration.

use std::collections::{BTreeMap, BTreeSet};

/// The keys that code reads from a table, each with its path, such as `edge.route[].path`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeySurvey {
    /// The keys that were read.
    pub read: BTreeSet<String>,
    /// The keys that are known and were not read.
    pub unread: BTreeSet<String>,
    /// The forms of the values of each key that was read; several where it may have one of them.
    pub forms: BTreeMap<String, Vec<KeyForm>>,
    /// The keys that have to be present in their table.
    pub required: BTreeSet<String>,
}

/// The form of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyForm {
    /// Text.
    Text,
    /// One of these words.
    Words(Vec<String>),
    /// A list of texts.
    Texts,
    /// A list of these words.
    WordList(Vec<String>),
    /// A duration with a unit.
    Duration,
    /// A size with a unit, or a number of bytes.
    Size,
    /// True or false.
    Flag,
    /// A number in a range.
    Number(f64, f64),
    /// A whole number in a range.
    WholeNumber(u32, u32),
    /// A date.
    Date,
    /// A table.
    Table,
    /// A list of tables, `[[…]]`.
    Tables,
    /// Tables with names, `[….NAME]`.
    NamedTables,
}

impl KeySurvey {
    /// Records that a key was read.
    pub(super) fn record(&mut self, path: String, form: KeyForm) {
        let forms = self.forms.entry(path.clone()).or_default();
        if !forms.contains(&form) {
            forms.push(form);
        }
        self.read.insert(path);
    }

    /// Adds the survey of an inner table.
    pub(super) fn append(&mut self, mut inner: Self) {
        self.read.append(&mut inner.read);
        self.unread.append(&mut inner.unread);
        self.forms.append(&mut inner.forms);
        self.required.append(&mut inner.required);
    }
}
