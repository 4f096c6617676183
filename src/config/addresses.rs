//! Addresses of the machine in settings: written out, or found by a template such as
//! `{{ GetInterfaceIP "eth0" }}`.
//!
//! The language is that of go-sockaddr: sources (`GetPrivateInterfaces`) and filters (`include`,
//! `sort`, `attr`) between bars. What a template finds depends on the interfaces alone, which are
//! an argument.

use super::Problem;
use super::file::SETTINGS;
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};
use std::{
    cmp::Ordering,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
};

/// Networks of which no address is reached from everywhere (RFC 6890).
const RFC_6890: [&str; 15] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "fc00::/7",
    "fe80::/10",
];
/// Private networks (RFC 1918).
const RFC_1918: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
/// Most stages of a template.
const STAGES_MAX: usize = 16;

/// An address and the bits of it that count.
pub(super) type Range = (IpAddr, u8);

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub name: String,
    pub address: IpAddr,
    /// Bits of the network that it is in.
    pub bits: u8,
    pub is_up: bool,
    pub is_loopback: bool,
    /// Whether the default route leaves from it.
    pub is_default: bool,
}

impl Interface {
    /// Whether others could be told of it.
    fn is_forwardable(&self) -> bool {
        let is_local = match self.address {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        !(self.is_loopback || is_local || self.address.is_multicast())
    }
}

/// The address that a setting says, found where it is a template.
pub(super) fn address(name: &str, text: &str, problems: &mut Vec<Problem>) -> Option<IpAddr> {
    let filled = filled(name, text, problems)?;
    let found = filled.trim().parse().ok();
    if found.is_none() {
        let message = format!("`{name}` is `{text}`, which is no IP address");
        problems.push(Problem::new(SETTINGS, message));
    }
    found
}

/// A setting with the address that its template finds, if it is one; a port may stand behind it.
pub(super) fn filled(name: &str, text: &str, problems: &mut Vec<Problem>) -> Option<String> {
    if !text.contains("}}") {
        return Some(text.to_owned());
    }
    filled_on(text, &interfaces())
        .inspect_err(|reason| {
            let message = format!("`{name}` is `{text}`: {reason}");
            problems.push(Problem::new(SETTINGS, message));
        })
        .ok()
}

/// As [`filled`], on a machine with these interfaces.
///
/// # Errors
/// What is wrong with the template, or that it does not find one address.
pub(super) fn filled_on(text: &str, interfaces: &[Interface]) -> Result<String, String> {
    let Some((template, rest)) = text.split_once("}}") else {
        return Ok(text.to_owned());
    };
    let found = evaluated(&format!("{template}}}}}"), interfaces)?;
    match found.as_slice() {
        [] => Err("no address of this machine is like that".to_owned()),
        [one] if one.contains(':') && !rest.is_empty() => Ok(format!("[{one}]{rest}")),
        [one] => Ok(format!("{one}{rest}")),
        several => Err(format!(
            "several addresses of this machine are like that: {}",
            several.join(", ")
        )),
    }
}

/// The words that a template stands for.
fn evaluated(text: &str, interfaces: &[Interface]) -> Result<Vec<String>, String> {
    let inner = text.trim().strip_prefix("{{");
    let inner = inner.and_then(|text| text.strip_suffix("}}"));
    let inner = inner.filter(|text| !text.contains("{{") && !text.contains("}}"));
    let inner = inner.ok_or("one template in `{{ }}` is expected, and nothing beside it")?;
    let mut stages = stages(inner.trim_matches('-'))?.into_iter();
    let first = stages.next().ok_or("the template is empty")?;
    let mut found = source(&first, interfaces)?;
    for stage in stages {
        found = filtered(&stage, found)?;
    }
    Ok(match found {
        Found::Interfaces(all) => addresses(&all),
        Found::Words(words) => words,
    })
}

/// What the stages so far have found.
enum Found {
    Interfaces(Vec<Interface>),
    Words(Vec<String>),
}

fn addresses(interfaces: &[Interface]) -> Vec<String> {
    let all = interfaces.iter();
    all.map(|interface| interface.address.to_string()).collect()
}

/// Words between spaces, or in quotes, of each stage between bars.
fn stages(text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut stages = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in text.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '"' | '`' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '|') => {
                if let (Some(stage), Some(word)) = (stages.last_mut(), word.take()) {
                    stage.push(word);
                }
                stages.push(Vec::new());
            }
            (None, space) if space.is_whitespace() => {
                if let (Some(stage), Some(word)) = (stages.last_mut(), word.take()) {
                    stage.push(word);
                }
            }
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    if let (Some(stage), Some(word)) = (stages.last_mut(), word) {
        stage.push(word);
    }
    if stages.iter().any(Vec::is_empty) || stages.len() > STAGES_MAX {
        return Err(format!(
            "between bars stands one function, and there are {STAGES_MAX} of them at most"
        ));
    }
    Ok(stages)
}

