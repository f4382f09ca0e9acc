//! Operations: a method of a path.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::problems::{ACCESS_PROBLEMS, ProblemKind};
use super::schema::schema;
use crate::rights::Role;

/// A method of a path.
#[derive(Clone, Debug)]
pub struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    /// Security requirements; empty: the operation is open.
    security: Vec<Value>,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Value>,
    problems: Vec<&'static str>,
}

/// Returns a parameter in the query.
#[must_use]
pub fn query_parameter(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

/// Returns a parameter in a header.
#[must_use]
pub fn header_parameter(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "header", "description": description, "schema": schema })
}

impl Operation {
    /// Returns an operation that needs no token. `method`: in lower case; `id`: its name in generated clients.
    #[must_use]
    pub fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        let (security, parameters, problems) = (Vec::new(), Vec::new(), Vec::new());
        let answers = BTreeMap::new();
        Self { method, path, id, summary, security, parameters, body: None, answers, problems }
    }

    /// Returns the path, with the names of its parameters in braces.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Returns the method, in lower case.
    #[must_use]
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// Where the listener needs tokens, the caller has to have this role.
    #[must_use]
    pub fn role(self, role: Role) -> Self {
        self.authenticated(json!([role.as_str()]))
    }

    /// Where the listener needs tokens, any token will do.
    #[must_use]
    pub fn any_token(self) -> Self {
        self.authenticated(json!([]))
    }

    fn authenticated(mut self, roles: Value) -> Self {
        // A listener without tokens needs none, and certificates may stand for them.
        self.security = vec![json!({ "token": roles }), json!({})];
        self.problems.extend(ACCESS_PROBLEMS.map(|kind| kind.word));
        self
    }

    /// A parameter of the path.
    #[must_use]
    pub fn in_path(self, name: &str, schema: Value) -> Self {
        self.parameter(json!({ "name": name, "in": "path", "required": true, "schema": schema }))
    }

    /// A parameter.
    #[must_use]
    pub fn parameter(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// A body of JSON with at most `bytes_max` bytes. One that is not `required` may be left out.
    #[must_use]
    pub fn body(mut self, schema: Value, required: bool, bytes_max: usize) -> Self {
        self.body = Some(json!({
            "required": required,
            "description": format!("At most {bytes_max} bytes."),
            "content": { "application/json": { "schema": schema } },
        }));
        self
    }

    /// A success with a body of JSON.
    #[must_use]
    pub fn answer(self, status: u16, meaning: &str, schema: Value) -> Self {
        self.answer_of_type(status, meaning, "application/json", schema)
    }

    /// A success with a body of another media type.
    #[must_use]
    pub fn answer_of_type(
        mut self,
        status: u16,
        meaning: &str,
        media_type: &str,
        schema: Value,
    ) -> Self {
        let content = json!({ media_type: { "schema": schema } });
        self.answers.insert(status, json!({ "description": meaning, "content": content }));
        self
    }

    /// A success without a body.
    #[must_use]
    pub fn no_content(mut self, status: u16, meaning: &str) -> Self {
        self.answers.insert(status, json!({ "description": meaning }));
        self
    }

    /// A header of an answer.
    #[must_use]
    pub fn header(mut self, status: u16, name: &str, description: &str, schema: Value) -> Self {
        if let Some(answer) = self.answers.get_mut(&status) {
            answer["headers"][name] = json!({ "description": description, "schema": schema });
        }
        self
    }

    /// The operation that a client may call with values of an answer. `link`: a link object with `operationId`.
    #[must_use]
    pub fn link(mut self, status: u16, name: &str, link: Value) -> Self {
        if let Some(answer) = self.answers.get_mut(&status) {
            answer["links"][name] = link;
        }
        self
    }

    /// Kinds of problems, by their words.
    #[must_use]
    pub fn problems(mut self, words: &[&'static str]) -> Self {
        self.problems.extend(words);
        self
    }

    /// Returns the words of problems that are not in `kinds`, nor of every listener.
    #[must_use]
    pub fn unknown_problems(&self, kinds: &[ProblemKind]) -> Vec<&'static str> {
        let is_known =
            |word: &&str| ACCESS_PROBLEMS.iter().chain(kinds).any(|kind| kind.word == *word);
        self.problems.iter().copied().filter(|word| !is_known(word)).collect()
    }

    /// Returns the operation object. Words that are not in `kinds` do not appear.
    pub(super) fn describe(&self, kinds: &[ProblemKind]) -> Value {
        let mut responses = Map::new();
        for (status, answer) in &self.answers {
            responses.insert(status.to_string(), answer.clone());
        }
        for (status, answer) in self.refusals(kinds) {
            responses.insert(status.to_string(), answer);
        }
        let mut object = json!({
            "operationId": self.id, "summary": self.summary, "security": self.security,
            "parameters": self.parameters, "responses": responses,
        });
        if let Some(body) = &self.body {
            object["requestBody"] = body.clone();
        }
        object
    }

    fn refusals(&self, kinds: &[ProblemKind]) -> BTreeMap<u16, Value> {
        let mut by_status = BTreeMap::<u16, Vec<&ProblemKind>>::new();
        for kind in kinds.iter().filter(|kind| self.problems.contains(&kind.word)) {
            by_status.entry(kind.status).or_default().push(kind);
        }
        by_status.into_iter().map(|(status, kinds)| (status, refusal(status, &kinds))).collect()
    }
}

fn refusal(status: u16, kinds: &[&ProblemKind]) -> Value {
    let words: Vec<&str> = kinds.iter().map(|kind| kind.word).collect();
    let schemas: Vec<Value> = kinds.iter().map(|kind| schema(&kind.schema_name())).collect();
    let mut answer = json!({
        "description": words.join(", "),
        "content": { "application/problem+json": { "schema": { "anyOf": schemas } } },
    });
    let mut header = |name: &str, description: &str, schema: Value| {
        answer["headers"][name] = json!({ "description": description, "schema": schema });
    };
    match status {
        401 => header("WWW-Authenticate", "`Bearer`", json!({ "const": "Bearer" })),
        429 | 503 => {
            let seconds = json!({ "type": "integer", "minimum": 1 });
            header("Retry-After", "Seconds after which to repeat the request.", seconds);
        }
        _ => {}
    }
    answer
}
