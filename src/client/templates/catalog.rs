//! What the agent's copy of the catalog answers to templates.

use jobs::model::{AllocId, TaskName};
use mesh::{
    model::{Check, Node, Service, Status},
    view::{Instance, Table, View},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use templates::{Choice, Query};

/// Where the agent is in the catalog.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Name of its node.
    pub(crate) node: String,
    /// Namespace of the task's job.
    pub(crate) namespace: String,
    /// The allocation.
    pub(crate) alloc_id: AllocId,
    /// The task.
    pub(crate) task: TaskName,
}

/// The answer to a question that the catalog can answer; none for another one.
pub(super) fn answer(view: &View, place: &Place, query: &Query) -> Option<Value> {
    Some(match query {
        Query::Service { name, tag, health } => {
            let instances = view.instances(name).into_iter();
            let tagged = |one: &Instance| match tag {
                Some(tag) => one.has_tags(std::slice::from_ref(tag)),
                None => true,
            };
            let instances = instances.filter(|one| is_wanted(one, health) && tagged(one));
            instances.map(|one| instance(&one)).collect()
        }
        Query::Services => {
            let services = view.service_tags().into_iter();
            services
                .map(|(name, tags)| json!({"Name": name, "Tags": tags}))
                .collect()
        }
        Query::Nodes => view.nodes().map(|one| node(one)).collect(),
        Query::Node(name) => {
            let name = name.as_deref().unwrap_or(&place.node);
            match view.node(name) {
                None => Value::Null,
                Some(found) => json!({
                    "Node": node(found),
                    "Services": view.services_of_node(name).map(|one| of_node(one)).collect::<Value>(),
                }),
            }
        }
        Query::Datacenters => view.datacenters().collect(),
        Query::NativeService { name, choice } => {
            let mut found: Vec<Instance> = view.instances(name);
            found.retain(|one| is_native(&one.service, &place.namespace));
            if let Some(choice) = choice {
                choose(&mut found, choice);
            }
            found.iter().map(native).collect()
        }
        Query::NativeServices => {
            let mut services: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            let rows = view.all_services();
            for row in rows.filter(|row| !row.draining && is_native(row, &place.namespace)) {
                let tags = services.entry(row.name.as_str()).or_default();
                tags.extend(row.tags.iter().map(String::as_str));
            }
            let services = services.into_iter();
            services
                .map(|(name, tags)| json!({"Name": name, "Tags": tags}))
                .collect()
        }
        Query::Key(_) | Query::Keys(_) | Query::Variable { .. } | Query::Variables { .. } => {
            return None;
        }
    })
}

/// Changes whenever the answer to a question may; none for one that the catalog cannot answer.
pub(super) fn version(view: &View, place: &Place, query: &Query) -> Option<u64> {
    match query {
        Query::Service { name, .. } | Query::NativeService { name, .. } => {
            Some(view.health_index(name))
        }
        Query::Services | Query::NativeServices => Some(view.table_index(Table::Services)),
        Query::Nodes | Query::Datacenters => Some(view.table_index(Table::Nodes)),
        Query::Node(name) => Some(view.node_index(name.as_deref().unwrap_or(&place.node))),
        Query::Key(_) | Query::Keys(_) | Query::Variable { .. } | Query::Variables { .. } => None,
    }
}

fn is_wanted(instance: &Instance, health: &[String]) -> bool {
    health
        .iter()
        .any(|wanted| wanted == "any" || *wanted == instance.status.as_str())
}

/// Of a job of the namespace. Which provider the job named plays no part: there is one catalog.
fn is_native(service: &Service, namespace: &str) -> bool {
    let origin = service.origin.as_ref();
    origin.is_some_and(|origin| origin.namespace.as_str() == namespace)
}

/// The instances that are nearest to a key, by a digest of both: others come and go without moving
/// those that stay.
fn choose(found: &mut Vec<Instance>, choice: &Choice) {
    found.sort_by_cached_key(|one| {
        let mut digest = Sha256::new();
        let (node, id) = (one.service.node.as_str(), one.service.id.as_str());
        for part in [choice.key.as_str(), node, id] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().to_vec()
    });
    found.truncate(choice.count);
}

fn node(node: &Node) -> Value {
    json!({
        "ID": node.id, "Node": node.name, "Address": node.address, "Datacenter": node.datacenter,
        "TaggedAddresses": node.tagged_addresses, "Meta": node.meta,
    })
}

fn of_node(service: &Service) -> Value {
    json!({
        "ID": service.id, "Service": service.name, "Tags": service.tags, "Meta": service.meta,
        "Port": service.port, "Address": service.address,
    })
}

fn instance(instance: &Instance) -> Value {
    let (node, service) = (&instance.node, &instance.service);
    json!({
        "Node": node.name, "NodeID": node.id, "NodeAddress": node.address,
        "NodeDatacenter": node.datacenter, "NodeTaggedAddresses": node.tagged_addresses,
        "NodeMeta": node.meta, "ServiceMeta": service.meta, "Address": instance.address(),
        "ServiceTaggedAddresses": tagged(service), "ID": service.id, "Name": service.name,
        "Port": service.port, "Tags": service.tags, "Status": status(instance.status),
        "Checks": instance.checks.iter().map(|one| check(one)).collect::<Value>(),
        "Weights": {"Passing": service.weights.passing, "Warning": service.weights.warning},
    })
}

fn tagged(service: &Service) -> Value {
    let addresses = service.tagged_addresses.iter();
    let addresses = addresses.map(|(name, at)| {
        (
            name.clone(),
            json!({"Address": at.address, "Port": at.port}),
        )
    });
    Value::Object(addresses.collect())
}

fn check(check: &Check) -> Value {
    json!({
        "CheckID": check.id, "Name": check.name, "Status": status(check.status),
        "ServiceID": check.service_id.as_deref().unwrap_or_default(), "Output": check.output,
    })
}

fn status(status: Status) -> &'static str {
    status.as_str()
}

fn native(instance: &Instance) -> Value {
    let (node, service) = (&instance.node, &instance.service);
    let origin = service.origin.clone().unwrap_or_default();
    json!({
        "ID": service.id, "Name": service.name, "Node": node.id, "Address": instance.address(),
        "Port": service.port, "Datacenter": node.datacenter, "Tags": service.tags,
        "JobID": origin.job_id, "AllocID": origin.alloc_id, "Namespace": origin.namespace,
    })
}
