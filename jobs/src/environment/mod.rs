//! What a task can know of its place: the `NOMAD_…` environment and the `${…}` that job files leave
//! for run time.
//!
//! Two engines exist, as published. [`TaskEnvironment::interpolate`] serves every field but the
//! driver's configuration: unknown names stay as they are. The driver's configuration is read as
//! job files are (`spec::resolve`), with the names that are known here: unknown ones are
//! problems.
//!
//! Source: jobs API, "Runtime Environment" and "Variable Interpolation".

mod template;

use crate::model::{AllocatedPort, Allocation, NetworkResource, NetworkStatus, Node, Port, Task};
use std::collections::BTreeMap;
use std::net::Ipv6Addr;

/// Variables of the agent that no task inherits, because they carry secrets of the agent.
pub const HOST_DENYLIST: &[&str] = &[
    "CONSUL_TOKEN",
    "CONSUL_HTTP_TOKEN",
    "CONSUL_HTTP_TOKEN_FILE",
    "NOMAD_TOKEN",
    "VAULT_TOKEN",
    "CONSUL_LICENSE",
    "CONSUL_LICENSE_PATH",
    "NOMAD_LICENSE",
    "NOMAD_LICENSE_PATH",
    "VAULT_LICENSE",
    "VAULT_LICENSE_PATH",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_METADATA_URL",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_OAUTH_ACCESS_TOKEN",
];

/// Where a task finds its files, as the task itself sees the paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskDirectories {
    /// Shared by the tasks of the allocation: `NOMAD_ALLOC_DIR`.
    pub alloc: String,
    /// The task's own: `NOMAD_TASK_DIR`.
    pub local: String,
    /// Files that the file API does not show: `NOMAD_SECRETS_DIR`.
    pub secrets: String,
}

/// The variables of one task (or of a group's services) and the facts of its node.
#[derive(Clone, Debug)]
pub struct TaskEnvironment<'a> {
    variables: BTreeMap<String, String>,
    node: &'a Node,
    region: String,
}

impl<'a> TaskEnvironment<'a> {
    /// The environment of group services and checks: allocation, job and node, nothing of a single
    /// task.
    pub fn of_group(alloc: &Allocation, node: &'a Node) -> Self {
        let mut environment = Self {
            variables: BTreeMap::new(),
            node,
            region: alloc.job.region.clone(),
        };
        environment.add_identity(alloc);
        environment.add_ports(alloc, None);
        if let Some(group) = alloc.group() {
            environment.add_meta(&alloc.job.meta_of(group, None));
        }
        environment
    }

    /// The environment of a task. `directories` is none where paths play no part, as on servers.
    /// `host` is the agent's own environment for drivers without isolation; it never covers a
    /// built-in variable, and [`HOST_DENYLIST`] is left out.
    pub fn of_task(
        alloc: &Allocation,
        task: &Task,
        node: &'a Node,
        directories: Option<&TaskDirectories>,
        host: &BTreeMap<String, String>,
    ) -> Self {
        let mut environment = Self {
            variables: BTreeMap::new(),
            node,
            region: alloc.job.region.clone(),
        };
        environment.add_identity(alloc);
        environment.set("NOMAD_TASK_NAME", &task.name);
        environment.add_resources(alloc, task);
        environment.add_ports(alloc, Some(task));
        if let Some(directories) = directories {
            environment.set("NOMAD_ALLOC_DIR", &directories.alloc);
            environment.set("NOMAD_TASK_DIR", &directories.local);
            environment.set("NOMAD_SECRETS_DIR", &directories.secrets);
            if task.all_identities().any(|identity| identity.env) {
                let socket = format!("unix://{}/api.sock", directories.secrets);
                environment.set("NOMAD_UNIX_ADDR", &socket);
            }
        }
        let meta = alloc.group().map_or_else(
            || task.meta.clone(),
            |group| alloc.job.meta_of(group, Some(task)),
        );
        environment.add_meta(&meta);
        for (name, value) in host {
            if !HOST_DENYLIST.contains(&name.as_str()) {
                environment
                    .variables
                    .entry(name.clone())
                    .or_insert_with(|| value.clone());
            }
        }
        // References between two values of `env` have no order, so all see the state before them.
        let own: Vec<_> = task
            .env
            .iter()
            .map(|(name, value)| (name.clone(), environment.interpolate(value)))
            .collect();
        environment.variables.extend(own);
        environment
    }

