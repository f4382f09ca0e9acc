//! An OpenAPI document as a client uses it: answers are compared with it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use harness::http::{self, Response};
use serde_json::{Map, Value};

use crate::stack::DEADLINE;

/// A document of a listener.
pub(super) struct Document {
    pub(super) at: SocketAddr,
    text: Value,
}

impl Document {
    pub(super) fn read(at: SocketAddr) -> Self {
        let answer = http::get(at, "/openapi.json", DEADLINE).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        Self { at, text: serde_json::from_slice(&answer.body).expect("JSON") }
    }

    pub(super) fn paths(&self) -> &Map<String, Value> {
        self.text["paths"].as_object().expect("paths")
    }

    /// Returns the methods of a path, as `Allow` lists them.
    pub(super) fn allowed(&self, path: &str) -> BTreeSet<String> {
        let methods = self.paths()[path].as_object().expect("a path");
        let mut allowed: BTreeSet<String> =
            methods.keys().map(|method| method.to_ascii_uppercase()).collect();
        if allowed.contains("GET") {
            allowed.insert("HEAD".to_owned());
        }
        allowed
    }

    /// Returns each operation with its method and path.
    pub(super) fn operations(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        self.paths().iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
        })
    }

    /// Returns the schema of the JSON body of an operation's requests.
    pub(super) fn body<'a>(&'a self, operation: &'a Value) -> Option<&'a Value> {
        operation
            .get("requestBody")
            .map(|body| self.followed(&body["content"]["application/json"]["schema"]))
    }

    /// Returns the schema that a reference names, and of several the one of an object.
    pub(super) fn followed<'a>(&'a self, schema: &'a Value) -> &'a Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
            return self.followed(&self.text["components"]["schemas"][name]);
        }
        let several = schema["anyOf"].as_array().into_iter().flatten();
        let object = several.map(|each| self.followed(each)).find(|each| each["type"] == "object");
        object.unwrap_or(schema)
    }

    /// Checks an answer: its status, its media type and its body are described.
    pub(super) fn check(&self, method: &str, path: &str, answer: &Response) {
        let operation = &self.paths()[path][method];
        let described = &operation["responses"][answer.status.to_string()];
        assert!(
            described.is_object(),
            "{method} {path}: {} is not described: {answer:?}",
            answer.status
        );
        let media_type = answer.header("content-type").and_then(|it| it.split(';').next());
        let Some(content) = described.get("content") else {
            assert!(answer.body.is_empty(), "{method} {path}: {answer:?}");
            return;
        };
        let media = &content[media_type.unwrap_or_default()];
        assert!(media.is_object(), "{method} {path}: {media_type:?} is not described: {answer:?}");
        if answer.status == 503 {
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
        }
        if media_type.is_some_and(|it| it.ends_with("json")) {
            let body = serde_json::from_slice(&answer.body).expect("JSON");
            if let Err(problem) = self.fit(&media["schema"], &body) {
                panic!("{method} {path}: {problem}: {answer:?}");
            }
        }
    }

    /// Says where a value is not as its schema describes it: types, members, constants, limits, references.
    fn fit(&self, schema: &Value, value: &Value) -> Result<(), String> {
        if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
            return self.fit(&self.text["components"]["schemas"][name], value);
        }
        let differs = |part: &str| Err(format!("{value} is not {part} of {schema}"));
        if *schema == Value::Bool(false) {
            return differs("absent, as the schema");
        }
        for all in schema["allOf"].as_array().into_iter().flatten() {
            self.fit(all, value)?;
        }
        if let Some(several) = schema["anyOf"].as_array() {
            let tries: Vec<_> = several.iter().map(|each| self.fit(each, value)).collect();
            if tries.iter().all(Result::is_err) {
                return Err(format!("{tries:?}"));
            }
        }
        if schema.get("const").is_some_and(|constant| constant != value) {
            return differs("the constant");
        }
        if schema["enum"].as_array().is_some_and(|several| !several.contains(value)) {
            return differs("one");
        }
        let is_a = |name: &Value| match name.as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("null") => value.is_null(),
            Some("integer") => value.is_i64() || value.is_u64(),
            _ => false,
        };
        match &schema["type"] {
            Value::Null => {}
            Value::Array(names) if names.iter().any(is_a) => {}
            name if is_a(name) => {}
            _ => return differs("of the type"),
        }
        if value.as_i64().zip(schema["minimum"].as_i64()).is_some_and(|(it, least)| it < least)
            || value.as_i64().zip(schema["maximum"].as_i64()).is_some_and(|(it, most)| it > most)
        {
            return differs("within the limits");
        }
        for item in value.as_array().into_iter().flatten() {
            self.fit(&schema["items"], item)?;
        }
        value.as_object().map_or(Ok(()), |object| self.fit_object(schema, object))
    }

    fn fit_object(&self, schema: &Value, object: &Map<String, Value>) -> Result<(), String> {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(name.as_str().unwrap_or_default()) {
                return Err(format!("{name} is missing"));
            }
        }
        for (name, value) in object {
            match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(schema), _) => self.fit(schema, value)?,
                (None, Value::Bool(false)) => return Err(format!("{name:?} is not described")),
                (None, Value::Object(more)) => self.fit(&Value::Object(more.clone()), value)?,
                (None, _) => {}
            }
        }
        Ok(())
    }
}
