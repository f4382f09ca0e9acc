//! Reading a TOML table key by key, collecting every problem instead of stopping at the first.

mod either;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use toml::Value;
use toml::value::{Date, Datetime};

use crate::config::choice::parse_choice;
use crate::config::duration::duration_from_value;
use crate::config::key_survey::{KeyForm, KeySurvey};
use crate::config::problem::{Problem, ValueError, describe_value};
use crate::config::size::size_from_value;
use crate::config::suggestion::nearest_name;

/// A table with more keys than this has a reference page; its keys are not listed in an error.
const MAX_LISTED_KEYS: usize = 8;

/// Reads a table, such as `[local]`, and collects its problems.
///
/// Every getter returns `None` for a key that is missing and for one that is wrong; a wrong one is
/// recorded as a problem. So a default may stand in for both: [`TableReader::finish`] returns the value
/// only if there is no problem.
///
/// ```
/// # use contract::config::TableReader;
/// let table: toml::Table = "memory = \"256mib\"\nmemroy = 1".parse().expect("well-formed");
/// let mut local = TableReader::new("local", &table, &["memory", "pools"]);
/// let memory_bytes = local.size("memory", 1 << 20..=u64::MAX).unwrap_or(256 << 20);
/// let problems = local.finish(Some(memory_bytes)).expect_err("a misspelt key");
/// assert_eq!(problems[0].to_string(), "local.memroy: is not a known key; did you mean `memory`?");
/// ```
#[derive(Debug)]
pub struct TableReader<'t> {
    /// The path of the table: `data.product_price.from`; empty for the root.
    path: String,
    table: &'t toml::Table,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
    /// The keys that were read; `None`: this is no survey.
    survey: Option<KeySurvey>,
}

/// Where a survey reads.
static EMPTY: LazyLock<toml::Table> = LazyLock::new(toml::Table::new);