    /// The variables by name, as the process gets them.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Adds a variable, or replaces it.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Replaces every known `${…}`; unknown ones stay as they are.
    pub fn interpolate(&self, text: &str) -> String {
        template::replace(text, |name| self.lookup(name))
    }

    /// The value of one name: a variable, `env["…"]`, `node.…`, `attr.…` or `meta.…`.
    pub fn lookup(&self, name: &str) -> Option<String> {
        if let Some(value) = self.variables.get(name) {
            return Some(value.clone());
        }
        if let Some(quoted) = name.strip_prefix("env[\"") {
            let variable = quoted.strip_suffix("\"]")?;
            return self.variables.get(variable).cloned();
        }
        if let Some(fact) = name.strip_prefix("node.") {
            return self.node_fact(fact);
        }
        if let Some(attribute) = name.strip_prefix("attr.") {
            return self.node.attributes.get(attribute).cloned();
        }
        if let Some(key) = name.strip_prefix("meta.") {
            return self.node.meta.get(key).cloned();
        }
        None
    }

    fn node_fact(&self, fact: &str) -> Option<String> {
        Some(match fact {
            "unique.id" => self.node.id.to_string(),
            "unique.name" => self.node.name.to_string(),
            "datacenter" => self.node.datacenter.clone(),
            "region" => self.region.clone(),
            "class" => self.node.node_class.clone(),
            "pool" => self.node.node_pool.clone(),
            _ => {
                return if let Some(name) = fact.strip_prefix("attr.") {
                    self.node.attributes.get(name).cloned()
                } else {
                    self.node.meta.get(fact.strip_prefix("meta.")?).cloned()
                };
            }
        })
    }

    fn add_identity(&mut self, alloc: &Allocation) {
        let job = &alloc.job;
        let id = alloc.id.to_string();
        let short: String = id.chars().take(8).collect();
        self.set("NOMAD_ALLOC_ID", &id);
        self.set("NOMAD_SHORT_ALLOC_ID", &short);
        self.set("NOMAD_ALLOC_NAME", &alloc.name);
        if let Some(index) = alloc.name_index() {
            self.set("NOMAD_ALLOC_INDEX", &index.to_string());
        }
        self.set("NOMAD_GROUP_NAME", &alloc.task_group);
        self.set("NOMAD_JOB_ID", &alloc.job_id);
        self.set("NOMAD_JOB_NAME", &job.name);
        if let Some(parent) = &job.parent_id {
            self.set("NOMAD_JOB_PARENT_ID", parent);
        }
        let datacenter = self.node.datacenter.clone();
        self.set("NOMAD_DC", &datacenter);
        self.set("NOMAD_REGION", &job.region);
        self.set("NOMAD_NAMESPACE", &alloc.namespace);
    }

    fn add_resources(&mut self, alloc: &Allocation, task: &Task) {
        let (cpu, memory, memory_max) = match alloc.allocated_resources.tasks.get(&task.name) {
            Some(given) => (
                given.cpu.cpu_shares,
                given.memory.memory_mb,
                given.memory.memory_max_mb,
            ),
            None => {
                let asked = &task.resources;
                (asked.cpu, asked.memory_mb, asked.memory_max_mb)
            }
        };
        self.set("NOMAD_CPU_LIMIT", &cpu.to_string());
        self.set("NOMAD_MEMORY_LIMIT", &memory.to_string());
        if memory_max > memory {
            self.set("NOMAD_MEMORY_MAX_LIMIT", &memory_max.to_string());
        }
    }

