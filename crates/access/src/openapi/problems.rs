//! Kinds of problems (RFC 9457).

use contract::ProblemDetails;
use serde_json::{Map, Value, json};

use super::schema::schema;

const TYPE_PREFIX: &str = ProblemDetails::TYPE_PREFIX;

/// A kind of problem with one status.
#[derive(Clone, Copy, Debug)]
pub struct ProblemKind {
    /// The last word of its `type`.
    pub word: &'static str,
    /// The status of the response.
    pub status: u16,
    /// Its meaning to the client.
    pub meaning: &'static str,
    /// Members beyond those of every problem, each with the name of its schema.
    pub members: &'static [(&'static str, &'static str)],
}

/// The problems of a request that a listener refuses before it is read.
pub const ACCESS_PROBLEMS: [ProblemKind; 6] = [
    ProblemKind::new("wrong-host", 400, "The header `Host` is malformed."),
    ProblemKind::new(
        "unauthenticated",
        401,
        "The access token or the client certificate is not valid.",
    ),
    ProblemKind::new(
        "not-permitted",
        403,
        "The caller has not the role, or a page of another site sends it.",
    ),
    ProblemKind::new("wrong-host", 421, "The host is not one of the listener's names."),
    ProblemKind::new("caller-unknown", 500, "The connection has no address."),
    ProblemKind::new(
        "authentication-unavailable",
        503,
        "Access tokens can't be checked at present.",
    ),
];

impl ProblemKind {
    /// Returns a kind without members of its own.
    #[must_use]
    pub const fn new(word: &'static str, status: u16, meaning: &'static str) -> Self {
        Self { word, status, meaning, members: &[] }
    }

    /// Returns the kind with members of its own.
    #[must_use]
    pub const fn with(self, members: &'static [(&'static str, &'static str)]) -> Self {
        Self { members, ..self }
    }

    pub(super) fn schema_name(&self) -> String {
        format!("problem-{}-{}", self.word, self.status)
    }

    pub(super) fn schema(&self) -> Value {
        let own = [
            ("type".to_owned(), json!({ "const": format!("{TYPE_PREFIX}{}", self.word) })),
            ("status".to_owned(), json!({ "const": self.status })),
        ];
        let members = self.members.iter();
        let members = members.map(|(name, of)| ((*name).to_owned(), schema(of)));
        let properties: Map<String, Value> = own.into_iter().chain(members).collect();
        let required: Vec<&String> = properties.keys().collect();
        json!({
            "description": self.meaning,
            "allOf": [schema("Problem"), { "properties": properties, "required": required }],
        })
    }
}

/// Returns the schema of every problem.
pub(super) fn any() -> Value {
    json!({
        "type": "object",
        "description": "Problem details (RFC 9457). `type` is stable; `detail` is for people.",
        "properties": {
            "type": { "type": "string", "pattern": format!("^{TYPE_PREFIX}[a-z0-9-]+$") },
            "title": { "type": "string" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string" },
        },
        "required": ["type", "title", "status", "detail"],
    })
}
