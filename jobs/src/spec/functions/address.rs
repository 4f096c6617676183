use super::{CallError, Result, failed, text_at, whole_at};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bits by which one call may lengthen a prefix.
const LONGER_BY_MAX: i64 = 32;

/// A range of addresses: those that share the first bits of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    /// The first address; the bits behind the prefix are 0.
    first: u128,
    prefix: u32,
    /// Bits of an address: 32 or 128.
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Result<Self> {
        let invalid = || {
            failed(format!(
                "invalid CIDR expression: invalid CIDR address: {text}"
            ))
        };
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let prefix = Some(prefix)
            .filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse::<u32>().ok())
            .ok_or_else(invalid)?;
        let (first, prefix, bits) = match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), prefix, 32),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                // The old addresses in the clothes of the new ones are the old ones.
                Some(address) if prefix >= 96 => (u128::from(address.to_bits()), prefix - 96, 32),
                _ => (address.to_bits(), prefix, 128),
            },
        };
        if prefix > bits {
            return Err(invalid());
        }
        let mut network = Self {
            first,
            prefix,
            bits,
        };
        network.first &= !network.rest();
        Ok(network)
    }

    /// The bits behind the prefix, all 1.
    fn rest(self) -> u128 {
        ones(self.bits - self.prefix)
    }

    fn last(self) -> u128 {
        self.first | self.rest()
    }

    fn show(self, address: u128) -> String {
        if self.bits == 32 {
            Ipv4Addr::from_bits(address as u32).to_string()
        } else {
            Ipv6Addr::from_bits(address).to_string()
        }
    }

    fn text(self) -> String {
        format!("{}/{}", self.show(self.first), self.prefix)
    }
}

/// A number with that many bits, all 1.
fn ones(count: u32) -> u128 {
    1_u128.checked_shl(count).map_or(u128::MAX, |bit| bit - 1)
}

/// The address with a number in a range; negative numbers count from the end.
pub(super) fn cidrhost(args: &[Value]) -> Result {
    let (network, number) = (Network::parse(&text_at(args, 0)?)?, whole_at(args, 1)?);
    let from_end = u128::from(number.unsigned_abs()).saturating_sub(u128::from(number < 0));
    if from_end > network.rest() {
        return Err(failed(format!(
            "prefix of {} does not accommodate a host numbered {number}",
            network.prefix
        )));
    }
    let offset = if number < 0 {
        network.rest() - from_end
    } else {
        from_end
    };
    Ok(network.show(network.first | offset).into())
}

pub(super) fn cidrnetmask(args: &[Value]) -> Result {
    let network = Network::parse(&text_at(args, 0)?)?;
    let mask = ones(network.bits) & !network.rest();
    Ok(network.show(mask).into())
}

/// The range with a number among those that are longer by some bits.
pub(super) fn cidrsubnet(args: &[Value]) -> Result {
    let network = Network::parse(&text_at(args, 0)?)?;
    let (longer, number) = (whole_at(args, 1)?, whole_at(args, 2)?);
    if longer > LONGER_BY_MAX {
        return Err(failed(format!(
            "may not extend prefix by more than {LONGER_BY_MAX} bits"
        )));
    }
    let prefix = u32::try_from(longer)
        .ok()
        .map(|longer| network.prefix + longer)
        .filter(|prefix| *prefix <= network.bits)
        .ok_or_else(|| {
            failed(format!(
                "insufficient address space to extend prefix of {} by {longer}",
                network.prefix
            ))
        })?;
    let place = u128::try_from(number)
        .ok()
        .filter(|number| *number <= ones(prefix - network.prefix))
        .ok_or_else(|| {
            failed(format!(
                "prefix extension of {longer} does not accommodate a subnet numbered {number}"
            ))
        })?;
    let shift = network.bits - prefix;
    let subnet = Network {
        first: network.first | place.checked_shl(shift).unwrap_or(0),
        prefix,
        ..network
    };
    Ok(subnet.text().into())
}