    fn add_meta(&mut self, meta: &BTreeMap<String, String>) {
        for (key, value) in meta {
            let key = clean(&self.interpolate(key));
            let value = self.interpolate(value);
            self.set(&format!("NOMAD_META_{key}"), &value);
            self.set(&format!("NOMAD_META_{}", key.to_uppercase()), &value);
        }
    }

    fn add_ports(&mut self, alloc: &Allocation, task: Option<&Task>) {
        for port in &alloc.allocated_resources.shared.ports {
            self.add_shared_port(port);
        }
        let Some(task) = task else { return };
        for (name, given) in &alloc.allocated_resources.tasks {
            for network in &given.networks {
                for port in network.reserved_ports.iter().chain(&network.dynamic_ports) {
                    if *name == task.name {
                        self.add_own_port(network, port);
                    } else {
                        self.add_foreign_port(name, network, port);
                    }
                }
            }
        }
    }

    fn add_shared_port(&mut self, port: &AllocatedPort) {
        let label = clean(&port.label);
        let inside = inner_port(port.to, port.value);
        let address = address(&port.host_ip, port.value);
        for prefix in ["NOMAD_IP_", "NOMAD_HOST_IP_"] {
            self.set(&format!("{prefix}{label}"), &port.host_ip);
        }
        for prefix in ["NOMAD_ADDR_", "NOMAD_HOST_ADDR_"] {
            self.set(&format!("{prefix}{label}"), &address);
        }
        for prefix in ["NOMAD_PORT_", "NOMAD_ALLOC_PORT_"] {
            self.set(&format!("{prefix}{label}"), &inside);
        }
        self.set(&format!("NOMAD_HOST_PORT_{label}"), &port.value.to_string());
    }

    /// Adds where the ports of the group are reached inside of the network that it has for itself.
    pub fn add_network(&mut self, alloc: &Allocation, network: &NetworkStatus) {
        for port in &alloc.allocated_resources.shared.ports {
            let label = clean(&port.label);
            let ip_port = format!("{}:{}", network.address, inner_port(port.to, port.value));
            for (prefix, value) in [
                ("NOMAD_ALLOC_INTERFACE_", &network.interface_name),
                ("NOMAD_ALLOC_IP_", &network.address),
                ("NOMAD_ALLOC_ADDR_", &ip_port),
            ] {
                self.set(&format!("{prefix}{label}"), value);
            }
        }
    }

    fn add_own_port(&mut self, network: &NetworkResource, port: &Port) {
        let label = clean(&port.label);
        let family = if network.ip.parse::<Ipv6Addr>().is_ok() {
            "NOMAD_IPv6_"
        } else {
            "NOMAD_IPv4_"
        };
        self.set(&format!("NOMAD_IP_{label}"), &network.ip);
        self.set(&format!("{family}{label}"), &network.ip);
        let ip_port = address(&network.ip, port.value);
        self.set(&format!("NOMAD_ADDR_{label}"), &ip_port);
        let inside = inner_port(port.to, port.value);
        self.set(&format!("NOMAD_PORT_{label}"), &inside);
        self.set(&format!("NOMAD_HOST_PORT_{label}"), &port.value.to_string());
    }

    fn add_foreign_port(&mut self, task: &str, network: &NetworkResource, port: &Port) {
        let suffix = clean(&format!("{task}_{}", port.label));
        let ip_port = address(&network.ip, port.value);
        self.set(&format!("NOMAD_ADDR_{suffix}"), &ip_port);
        self.set(&format!("NOMAD_IP_{suffix}"), &network.ip);
        self.set(&format!("NOMAD_PORT_{suffix}"), &port.value.to_string());
    }
}

/// The port that the process must bind.
fn inner_port(to: i32, host: u16) -> String {
    if to > 0 {
        to.to_string()
    } else {
        host.to_string()
    }
}

/// `IP:port`, with brackets around IPv6.
fn address(ip: &str, port: u16) -> String {
    if ip.contains(':') {
        format!("[{ip}]:{port}")
    } else {
        format!("{ip}:{port}")
    }
}

/// Replaces every character that does not belong into a variable's name.
fn clean(label: &str) -> String {
    label
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' || c == '.' {
                c
            } else {
                '_'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
