//! Services and checks as clients post them, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use jobs::model::Span;
use jobs::spec::list_errors;
use mesh::model::{
    Check, CheckDefinition, CheckId, DockerProbe, Http2Probe, HttpProbe, Locality, NodeName, Probe,
    Service, ServiceAddress, ServiceId, ServiceName, ServicePort, Status, TlsProbe, Weights,
};
use serde::Deserialize;

use super::posted_definition::PostedDefinition;
use super::posted_proxy::PostedProxy;
use crate::consul::decode::{GoDuration, length};
use crate::error::Error;

/// Shortest pause between two runs of a check.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Longest output that is kept, bytes.
const OUTPUT_BYTES_MAX: u32 = 4096;

/// Whether checks that run programs are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::consul) enum Scripts {
    /// They are.
    Taken,
    /// They are not, and why.
    Refused(&'static str),
}

/// Why a script is refused: whoever reaches the API would run programs as the agent's user.
pub(in crate::consul) const NO_SCRIPTS: &str = "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true";

/// A service as it is posted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::consul) struct PostedService {
    #[serde(rename = "ID")]
    pub(in crate::consul) id: ServiceId,
    #[serde(alias = "Service")]
    pub(in crate::consul) name: ServiceName,
    pub(super) tags: Vec<String>,
    pub(super) meta: BTreeMap<String, String>,
    pub(super) port: u16,
    pub(super) address: String,
    ports: Vec<PostedPort>,
    pub(super) socket_path: String,
    locality: Option<PostedLocality>,
    tagged_addresses: BTreeMap<String, PostedAddress>,
    weights: Option<PostedWeights>,
    enable_tag_override: bool,
    pub(super) kind: String,
    pub(super) connect: Option<PostedConnect>,
    pub(super) proxy: Option<PostedProxy>,
    pub(in crate::consul) check: Option<PostedCheck>,
    pub(in crate::consul) checks: Vec<PostedCheck>,
}

