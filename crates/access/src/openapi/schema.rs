//! Schemas.

use serde_json::{Value, json};

/// Returns a reference to a schema of the interface.
#[must_use]
pub fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Returns the schema of an object without other members. `required`: the names of members that are always there.
#[must_use]
pub fn object(required: &[&str], properties: Value) -> Value {
    json!({
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": false,
    })
}
