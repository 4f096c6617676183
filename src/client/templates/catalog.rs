//! What the agent's copy of the catalog answers to templates.

use jobs::model::{AllocId, TaskName};
use mesh::{
    model::{Check, Node, Service, ServiceName, Status},
    view::{Instance, Table, View},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
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
        Query::Service {
            name,
            tag,
            health,
            datacenter,
        } => {
            let instances = view.instances(name).into_iter();
            let tagged = |one: &Instance| match tag {
                Some(tag) => one.has_tags(std::slice::from_ref(tag)),
                None => true,
            };
            let instances = instances.filter(|one| is_in(&one.node, datacenter.as_deref()));
            let instances = instances.filter(|one| is_wanted(one, health) && tagged(one));
            instances.map(|one| instance(&one)).collect()
        }
        Query::Services { datacenter: None } => listed(view.service_tags()),
        Query::Services { datacenter } => {
            let is_there = |row: &Service| {
                let node = view.node(&row.node);
                node.is_some_and(|node| is_in(node, datacenter.as_deref()))
            };
            let rows = view.all_services();
            listed(tags_of(rows.filter(|row| row.is_shown() && is_there(row))))
        }
        Query::Nodes { datacenter } => {
            let nodes = view.nodes();
            let there = nodes.filter(|one| is_in(one, datacenter.as_deref()));
            there.map(|one| node(one)).collect()
        }
        Query::Node { name, datacenter } => {
            let name = name.as_deref().unwrap_or(&place.node);
            let found = view.node(name);
            match found.filter(|node| is_in(node, datacenter.as_deref())) {
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
            let rows = view.all_services();
            let own = rows.filter(|row| !row.draining && is_native(row, &place.namespace));
            listed(tags_of(own))
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
        Query::Services { datacenter: None } | Query::NativeServices => {
            Some(view.table_index(Table::Services))
        }
        Query::Services { .. } => {
            let services = view.table_index(Table::Services);
            Some(services.max(view.table_index(Table::Nodes)))
        }
        Query::Nodes { .. } | Query::Datacenters => Some(view.table_index(Table::Nodes)),
        Query::Node { name, .. } => Some(view.node_index(name.as_deref().unwrap_or(&place.node))),
        Query::Key(_) | Query::Keys(_) | Query::Variable { .. } | Query::Variables { .. } => None,
    }
}

/// Whether a node is where it is asked for.
fn is_in(node: &Node, datacenter: Option<&str>) -> bool {
    datacenter.is_none_or(|datacenter| node.datacenter == datacenter)
}

/// Names of services with the union of their tags.
fn tags_of<'a>(
    rows: impl Iterator<Item = &'a Arc<Service>>,
) -> BTreeMap<ServiceName, BTreeSet<String>> {
    let mut services: BTreeMap<ServiceName, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        let tags = services.entry(row.name.clone()).or_default();
        tags.extend(row.tags.iter().cloned());
    }
    services
}

fn listed(services: BTreeMap<ServiceName, BTreeSet<String>>) -> Value {
    let services = services.into_iter();
    services
        .map(|(name, tags)| json!({"Name": name, "Tags": tags}))
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use mesh::{
        model::Timestamp,
        state::{Command, Register, Stamp, State},
    };

    #[test]
    fn a_datacenter_is_a_part_of_the_region() {
        let mut state = State::default();
        let rows = [
            ("one", "dc1", "web", "a"),
            ("two", "dc2", "web", "b"),
            ("three", "dc2", "db", "c"),
        ];
        for (index, (node, datacenter, service, tag)) in (1..).zip(rows) {
            let register = Register {
                node: Node {
                    name: node.into(),
                    address: "192.0.2.1".to_owned(),
                    datacenter: datacenter.to_owned(),
                    ..Node::default()
                },
                service: Some(Service {
                    id: service.into(),
                    name: service.into(),
                    tags: vec![tag.to_owned()],
                    ..Service::default()
                }),
                ..Register::default()
            };
            let now = Timestamp::default();
            let registered = Command::Register(Box::new(register));
            state.apply(Stamp { index, now }, registered).unwrap();
        }
        let place = Place {
            node: "one".to_owned(),
            namespace: "default".to_owned(),
            alloc_id: AllocId::named("a"),
            task: "main".into(),
        };
        let shown = |query: &Query, key: &str| -> Vec<String> {
            let found = answer(state.current().view(), &place, query).unwrap();
            let rows = found.as_array().unwrap().iter();
            rows.map(|row| row[key].as_str().unwrap().to_owned())
                .collect()
        };
        for (datacenter, nodes, services, web) in [
            (None, "one three two", "db web", "one two"),
            (Some("dc1"), "one", "web", "one"),
            (Some("dc2"), "three two", "db web", "two"),
            (Some("dc3"), "", "", ""),
        ] {
            let datacenter = datacenter.map(str::to_owned);
            let query = Query::Nodes {
                datacenter: datacenter.clone(),
            };
            assert_eq!(shown(&query, "Node").join(" "), nodes, "{query}");
            let query = Query::Services {
                datacenter: datacenter.clone(),
            };
            assert_eq!(shown(&query, "Name").join(" "), services, "{query}");
            let query = Query::Service {
                name: "web".to_owned(),
                tag: None,
                health: vec!["any".to_owned()],
                datacenter: datacenter.clone(),
            };
            assert_eq!(shown(&query, "Node").join(" "), web, "{query}");
            let query = Query::Node {
                name: Some("two".to_owned()),
                datacenter,
            };
            let found = answer(state.current().view(), &place, &query).unwrap();
            assert_eq!(found.is_object(), web.contains("two"), "{query}");
        }
        let tags = Query::Services {
            datacenter: Some("dc1".to_owned()),
        };
        let found = answer(state.current().view(), &place, &tags).unwrap();
        assert_eq!(found, json!([{"Name": "web", "Tags": ["a"]}]));
    }
}