/// One range after the other inside of another, each longer by the bits that are asked.
pub(super) fn cidrsubnets(args: &[Value]) -> Result {
    let network = Network::parse(&text_at(args, 0)?)?;
    let mut next = Some(network.first);
    let mut before = String::new();
    let mut all = Vec::new();
    for at in 1..args.len() {
        let longer = whole_at(args, at)?;
        let refuse = |detail: String| Err(CallError::Argument(at, detail));
        if longer < 1 {
            return refuse("must extend prefix by at least one bit".into());
        }
        if longer > LONGER_BY_MAX {
            return refuse(format!(
                "may not extend prefix by more than {LONGER_BY_MAX} bits"
            ));
        }
        let prefix = network.prefix + u32::try_from(longer).unwrap_or(0);
        if prefix > network.bits {
            let protocol = if network.bits == 32 { "IPv4" } else { "IPv6" };
            return refuse(format!(
                "would extend prefix to {prefix} bits, which is too long for an {protocol} address"
            ));
        }
        let mut subnet = Network { prefix, ..network };
        // The first address that is free and begins such a range.
        let first = next.and_then(|free| {
            let aligned = free.checked_add(subnet.rest())? & !subnet.rest();
            (aligned <= network.last()).then_some(aligned)
        });
        let Some(first) = first else {
            return refuse(format!(
                "not enough remaining address space for a subnet with a prefix of {prefix} bits after {before}"
            ));
        };
        subnet.first = first;
        next = subnet.last().checked_add(1);
        before = subnet.text();
        all.push(before.clone().into());
    }
    Ok(Value::Array(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(result: Result) -> String {
        match result {
            Ok(Value::String(text)) => text,
            Ok(other) => other.to_string(),
            Err(CallError::Failed(detail) | CallError::Argument(_, detail)) => detail,
            Err(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn hosts_are_counted_from_both_ends() {
        let host = |prefix: &str, number: i64| text(cidrhost(&[prefix.into(), number.into()]));
        assert_eq!(host("10.12.0.0/20", 16), "10.12.0.16");
        assert_eq!(host("10.12.9.9/20", -1), "10.12.15.255");
        assert_eq!(host("10.12.0.0/30", -4), "10.12.0.0");
        assert_eq!(host("fd00::/64", 300), "fd00::12c");
        assert_eq!(
            host("10.12.0.0/30", 4),
            "prefix of 30 does not accommodate a host numbered 4"
        );
        assert_eq!(
            host("10.12.0.0/33", 1),
            "invalid CIDR expression: invalid CIDR address: 10.12.0.0/33"
        );
        assert_eq!(text(cidrnetmask(&["172.16.0.0/12".into()])), "255.240.0.0");
        assert_eq!(text(cidrnetmask(&["0.0.0.0/0".into()])), "0.0.0.0");
        assert_eq!(text(cidrnetmask(&["fd00::/48".into()])), "ffff:ffff:ffff::");
    }

    #[test]
    fn ranges_are_parted() {
        let subnet = |prefix: &str, longer: i64, number: i64| {
            text(cidrsubnet(&[prefix.into(), longer.into(), number.into()]))
        };
        assert_eq!(subnet("172.16.0.0/12", 4, 2), "172.18.0.0/16");
        assert_eq!(subnet("fd00:1::/56", 8, 162), "fd00:1:0:a2::/64");
        assert_eq!(subnet("::ffff:10.1.0.0/112", 8, 6), "10.1.6.0/24");
        assert_eq!(
            subnet("10.0.0.0/30", 2, 4),
            "prefix extension of 2 does not accommodate a subnet numbered 4"
        );
        let subnets = |prefix: &str, longer: &[i64]| {
            let mut args = vec![Value::from(prefix)];
            args.extend(longer.iter().map(|bits| json!(bits)));
            text(cidrsubnets(&args))
        };
        assert_eq!(
            subnets("10.1.0.0/16", &[4, 4, 8, 4]),
            r#"["10.1.0.0/20","10.1.16.0/20","10.1.32.0/24","10.1.48.0/20"]"#
        );
        assert_eq!(
            subnets("255.255.255.0/24", &[1, 1, 1]),
            "not enough remaining address space for a subnet with a prefix of 25 bits after 255.255.255.128/25"
        );
        assert_eq!(
            subnets("10.1.0.0/16", &[0]),
            "must extend prefix by at least one bit"
        );
    }
}