/// Mesh settings of a service as they are posted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PostedConnect {
    pub(super) native: bool,
    pub(super) sidecar_service: Option<Box<PostedService>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PostedAddress {
    address: String,
    port: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PostedPort {
    name: String,
    port: i64,
    default: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PostedLocality {
    region: String,
    zone: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PostedWeights {
    passing: i64,
    warning: i64,
}

/// A check as it is posted; the fields beyond these are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::consul) struct PostedCheck {
    #[serde(rename = "ID")]
    id: CheckId,
    #[serde(rename = "CheckID")]
    check_id: CheckId,
    name: String,
    notes: String,
    /// Of a check that is written into the catalog.
    output: String,
    #[serde(rename = "ServiceID")]
    service_id: ServiceId,
    status: String,
    interval: Option<GoDuration>,
    timeout: Option<GoDuration>,
    #[serde(rename = "TTL")]
    ttl: Option<GoDuration>,
    #[serde(rename = "HTTP")]
    http: String,
    header: BTreeMap<String, Vec<String>>,
    method: String,
    body: String,
    #[serde(rename = "TLSSkipVerify")]
    tls_skip_verify: bool,
    #[serde(rename = "TLSServerName")]
    tls_server_name: String,
    #[serde(rename = "GRPCUseTLS")]
    grpc_use_tls: bool,
    #[serde(rename = "H2PingUseTLS")]
    h2ping_use_tls: Option<bool>,
    #[serde(rename = "TCP")]
    tcp: String,
    #[serde(rename = "UDP")]
    udp: String,
    #[serde(rename = "GRPC")]
    grpc: String,
    #[serde(rename = "H2PING")]
    h2ping: String,
    #[serde(rename = "OSService")]
    os_service: String,
    /// Of a check that is written into the catalog.
    definition: Option<Box<PostedDefinition>>,
    #[serde(rename = "DockerContainerID")]
    docker_container_id: String,
    #[serde(alias = "ScriptArgs")]
    args: Vec<String>,
    shell: String,
    #[serde(rename = "TCPUseTLS")]
    tcp_use_tls: bool,
    disable_redirects: bool,
    output_max_size: u32,
    alias_service: ServiceId,
    alias_node: NodeName,
    success_before_passing: u32,
    failures_before_warning: u32,
    failures_before_critical: u32,
    deregister_critical_service_after: Option<GoDuration>,
}

impl PostedService {
    /// The instance that it describes, also at its own address for each network.
    pub(in crate::consul) fn service(&self) -> Result<Service, Error> {
        let problems = self.problems();
        if !problems.is_empty() {
            let listed = list_errors(&problems);
            return Err(Error::bad_request(format!("Validation failed: {listed}")));
        }
        let proxy = self.proxy.clone().unwrap_or_default().completed();
        let mut service = self.weighted(self.weights()?, proxy)?;
        let family = match self.address.parse() {
            Ok(IpAddr::V4(_)) => "ipv4",
            Ok(IpAddr::V6(_)) => "ipv6",
            Err(_) => return Ok(service),
        };
        for network in ["lan", "wan"] {
            let own = ServiceAddress {
                address: self.address.clone(),
                port: service.port,
            };
            let tag = format!("{network}_{family}");
            service.tagged_addresses.entry(tag).or_insert(own);
        }
        Ok(service)
    }

    /// As the catalog takes it: with exactly the addresses that were posted.
    ///
    /// Clients that do not know of weights send none, or two zeros.
    pub(in crate::consul) fn catalog_service(&self) -> Result<Service, Error> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(Error::internal(list_errors(&problems)));
        }
        let is_given = self.weights.as_ref().is_some_and(|given| given.passing > 0);
        let weights = is_given.then(|| self.weights()).transpose()?;
        let proxy = self.proxy.clone().unwrap_or_default();
        self.weighted(weights.unwrap_or_default(), proxy)
    }

    /// Everything that is wrong with its ports and with what it is in the mesh.
    fn problems(&self) -> Vec<String> {
        let mut problems = self.port_problems();
        problems.extend(self.role_problems());
        problems
    }

    fn port_problems(&self) -> Vec<String> {
        let ports = &self.ports;
        let mut problems = Vec::new();
        if ports.is_empty() {
            return problems;
        }
        if self.port != 0 {
            problems.push("Cannot set both Port and Ports".to_owned());
        }
        let mut names = BTreeSet::new();
        for port in ports {
            if port.name.trim().is_empty() {
                problems.push("Ports.Name cannot be empty".to_owned());
            } else if !names.insert(&port.name) {
                problems.push(format!("Ports.Name {:?} has to be unique", port.name));
            }
            if port.port <= 0 {
                problems.push("Ports.Port must be greater than zero".to_owned());
            } else if port.port > i64::from(u16::MAX) {
                problems.push(format!("Ports.Port must be at most {}", u16::MAX));
            }
        }
        match ports.iter().filter(|port| port.default).count() {
            0 => problems.push("One of the Ports must be marked as Default".to_owned()),
            1 => {}
            _ => problems.push("Only one port can be marked as default".to_owned()),
        }
        problems
    }

    /// Whether it has ports with names.
    pub(super) fn has_ports(&self) -> bool {
        !self.ports.is_empty()
    }

    fn weighted(&self, weights: Weights, proxy: PostedProxy) -> Result<Service, Error> {
        let role = self.role(proxy)?;
        let ports: Vec<ServicePort> = self.ports.iter().map(PostedPort::port).collect();
        let default = ports.iter().find(|port| port.is_default);
        let locality = self.locality.as_ref().map(|locality| Locality {
            region: locality.region.clone(),
            zone: locality.zone.clone(),
        });
        let tagged = self.tagged_addresses.iter().map(|(tag, at)| {
            let (address, port) = (at.address.clone(), at.port);
            (tag.clone(), ServiceAddress { address, port })
        });
        Ok(Service {
            id: self.id().into(),
            name: self.name.clone(),
            address: self.address.clone(),
            port: default.map_or(self.port, |port| port.port),
            ports,
            socket_path: self.socket_path.clone(),
            locality: locality.map(Box::new),
            tags: self.tags.clone(),
            meta: self.meta.clone(),
            tagged_addresses: tagged.collect(),
            weights,
            enable_tag_override: self.enable_tag_override,
            role,
            ..Service::default()
        })
    }

    /// Whether one of its checks says how somebody else makes it.
    pub(in crate::consul) fn has_definition(&self) -> bool {
        let mut checks = self.check.iter().chain(&self.checks);
        checks.any(PostedCheck::has_definition)
    }

    /// Whether its address is that of every machine and none.
    pub(in crate::consul) fn is_at_no_address(&self) -> bool {
        matches!(self.address.as_str(), "0.0.0.0" | "::" | "[::]")
    }

    /// The id, which is the name unless one is given.
    pub(in crate::consul) fn id(&self) -> &str {
        if self.id.is_empty() {
            &self.name
        } else {
            &self.id
        }
    }

    fn weights(&self) -> Result<Weights, Error> {
        let Some(weights) = &self.weights else {
            return Ok(Weights::default());
        };
        let invalid = |reason: &str| Error::bad_request(format!("Invalid Weights: {reason}"));
        if weights.passing < 1 {
            return Err(invalid("Passing must be greater than 0"));
        }
        let weight = |weight| {
            u16::try_from(weight).map_err(|_| invalid("DNS Weight must be between 0 and 65535"))
        };
        Ok(Weights {
            passing: weight(weights.passing)?,
            warning: weight(weights.warning)?,
        })
    }

    /// The checks, named after the service where they have no name.
    pub(in crate::consul) fn named_checks(
        &self,
        scripts: Scripts,
    ) -> Result<Vec<(Check, CheckDefinition)>, Error> {
        let all: Vec<&PostedCheck> = self.check.iter().chain(&self.checks).collect();
        let id = self.id();
        let named = all.iter().zip(1..).map(|(posted, ordinal)| {
            let own = if all.len() == 1 {
                format!("service:{id}")
            } else {
                format!("service:{id}:{ordinal}")
            };
            let (mut check, definition) = posted.check(scripts)?;
            if check.id.is_empty() {
                check.id = own.into();
            }
            if check.name.is_empty() {
                check.name = format!("Service '{}' check", self.name);
            }
            Ok((check, definition))
        });
        named.collect()
    }
}

