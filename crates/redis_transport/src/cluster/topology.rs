//! The primaries of the slots, merged from the reports of the nodes (`CLUSTER NODES`).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// The merged reports of one or several nodes.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Topology {
    ranges: Vec<SlotRange>,
    /// All nodes that can be asked, including replicas: `host:port`.
    pub(crate) nodes: BTreeSet<String>,
}

/// Slots of a primary.
#[derive(Debug, Eq, PartialEq)]
struct SlotRange {
    slots: RangeInclusive<u16>,
    /// Rises with each change that the cluster has agreed on.
    config_epoch: u64,
    node: String,
}

impl Topology {
    /// Merges the report of the node at `host`. Lines that can't be parsed are skipped. `by_name`: a node
    /// that announces a host name is addressed by it.
    pub(crate) fn merge(&mut self, report: &str, host: &str, by_name: bool) {
        for line in report.lines() {
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
            let Some(node) = host_and_port(address, host, by_name) else { continue };
            self.nodes.insert(node.clone());
            // The primary's id, ping, pong; then the configuration epoch and the link.
            let Some(config_epoch) = words.nth(3).and_then(|word| word.parse().ok()) else {
                continue;
            };
            if !flags.contains(&"master") {
                continue;
            }
            // Slots that are being moved are in brackets. They are still on their old node.
            for word in words.skip(1).filter(|word| !word.starts_with('[')) {
                let (first, last) = word.split_once('-').unwrap_or((word, word));
                if let (Ok(first), Ok(last)) = (first.parse(), last.parse()) {
                    let (slots, node) = (first..=last, node.clone());
                    self.ranges.push(SlotRange { slots, config_epoch, node });
                }
            }
        }
    }

    /// Returns the primary of a slot. If the reports disagree, because a node lags behind, the newest
    /// configuration wins.
    pub(crate) fn primary(&self, slot: u16) -> Option<&str> {
        let ranges = self.ranges.iter().filter(|range| range.slots.contains(&slot));
        ranges.max_by_key(|range| range.config_epoch).map(|range| range.node.as_str())
    }
}

/// Parses `10.0.0.1:6379@16379,name,…`. `asked`: the host of the node that reported it.
fn host_and_port(address: &str, asked: &str, by_name: bool) -> Option<String> {
    let mut parts = address.split(',');
    let (host, port) = parts.next()?.split('@').next()?.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let name = parts.next().filter(|name| by_name && !name.is_empty() && !name.contains('='));
    // A node that has never met another node does not know its own address.
    let host = name.or(Some(host).filter(|host| !host.is_empty())).unwrap_or(asked);
    Some(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REPORT: &str = "\
a1 127.0.0.1:7001@17001,shop-1 myself,master - 0 0 3 connected 0-99 [7->-b1] 200
b1 :7002@17002 master,fail? - 0 5 2 connected 100-199 [7-<-a1]
b2 ::1:7003@17003,,shard-id=x slave b1 0 5 2 connected
c1 :0@0 master,noaddr - 0 5 9 disconnected 0-16383
d1 127.0.0.1:7009@17009 handshake - 0 0 0 connected
rubbish
";

    #[test]
    fn newest_configuration_wins() {
        let mut topology = Topology::default();
        topology.merge(REPORT, "10.0.0.9", false);
        let nodes: Vec<_> = topology.nodes.iter().map(String::as_str).collect();
        assert_eq!(nodes, ["10.0.0.9:7002", "127.0.0.1:7001", "::1:7003"]);
        let served = [0, 7, 99, 100, 200, 201].map(|slot| topology.primary(slot));
        let (a, b) = (Some("127.0.0.1:7001"), Some("10.0.0.9:7002"));
        assert_eq!(served, [a, a, a, b, a, None]);
        // Another node has already learned of a failover.
        topology.merge("b2 ::1:7003@17003 master - 0 5 4 connected 100-199", "10.0.0.9", false);
        assert_eq!(topology.primary(100), Some("::1:7003"));
        assert_eq!(topology.primary(7), a);
    }

    #[test]
    fn announced_names_used_on_demand() {
        let mut topology = Topology::default();
        topology.merge(REPORT, "10.0.0.9", true);
        assert_eq!(topology.primary(0), Some("shop-1:7001"));
        assert_eq!(topology.primary(100), Some("10.0.0.9:7002"));
    }

    proptest! {
        #[test]
        fn malformed_report_never_panics(text in "[-a-z0-9,:@ \n\\[\\]<>=.]{0,200}") {
            let mut topology = Topology::default();
            topology.merge(&text, "h", true);
            let _ = topology.primary(0);
        }
    }
}