impl<'t> TableReader<'t> {
    /// Starts reading `table`, whose keys are `known`. Every other key is recorded as a problem.
    pub fn new(path: impl Into<String>, table: &'t toml::Table, known: &[&'static str]) -> Self {
        Self::with_synonyms(path, table, known, &[])
    }

    /// As [`TableReader::new`], with `synonyms`: pairs of an unknown key and the known key that it
    /// probably means, for words that are spelt differently.
    pub fn with_synonyms(
        path: impl Into<String>,
        table: &'t toml::Table,
        known: &[&'static str],
        synonyms: &[(&str, &'static str)],
    ) -> Self {
        let known = known.to_vec();
        let (path, problems) = (path.into(), Vec::new());
        let mut reader = Self { path, table, known, problems, survey: None };
        for key in table.keys().filter(|key| !reader.known.contains(&key.as_str())) {
            let synonym = synonyms.iter().find(|(word, _)| word == key).map(|(_, known)| *known);
            let problem = reader.unknown_key(key, synonym);
            reader.problems.push(problem);
        }
        reader
    }

    /// As [`TableReader::new`], for a value that should be a table.
    ///
    /// # Errors
    /// The value is not a table.
    pub fn from_value(
        path: impl Into<String>,
        value: &'t Value,
        known: &[&'static str],
    ) -> Result<Self, Problem> {
        let path = path.into();
        match value {
            Value::Table(table) => Ok(Self::new(path, table, known)),
            other => {
                Err(ValueError::wrong_type(other, format!("write a table, `[{path}]`")).at(path))
            }
        }
    }

    /// Returns the keys that `read` reads, of inner tables too, as if all of these were there. For the schema of
    /// the configuration, and for tests that compare it with documents: no key is hidden from them.
    pub fn survey<T>(
        known: &[&'static str],
        read: impl FnOnce(&mut TableReader<'static>) -> T,
    ) -> KeySurvey {
        let mut reader = TableReader::new("", &EMPTY, known);
        reader.survey = Some(KeySurvey::default());
        read(&mut reader);
        reader.take_survey().unwrap_or_default()
    }

    /// Ends the survey of this table.
    fn take_survey(&mut self) -> Option<KeySurvey> {
        let mut survey = self.survey.take()?;
        let known = self.known.iter().map(|key| self.path_of(key));
        let unread: Vec<String> = known.filter(|key| !survey.read.contains(key)).collect();
        survey.unread.extend(unread);
        Some(survey)
    }

    fn unknown_key(&self, key: &str, synonym: Option<&'static str>) -> Problem {
        let near = synonym.or_else(|| nearest_name(key, self.known.iter().copied()));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if self.known.len() > MAX_LISTED_KEYS => {
                "remove it; the reference lists all keys".to_owned()
            }
            None => format!("remove it; the known keys are: {}", self.known.join(", ")),
        };
        let message = "is not a known key".to_owned();
        ValueError { rule: "unknown-key", message, help }.at(self.path_of(key))
    }

    /// Returns the value if the table has no problem.
    ///
    /// `value` may be `None` only after a problem was recorded.
    ///
    /// # Errors
    /// All problems, in the order in which they were found.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Problem>> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => {
                debug_assert!(!self.problems.is_empty(), "no value and no problem: {}", self.path);
                Err(self.problems)
            }
        }
    }

    /// Records a problem of `key`, or of the table where `key` is empty.
    pub fn problem(
        &mut self,
        rule: &'static str,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let err = ValueError { rule, message: message.into(), help: help.into() };
        self.problems.push(err.at(self.path_of(key)));
    }

    /// Returns whether the key is present.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Returns text that is not blank.
    pub fn text(&mut self, key: &str) -> Option<&'t str> {
        match self.get(key, KeyForm::Text)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            Value::String(_) => self.record(key, Err(ValueError::empty())),
            other => self.wrong_type(key, other, "text in quotes"),
        }
    }

    /// Returns the text that `parse` accepts, if the key is present. A problem shows the text: read
    /// secrets with [`TableReader::text_with`].
    pub fn parsed<T, E: fmt::Display>(
        &mut self,
        key: &str,
        rule: &'static str,
        help: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(key)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(err) => {
                self.problem(rule, key, format!("`{text}`: {err}"), help);
                None
            }
        }
    }

    /// As [`TableReader::parsed`], for a key that must be present.
    pub fn required<T, E: fmt::Display>(
        &mut self,
        key: &str,
        rule: &'static str,
        help: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if self.is_missing(key, help) { None } else { self.parsed(key, rule, help, parse) }
    }

    /// Returns the text that `parse` accepts, if the key is present. A problem is the error of `parse`, and
    /// shows no more of the text than that: the way to read secrets, and text with a syntax of its own.
    pub fn text_with<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        let value = match self.get(key, KeyForm::Text)? {
            Value::String(text) if !text.trim().is_empty() => parse(text),
            Value::String(_) => Err(ValueError::empty()),
            _ => Err(ValueError {
                rule: "wrong-type",
                message: "is not text".to_owned(),
                help: "write text in quotes".to_owned(),
            }),
        };
        self.record(key, value)
    }

    /// Returns the file that the text names, relative to `folder`, if the key is present. A URL, which may have a
    /// password, is refused: errors about files show their names.
    pub fn file(&mut self, key: &str, folder: &Path) -> Option<PathBuf> {
        self.text_with(key, |text| {
            if text.contains(":/") {
                let help = "write the name of a file, absolute or beside this one";
                return Err(ValueError::wrong_value("is a URL", help));
            }
            Ok(folder.join(text))
        })
    }

    /// As [`TableReader::text_with`], for a key that must be present.
    pub fn required_text_with<T>(
        &mut self,
        key: &str,
        help: &str,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        if self.is_missing(key, help) { None } else { self.text_with(key, parse) }
    }

    /// Returns whether a required key is missing, and records that.
    fn is_missing(&mut self, key: &str, help: &str) -> bool {
        let missing = self.get(key, KeyForm::Text).is_none();
        self.survey_required(key);
        if missing {
            self.problem("missing", key, "is missing", help);
        }
        missing
    }

    /// Returns a list of texts that `parse` accepts; empty where the key is missing.
    pub fn list<T, E: fmt::Display>(
        &mut self,
        key: &str,
        help: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let mut list = Vec::new();
        for (at, item) in self.items(key, KeyForm::Texts).iter().enumerate() {
            let key = format!("{key}[{at}]");
            match item.as_str().map(&parse) {
                Some(Ok(value)) => list.push(value),
                Some(Err(err)) => {
                    let message = format!("{}: {err}", describe_value(item));
                    self.problem("wrong-value", &key, message, help);
                }
                None => list.extend(self.wrong_type(&key, item, "text in quotes")),
            }
        }
        list
    }

    /// Returns the items of a list of texts that `parse` accepts, each with its key, such as `peers[0]`. A
    /// problem shows no more of a text than the error of `parse`: the way to read addresses with passwords.
    pub fn list_with<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Vec<(String, T)> {
        self.items_with(key, KeyForm::Texts, parse)
    }

    fn items_with<T>(
        &mut self,
        key: &str,
        form: KeyForm,
        parse: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Vec<(String, T)> {
        let mut list = Vec::new();
        for (at, item) in self.items(key, form).iter().enumerate() {
            let key = format!("{key}[{at}]");
            let item = match item {
                Value::String(text) => parse(text),
                other => Err(ValueError::wrong_type(other, "write text in quotes")),
            };
            list.extend(self.record(&key, item).map(|item| (key, item)));
        }
        list
    }

    /// Returns one of `options`, pairs of a word and its value.
    pub fn choice<T: Copy>(&mut self, key: &str, options: &[(&str, T)]) -> Option<T> {
        match self.get(key, KeyForm::Words(words(options)))? {
            Value::String(text) if !text.trim().is_empty() => {
                self.record(key, parse_choice(text, options))
            }
            Value::String(_) => self.record(key, Err(ValueError::empty())),
            other => self.wrong_type(key, other, "text in quotes"),
        }
    }

    /// Returns a list of `options`; empty where the key is missing.
    pub fn choices<T: Copy>(&mut self, key: &str, options: &[(&str, T)]) -> Vec<T> {
        let form = KeyForm::WordList(words(options));
        let choices = self.items_with(key, form, |text| parse_choice(text, options));
        choices.into_iter().map(|(_, value)| value).collect()
    }

    /// Returns a duration in `range`; see [`parse_duration`](crate::config::parse_duration).
    pub fn duration(&mut self, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let value = duration_from_value(self.get(key, KeyForm::Duration)?, range);
        self.record(key, value)
    }

    /// Returns a size in bytes in `range`; see [`parse_size`](crate::config::parse_size).
    pub fn size(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = size_from_value(self.get(key, KeyForm::Size)?, range);
        self.record(key, value)
    }

    /// Returns true or false.
    pub fn flag(&mut self, key: &str) -> Option<bool> {
        match self.get(key, KeyForm::Flag)? {
            Value::Boolean(flag) => Some(*flag),
            other => self.wrong_type(key, other, "true or false, without quotes"),
        }
    }

    /// Returns a number in `range`.
    pub fn number(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let form = KeyForm::Number(*range.start(), *range.end());
        self.number_of(key, range, form)
    }

    fn number_of(&mut self, key: &str, range: RangeInclusive<f64>, form: KeyForm) -> Option<f64> {
        let number = match self.get(key, form)? {
            Value::Float(number) => *number,
            // An integer that a float can't represent exactly is far out of range.
            Value::Integer(number) => *number as f64,
            other => return self.wrong_type(key, other, "a number, without quotes"),
        };
        if range.contains(&number) {
            return Some(number);
        }
        let help = format!("choose {} to {}", range.start(), range.end());
        self.problem("out-of-range", key, format!("{number} is out of range"), help);
        None
    }

    /// Returns a whole number in `range`.
    pub fn whole_number(&mut self, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let form = KeyForm::WholeNumber(*range.start(), *range.end());
        let numbers = f64::from(*range.start())..=f64::from(*range.end());
        let number = self.number_of(key, numbers, form)?;
        if number.fract() == 0.0 {
            // Within the range of a u32, as just checked.
            return Some(number as u32);
        }
        let help = format!("choose {} to {}", range.start(), range.end());
        self.problem("wrong-value", key, format!("{number} is not a whole number"), help);
        None
    }

    /// Returns a date, which must be present.
    pub fn required_date(&mut self, key: &str) -> Option<Date> {
        const HELP: &str = "write a date without quotes, such as 2026-11-02";
        self.survey_required(key);
        let Some(value) = self.get(key, KeyForm::Date) else {
            self.problem("missing", key, "is missing", HELP);
            return None;
        };
        let date = civil_date(value);
        if date.is_none() {
            self.problem("wrong-type", key, format!("is {}", describe_value(value)), HELP);
        }
        date
    }

    /// Returns `default` for `true`, `None` for `false`, and for a table the result of `read`.
    pub fn switch<T>(
        &mut self,
        key: &str,
        default: T,
        known: &[&'static str],
        read: impl FnOnce(&mut TableReader<'t>) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(key, KeyForm::Flag);
        if self.survey.is_some() {
            return self.nested(key, known, read);
        }
        match value? {
            Value::Boolean(on) => on.then_some(default),
            Value::Table(_) => self.nested(key, known, read),
            other => self.wrong_type(key, other, "true, false or a table, `{ … }`"),
        }
    }

    /// Reads each of the named tables below `key`, such as `[source.NAME]`, with `read`. A table that `read` finds
    /// no value in is left out.
    pub fn named_tables<T>(
        &mut self,
        key: &str,
        known: &[&'static str],
        mut read: impl FnMut(&mut TableReader<'t>) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let mut named = BTreeMap::new();
        let tables = match self.get(key, KeyForm::NamedTables) {
            None if self.survey.is_some() => {
                self.read_table(&format!("{key}.NAME"), &EMPTY, known, &mut read);
                return named;
            }
            None => return named,
            Some(Value::Table(tables)) => tables,
            Some(other) => {
                let help = format!("write one table for each, with a name: `[{key}.NAME]`");
                self.record::<()>(key, Err(ValueError::wrong_type(other, help)));
                return named;
            }
        };
        if tables.iter().any(|(name, value)| known.contains(&name.as_str()) && !value.is_table()) {
            let message = "has no name";
            let help = format!("write `[{key}.NAME]`, such as `[{key}.shop]`, above its keys");
            self.problem("no-name", key, message, help);
            return named;
        }
        for (name, value) in tables {
            let path = format!("{key}.{name}");
            let Value::Table(table) = value else {
                let help = format!("write a table, `[{path}]`");
                self.record::<()>(&path, Err(ValueError::wrong_type(value, help)));
                continue;
            };
            let value = self.read_table(&path, table, known, &mut read);
            named.extend(value.map(|value| (name.clone(), value)));
        }
        named
    }

    /// Reads the table below `key` with `read`; its problems become problems of this table.
    pub fn nested<T>(
        &mut self,
        key: &str,
        known: &[&'static str],
        read: impl FnOnce(&mut TableReader<'t>) -> Option<T>,
    ) -> Option<T> {
        match self.get(key, KeyForm::Table) {
            Some(Value::Table(table)) => self.read_table(key, table, known, read),
            Some(Value::Array(items)) if items.iter().any(Value::is_table) => {
                let path = self.path_of(key);
                let help = format!("write it once, in single brackets: `[{path}]`");
                self.problem("wrong-type", key, "is a list of tables", help);
                None
            }
            Some(value) => self.wrong_type(key, value, "a table, `{ … }`"),
            None if self.survey.is_some() => self.read_table(key, &EMPTY, known, read),
            None => None,
        }
    }

    /// Reads each table of the list below `key`, such as `[[edge.route]]`, with `read`.
    pub fn tables<T>(
        &mut self,
        key: &str,
        known: &[&'static str],
        mut read: impl FnMut(&mut TableReader<'t>) -> Option<T>,
    ) -> Vec<T> {
        let mut list = Vec::new();
        let items = match self.table.get(key) {
            Some(Value::Table(_)) => {
                let help = format!("write double brackets: `[[{}]]`", self.path_of(key));
                self.problem("wrong-type", key, "is one table, not a list of them", help);
                return list;
            }
            _ => self.items(key, KeyForm::Tables),
        };
        if self.survey.is_some() {
            list.extend(self.read_table(&format!("{key}[]"), &EMPTY, known, &mut read));
        }
        for (at, item) in items.iter().enumerate() {
            let key = format!("{key}[{at}]");
            match item {
                Value::Table(table) => list.extend(self.read_table(&key, table, known, &mut read)),
                other => list.extend(self.wrong_type(&key, other, "a table")),
            }
        }
        list
    }

    fn read_table<T>(
        &mut self,
        key: &str,
        table: &'t toml::Table,
        known: &[&'static str],
        read: impl FnOnce(&mut TableReader<'t>) -> Option<T>,
    ) -> Option<T> {
        let mut inner = TableReader::new(self.path_of(key), table, known);
        inner.survey = self.survey.is_some().then(KeySurvey::default);
        let value = read(&mut inner);
        if let (Some(survey), Some(of_inner)) = (&mut self.survey, inner.take_survey()) {
            survey.append(of_inner);
        }
        self.problems.append(&mut inner.problems);
        value
    }

    fn items(&mut self, key: &str, form: KeyForm) -> &'t [Value] {
        match self.get(key, form) {
            None => &[],
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.wrong_type(key, other, "a list, even of one: [\"…\"]").unwrap_or(&[])
            }
        }
    }

    fn get(&mut self, key: &str, form: KeyForm) -> Option<&'t Value> {
        debug_assert!(self.known.contains(&key), "`{key}` is not among the known keys");
        let path = self.survey.is_some().then(|| self.path_of(key));
        if let (Some(survey), Some(path)) = (&mut self.survey, path) {
            survey.record(path, form);
        }
        self.table.get(key)
    }

    /// Records in a survey that a key has to be present.
    fn survey_required(&mut self, key: &str) {
        let path = self.survey.is_some().then(|| self.path_of(key));
        if let (Some(survey), Some(path)) = (&mut self.survey, path) {
            survey.required.insert(path);
        }
    }

    fn record<T>(&mut self, key: &str, value: Result<T, ValueError>) -> Option<T> {
        value.map_err(|err| self.problems.push(err.at(self.path_of(key)))).ok()
    }

    fn wrong_type<T>(&mut self, key: &str, value: &Value, expected: &str) -> Option<T> {
        self.record(key, Err(ValueError::wrong_type(value, format!("write {expected}"))))
    }

    fn path_of(&self, key: &str) -> String {
        let dot = if self.path.is_empty() || key.is_empty() { "" } else { "." };
        format!("{}{dot}{key}", self.path)
    }
}

fn words<T>(options: &[(&str, T)]) -> Vec<String> {
    options.iter().map(|(word, _)| (*word).to_owned()).collect()
}

/// Returns the date of a TOML date without a time.
fn civil_date(value: &Value) -> Option<Date> {
    match value {
        Value::Datetime(Datetime { date, time: None, offset: None }) => *date,
        _ => None,
    }
}

#[cfg(test)]
#[path = "table_reader_tests.rs"]
mod tests;
