use super::Findings;
use crate::model;
use crate::wire;
use std::collections::{BTreeMap, BTreeSet};

/// What messages call the network of a group.
const GROUP: &str = "taskgroup network";

/// The ports of one group: labels and numbers that are taken, and by whom. Tasks may use the same
/// label for ports of their own.
#[derive(Default)]
pub(super) struct Ports {
    of_group: BTreeSet<String>,
    of_tasks: BTreeSet<String>,
    numbers: BTreeMap<(String, i64), String>,
}

impl Ports {
    /// True when a network of the group or of one of its tasks has the port.
    pub(super) fn has(&self, label: &str) -> bool {
        self.of_group.contains(label) || self.of_tasks.contains(label)
    }

    /// The networks of a group, or those of a task when `task` names one.
    pub(super) fn networks(
        &mut self,
        findings: &mut Findings,
        given: Option<Vec<wire::NetworkResource>>,
        task: Option<&str>,
    ) -> Vec<model::NetworkResource> {
        let owner = task.unwrap_or(GROUP);
        let given = given.unwrap_or_default();
        findings.require(given.len() <= 1, || {
            format!(
                "Only one network block is supported per {owner}, got {}",
                given.len()
            )
        });
        given
            .into_iter()
            .map(|network| self.network(findings, network, task))
            .collect()
    }

    fn network(
        &mut self,
        findings: &mut Findings,
        given: wire::NetworkResource,
        task: Option<&str>,
    ) -> model::NetworkResource {
        let mode = given.mode;
        let plugin = mode.strip_prefix("cni/");
        let known = matches!(mode.as_str(), "" | "host" | "bridge" | "none");
        findings.require(known || plugin.is_some_and(|name| !name.is_empty()), || {
            format!("Unsupported network mode {mode:?}; must be \"host\", \"bridge\", \"none\" or \"cni/NAME\"")
        });
        if !given.hostname.is_empty() {
            findings.require(valid_hostname(&given.hostname), || {
                "Hostname is not a valid DNS name".into()
            });
        }
        let ports = [&given.reserved_ports, &given.dynamic_ports];
        let ports = ports.into_iter().flatten().flatten();
        for port in ports.filter(|port| port.ignore_collision) {
            let of_host = task.is_some() || matches!(mode.as_str(), "" | "host");
            findings.require(of_host, || {
                let label = &port.label;
                format!(
                    "Port {label:?} collision may not be ignored on non-host network mode {mode:?}"
                )
            });
        }
        let separated = |text: &String| text.contains(';');
        let args = given.cni.as_ref().and_then(|cni| cni.args.as_ref());
        for (key, value) in args.into_iter().flatten() {
            findings.require(!separated(key), || {
                format!("invalid ';' character in CNI arg key {key:?}")
            });
            findings.require(!separated(value), || {
                format!("invalid ';' character in CNI arg value {value:?}")
            });
        }
        if given.mbits.is_some_and(|mbits| mbits > 0) {
            findings.warning("mbits has been deprecated as of Nomad 0.12.0. Please remove mbits from the network block");
        }
        model::NetworkResource {
            mode,
            device: given.device,
            cidr: given.cidr,
            ip: given.ip,
            dns: given.dns.map(Box::new),
            hostname: given.hostname.into(),
            cni: given.cni.map(Box::new),
            reserved_ports: self.ports(findings, given.reserved_ports, task, true),
            dynamic_ports: self.ports(findings, given.dynamic_ports, task, false),
            mbits: given.mbits.unwrap_or(0),
        }
    }

    fn ports(
        &mut self,
        findings: &mut Findings,
        given: Option<Vec<wire::Port>>,
        task: Option<&str>,
        reserved: bool,
    ) -> Vec<model::Port> {
        let mut all = Vec::new();
        for port in given.into_iter().flatten() {
            let label = port.label;
            findings.require(!label.is_empty(), || "Port must have a label".into());
            let free = !self.of_group.contains(&label);
            findings.require(free, || {
                format!("Port label {label} already in use by {GROUP}")
            });
            let labels = match task {
                Some(_) => &mut self.of_tasks,
                None => &mut self.of_group,
            };
            labels.insert(label.clone());
            // The default one is what nothing means, and what answers show for it.
            let host_network = Some(port.host_network)
                .filter(|name| name != "default")
                .unwrap_or_default();
            let value = port.value;
            if value != 0 || reserved {
                let holder = format!("{}:{label}", task.unwrap_or(GROUP));
                let shares = task.is_none() && port.ignore_collision;
                self.number(findings, &label, value, &host_network, holder, shares);
            }
            let to = port.to;
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
                ignore_collision: port.ignore_collision,
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
        holder: String,
        shares: bool,
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
        match self.numbers.get(&(network.to_owned(), value)) {
            Some(_) if shares => {}
            Some(other) => {
                findings.error(format!("Static port {value} already reserved by {other}"))
            }
            None => {
                self.numbers.insert((network.to_owned(), value), holder);
            }
        }
    }
}

/// Names of at most 63 letters, digits and hyphens, parted by dots; what the client resolves is
/// fine.
fn valid_hostname(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.contains("${") || (name.len() <= 253 && name.split('.').all(part))
}
