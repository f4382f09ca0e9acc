//! Problem details (RFC 9457): the bodies of error responses.

use serde::Serialize;

/// An error of an HTTP interface. Not a [`Problem`](crate::Problem), which is an error of a configuration.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProblemDetails<'a> {
    /// The kind of problem; the same text for every occurrence.
    pub title: &'a str,
    /// The status code of the response.
    pub status: u16,
    /// The explanation of this occurrence.
    pub detail: &'a str,
}

impl ProblemDetails<'_> {
    /// The media type of a body.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// Returns the body.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("two texts and a number can be written as JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::ProblemDetails;

    #[test]
    fn problem_details_have_three_members() {
        let problem = ProblemDetails { title: "Invalid ID", status: 400, detail: "\"x\" is no id" };
        let body = r#"{"title":"Invalid ID","status":400,"detail":"\"x\" is no id"}"#;
        assert_eq!(problem.to_json(), body);
    }
}
