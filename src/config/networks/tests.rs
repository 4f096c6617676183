use super::*;
use crate::{Written, file};

fn machine() -> Vec<Interface> {
    let one = |name: &str, address: &str, bits| Interface {
        name: name.to_owned(),
        address: address.parse().unwrap(),
        bits,
        is_up: name != "eth2",
        is_loopback: name == "lo",
        is_default: name == "eth0",
    };
    vec![
        one("lo", "127.0.0.1", 8),
        one("lo", "::1", 128),
        one("eth0", "fe80::1", 64),
        one("eth0", "2001:db8::1", 64),
        one("eth0", "192.0.2.1", 24),
        one("eth0", "192.0.2.2", 24),
        one("eth1", "10.1.2.3", 16),
        one("eth2", "10.9.0.1", 16),
    ]
}

/// What lines of the client's block mean on that machine: the address of ports and what the
/// networks have, and what is said.
fn resolved(lines: &str) -> (String, Vec<String>, Vec<String>) {
    let text = format!("client {{\n{lines}\n}}\n");
    let mut problems = Vec::new();
    let tree = file::parse("a.hcl", &text).unwrap();
    let written = Written::from_tree("a.hcl", tree, &mut problems);
    let agent = "192.0.2.1".parse().unwrap();
    let (networks, notes) = (written.networks).resolve_on(&machine(), agent, &mut problems);
    let texts = |found: &[Found]| {
        let texts = found.iter();
        let texts = texts.map(|one| format!("{}@{}", one.address, one.device));
        texts.collect::<Vec<_>>().join(" ")
    };
    let mut all = vec![
        networks
            .usual
            .map_or_else(|| "-".to_owned(), |one| texts(&[one])),
    ];
    for (name, network) in &networks.named {
        let ports = &network.reserved_ports;
        all.push(format!("{name} {} [{ports}]", texts(&network.addresses)));
    }
    let problems = problems.iter().map(ToString::to_string);
    (all.join("; "), notes, problems.collect())
}

#[test]
fn networks_are_found_by_range_and_by_interface() {
    for (lines, expected) in [
        ("", "-"),
        (
            "network_interface = \"eth1\"\nhost_network \"public\" {}",
            "10.1.2.3@eth1; public 127.0.0.1@lo 192.0.2.1@eth0 192.0.2.2@eth0 10.1.2.3@eth1 ::1@lo 2001:db8::1@eth0 []",
        ),
        ("network_interface = \"eth0\"", "192.0.2.1@eth0"),
        (
            "network_interface = \"\"\npreferred_address_family = \"\"",
            "-",
        ),
        (
            "network_interface = \"{{ GetDefaultInterfaces | include \\\"type\\\" \\\"ipv4\\\" | attr \\\"name\\\" }}\"\npreferred_address_family = \"ipv6\"",
            "2001:db8::1@eth0",
        ),
        ("preferred_address_family = \"ipv6\"", "2001:db8::1@eth0"),
        (
            "host_network \"a\" {\n cidr = \"192.0.2.0/24, fd00::/8\"\n reserved_ports = \"22,80-90,22\"\n}\n\
             host_network \"b\" {\n interface = \"eth0\"\n}\n\
             host_network \"c\" {\n cidr = \"127.0.0.2/32\"\n reserved_ports = 22\n}",
            "-; a 192.0.2.1@eth0 192.0.2.2@eth0 [22,80-90]; b 192.0.2.1@eth0 192.0.2.2@eth0 2001:db8::1@eth0 []; c 127.0.0.2@lo [22]",
        ),
        (
            "preferred_address_family = \"ipv6\"\nhost_network \"b\" {\n interface = \"eth0\"\n cidr = \"192.0.2.2/32,2000::/3\"\n}",
            "2001:db8::1@eth0; b 2001:db8::1@eth0 192.0.2.2@eth0 []",
        ),
        (
            "host_network \"local\" {\n cidr = \"fe80::/10\"\n}",
            "-; local fe80::1@eth0 []",
        ),
    ] {
        let (found, notes, problems) = resolved(lines);
        assert_eq!(problems, Vec::<String>::new(), "{lines}");
        assert_eq!((&*found, notes.len()), (expected, 0), "{lines}: {notes:?}");
    }
}

#[test]
fn a_network_without_an_address_is_told_and_left_out() {
    for network in [
        "cidr = \"10.9.0.0/16\"",
        "interface = \"eth2\"",
        "interface = \"wlan0\"",
        "interface = \"eth1\"\n cidr = \"192.0.2.0/24\"",
        "cidr = \"127.0.0.0/31\"\n interface = \"eth0\"",
        "cidr = \"172.16.0.1/32\"",
    ] {
        let (found, notes, problems) = resolved(&format!("host_network \"x\" {{\n {network}\n}}"));
        assert_eq!((&*found, problems.len()), ("-", 0), "{network}");
        let start = "`client.host_network \"x\"`: this machine has no address";
        assert!(notes.len() == 1 && notes[0].starts_with(start), "{notes:?}");
    }
}

#[test]
fn every_wrong_value_is_told_with_its_place() {
    let lines = "network_interface = \"eth9\"\n\
                 preferred_address_family = \"v6\"\n\
                 host_network \"default\" {}\n\
                 host_network \"a\" {\n cidr = \"10.0.0.0/99\"\n interface = \"{{ GetBest }}\"\n reserved_ports = \"0-9\"\n}\n\
                 host_network \"b\" {\n cidr = 10\n addresses = \"\"\n}\n\
                 host_network = \"c\"";
    let (_, notes, problems) = resolved(lines);
    assert_eq!(notes, Vec::<String>::new());
    let starts = [
        "a.hcl:4,1: `client.host_network` has the name `default`",
        "a.hcl:11,2: `cidr` must be a text",
        "a.hcl:12,2: unknown key `client.host_network.addresses`; known here: cidr, interface",
        "a.hcl:14,1: `host_network` must be a block",
        "a.hcl:3,1: `client.preferred_address_family` is `v6`; it must be",
        "a.hcl:2,1: `client.network_interface` is `eth9`, and this machine has no such interface with an address; there are eth0, eth1, eth2, lo",
        "a.hcl:6,2: `client.host_network \"a\".cidr` is `10.0.0.0/99`; it must be",
        "a.hcl:7,2: `client.host_network \"a\".interface` is `{{ GetBest }}`: `GetBest` is no source",
        "a.hcl:8,2: `client.host_network \"a\".reserved_ports` is `0-9`; it must be",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem} | {start}");
    }
}
