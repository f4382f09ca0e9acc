//! The check of a server before it is used: version, role, cluster mode and eviction policy.

/// Why a server is not used.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// It is a replica at present.
    Replica(String),
    /// Its settings or its version.
    Server(String),
}

/// Checks the reply to `INFO` of a single server, or of a node of a cluster (`shard`). Returns a warning about a setting
/// that it works with, but badly.
///
/// # Errors
/// The reason why the server is not used.
pub(crate) fn check(
    info: &str,
    shard: bool,
    min_version: (u32, u32),
) -> Result<Option<String>, Rejection> {
    let unsuitable = |why: String| Err(Rejection::Server(why));
    let field = |name: &str| field(info, name);

    let Some(version) = field("redis_version") else {
        return unsuitable("INFO has no redis_version".to_owned());
    };
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < min_version {
        return unsuitable(format!(
            "it is version {version}; {}.{} or later is needed (or any Valkey)",
            min_version.0, min_version.1
        ));
    }
    match (field("cluster_enabled") == Some("1"), shard) {
        (true, false) => {
            return unsuitable(
                "it is a node of a cluster; write redis+cluster://host:port,host:port with some of \
                 its nodes"
                    .to_owned(),
            );
        }
        (false, true) => {
            return unsuitable("it is no node of a cluster; write redis://host:port".to_owned());
        }
        _ => {}
    }
    if field("role") == Some("slave") {
        let of = field("master_host").zip(field("master_port"));
        let of = of.map_or_else(String::new, |(host, port)| format!(" of {host}:{port}"));
        return Err(Rejection::Replica(format!("it is a replica{of}; give the primary")));
    }
    check_policy(info).map_err(Rejection::Server)
}

/// Checks the eviction policy. Returns a warning about one that leaves no memory for new entries.
///
/// # Errors
/// It may evict keys that have to stay.
pub(crate) fn check_policy(info: &str) -> Result<Option<String>, String> {
    const REMEDY: &str =
        "run `CONFIG SET maxmemory-policy volatile-lru` and keep it with `CONFIG REWRITE`";
    let is_limited = field(info, "maxmemory").is_some_and(|bytes| bytes != "0");
    match field(info, "maxmemory_policy") {
        Some("noeviction") if is_limited => Ok(Some(format!(
            "maxmemory-policy noeviction: once its memory is used up, Redis takes no entry, and entries have to be \
             removed for each invalidation; {REMEDY}"
        ))),
        Some(policy) if policy == "noeviction" || policy.starts_with("volatile-") => Ok(None),
        // Some managed services hide it.
        None | Some("") => Err(
            "INFO does not show its maxmemory_policy, so whether it keeps keys without an expiry can't be checked; \
             use a server that shows it"
                .to_owned(),
        ),
        Some(policy) => Err(format!(
            "maxmemory-policy {policy} may evict keys without an expiry; {REMEDY}"
        )),
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN_VERSION: (u32, u32) = (6, 2);

    fn verdict(version: &str, policy: &str, more: &str) -> String {
        let info = format!(
            "# Server\r\nredis_version:{version}\r\nmaxmemory_policy:{policy}\r\n{more}\r\n"
        );
        match check(&info, false, MIN_VERSION) {
            Ok(warning) => warning.unwrap_or_else(|| "good".to_owned()),
            Err(Rejection::Replica(why) | Rejection::Server(why)) => why,
        }
    }

    #[test]
    fn evicting_policy_rejected() {
        for policy in ["noeviction", "volatile-lru", "volatile-ttl"] {
            assert_eq!(verdict("7.0.15", policy, "role:master"), "good");
        }
        let said = verdict("7.0.15", "noeviction", "role:master\r\nmaxmemory:0");
        assert_eq!(said, "good", "memory without a limit");
        let said = verdict("7.0.15", "noeviction", "role:master\r\nmaxmemory:1000");
        assert!(said.contains("CONFIG SET maxmemory-policy volatile-lru"), "{said}");
        assert!(verdict("7.0.15", "", "role:master").contains("does not show"));
        let said = verdict("7.0.15", "volatile-ttl", "role:master\r\nmaxmemory:1000");
        assert_eq!(said, "good");
        let said = verdict("7.0.15", "allkeys-lru", "role:master");
        assert!(said.contains("CONFIG SET maxmemory-policy volatile-lru"), "{said}");
    }

    #[test]
    fn rejection_names_the_reason() {
        assert!(verdict("6.0.16", "noeviction", "").contains("6.2 or later"));
        assert_eq!(verdict("6.2.0", "noeviction", ""), "good");
        assert_eq!(verdict("10.1.0", "noeviction", ""), "good");
        let node = verdict("7.0.0", "noeviction", "cluster_enabled:1");
        assert!(node.contains("redis+cluster://"), "{node}");
        let alone = check("redis_version:7.0.0\r\ncluster_enabled:0", true, MIN_VERSION);
        assert!(matches!(alone, Err(Rejection::Server(why)) if why.contains("redis://")));
        let replica = "role:slave\r\nmaster_host:h\r\nmaster_port:6379";
        assert!(verdict("7.0.0", "noeviction", replica).contains("replica of h:6379"));
        assert!(check("", false, MIN_VERSION).is_err());
    }
}
