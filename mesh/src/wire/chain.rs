//! A discovery chain as its endpoint shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::catalog::Empty;
use super::duration::go_duration;
use crate::chain::{Chain, Step, Target};

/// The answer. Source: discovery chain API, "Read Compiled Discovery Chain".
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChainAnswer {
    /// The chain.
    pub chain: ChainEntry,
}

/// A chain.
///
/// Shape: nodes and targets are keyed by their names; virtual addresses are null when nobody asked
/// for them.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChainEntry {
    /// The service.
    pub service_name: String,
    /// Always `default`.
    pub namespace: &'static str,
    /// Always `default`.
    pub partition: &'static str,
    /// The datacenter from which it is asked for.
    pub datacenter: String,
    /// Eight digits that tell the asker's wishes apart; absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customization_hash: Option<String>,
    /// Absent unless no entry says anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// How the services speak.
    pub protocol: String,
    /// Name of the first step.
    pub start_node: String,
    /// Steps by name.
    pub nodes: BTreeMap<String, ChainNode>,
    /// Targets by id.
    pub targets: BTreeMap<String, ChainTarget>,
    /// Addresses that stand for the service.
    #[serde(rename = "AutoVirtualIPs")]
    pub auto_virtual_ips: Option<Vec<String>>,
    /// Always empty, or null as the others.
    #[serde(rename = "ManualVirtualIPs")]
    pub manual_virtual_ips: Option<Vec<String>>,
}

/// A step; one of the three lists of settings is there.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChainNode {
    /// `router`, `splitter` or `resolver`.
    pub r#type: &'static str,
    /// The step's name without its type.
    pub name: String,
    /// Of a router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<ChainRoute>>,
    /// Of a splitter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splits: Option<Vec<ChainSplit>>,
    /// Of a resolver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolver: Option<ChainResolver>,
    /// How targets are balanced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<Value>,
}

/// A way out of a router.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChainRoute {
    /// As the entry has it.
    pub definition: Value,
    /// Name of the next step.
    pub next_node: String,
}

/// A part of a splitter.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChainSplit {
    /// As the entry has it.
    pub definition: Value,
    /// In percent.
    pub weight: Value,
    /// Name of the next step.
    pub next_node: String,
}

/// Where requests go.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChainResolver {
    /// Time to connect.
    pub connect_timeout: String,
    /// Nanoseconds for a request; absent for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<u64>,
    /// Absent unless no entry says anything about the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// Id of the target.
    pub target: String,
    /// What stands in for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover: Option<ChainFailover>,
}

/// What stands in for a target.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChainFailover {
    /// Ids of targets.
    pub targets: Vec<String>,
    /// How they are picked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Value>,
}

/// A target.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChainTarget {
    /// Time to connect.
    pub connect_timeout: String,
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// The service.
    pub service: String,
    /// The subset.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_subset: String,
    /// Always `default`.
    pub namespace: &'static str,
    /// Always `default`.
    pub partition: &'static str,
    /// The datacenter.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub datacenter: String,
    /// The peer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// Mode of mesh gateways.
    pub mesh_gateway: GatewayMode,
    /// What makes the subset.
    pub subset: SubsetEntry,
    /// Always empty.
    pub transparent_proxy: Empty,
    /// Name in TLS.
    #[serde(rename = "SNI", skip_serializing_if = "String::is_empty")]
    pub sni: String,
    /// The same.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whether it is outside the mesh.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
}

/// Mode of mesh gateways.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GatewayMode {
    /// Absent for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
}

/// What makes a subset.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SubsetEntry {
    /// Filter expression.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// Whether instances in warning are left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub only_passing: bool,
}

