//! Descriptions of the private listeners' interfaces, as OpenAPI 3.1 documents.
//!
//! An interface lists its operations and its problems beside their code, with the limits that the code applies. Its tests
//! compare the list with its routes.

mod operation;
mod problems;
mod schema;

use serde_json::{Map, Value, json};

pub use self::operation::{Operation, header_parameter, query_parameter};
pub use self::problems::{ACCESS_PROBLEMS, ProblemKind};
pub use self::schema::{object, schema};

/// The path of the document on each private listener.
pub const PATH: &str = "/openapi.json";

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/json";

/// An interface.
pub struct Interface {
    /// Its name.
    pub title: &'static str,
    /// The rules for all its operations.
    pub description: &'static str,
    /// The operations, in the order of the document.
    pub operations: Vec<Operation>,
    /// The schemas that operations refer to, by name.
    pub schemas: Vec<(&'static str, Value)>,
    /// The kinds of problems, beside [`ACCESS_PROBLEMS`].
    pub problems: Vec<ProblemKind>,
}

impl Interface {
    /// Returns the paths, each once.
    #[must_use]
    pub fn paths(&self) -> Vec<&'static str> {
        let mut paths: Vec<_> = self.operations.iter().map(Operation::path).collect();
        paths.dedup();
        paths
    }

    /// Returns the document.
    #[must_use]
    pub fn document(&self) -> Value {
        let kinds: Vec<ProblemKind> =
            ACCESS_PROBLEMS.iter().chain(&self.problems).copied().collect();
        let mut paths = Map::new();
        for operation in &self.operations {
            let item = paths.entry(operation.path()).or_insert_with(|| json!({}));
            item[operation.method()] = operation.describe(&kinds);
        }
        let mut schemas = Map::new();
        schemas
            .extend(self.schemas.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())));
        schemas.insert("Problem".to_owned(), problems::any());
        schemas.extend(kinds.iter().map(|kind| (kind.schema_name(), kind.schema())));
        let token = json!({
            "type": "http", "scheme": "bearer",
            "description": "An access token, where the listener needs one.",
        });
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": self.title,
                "version": env!("CARGO_PKG_VERSION"),
                "description": self.description,
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            },
            "servers": [{ "url": "/" }],
            "paths": paths,
            "components": { "securitySchemes": { "token": token }, "schemas": schemas },
        })
    }
}
