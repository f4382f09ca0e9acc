//! Keys whose value may have one of two forms.

use toml::Value;

use super::TableReader;

impl<'t> TableReader<'t> {
    /// Reads the value of the key with `read_table` if it is a table, else with `read_text`. In a survey, with both.
    pub fn table_or_text<T, U>(
        &mut self,
        key: &str,
        known: &[&'static str],
        read_table: impl FnOnce(&mut TableReader<'t>) -> Option<T>,
        read_text: impl FnOnce(&mut Self) -> Option<U>,
    ) -> (Option<T>, Option<U>) {
        let is_table = matches!(self.table.get(key), Some(Value::Table(_)));
        let is_survey = self.survey.is_some();
        let table = if is_table || is_survey { self.nested(key, known, read_table) } else { None };
        let text = if is_table { None } else { read_text(self) };
        (table, text)
    }

    /// Reads the value of the key with `read` if it is a table, else each table of the list there. In a survey, as both.
    pub fn table_or_tables<T>(
        &mut self,
        key: &str,
        known: &[&'static str],
        mut read: impl FnMut(&mut TableReader<'t>) -> Option<T>,
    ) -> Vec<T> {
        let is_list = matches!(self.table.get(key), Some(Value::Array(_)));
        let one = if is_list { None } else { self.nested(key, known, &mut read) };
        let is_survey = self.survey.is_some();
        let list = if is_list || is_survey { self.tables(key, known, read) } else { Vec::new() };
        one.into_iter().chain(list).collect()
    }

    /// Returns the text of the key as a list of one, or the list of texts there; empty where the key is missing.
    pub fn text_or_list(&mut self, key: &str, help: &str) -> Vec<String> {
        let not_blank = |text: &str| match text.trim() {
            "" => Err("it is empty"),
            _ => Ok(text.to_owned()),
        };
        let is_list = matches!(self.table.get(key), Some(Value::Array(_)));
        let one = if is_list { None } else { self.text(key).map(str::to_owned) };
        let is_survey = self.survey.is_some();
        let list = if is_list || is_survey { self.list(key, help, not_blank) } else { Vec::new() };
        if matches!(self.table.get(key), Some(Value::Array(items)) if items.is_empty()) {
            self.problem("wrong-value", key, "is an empty list", help);
        }
        one.into_iter().chain(list).collect()
    }
}
