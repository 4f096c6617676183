//! Which address an allocation gets. Pure.

use std::{collections::BTreeSet, net::Ipv4Addr};

/// A range of addresses, of which the first is the bridge's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    first: u32,
    bits: u8,
}

impl Subnet {
    /// The range that holds `address`; `bits` of it are the same for all, at most 30.
    pub(super) fn new(address: Ipv4Addr, bits: u8) -> Self {
        let bits = bits.min(30);
        let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        Self {
            first: address.to_bits() & mask,
            bits,
        }
    }

    /// The bridge's address.
    pub(super) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first + 1)
    }

    /// `ADDRESS/BITS` of one of its addresses.
    pub(super) fn with(self, address: Ipv4Addr) -> String {
        format!("{address}/{}", self.bits)
    }

    fn last(self) -> u32 {
        self.first | (u32::MAX >> self.bits)
    }

    /// The next address after `last` that is nobody's; those that were given back come again as
    /// late as possible. None when all are taken.
    pub(super) fn free(
        self,
        taken: &BTreeSet<Ipv4Addr>,
        last: Option<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        let (low, high) = (self.first + 2, self.last() - 1);
        let last = last.map_or(low - 1, Ipv4Addr::to_bits).clamp(low - 1, high);
        let mut turn = (last + 1..=high).chain(low..=last);
        turn.find_map(|number| {
            let address = Ipv4Addr::from_bits(number);
            (!taken.contains(&address)).then_some(address)
        })
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.first), self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_round_and_those_in_use_are_left_out() {
        let subnet = Subnet::new([10, 1, 2, 9].into(), 29);
        assert_eq!(subnet.to_string(), "10.1.2.8/29");
        assert_eq!(subnet.with(subnet.gateway()), "10.1.2.9/29");
        let mut taken = BTreeSet::new();
        let mut last = None;
        for expected in 10..=14 {
            last = subnet.free(&taken, last);
            assert_eq!(last, Some([10, 1, 2, expected].into()));
            taken.extend(last);
        }
        assert_eq!(subnet.free(&taken, last), None);
        taken.remove(&[10, 1, 2, 11].into());
        assert_eq!(subnet.free(&taken, last), Some([10, 1, 2, 11].into()));
        // Whatever was written down before the range was another one.
        let elsewhere = Some([192, 0, 2, 1].into());
        assert_eq!(
            subnet.free(&BTreeSet::new(), elsewhere),
            Some([10, 1, 2, 10].into())
        );
    }

    #[test]
    fn the_largest_and_the_smallest_range_have_their_edges() {
        let all = Subnet::new([10, 0, 0, 0].into(), 0);
        assert_eq!(all.gateway(), Ipv4Addr::new(0, 0, 0, 1));
        let smallest = Subnet::new([10, 0, 0, 7].into(), 32);
        assert_eq!(smallest.to_string(), "10.0.0.4/30");
        let one = smallest.free(&BTreeSet::new(), None);
        assert_eq!(one, Some([10, 0, 0, 6].into()));
        assert_eq!(smallest.free(&one.into_iter().collect(), None), None);
    }
}