fn source(stage: &[String], interfaces: &[Interface]) -> Result<Found, String> {
    let words: Vec<&str> = stage.iter().map(String::as_str).collect();
    let reachable = || {
        let all = interfaces.iter();
        let mut fine: Vec<Interface> = all
            .filter(|one| one.is_up && one.is_forwardable())
            .cloned()
            .collect();
        fine.sort_by(usual_order);
        fine
    };
    let of_rfc = |is_private: bool| {
        let mut fine = reachable();
        fine.retain(|one| is_in(&RFC_6890, one.address) == is_private);
        fine
    };
    let named = |name: &str| {
        let all = interfaces.iter();
        let own: Vec<Interface> = all.filter(|one| one.name == name).cloned().collect();
        if own.is_empty() {
            return Err(format!("there is no interface `{name}` with an address"));
        }
        Ok(addresses(&own))
    };
    let first = |words: Vec<String>| words.into_iter().take(1).collect();
    let joined = |words: Vec<String>| vec![words.join(" ")];
    Ok(match words.as_slice() {
        ["GetAllInterfaces"] => Found::Interfaces(interfaces.to_vec()),
        ["GetDefaultInterfaces"] => {
            let mut all = interfaces.to_vec();
            all.retain(|one| one.is_default);
            Found::Interfaces(all)
        }
        ["GetPrivateInterfaces"] => Found::Interfaces(of_rfc(true)),
        ["GetPublicInterfaces"] => Found::Interfaces(of_rfc(false)),
        ["GetPrivateIP"] => Found::Words(first(addresses(&of_rfc(true)))),
        ["GetPublicIP"] => Found::Words(first(addresses(&of_rfc(false)))),
        ["GetPrivateIPs"] => Found::Words(joined(addresses(&of_rfc(true)))),
        ["GetPublicIPs"] => Found::Words(joined(addresses(&of_rfc(false)))),
        ["GetInterfaceIP", name] => Found::Words(first(named(name)?)),
        ["GetInterfaceIPs", name] => Found::Words(joined(named(name)?)),
        _ => {
            return Err(format!(
                "`{}` is no source of addresses; there are GetPrivateIP, GetPublicIP, GetInterfaceIP \"NAME\", GetAllInterfaces, GetDefaultInterfaces, GetPrivateInterfaces and GetPublicInterfaces",
                words.join(" ")
            ));
        }
    })
}