impl PostedPort {
    fn port(&self) -> ServicePort {
        ServicePort {
            name: self.name.clone(),
            port: u16::try_from(self.port).unwrap_or(0),
            is_default: self.default,
        }
    }
}

impl PostedCheck {
    /// A check that connects to an address.
    pub(super) fn of_tcp(name: &str, address: String) -> Self {
        Self {
            name: name.to_owned(),
            tcp: address,
            interval: Some(GoDuration::Text(Span::from_secs(10))),
            ..Self::default()
        }
    }

    /// A check that stands as a service does.
    pub(super) fn of_alias(name: String, service: ServiceId) -> Self {
        Self {
            name,
            alias_service: service,
            ..Self::default()
        }
    }

    /// Whether it says how somebody else makes it.
    pub(in crate::consul) fn has_definition(&self) -> bool {
        self.definition.is_some()
    }

    /// Its name, if it has one.
    pub(in crate::consul) fn name(&self) -> &str {
        &self.name
    }

    /// The check and how it is made.
    pub(in crate::consul) fn check(
        &self,
        scripts: Scripts,
    ) -> Result<(Check, CheckDefinition), Error> {
        let definition = self.definition(scripts)?;
        let id = if self.id.is_empty() {
            &self.check_id
        } else {
            &self.id
        };
        let check = Check {
            id: id.clone(),
            name: self.name.clone(),
            notes: self.notes.clone(),
            service_id: self.service_id.clone().or_none(),
            status: self.status()?,
            kind: definition.probe.kind().to_owned(),
            interval: definition.interval,
            timeout: definition.timeout,
            ..Check::default()
        };
        Ok((check, definition))
    }

    /// The check as the catalog takes it: somebody else looks after it.
    pub(in crate::consul) fn catalog_check(&self) -> Result<Check, Error> {
        let posted = self.definition.clone().unwrap_or_default();
        let kinds = [
            (&self.grpc, &posted.grpc, "grpc"),
            (&self.http, &posted.http, "http"),
            (&self.tcp, &posted.tcp, "tcp"),
            (&self.udp, &posted.udp, "udp"),
            (&self.os_service, &posted.os_service, "os_service"),
        ];
        let mut kinds = kinds.into_iter();
        let kind = kinds.find(|(own, defined, _)| !(own.is_empty() && defined.is_empty()));
        let id = if self.check_id.is_empty() {
            CheckId::from(&self.name)
        } else {
            self.check_id.clone()
        };
        Ok(Check {
            id,
            name: self.name.clone(),
            notes: self.notes.clone(),
            service_id: self.service_id.clone().or_none(),
            status: self.status()?,
            kind: kind.map(|(.., kind)| kind.to_owned()).unwrap_or_default(),
            output: self.output.clone(),
            definition: posted.kept(),
            ..Check::default()
        })
    }

    fn status(&self) -> Result<Status, Error> {
        if self.status.is_empty() {
            return Ok(Status::Critical);
        }
        self.status.parse().map_err(|_| {
            Error::bad_request("Status for checks must 'passing', 'warning', 'critical'")
        })
    }

