//! Addresses that can't be used, and the form in which addresses are printed.

use thiserror::Error;

/// An address that can't be used. The text contains no secrets.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("the address {problem}; {remedy}")]
pub struct UrlError {
    /// The problem, as a predicate: `names no host`.
    pub problem: String,
    /// The remedy, without a full stop.
    pub remedy: String,
}

impl UrlError {
    /// The address has a password, and a file with one is named too.
    pub(crate) fn two_passwords() -> Self {
        Self {
            problem: "has a password, and password_file names another one".to_owned(),
            remedy: "leave one of them out".to_owned(),
        }
    }
}

/// Checks that the login of a URL ends where its writer meant: at one of these characters in a password the driver
/// would end it, and make another host of the rest.
///
/// # Errors
/// The login has one of them.
pub fn check_login(url: &str, ends: &[char]) -> Result<(), UrlError> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    // An `@` in the value of an option is none of the login's.
    let is_option = |query: &str| query.split('@').next().is_some_and(|part| part.contains('='));
    let address = match rest.split_once('?') {
        Some((address, query)) if address.contains('@') || is_option(query) => address,
        _ => rest,
    };
    let Some((login, _)) = address.rsplit_once('@') else { return Ok(()) };
    if !login.contains(ends) {
        return Ok(());
    }
    Err(UrlError {
        problem: "has a login with one of @ / ? # in it".to_owned(),
        remedy: "in the password write %40 for @, %2F for /, %3F for ?, %23 for #, %3A for : and %25 for %, \
                 or put it as it is into a file, and name the file in password_file"
            .to_owned(),
    })
}

/// Returns a URL of any kind with its password, and any query that may hold one, replaced by `***`.
#[must_use]
pub fn redacted(url: &str) -> String {
    let (url, query) = match url.split_once('?') {
        Some((url, _)) => (url, "?***"),
        None => (url, ""),
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        // A mistyped address: all before the host may be a password.
        let host = url.rsplit_once('@').map(|(_, host)| format!("***@{host}"));
        return format!("{}{query}", host.unwrap_or_else(|| url.to_owned()));
    };
    // The last `@`: a password may hold an unescaped `/` or `@`.
    match rest.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split(':').next().unwrap_or_default();
            let secret = if login.contains(':') { ":***" } else { "" };
            format!("{scheme}://{user}{secret}@{host}{query}")
        }
        None if has_ports_only(rest) => format!("{scheme}://{rest}{query}"),
        // A forgotten `@`: a password follows the user.
        None => {
            let user = rest.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:***{query}")
        }
    }
}

/// Whether the colons of an authority come before ports, or are in IPv6 addresses.
fn has_ports_only(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or_default();
    authority.split(',').all(|host| {
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        host.ends_with(']') || host.rsplit_once(':').is_none_or(|(_, port)| is_port(port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unencoded_login_refused() {
        for url in [
            "postgres://u:p@ss@h/d",
            "postgres://u:p/w@h/d",
            "postgres://u:p?w@h/d",
            "mysql://u:p#w@h/d?a=1",
            "postgres://u:p@ss@h/d?sslmode=require",
        ] {
            let err = check_login(url, &['@', '/', '?', '#']).expect_err(url);
            assert!(err.remedy.contains("%40") && !err.problem.contains("p@ss"), "{err}");
        }
        for url in [
            "postgres://u:p%40ss@h/d",
            "postgres://h/d?user=a@b",
            "postgres://u:p@a,b:6000/d?options=-c%20x",
            "postgres://u@h/d?application_name=a@b",
            "postgres://h/d",
        ] {
            assert_eq!(check_login(url, &['@', '/', '?', '#']), Ok(()), "{url}");
        }
    }

    #[test]
    fn passwords_never_printed() {
        for (url, shown) in [
            ("postgres://shop@127.0.0.1:5432/shop", "postgres://shop@127.0.0.1:5432/shop"),
            ("postgres://shop:hu/nter2@h/shop", "postgres://shop:***@h/shop"),
            ("postgres://shop:hunter2@h/shop?password=x", "postgres://shop:***@h/shop?***"),
            ("redis://:s3cr:et@h:1/0", "redis://:***@h:1/0"),
            ("postgres://shop:hunter2h/shop", "postgres://shop:***"),
            ("redis://a:1,[::1]:2,[::1]/0", "redis://a:1,[::1]:2,[::1]/0"),
            ("redis+cluster://u:p@a:1,b:2", "redis+cluster://u:***@a:1,b:2"),
            ("postgres:/shop:hunter2@h/shop", "***@h/shop"),
            ("rediss+sentinel://u:p@a:1,b:2/shop", "rediss+sentinel://u:***@a:1,b:2/shop"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }
}