fn filtered(stage: &[String], found: Found) -> Result<Found, String> {
    let words: Vec<&str> = stage.iter().map(String::as_str).collect();
    let Found::Interfaces(mut all) = found else {
        return Err(format!(
            "`{}` stands behind what are addresses already",
            words.join(" ")
        ));
    };
    match words.as_slice() {
        ["include", by, value] => {
            let takes = chosen(by, value)?;
            all.retain(takes);
        }
        ["exclude", by, value] => {
            let takes = chosen(by, value)?;
            all.retain(|one| !takes(one));
        }
        ["sort", keys] => sort(&mut all, keys)?,
        ["limit", count] => all.truncate(count.parse().map_err(|_| "`limit` takes a number")?),
        ["offset", count] => {
            let count: usize = count.parse().map_err(|_| "`offset` takes a number")?;
            all.drain(..count.min(all.len()));
        }
        ["attr", what] => {
            return Ok(Found::Words(
                attributes(what, &all)?.into_iter().take(1).collect(),
            ));
        }
        ["join", what, separator] => {
            return Ok(Found::Words(vec![attributes(what, &all)?.join(separator)]));
        }
        _ => {
            return Err(format!(
                "`{}` is no filter; there are include, exclude, sort, limit, offset, attr and join",
                words.join(" ")
            ));
        }
    }
    Ok(Found::Interfaces(all))
}

fn attributes(what: &str, all: &[Interface]) -> Result<Vec<String>, String> {
    match what {
        "address" => Ok(addresses(all)),
        "name" => Ok(all.iter().map(|one| one.name.clone()).collect()),
        _ => Err(format!(
            "`{what}` is no attribute; there are address and name"
        )),
    }
}

/// Whether an interface is among those that are meant.
type Takes = Box<dyn Fn(&Interface) -> bool>;

/// Which interfaces `include` takes.
fn chosen(by: &str, value: &str) -> Result<Takes, String> {
    Ok(match by.to_ascii_lowercase().as_str() {
        "name" => {
            let pattern =
                regex::Regex::new(value).map_err(|_| format!("`{value}` is no pattern"))?;
            Box::new(move |one| pattern.is_match(&one.name))
        }
        "address" => {
            let pattern =
                regex::Regex::new(value).map_err(|_| format!("`{value}` is no pattern"))?;
            Box::new(move |one| pattern.is_match(&one.address.to_string()))
        }
        "network" => {
            let network = network(value).ok_or_else(|| format!("`{value}` is no network"))?;
            Box::new(move |one| contains(network, one.address))
        }
        "type" => {
            let (four, six) = match value.to_ascii_lowercase().as_str() {
                "ip" => (true, true),
                "ipv4" => (true, false),
                "ipv6" => (false, true),
                _ => return Err(format!("`{value}` is no type; there are ip, ipv4 and ipv6")),
            };
            Box::new(move |one| if one.address.is_ipv4() { four } else { six })
        }
        "flags" => {
            let known = ["up", "loopback", "forwardable"];
            let flags: Vec<String> = value
                .split('|')
                .map(|flag| flag.trim().to_owned())
                .collect();
            if let Some(other) = flags.iter().find(|flag| !known.contains(&flag.as_str())) {
                let known = known.join(", ");
                return Err(format!("`{other}` is no flag; there are {known}"));
            }
            Box::new(move |one| {
                flags.iter().all(|flag| match flag.as_str() {
                    "up" => one.is_up,
                    "loopback" => one.is_loopback,
                    _ => one.is_forwardable(),
                })
            })
        }
        "rfc" => match value {
            "1918" => Box::new(|one| is_in(&RFC_1918, one.address)),
            "6890" => Box::new(|one| is_in(&RFC_6890, one.address)),
            _ => {
                return Err(format!(
                    "of RFC {value} no networks are known; 1918 and 6890 are"
                ));
            }
        },
        _ => {
            return Err(format!(
                "by `{by}` nothing is told apart; there are name, address, network, type, flags and rfc"
            ));
        }
    })
}

/// Default route first, then IPv4, then the largest network last.
fn usual_order(a: &Interface, b: &Interface) -> Ordering {
    let key = |one: &Interface| (!one.is_default, one.address.is_ipv6(), u8::MAX - one.bits);
    key(a).cmp(&key(b))
}

