//! The JSON Schema of the configuration, made from the keys that the code reads.

use std::collections::BTreeMap;
use std::path::Path;

use contract::config::{KeyForm, KeySurvey, TableReader};
use serde_json::{Map, Value, json};

use super::raw::{KEYS, RawConfig};
use super::reference::{plain_text, rows};

/// The table of contracts, which have a parser of their own.
const CONTRACT: &str = "data.NAME";

/// A key, with the keys below it: by name, `[]` for the items of a list of tables, and `NAME` for named tables.
#[derive(Debug, Default)]
struct Node {
    forms: Vec<KeyForm>,
    is_required: bool,
    description: Option<String>,
    /// Whether a text may name a variable of the environment.
    may_be_variable: bool,
    keys: BTreeMap<String, Node>,
}

/// Returns the schema (draft 7, which editors of TOML read).
pub(crate) fn schema() -> Value {
    let mut root = Node::default();
    let settings = TableReader::survey(KEYS, |table| RawConfig::sections(table, Path::new("")));
    root.add(&settings, "", true);
    root.at("data").forms = vec![KeyForm::NamedTables];
    root.add(&contract::survey_contract(), CONTRACT, false);
    for row in rows() {
        let default = row.default.trim();
        root.at(&row.key).description =
            Some(format!("{} Default: {default}.", sentence(&row.meaning)));
    }
    for doc in contract::reference() {
        let text = sentence(&plain_text(doc.doc));
        let default = plain_text(doc.default);
        root.at(&format!("{CONTRACT}.{}", doc.key)).description =
            Some(format!("{text} Default: {default}."));
    }
    let mut schema = root.object();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), "http://json-schema.org/draft-07/schema#".into());
        schema.insert("title".to_owned(), "tidegate.toml".into());
    }
    schema
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

impl Node {
    fn add(&mut self, survey: &KeySurvey, prefix: &str, may_be_variable: bool) {
        let dot = if prefix.is_empty() { "" } else { "." };
        for (path, forms) in &survey.forms {
            let node = self.at(&format!("{prefix}{dot}{path}"));
            node.forms.clone_from(forms);
            node.is_required = survey.required.contains(path);
            node.may_be_variable = may_be_variable;
        }
    }

    /// Returns the node of a path, such as `edge.route[].path`.
    fn at(&mut self, path: &str) -> &mut Self {
        let path = path.replace("[]", ".[]");
        path.split('.').fold(self, |node, part| node.keys.entry(part.to_owned()).or_default())
    }

    fn value(&self) -> Value {
        let mut forms: Vec<Value> = self.forms.iter().map(|form| self.form(form)).collect();
        let mut value = match forms.len() {
            1 => forms.remove(0),
            _ => json!({ "anyOf": forms }),
        };
        if let (Some(value), Some(text)) = (value.as_object_mut(), &self.description) {
            value.insert("description".to_owned(), text.as_str().into());
        }
        value
    }

    fn form(&self, form: &KeyForm) -> Value {
        match form {
            KeyForm::Text | KeyForm::Duration => json!({ "type": "string" }),
            KeyForm::Words(words) => self.words(words),
            KeyForm::Texts => json!({ "type": "array", "items": { "type": "string" } }),
            KeyForm::WordList(words) => json!({ "type": "array", "items": self.words(words) }),
            KeyForm::Size => json!({ "type": ["string", "integer"] }),
            KeyForm::Flag => json!({ "type": "boolean" }),
            KeyForm::Number(least, most) => {
                json!({ "type": "number", "minimum": least, "maximum": most })
            }
            KeyForm::WholeNumber(least, most) => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            KeyForm::Date => json!({ "type": "string", "format": "date" }),
            KeyForm::Table => self.object(),
            KeyForm::Tables => json!({ "type": "array", "items": self.inner("[]") }),
            KeyForm::NamedTables => {
                json!({ "type": "object", "additionalProperties": self.inner("NAME") })
            }
        }
    }

    fn words(&self, words: &[String]) -> Value {
        if self.may_be_variable {
            return json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": "\\$" }] });
        }
        json!({ "enum": words })
    }

    fn inner(&self, name: &str) -> Value {
        self.keys.get(name).map_or_else(|| json!({ "type": "object" }), Self::object)
    }

    fn object(&self) -> Value {
        // A key may be a table or a list of tables: the items of the list are not among the table's keys.
        let properties = self.keys.iter().filter(|(name, _)| *name != "[]");
        let properties: Map<String, Value> =
            properties.map(|(name, node)| (name.clone(), node.value())).collect();
        let required: Vec<&String> =
            self.keys.iter().filter(|(_, node)| node.is_required).map(|(name, _)| name).collect();
        let mut object = json!({
            "type": "object", "properties": properties, "additionalProperties": false,
        });
        if let Some(object) = object.as_object_mut().filter(|_| !required.is_empty()) {
            object.insert("required".to_owned(), json!(required));
        }
        object
    }
}
