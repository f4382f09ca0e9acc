//! Problem details (RFC 9457): the bodies of error responses.

use serde::{Serialize, Serializer};

/// An error of an HTTP interface. Not a [`Problem`](crate::Problem), which is an error of a configuration.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProblemDetails<'a> {
    /// The kind of problem, a stable word; written after [`TYPE_PREFIX`](Self::TYPE_PREFIX).
    #[serde(rename = "type", serialize_with = "as_type")]
    pub kind: &'a str,
    /// The kind of problem, for people; the same text for every occurrence.
    pub title: &'a str,
    /// The status code of the response.
    pub status: u16,
    /// The explanation of this occurrence.
    pub detail: &'a str,
}

impl ProblemDetails<'_> {
    /// The media type of a body.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// The prefix of `type`.
    pub const TYPE_PREFIX: &'static str = "urn:tidegate:problem:";

    /// Returns the body.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("three texts and a number can be written as JSON")
    }

    /// Returns the kind of an interface whose kinds are their titles: `Invalid ID` is `invalid-id`.
    #[must_use]
    pub fn kind_of(title: &str) -> String {
        let letter = |letter: char| match letter.is_ascii_alphanumeric() {
            true => letter.to_ascii_lowercase(),
            false => '-',
        };
        title.chars().map(letter).collect()
    }
}

fn as_type<S: Serializer>(kind: &str, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{}{kind}", ProblemDetails::TYPE_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::ProblemDetails;

    #[test]
    fn problem_details_have_four_members() {
        let kind = ProblemDetails::kind_of("Invalid ID");
        let problem = ProblemDetails {
            kind: &kind,
            title: "Invalid ID",
            status: 400,
            detail: "\"x\" is no id",
        };
        let body = r#"{"type":"urn:tidegate:problem:invalid-id","title":"Invalid ID","status":400,"detail":"\"x\" is no id"}"#;
        assert_eq!(problem.to_json(), body);
    }
}