/// Sorts by keys between commas; a minus turns the order of a key around.
fn sort(all: &mut [Interface], keys: &str) -> Result<(), String> {
    let keys: Vec<&str> = keys.split(',').map(str::trim).collect();
    let known = ["default", "private", "type", "address", "name", "size"];
    let bare = |key: &str| key.trim_start_matches(['+', '-']).to_ascii_lowercase();
    if let Some(other) = keys.iter().find(|key| !known.contains(&bare(key).as_str())) {
        let known = known.join(", ");
        return Err(format!(
            "`{other}` is nothing to sort by; there are {known}"
        ));
    }
    all.sort_by(|a, b| {
        let by = |key: &&str| {
            let order = match bare(key).as_str() {
                "default" => b.is_default.cmp(&a.is_default),
                "private" => is_in(&RFC_6890, b.address).cmp(&is_in(&RFC_6890, a.address)),
                "type" => a.address.is_ipv6().cmp(&b.address.is_ipv6()),
                "address" => a.address.cmp(&b.address),
                "name" => a.name.cmp(&b.name),
                _ => b.bits.cmp(&a.bits),
            };
            if key.starts_with('-') {
                order.reverse()
            } else {
                order
            }
        };
        let mut orders = keys.iter().map(by);
        orders
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    });
    Ok(())
}

/// A range as it is written, such as `10.0.0.0/8`.
pub(super) fn network(text: &str) -> Option<Range> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.parse().ok().filter(|bits| *bits <= most)?;
    Some((address, bits))
}

pub(super) fn contains((network, bits): Range, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            (network.to_bits() ^ address.to_bits()) & mask == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            (network.to_bits() ^ address.to_bits()) & mask == 0
        }
        _ => false,
    }
}

fn is_in(networks: &[&str], address: IpAddr) -> bool {
    let networks = networks.iter().filter_map(|text| network(text));
    let mut networks = networks.map(|network| contains(network, address));
    networks.any(|is_in| is_in)
}

/// The addresses of this machine.
pub(super) fn interfaces() -> Vec<Interface> {
    let outward = outward_address();
    let Ok(all) = getifaddrs() else {
        return Vec::new();
    };
    let mut found: Vec<Interface> = all
        .filter_map(|one| {
            let storage = one.address?;
            let four = storage.as_sockaddr_in().map(|found| IpAddr::V4(found.ip()));
            let six = || {
                storage
                    .as_sockaddr_in6()
                    .map(|found| IpAddr::V6(found.ip()))
            };
            let address = four.or_else(six)?;
            let mask = one.netmask.and_then(|mask| {
                let four = mask.as_sockaddr_in();
                let four = four.map(|mask| Ipv4Addr::to_bits(mask.ip()).count_ones());
                let six = mask.as_sockaddr_in6();
                let six = six.map(|mask| Ipv6Addr::to_bits(mask.ip()).count_ones());
                u8::try_from(four.or(six)?).ok()
            });
            Some(Interface {
                name: one.interface_name,
                address,
                bits: mask.unwrap_or_else(|| if address.is_ipv4() { 32 } else { 128 }),
                is_up: one.flags.contains(InterfaceFlags::IFF_UP),
                is_loopback: one.flags.contains(InterfaceFlags::IFF_LOOPBACK),
                is_default: false,
            })
        })
        .collect();
    let leaving = found.iter().find(|one| Some(one.address) == outward);
    if let Some(name) = leaving.map(|one| one.name.clone()) {
        for one in found.iter_mut().filter(|one| one.name == name) {
            one.is_default = true;
        }
    }
    found
}

