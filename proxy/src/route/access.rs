//! Who may use a route, by address.

use std::fmt;
use std::net::IpAddr;

use super::problem::Fault;

/// The most blocks of one rule.
const BLOCKS_MAX: usize = 256;

/// Who may use a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    #[default]
    Open,
    /// Only addresses in one of these blocks.
    Allow(Vec<Block>),
    /// All addresses but those in one of these blocks.
    Deny(Vec<Block>),
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    address: IpAddr,
    bits: u8,
}

impl Access {
    /// Reads the value of `allow` or `deny`: `ip:ADDRESS[/BITS],…`.
    ///
    /// # Errors
    /// If any item is something else: a rule that says less than was meant would leave the route
    /// open.
    pub(super) fn parse(option: &'static str, value: &str) -> Result<Access, Fault> {
        let invalid = || Fault::InvalidOption {
            option,
            value: value.to_owned(),
            wanted: "addresses as `ip:10.0.0.0/8,ip:fe80::1`, at most 256",
        };
        let blocks: Option<Vec<Block>> = value
            .split(',')
            .map(|item| Block::parse(item.trim().strip_prefix("ip:")?))
            .collect();
        let blocks = blocks.filter(|blocks| blocks.len() <= BLOCKS_MAX);
        let blocks = blocks.ok_or_else(invalid)?;
        Ok(if option == "allow" {
            Access::Allow(blocks)
        } else {
            Access::Deny(blocks)
        })
    }

    /// Whether nobody is kept out.
    pub fn is_open(&self) -> bool {
        *self == Access::Open
    }

    /// Whether a client may use the route that comes from all of these addresses: its own, and
    /// those that proxies before us name.
    pub fn admits(&self, addresses: impl IntoIterator<Item = IpAddr>) -> bool {
        let is_in = |blocks: &[Block], address: IpAddr| blocks.iter().any(|b| b.has(address));
        let mut addresses = addresses.into_iter();
        match self {
            Access::Open => true,
            Access::Allow(blocks) => addresses.all(|address| is_in(blocks, address)),
            Access::Deny(blocks) => !addresses.any(|address| is_in(blocks, address)),
        }
    }
}

impl Block {
    /// Reads `ADDRESS` or `ADDRESS/BITS`.
    pub fn parse(text: &str) -> Option<Block> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().ok()?;
        let most = if written.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most {
            return None;
        }
        // An IPv4 address in IPv6 form is the IPv4 address.
        let address = written.to_canonical();
        let bits = if address.is_ipv4() && written.is_ipv6() {
            bits.checked_sub(96)?
        } else {
            bits
        };
        Some(Block { address, bits })
    }

    /// Whether an address is one of these.
    pub fn has(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                let bits = |address: u32| address.checked_shr(shift);
                bits(own.to_bits()) == bits(other.to_bits())
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.bits);
                let bits = |address: u128| address.checked_shr(shift);
                bits(own.to_bits()) == bits(other.to_bits())
            }
            _ => false,
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Access, Block};

    #[test]
    fn blocks_hold_what_begins_alike() {
        for (block, address, is_in) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("fe80::/10", "fe80::1", true),
            ("fe80::/10", "fec0::1", false),
            ("::/0", "2001:db8::1", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.1.1.1", true),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let block = Block::parse(block).unwrap();
            assert_eq!(block.has(address), is_in, "{block} {address}");
        }
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "x",
            "::/129",
            "1.2.3.4/",
            "/8",
        ] {
            assert_eq!(Block::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_address_counts() {
        let admits = |rule: &Access, addresses: &[&str]| {
            rule.admits(addresses.iter().map(|address| address.parse().unwrap()))
        };
        let allow = Access::parse("allow", "ip:10.0.0.0/8, ip:::1").unwrap();
        assert!(admits(&allow, &["10.1.1.1", "::1"]));
        assert!(!admits(&allow, &["10.1.1.1", "1.2.3.4"]));
        let deny = Access::parse("deny", "ip:10.0.0.0/8").unwrap();
        assert!(admits(&deny, &["1.2.3.4"]));
        assert!(!admits(&deny, &["1.2.3.4", "10.1.1.1"]));
        for wrong in ["", "10.0.0.0/8", "ip:", "ip:10.0.0.0/8,host:x", "ip:x"] {
            assert!(Access::parse("allow", wrong).is_err(), "{wrong}");
        }
    }
}
