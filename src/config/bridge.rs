//! The bridge of networks that allocations have for themselves.

use super::file::{Problem, SETTINGS};
use std::net::Ipv4Addr;

/// Longest name of an interface, bytes.
const NAME_BYTES_MAX: usize = 15;
/// Bits of the smallest range: with fewer addresses there is none beside the bridge's.
const BITS_MAX: u8 = 30;

/// The bridge of networks that allocations have for themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Name of the interface.
    pub name: String,
    /// Addresses of the bridge and of allocations: one of them, and how many bits all share, 1 to
    /// 30.
    pub subnet: (Ipv4Addr, u8),
    /// An allocation reaches itself through its port of the host.
    pub hairpin: bool,
}

impl Default for Bridge {
    fn default() -> Self {
        Self {
            name: "nomad".into(),
            subnet: (Ipv4Addr::new(172, 26, 64, 0), 20),
            hairpin: false,
        }
    }
}

/// The settings of the bridge as they are written.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenBridge {
    pub name: Option<String>,
    pub subnet: Option<String>,
    pub hairpin: Option<bool>,
}

impl WrittenBridge {
    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            name: other.name.or(self.name),
            subnet: other.subnet.or(self.subnet),
            hairpin: other.hairpin.or(self.hairpin),
        }
    }

    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> Bridge {
        let usual = Bridge::default();
        let mut wrong = |key: &str, found: &str, wanted: &str| {
            let message = format!("`client.{key}` is `{found}`; it must be {wanted}");
            problems.push(Problem::new(SETTINGS, message));
        };
        let name = self.name.clone().unwrap_or(usual.name);
        if !is_name(&name) {
            let wanted = "a name of at most 15 letters, digits, `-` and `_`";
            wrong("bridge_network_name", &name, wanted);
        }
        let subnet = self.subnet.as_ref().map(|text| {
            subnet(text).unwrap_or_else(|| {
                let wanted = "a range of IPv4 addresses of at most 30 bits, such as 172.26.64.0/20";
                wrong("bridge_network_subnet", text, wanted);
                usual.subnet
            })
        });
        Bridge {
            name,
            subnet: subnet.unwrap_or(usual.subnet),
            hairpin: self.hairpin.unwrap_or(usual.hairpin),
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(is_fine)
}

fn subnet(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let bits = bits
        .parse()
        .ok()
        .filter(|bits| (1..=BITS_MAX).contains(bits))?;
    Some((address.parse().ok()?, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_and_what_is_left_out_is_as_published() {
        let check = |name: Option<&str>, subnet: Option<&str>| {
            let mut problems = Vec::new();
            let written = WrittenBridge {
                name: name.map(str::to_owned),
                subnet: subnet.map(str::to_owned),
                hairpin: None,
            };
            (written.resolve(&mut problems), problems.len())
        };
        assert_eq!(check(None, None), (Bridge::default(), 0));
        let (own, problems) = check(Some("br-1"), Some("10.9.0.0/24"));
        assert_eq!((own.name.as_str(), problems), ("br-1", 0));
        assert_eq!(own.subnet, ([10, 9, 0, 0].into(), 24));
        for (name, subnet) in [
            ("", "10.0.0.0"),
            ("a/b", "10.0.0.0/31"),
            ("sixteen-letters-", "fd00::/64"),
            ("-a", "10.0.0.0/0"),
            ("a\"b", "10.0.0/8"),
        ] {
            assert_eq!(check(Some(name), Some(subnet)).1, 2, "{name} {subnet}");
        }
    }
}
