//! Addresses of listeners, in the forms that people write.

use std::net::{Ipv4Addr, SocketAddr};

use crate::config::problem::ValueError;

/// Parses the address of a listener: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` (127.0.0.1), or `:8080` and
/// `*:8080` (0.0.0.0: every IPv4 address of the machine). Other names are not looked up.
///
/// # Errors
/// The text has another form; the error says which one it should have.
pub fn parse_listen_address(text: &str) -> Result<SocketAddr, ValueError> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Some((_, rest)) = text.split_once("://") {
        let rest = rest.trim_end_matches('/');
        return Err(refuse(text, "is a URL", format!("write \"{rest}\"")));
    }
    if text.parse::<u16>().is_ok() {
        let help = format!(
            "write \"127.0.0.1:{text}\" for this machine, or \":{text}\" for every address"
        );
        return Err(refuse(text, "is only a port", help));
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|(host, _)| !host.contains(':')) else {
        return Err(refuse(text, "has no port, or is an IPv6 address without brackets", forms()));
    };
    let Ok(port) = port.parse() else {
        return Err(refuse(text, "does not end with a port from 0 to 65535", forms()));
    };
    match host {
        "" | "*" => Ok((Ipv4Addr::UNSPECIFIED, port).into()),
        _ if host.eq_ignore_ascii_case("localhost") => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ => Err(refuse(text, "names a host, and no name but localhost is looked up", forms())),
    }
}

fn forms() -> String {
    "write an address and a port, such as \"127.0.0.1:8080\", \"[::1]:8080\", or \":8080\" for every \
     address of the machine"
        .to_owned()
}

fn refuse(text: &str, problem: &str, help: String) -> ValueError {
    ValueError::wrong_value(format!("`{text}` {problem}"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_forms_accepted() {
        for (text, address) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("LocalHost:0", "127.0.0.1:0"),
            (":8080", "0.0.0.0:8080"),
            ("*:8080", "0.0.0.0:8080"),
        ] {
            assert_eq!(parse_listen_address(text).map(|a| a.to_string()).as_deref(), Ok(address));
        }
    }

    #[test]
    fn other_forms_name_right_one() {
        for (text, problem, help) in [
            ("8080", "only a port", "\":8080\" for every address"),
            ("http://127.0.0.1:8080/", "is a URL", "write \"127.0.0.1:8080\""),
            ("shop.example:8080", "names a host", "127.0.0.1:8080"),
            ("localhost", "has no port", "127.0.0.1:8080"),
            ("::1", "without brackets", "[::1]:8080"),
            ("localhost:80800", "a port from 0 to 65535", "127.0.0.1:8080"),
            ("", "has no port", "127.0.0.1:8080"),
        ] {
            let err = parse_listen_address(text).expect_err(text);
            assert!(err.message.contains(problem) && err.help.contains(help), "{text}: {err}");
        }
    }
}