/// The address that the default route leaves from; nothing is sent to find it.
pub(super) fn outward_address() -> Option<IpAddr> {
    let found = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        // An address of the documentation range: connecting a UDP socket only picks the route.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    found.ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Vec<Interface> {
        let one = |name: &str, address: &str, bits, is_default| Interface {
            name: name.to_owned(),
            address: address.parse().unwrap(),
            bits,
            is_up: name != "eth2",
            is_loopback: name == "lo",
            is_default,
        };
        vec![
            one("lo", "127.0.0.1", 8, false),
            one("lo", "::1", 128, false),
            one("eth0", "203.0.114.9", 24, false),
            one("eth1", "10.1.2.3", 16, true),
            one("eth1", "fe80::1", 64, true),
            one("eth2", "192.168.0.5", 24, false),
            one("docker0", "172.17.0.1", 16, false),
        ]
    }

    fn found(text: &str) -> String {
        match evaluated(text, &machine()) {
            Ok(found) => found.join(","),
            Err(reason) => format!("! {reason}"),
        }
    }

    #[test]
    fn templates_find_addresses() {
        for (text, expected) in [
            ("{{ GetPrivateIP }}", "10.1.2.3"),
            ("{{GetPublicIP}}", "203.0.114.9"),
            ("{{ GetInterfaceIP \"docker0\" }}", "172.17.0.1"),
            ("{{ GetInterfaceIP `eth2` }}", "192.168.0.5"),
            ("{{ GetPrivateIPs }}", "10.1.2.3 172.17.0.1"),
            (
                "{{ GetAllInterfaces | include \"network\" \"172.16.0.0/12\" | attr \"address\" }}",
                "172.17.0.1",
            ),
            (
                "{{ GetPrivateInterfaces | exclude \"name\" \"docker.*\" | attr \"address\" }}",
                "10.1.2.3",
            ),
            (
                "{{ GetAllInterfaces | include \"flags\" \"up|forwardable\" | exclude \"rfc\" \"6890\" | join \"address\" \",\" }}",
                "203.0.114.9",
            ),
            (
                "{{ GetAllInterfaces | include \"type\" \"ipv4\" | sort \"-name,address\" | limit 2 | join \"name\" \" \" }}",
                "lo eth2",
            ),
            (
                "{{ GetAllInterfaces | include \"rfc\" \"1918\" | sort \"default,address\" | offset 1 | attr \"name\" }}",
                "docker0",
            ),
            (
                "{{ GetDefaultInterfaces | exclude \"type\" \"ipv6\" }}",
                "10.1.2.3",
            ),
            (
                "{{ GetAllInterfaces | include \"address\" \"^9\" | attr \"address\" }}",
                "",
            ),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused_with_what_there_is() {
        for (text, expected) in [
            ("{{ GetInterfaceIP \"wlan0\" }}", "no interface `wlan0`"),
            ("{{ GetBest }}", "`GetBest` is no source"),
            ("{{ GetPrivateIP | attr \"address\" }}", "addresses already"),
            ("{{ GetAllInterfaces | reverse }}", "`reverse` is no filter"),
            (
                "{{ GetAllInterfaces | include \"color\" \"red\" }}",
                "by `color`",
            ),
            (
                "{{ GetAllInterfaces | include \"network\" \"10/99\" }}",
                "no network",
            ),
            ("{{ GetAllInterfaces | sort \"age\" }}", "`age`"),
            (
                "{{ GetAllInterfaces | include \"name\" \"(\" }}",
                "no pattern",
            ),
            ("{{ \"open }}", "not closed"),
            ("{{ }}", "one function"),
            ("10.0.0.{{ GetPrivateIP }}", "nothing beside it"),
        ] {
            let said = found(text);
            assert!(
                said.starts_with('!') && said.contains(expected),
                "{text}: {said}"
            );
        }
    }

    #[test]
    fn the_interfaces_of_this_machine_are_found() {
        let mut problems = Vec::new();
        let text = "{{ GetAllInterfaces | include \"flags\" \"loopback\" | include \"type\" \"ipv4\" | attr \"address\" }}";
        let loopback = address("bind_addr", text, &mut problems);
        assert_eq!(
            (loopback, problems.len()),
            (Some(Ipv4Addr::LOCALHOST.into()), 0)
        );
        assert_eq!(
            address("bind_addr", "{{ GetInterfaceIP \"none\" }}", &mut problems),
            None
        );
        let said = problems[0].to_string();
        assert!(said.contains("`bind_addr` is"), "{said}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\{\\{ ?(Get[A-Za-z]{0,20}|[|\"` a-z0-9./-]{0,6}){0,6} ?\\}\\}") {
            evaluated(&text, &machine()).ok();
        }
    }
}
