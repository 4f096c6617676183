//! The rules of the packet filter: which port of the host leads to which allocation, and who goes
//! out under the host's address. Pure; the program `nft` reads the text.

use super::addresses::Subnet;
use serde::{Deserialize, Serialize};
use std::{fmt::Write, net::Ipv4Addr};

/// A port of the host that leads into the network of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Forward {
    /// Address of the host.
    pub(super) host: Ipv4Addr,
    /// Port of the host.
    pub(super) port: u16,
    /// Port inside.
    pub(super) to: u16,
}

/// The name of the table, which is one bridge's.
pub(super) fn table(bridge: &str) -> String {
    format!("trivet_{bridge}")
}

/// A text that replaces the whole table at once, so that no packet meets a part of it. `forwards`
/// are those of all allocations, each with the address it leads to.
pub(super) fn replace(
    bridge: &str,
    subnet: Subnet,
    forwards: impl Iterator<Item = (Forward, Ipv4Addr)>,
) -> String {
    let table = table(bridge);
    let mut elements = String::new();
    for (Forward { host, port, to }, address) in forwards {
        for protocol in ["tcp", "udp"] {
            writeln!(
                elements,
                "      {host} . {protocol} . {port} : {address} . {to},"
            )
            .ok();
        }
    }
    if !elements.is_empty() {
        elements = format!("    elements = {{\n{elements}    }}\n");
    }
    let lead = "dnat ip addr . port to ip daddr . meta l4proto . th dport map @ports";
    format!(
        r#"add table ip {table}
delete table ip {table}
table ip {table} {{
  map ports {{
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
{elements}  }}
  chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
    {lead}
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    {lead}
  }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
    ip saddr 127.0.0.0/8 oifname "{bridge}" masquerade
    ip saddr {subnet} ip daddr {subnet} ct status dnat masquerade
    ip saddr {subnet} oifname != "{bridge}" ip daddr != 224.0.0.0/4 masquerade
  }}
}}
"#
    )
}

/// A text that removes the table, whether it is there or not.
pub(super) fn remove(bridge: &str) -> String {
    let table = table(bridge);
    format!("add table ip {table}\ndelete table ip {table}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_leads_to_its_allocation_for_both_protocols() {
        let subnet = Subnet::new([172, 26, 64, 0].into(), 20);
        let forward = Forward {
            host: [127, 0, 0, 1].into(),
            port: 8080,
            to: 80,
        };
        let address = [172, 26, 64, 2].into();
        let text = replace("nomad", subnet, [(forward, address)].into_iter());
        for line in [
            "table ip trivet_nomad {",
            "      127.0.0.1 . tcp . 8080 : 172.26.64.2 . 80,",
            "      127.0.0.1 . udp . 8080 : 172.26.64.2 . 80,",
            "    ip saddr 172.26.64.0/20 oifname != \"nomad\" ip daddr != 224.0.0.0/4 masquerade",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let empty = replace("nomad", subnet, std::iter::empty());
        assert!(!empty.contains("elements"), "{empty}");
        assert_eq!(
            remove("a"),
            "add table ip trivet_a\ndelete table ip trivet_a\n"
        );
    }
}