    fn definition(&self, scripts: Scripts) -> Result<CheckDefinition, Error> {
        let interval = length(self.interval);
        let ttl = length(self.ttl);
        let probe = self.probe(ttl, scripts)?;
        let invalid = |reason: &str| Err(Error::bad_request(format!("Invalid check: {reason}")));
        let is_alias = !(self.alias_node.is_empty() && self.alias_service.is_empty());
        if is_alias && probe.is_run() {
            return invalid("Interval cannot be set for Alias checks");
        }
        if is_alias && !ttl.is_zero() {
            return invalid("TTL must be not be set for Alias checks");
        }
        if !interval.is_zero() && !ttl.is_zero() {
            return invalid("Interval and TTL cannot both be specified");
        }
        if probe.is_run() && interval.is_zero() {
            return invalid(
                "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks",
            );
        }
        if self.failures_before_warning > self.failures_before_critical {
            return invalid("FailuresBeforeWarning can't be higher than FailuresBeforeCritical");
        }
        let warns = self.failures_before_warning > 0;
        Ok(CheckDefinition {
            interval: if interval.is_zero() {
                interval
            } else {
                interval.max(INTERVAL_MIN)
            },
            timeout: length(self.timeout),
            success_before_passing: self.success_before_passing,
            failures_before_warning: warns.then_some(self.failures_before_warning),
            failures_before_critical: self.failures_before_critical,
            output_bytes_max: (1..OUTPUT_BYTES_MAX)
                .contains(&self.output_max_size)
                .then_some(self.output_max_size),
            deregister_after: length(self.deregister_critical_service_after),
            probe,
        })
    }

    fn probe(&self, ttl: Duration, scripts: Scripts) -> Result<Probe, Error> {
        let runs_program = !self.args.is_empty() || !self.docker_container_id.is_empty();
        if let Scripts::Refused(reason) = scripts
            && runs_program
        {
            return Err(Error::internal(reason));
        }
        if !self.grpc.is_empty() {
            let (address, service) = self.grpc.split_once('/').unwrap_or((&self.grpc, ""));
            return Ok(Probe::Grpc(self.http2(address, service, self.grpc_use_tls)));
        }
        if !self.http.is_empty() {
            return Ok(Probe::Http(HttpProbe {
                url: self.http.clone(),
                method: self.method.clone(),
                header: self.header.clone(),
                body: self.body.clone(),
                tls_skip_verify: self.tls_skip_verify,
                tls_server_name: self.tls_server_name.clone(),
                disable_redirects: self.disable_redirects,
            }));
        }
        if !ttl.is_zero() {
            return Ok(Probe::Ttl { ttl });
        }
        if !self.tcp.is_empty() {
            let address = self.tcp.clone();
            let tls = self.tcp_use_tls.then(|| TlsProbe {
                skip_verify: self.tls_skip_verify,
                server_name: self.tls_server_name.clone(),
            });
            return Ok(Probe::Tcp { address, tls });
        }
        if !self.udp.is_empty() {
            let address = self.udp.clone();
            return Ok(Probe::Udp { address });
        }
        if !(self.alias_service.is_empty() && self.alias_node.is_empty()) {
            return Ok(Probe::Alias {
                node: self.alias_node.clone().or_none(),
                service: self.alias_service.clone().or_none(),
            });
        }
        if !self.docker_container_id.is_empty() {
            return Ok(Probe::Docker(DockerProbe {
                container: self.docker_container_id.clone(),
                shell: self.shell.clone(),
                args: self.args.clone(),
            }));
        }
        if !self.args.is_empty() {
            let args = self.args.clone();
            return Ok(Probe::Script { args });
        }
        if !self.os_service.is_empty() {
            let name = self.os_service.clone();
            return Ok(Probe::OsService { name });
        }
        if !self.h2ping.is_empty() {
            let tls = self.h2ping_use_tls.unwrap_or(true);
            return Ok(Probe::H2Ping(self.http2(&self.h2ping, "", tls)));
        }
        Err(Error::bad_request(
            "Invalid check: TTL must be > 0 for TTL checks",
        ))
    }
}

impl PostedCheck {
    fn http2(&self, address: &str, service: &str, tls: bool) -> Http2Probe {
        Http2Probe {
            address: address.to_owned(),
            service: service.to_owned(),
            tls,
            tls_skip_verify: self.tls_skip_verify,
            tls_server_name: self.tls_server_name.clone(),
        }
    }
}
