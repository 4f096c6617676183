use super::refuse::{Owner, refuse};
use super::{Findings, text};
use crate::model;
use crate::wire;
use std::collections::{BTreeMap, BTreeSet};

/// The ports of one group: labels and numbers that are taken, and by whom.
#[derive(Default)]
pub(super) struct Ports {
    labels: BTreeSet<String>,
    numbers: BTreeMap<(String, i64), String>,
}

impl Ports {
    /// True when a network of the group or of one of its tasks has the port.
    pub(super) fn has(&self, label: &str) -> bool {
        self.labels.contains(label)
    }

    /// The networks of a group or of a task; `owner` is named in messages.
    pub(super) fn networks(
        &mut self,
        findings: &mut Findings,
        given: Option<Vec<wire::NetworkResource>>,
        owner: &str,
    ) -> Vec<model::NetworkResource> {
        let given = given.unwrap_or_default();
        findings.require(given.len() <= 1, || {
            format!(
                "Only one network block is supported per {owner}, got {}",
                given.len()
            )
        });
        given
            .into_iter()
            .map(|network| self.network(findings, network, owner))
            .collect()
    }

    fn network(
        &mut self,
        findings: &mut Findings,
        given: wire::NetworkResource,
        owner: &str,
    ) -> model::NetworkResource {
        refuse(findings, Owner::Network, &given.rest);
        let mode = text(given.mode);
        findings.require(mode.is_empty() || mode == "host", || {
            format!("Network mode {mode:?} is not supported yet by this version; only \"host\" is")
        });
        if given.mbits.is_some_and(|mbits| mbits > 0) {
            findings.warning("mbits has been deprecated as of Nomad 0.12.0. Please remove mbits from the network block");
        }
        model::NetworkResource {
            mode,
            device: text(given.device),
            cidr: text(given.cidr),
            ip: text(given.ip),
            reserved_ports: self.ports(findings, given.reserved_ports, owner, true),
            dynamic_ports: self.ports(findings, given.dynamic_ports, owner, false),
            mbits: given.mbits.unwrap_or(0),
        }
    }

    fn ports(
        &mut self,
        findings: &mut Findings,
        given: Option<Vec<wire::Port>>,
        owner: &str,
        reserved: bool,
    ) -> Vec<model::Port> {
        let mut all = Vec::new();
        for port in given.into_iter().flatten() {
            refuse(findings, Owner::Port, &port.rest);
            let label = text(port.label);
            findings.require(!label.is_empty(), || "Port must have a label".into());
            findings.require(self.labels.insert(label.clone()), || {
                format!("Port label {label} already in use by {owner}")
            });
            let host_network = text(port.host_network);
            let value = port.value.unwrap_or(0);
            if value != 0 || reserved {
                self.number(findings, &label, value, &host_network, owner);
            }
            let to = port.to.unwrap_or(0);
            findings.require(to >= -1, || {
                format!("Port {label:?} cannot be mapped to negative value {to}")
            });
            findings.require(to <= 65535, || {
                format!("Port {label:?} cannot be mapped to a port ({to}) greater than 65535")
            });
            all.push(model::Port {
                label,
                value: u16::try_from(value).unwrap_or(0),
                to: i32::try_from(to).unwrap_or(0),
                host_network,
            });
        }
        all
    }

    fn number(
        &mut self,
        findings: &mut Findings,
        label: &str,
        value: i64,
        host_network: &str,
        owner: &str,
    ) {
        if value > 65535 {
            findings.error(format!(
                "Port {label} ({value}) cannot be greater than 65535"
            ));
            return;
        }
        if value < 1 {
            findings.error(format!("Port {label} ({value}) must be greater than 0"));
            return;
        }
        let network = if host_network.is_empty() {
            "default"
        } else {
            host_network
        };
        let holder = format!("{owner}:{label}");
        match self.numbers.get(&(network.to_owned(), value)) {
            Some(other) => {
                findings.error(format!("Static port {value} already reserved by {other}"))
            }
            None => {
                self.numbers.insert((network.to_owned(), value), holder);
            }
        }
    }
}
