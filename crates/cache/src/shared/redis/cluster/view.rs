//! Who serves which slots, as the nodes of a cluster say it (`CLUSTER NODES`).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// What one or several nodes say.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct View {
    claims: Vec<Claim>,
    /// Every node that can be asked, replicas too: `host:port`.
    pub(super) nodes: BTreeSet<String>,
}

/// A primary's slots.
#[derive(Debug, Eq, PartialEq)]
struct Claim {
    slots: RangeInclusive<u16>,
    /// Rises with each change that the cluster agreed on.
    config_epoch: u64,
    node: String,
}

impl View {
    /// Adds what the node at `asked` (its host) says. Lines of foreign making are passed by.
    /// `by_name`: nodes that announce a host name are called by it.
    pub(super) fn add(&mut self, told: &str, asked: &str, by_name: bool) {
        for line in told.lines() {
            let mut words = line.split(' ');
            let (Some(_id), Some(address), Some(flags)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let flags: Vec<&str> = flags.split(',').collect();
            if ["noaddr", "handshake"].iter().any(|flag| flags.contains(flag)) {
                continue;
            }
            let Some(node) = host_and_port(address, asked, by_name) else { continue };
            self.nodes.insert(node.clone());
            // The primary's id, ping, pong; then its configuration's number and the link.
            let Some(config_epoch) = words.nth(3).and_then(|word| word.parse().ok()) else {
                continue;
            };
            if !flags.contains(&"master") {
                continue;
            }
            // Slots on their way in or out are in brackets: they are where they were.
            for word in words.skip(1).filter(|word| !word.starts_with('[')) {
                let (first, last) = word.split_once('-').unwrap_or((word, word));
                if let (Ok(first), Ok(last)) = (first.parse(), last.parse()) {
                    let (slots, node) = (first..=last, node.clone());
                    self.claims.push(Claim { slots, config_epoch, node });
                }
            }
        }
    }

    /// Who serves the slot: of several that are named, by nodes of which one has not heard the latest,
    /// the one whose configuration is the newest.
    pub(super) fn primary(&self, slot: u16) -> Option<&str> {
        let claims = self.claims.iter().filter(|claim| claim.slots.contains(&slot));
        claims.max_by_key(|claim| claim.config_epoch).map(|claim| claim.node.as_str())
    }
}

/// From `10.0.0.1:6379@16379,name,…`.
fn host_and_port(address: &str, asked: &str, by_name: bool) -> Option<String> {
    let mut parts = address.split(',');
    let (host, port) = parts.next()?.split('@').next()?.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let name = parts.next().filter(|name| by_name && !name.is_empty() && !name.contains('='));
    // A node that never met another one does not know its own address.
    let host = name.or(Some(host).filter(|host| !host.is_empty())).unwrap_or(asked);
    Some(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOLD: &str = "\
a1 127.0.0.1:7001@17001,shop-1 myself,master - 0 0 3 connected 0-99 [7->-b1] 200
b1 :7002@17002 master,fail? - 0 5 2 connected 100-199 [7-<-a1]
b2 ::1:7003@17003,,shard-id=x slave b1 0 5 2 connected
c1 :0@0 master,noaddr - 0 5 9 disconnected 0-16383
d1 127.0.0.1:7009@17009 handshake - 0 0 0 connected
rubbish
";

    #[test]
    fn slots_are_where_the_newest_configuration_has_them() {
        let mut view = View::default();
        view.add(TOLD, "10.0.0.9", false);
        let nodes: Vec<_> = view.nodes.iter().map(String::as_str).collect();
        assert_eq!(nodes, ["10.0.0.9:7002", "127.0.0.1:7001", "::1:7003"]);
        let served = [0, 7, 99, 100, 200, 201].map(|slot| view.primary(slot));
        let (a, b) = (Some("127.0.0.1:7001"), Some("10.0.0.9:7002"));
        assert_eq!(served, [a, a, a, b, a, None]);
        // Another node has heard of a failover already.
        view.add("b2 ::1:7003@17003 master - 0 5 4 connected 100-199", "10.0.0.9", false);
        assert_eq!(view.primary(100), Some("::1:7003"));
        assert_eq!(view.primary(7), a);
    }

    #[test]
    fn names_are_used_where_they_are_announced_and_wanted() {
        let mut view = View::default();
        view.add(TOLD, "10.0.0.9", true);
        assert_eq!(view.primary(0), Some("shop-1:7001"));
        assert_eq!(view.primary(100), Some("10.0.0.9:7002"));
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(text in "[-a-z0-9,:@ \n\\[\\]<>=.]{0,200}") {
            let mut view = View::default();
            view.add(&text, "h", true);
            let _ = view.primary(0);
        }
    }
}
