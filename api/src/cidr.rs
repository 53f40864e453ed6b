use std::{net::IpAddr, str::FromStr};

use crate::invalid::Invalid;

/// A network: an address and a prefix length ([RFC 4632](https://www.rfc-editor.org/rfc/rfc4632)), such as `10.20.0.0/16`. The
/// other bits are ignored. IPv4-mapped IPv6 (`::ffff:10.20.0.0/112`) is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    length: u32,
}

impl Cidr {
    pub const ALLOWED: &str = "a network such as 10.20.0.0/16";

    pub fn contains(&self, address: IpAddr) -> bool {
        self.overlaps(&Self { address, length: bits(address).1 })
    }

    /// Whether the networks have a common address, so that one contains the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        let ((mine, width), (theirs, their_width)) = (bits(self.address), bits(other.address));
        let length = self.length.min(other.length);
        width == their_width && (length == 0 || mine >> (width - length) == theirs >> (width - length))
    }

    /// Whether it is one address.
    pub fn is_single(&self) -> bool {
        self.length == bits(self.address).1
    }
}

/// An address as a number, and its number of bits.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

impl FromStr for Cidr {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parse = |text: &str| {
            let (address, length) = text.split_once('/')?;
            let (address, length) = (address.parse::<IpAddr>().ok()?, length.parse::<u32>().ok()?);
            match address {
                _ if length > bits(address).1 => None,
                IpAddr::V6(v6) if length >= 96 && v6.to_ipv4_mapped().is_some() => {
                    Some(Self { address: address.to_canonical(), length: length - 96 })
                }
                _ => Some(Self { address, length }),
            }
        };
        parse(text).ok_or_else(|| Invalid::text(text, Self::ALLOWED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_the_addresses_that_begin_as_it_does() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for (network, inside) in [
            ("10.20.0.0/16", "10.20.255.1"),
            ("10.20.30.40/16", "10.20.0.0"),
            ("0.0.0.0/0", "255.1.2.3"),
            ("::/0", "fe80::1"),
            ("fd00:ec2::/32", "fd00:ec2::254"),
            ("169.254.169.254/32", "169.254.169.254"),
            ("::ffff:169.254.0.0/112", "169.254.169.254"),
        ] {
            assert!(cidr(network).contains(address(inside)), "{network} {inside}");
        }
        for (network, outside) in [("10.20.0.0/16", "10.21.0.0"), ("0.0.0.0/0", "::1"), ("::/0", "10.0.0.1")] {
            assert!(!cidr(network).contains(address(outside)), "{network} {outside}");
        }
    }

    #[test]
    fn two_networks_overlap_when_one_is_in_the_other() {
        assert!(cidr("169.254.0.0/16").overlaps(&cidr("168.0.0.0/6")));
        assert!(cidr("168.0.0.0/6").overlaps(&cidr("169.254.0.0/16")));
        assert!(!cidr("169.253.0.0/16").overlaps(&cidr("169.254.0.0/16")));
    }

    #[test]
    fn what_is_no_network_does_not_parse() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0/8", "x/8", "10.0.0.0/", "10.0.0.0/-1", "/8"] {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
    }
}
