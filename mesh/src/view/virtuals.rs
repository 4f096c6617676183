//! Addresses that stand for services.
//!
//! A number is never given twice, so that nobody who remembers an address reaches another service.

use std::net::Ipv4Addr;

use imbl::OrdMap;

use crate::model::ServiceName;

/// First of the addresses; it stands for none.
const FIRST: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 0);
/// Most numbers: all addresses that start with 240 to 255, the broadcast address aside.
pub(crate) const NUMBERS_MAX: u32 = (1 << 28) - 2;

/// Numbers by service, from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Virtuals {
    rows: OrdMap<ServiceName, u32>,
    /// The last number that was given.
    pub(crate) last: u32,
}

impl Virtuals {
    pub(crate) fn number(&self, service: &str) -> Option<u32> {
        self.rows.get(service).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ServiceName, u32)> {
        self.rows.iter().map(|(service, number)| (service, *number))
    }

    pub(crate) fn put(&mut self, service: ServiceName, number: u32) {
        self.last = self.last.max(number);
        self.rows.insert(service, number);
    }

    pub(crate) fn remove(&mut self, service: &str) -> Option<u32> {
        self.rows.remove(service)
    }
}

/// The address with a number.
pub(crate) fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST.to_bits() + number.min(NUMBERS_MAX))
}