impl ChainAnswer {
    /// Shows a chain, with the address that stands for its service.
    #[must_use]
    pub fn new(chain: &Chain, virtual_address: Option<String>) -> Self {
        let manual = virtual_address.is_some().then(Vec::new);
        let steps = chain.steps.iter();
        let targets = chain.targets.iter();
        Self {
            chain: ChainEntry {
                service_name: chain.service.clone(),
                namespace: "default",
                partition: "default",
                datacenter: chain.datacenter.clone(),
                customization_hash: chain.is_customized.then(|| customization(chain)),
                default: chain.is_default.then_some(true),
                protocol: chain.protocol.clone(),
                start_node: chain.start.clone(),
                nodes: steps
                    .map(|(name, step)| (name.clone(), ChainNode::new(name, step)))
                    .collect(),
                targets: targets.map(|(id, to)| (id.clone(), to.into())).collect(),
                auto_virtual_ips: virtual_address.map(|address| vec![address]),
                manual_virtual_ips: manual,
            },
        }
    }
}

/// Eight digits that are equal for equal wishes.
fn customization(chain: &Chain) -> String {
    let first = chain.targets.values().next();
    let gateway = first.map_or("", |target| target.gateway_mode.as_str());
    let timeout = first.map_or(Duration::ZERO, |target| target.connect_timeout);
    let text = format!("{} {gateway} {}", chain.protocol, timeout.as_nanos());
    // FNV-1a: nobody but the asker compares it.
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{hash:08x}")
}

impl ChainNode {
    fn new(name: &str, step: &Step) -> Self {
        let name = name.split_once(':').map_or(name, |(_, name)| name);
        let node = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        match step {
            Step::Router { routes } => Self {
                r#type: "router",
                routes: Some(
                    routes
                        .iter()
                        .map(|route| ChainRoute {
                            definition: route.definition.clone(),
                            next_node: route.next.clone(),
                        })
                        .collect(),
                ),
                ..node
            },
            Step::Splitter {
                splits,
                load_balancer,
            } => Self {
                r#type: "splitter",
                splits: Some(
                    splits
                        .iter()
                        .map(|split| ChainSplit {
                            definition: split.definition.clone(),
                            weight: percent(split.share),
                            next_node: split.next.clone(),
                        })
                        .collect(),
                ),
                load_balancer: load_balancer.clone(),
                ..node
            },
            Step::Resolver {
                resolver,
                load_balancer,
            } => Self {
                r#type: "resolver",
                resolver: Some(ChainResolver {
                    connect_timeout: go_duration(resolver.connect_timeout),
                    request_timeout: nanoseconds(resolver.request_timeout),
                    default: resolver.is_default.then_some(true),
                    target: resolver.target.clone(),
                    failover: (!resolver.failover.is_empty()).then(|| ChainFailover {
                        targets: resolver.failover.clone(),
                        policy: resolver.failover_policy.clone(),
                    }),
                }),
                load_balancer: load_balancer.clone(),
                ..node
            },
        }
    }
}

fn nanoseconds(duration: Duration) -> Option<u64> {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    (nanoseconds > 0).then_some(nanoseconds)
}

/// Hundredths of a percent as percent: whole where it is.
fn percent(share: u32) -> Value {
    if share.is_multiple_of(100) {
        Value::from(share / 100)
    } else {
        Value::from(f64::from(share) / 100.0)
    }
}

impl From<&Target> for ChainTarget {
    fn from(target: &Target) -> Self {
        Self {
            connect_timeout: go_duration(target.connect_timeout),
            id: target.id.clone(),
            service: target.service.clone(),
            service_subset: target.subset.clone(),
            namespace: "default",
            partition: "default",
            datacenter: target.datacenter.clone(),
            peer: target.peer.clone(),
            mesh_gateway: GatewayMode {
                mode: target.gateway_mode.clone(),
            },
            subset: SubsetEntry {
                filter: target.filter.clone(),
                only_passing: target.only_passing,
            },
            transparent_proxy: Empty {},
            sni: target.sni.clone(),
            name: target.sni.clone(),
            external: target.is_external,
        }
    }
}
