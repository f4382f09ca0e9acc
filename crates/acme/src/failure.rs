//! Why a certificate was not issued, and the remedy.

use instant_acme::{Error, Problem};

use crate::client::NoAnswer;
use crate::schedule::{FailureKind, LastFailure};

/// The beginning of the names of problems (RFC 8555, section 6.7).
const PROBLEMS: &str = "urn:ietf:params:acme:error:";

/// The authority does not know the account.
pub(crate) const UNKNOWN_ACCOUNT: &str = "accountDoesNotExist";

/// Why a certificate was not issued.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// The authority's name for the problem, or ours.
    pub(crate) code: String,
    /// The problem, without a full stop.
    pub(crate) problem: String,
    /// The remedy, without a full stop.
    pub(crate) remedy: String,
}

impl Failure {
    pub(crate) fn unreachable(code: &str, problem: String, remedy: &str) -> Self {
        let (code, remedy) = (code.to_owned(), remedy.to_owned());
        Self { kind: FailureKind::Unreachable, code, problem, remedy }
    }

    pub(crate) fn refused(code: &str, problem: String, remedy: &str) -> Self {
        let (code, remedy) = (code.to_owned(), remedy.to_owned());
        Self { kind: FailureKind::Refused, code, problem, remedy }
    }

    /// A failure of the folder. The authority has not been asked.
    pub(crate) fn storage(err: &dyn std::fmt::Display) -> Self {
        let remedy =
            "let Tidegate's user read and write the folder in `storage`, and lock files in it";
        Self::unreachable("storage", err.to_string(), remedy)
    }

    pub(crate) fn of(err: Error) -> Self {
        match err {
            Error::Api(problem) => Self::of_problem(&problem),
            Error::Timeout(_) => Self::unreachable(
                "timeout",
                "the authority has not finished in time".to_owned(),
                "nothing: the same order is continued",
            ),
            Error::Json(err) => Self::unreachable(
                "malformed-answer",
                format!("the answer is none of ACME: {err}"),
                "check the URL in `directory`",
            ),
            Error::Other(err) => match err.downcast_ref::<NoAnswer>() {
                Some(NoAnswer::Status(_)) => Self::unreachable(
                    "status",
                    format!("the authority answers with {err}"),
                    "check the URL in `directory`; an authority that is overloaded is asked again",
                ),
                _ => Self::unreachable(
                    "connection-to-authority",
                    format!("the authority can't be reached: {}", chain_of(&*err)),
                    "let this machine connect to the host of `directory`; name the authorities of its certificate in \
                     `ca`, unless the system has them",
                ),
            },
            err => Self::refused(
                "protocol",
                format!("the authority's answer can't be used: {err}"),
                "check the URL in `directory`",
            ),
        }
    }

    pub(crate) fn of_problem(problem: &Problem) -> Self {
        // An order's problem may be the sum of those of its parts.
        let inner = problem.subproblems.first();
        let detail = inner.and_then(|inner| inner.detail.as_ref()).or(problem.detail.as_ref());
        let name = inner.and_then(|inner| inner.r#type.as_ref()).or(problem.r#type.as_ref());
        let name = name.map_or("unknown", String::as_str);
        let code = name.strip_prefix(PROBLEMS).unwrap_or(name);
        let detail = detail.map_or("the authority gives no detail", String::as_str);
        let kind = match code {
            "rateLimited" => FailureKind::Limited,
            "serverInternal" | "badNonce" => FailureKind::Unreachable,
            _ => FailureKind::Refused,
        };
        let problem = format!("{code}: {detail}");
        Self { kind, code: code.to_owned(), problem, remedy: remedy(code).to_owned() }
    }

    /// Returns the failure for the attempts.
    pub(crate) fn to_last(&self) -> LastFailure {
        let text = format!("{}; {}", self.problem, self.remedy);
        LastFailure { kind: self.kind, code: self.code.clone(), text }
    }
}

/// Whether the authority has answered, and will answer in the same way again. Some answer with a bare status.
pub(crate) fn is_refusal(err: &Error) -> bool {
    match err {
        Error::Api(_) => true,
        Error::Other(err) => match err.downcast_ref::<NoAnswer>() {
            Some(NoAnswer::Status(status)) => status.is_client_error(),
            _ => false,
        },
        _ => false,
    }
}

fn remedy(code: &str) -> &'static str {
    match code {
        "connection" => {
            "point the DNS of the domain at this shop, and let the authority connect to port 443 (tls-alpn-01) or \
             port 80 (http-01)"
        }
        "dns" => "give the domain an A or AAAA record that points at this shop",
        "unauthorized" | "incorrectResponse" | "tls" => {
            "let the domain lead to nodes with this `storage`: a proxy that ends TLS, or another server, has answered the check"
        }
        "caa" => "allow this authority in the CAA records of the domain",
        "rejectedIdentifier" | "unsupportedIdentifier" => {
            "take the domain out of `domains`: this authority does not sign for it"
        }
        "externalAccountRequired" => {
            "set external_account_id and external_account_key_file, as the authority has issued them"
        }
        "userActionRequired" => "agree to the authority's new terms at the address in its message",
        "rateLimited" => {
            "wait: the next attempt is as late as the authority asks; try configurations with a staging directory"
        }
        UNKNOWN_ACCOUNT => "remove `account.json` in the folder: a new account is made",
        _ => "see the authority's message; after a change, restart or wait",
    }
}

/// Returns the texts of an error and its causes.
fn chain_of(err: &(dyn std::error::Error + 'static)) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        let next = err.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = err.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Failure {
        Failure::of_problem(&serde_json::from_str(json).expect("a problem"))
    }

    #[test]
    fn problems_have_kind_and_remedy() {
        let limited =
            of(r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}"#);
        assert_eq!((limited.kind, limited.code.as_str()), (FailureKind::Limited, "rateLimited"));
        let failed = of(r#"{"type":"urn:ietf:params:acme:error:compound","subproblems":[
            {"type":"urn:ietf:params:acme:error:caa","detail":"forbidden"}]}"#);
        assert_eq!(failed.kind, FailureKind::Refused);
        assert!(failed.to_last().text.starts_with("caa: forbidden; allow this authority in"));
        let nothing = of("{}");
        assert!(nothing.to_last().text.contains("no detail"));
        assert_eq!(Failure::of(Error::Timeout(None)).kind, FailureKind::Unreachable);
    }
}
