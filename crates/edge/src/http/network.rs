//! IP networks, as a configuration names them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// An IP network: all addresses with the same first bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

/// Text that is not a network.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum NetworkError {
    /// The address can't be parsed.
    #[error("is not an IP address or a network such as 10.0.0.0/8")]
    Address,
    /// The length of the prefix is not a number, or larger than the address.
    #[error("the prefix is not a number from 0 to {0}")]
    Prefix(u8),
    /// The address lies within a network that begins elsewhere.
    #[error("is an address within {0}; write the network, or the address alone")]
    HostBits(Network),
}

impl Network {
    /// Returns whether the network is the whole internet, of IPv4 or of IPv6.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.prefix == 0
    }

    /// Returns whether the network contains an address. An IPv4 address in IPv6 form is one of IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.prefix) == self.first
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => {
                let prefix = prefix.parse().ok().filter(|prefix| *prefix <= bits);
                prefix.ok_or(NetworkError::Prefix(bits))?
            }
        };
        // An IPv4 network in IPv6 form.
        let (address, prefix) = match address.to_canonical() {
            IpAddr::V4(v4) if bits == 128 && prefix >= 96 => (IpAddr::V4(v4), prefix - 96),
            _ => (address, prefix),
        };
        let network = Self { first: masked(address, prefix), prefix };
        if network.first == address { Ok(network) } else { Err(NetworkError::HostBits(network)) }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// The first address with the same first bits.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_contains_its_addresses() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "192.0.2.1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("::1", "::1", true),
        ] {
            let parsed: Network = network.parse().expect(network);
            assert_eq!(
                parsed.contains(address.parse().expect(address)),
                expected,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn malformed_network_rejected() {
        let error = |text: &str| text.parse::<Network>().expect_err(text).to_string();
        assert!(error("10.0.0.1/8").contains("10.0.0.0/8"), "{}", error("10.0.0.1/8"));
        for text in
            ["", "proxy.internal", "10.0.0/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1"]
        {
            error(text);
        }
    }
}
