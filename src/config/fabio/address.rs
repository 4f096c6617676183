//! Addresses that a setting leaves to the machine: `{{ GetPrivateIP }}:9999`.

use super::super::addresses::interfaces;
use std::net::{IpAddr, Ipv4Addr};

/// A text with its templates filled in.
///
/// # Errors
/// Why one of them cannot be.
pub(super) fn filled(text: &str) -> Result<String, String> {
    filled_by(text, &mut own_addresses)
}

fn filled_by(
    text: &str,
    addresses: &mut impl FnMut() -> Vec<(String, IpAddr)>,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (template, tail) = after
            .split_once("}}")
            .ok_or_else(|| format!("a `{{{{` is not closed in `{text}`"))?;
        rest = tail;
        let template = template.trim().trim_matches('-').trim();
        let found = address(template, &addresses())?;
        out.push_str(&found.to_string());
    }
    out.push_str(rest);
    Ok(out)
}

fn address(template: &str, addresses: &[(String, IpAddr)]) -> Result<IpAddr, String> {
    let mut all = addresses.iter().map(|(_, address)| *address);
    let (function, argument) = template.split_once(' ').unwrap_or((template, ""));
    let name = argument.trim().trim_matches(['"', '`']);
    let found = match function {
        "GetPrivateIP" if argument.is_empty() => all.find(is_private),
        "GetPublicIP" if argument.is_empty() => all.find(|ip| is_global(ip) && !is_private(ip)),
        "GetInterfaceIP" if !name.is_empty() => addresses
            .iter()
            .find(|(interface, _)| interface == name)
            .map(|(_, address)| *address),
        _ => {
            return Err(format!(
                "the template `{template}` is not known; there are `GetPrivateIP`, `GetPublicIP` and \
                 `GetInterfaceIP \"NAME\"`"
            ));
        }
    };
    found.ok_or_else(|| format!("this machine has no address for the template `{template}`"))
}

fn is_private(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            // The range of carriers counts too.
            let [first, second, ..] = ip.octets();
            ip.is_private() || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

fn is_global(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    }
}

/// The address by which this machine is known unless somebody says another: the first that others
/// can reach.
pub(super) fn outward() -> IpAddr {
    let all = own_addresses();
    let mut all = all.iter().map(|(_, address)| *address);
    let found = all.find(is_global);
    found.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Addresses of the interfaces with their names, those of version 4 first.
fn own_addresses() -> Vec<(String, IpAddr)> {
    let all = interfaces().into_iter();
    let mut found: Vec<(String, IpAddr)> = all.map(|own| (own.name, own.address)).collect();
    found.sort_by_key(|(_, address)| address.is_ipv6());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_with_addresses_of_the_machine() {
        let mut own = || {
            let own = |name: &str, ip: &str| (name.to_owned(), ip.parse().unwrap());
            vec![
                own("lo", "127.0.0.1"),
                own("eth0", "203.0.113.7"),
                own("eth1", "10.1.2.3"),
            ]
        };
        for (text, expected) in [
            (":9999", ":9999"),
            ("{{ GetPrivateIP }}:9999", "10.1.2.3:9999"),
            (
                "{{GetPublicIP}}:1,{{ GetPrivateIP }}:2",
                "203.0.113.7:1,10.1.2.3:2",
            ),
            ("{{ GetInterfaceIP \"eth1\" }}", "10.1.2.3"),
        ] {
            assert_eq!(filled_by(text, &mut own).as_deref(), Ok(expected), "{text}");
        }
        for (text, part) in [
            ("{{ GetPrivateIP", "not closed"),
            ("{{ GetAllInterfaces | sort }}", "is not known"),
            ("{{ GetInterfaceIP \"eth9\" }}", "has no address"),
        ] {
            let refused = filled_by(text, &mut own).unwrap_err();
            assert!(refused.contains(part), "{refused}");
        }
    }
}
