//! What filter expressions may name in each kind of row.
//!
//! Names are those of the JSON, except that indexes cannot be named.

use std::collections::BTreeMap;

use crate::filter::{Fields, Filterable, Kind, Row, Value};

use super::agent::{AgentMember, AgentService};
use super::catalog::{
    CatalogNode, CatalogService, CatalogServiceEntry, Connect, Proxy, TaggedAddress, WeightsEntry,
};
use super::health::{HealthCheck, HealthServiceEntry};

/// An address under a network tag.
const ADDRESS: Fields = &[("Address", Kind::Text), ("Port", Kind::Integer)];
/// Weights by health.
const WEIGHTS: Fields = &[("Passing", Kind::Integer), ("Warning", Kind::Integer)];
/// Mesh settings.
const CONNECT: Fields = &[("Native", Kind::Flag)];
/// A gateway setting.
const GATEWAY: Fields = &[("Mode", Kind::Text)];
/// A path that a proxy exposes.
const EXPOSED_PATH: Fields = &[
    ("ListenerPort", Kind::Integer),
    ("LocalPathPort", Kind::Integer),
    ("ParsedFromCheck", Kind::Flag),
    ("Path", Kind::Text),
    ("Protocol", Kind::Text),
];
/// What a proxy exposes.
const EXPOSE: Fields = &[("Checks", Kind::Flag), ("Paths", Kind::Rows(EXPOSED_PATH))];
/// A service that a proxy leads to.
const UPSTREAM: Fields = &[
    ("Datacenter", Kind::Text),
    ("DestinationName", Kind::Text),
    ("DestinationNamespace", Kind::Text),
    ("DestinationType", Kind::Text),
    ("LocalBindAddress", Kind::Text),
    ("LocalBindPort", Kind::Integer),
    ("MeshGateway", Kind::Row(GATEWAY)),
];
/// Settings of a proxy.
const PROXY: Fields = &[
    ("DestinationServiceID", Kind::Text),
    ("DestinationServiceName", Kind::Text),
    ("Expose", Kind::Row(EXPOSE)),
    ("LocalServiceAddress", Kind::Text),
    ("LocalServicePort", Kind::Integer),
    ("MeshGateway", Kind::Row(GATEWAY)),
    ("Mode", Kind::Text),
    ("Upstreams", Kind::Rows(UPSTREAM)),
];

/// A map that may not be set.
fn optional(map: Option<&BTreeMap<String, String>>) -> Value<'_> {
    map.map_or(Value::Absent, Value::TextMap)
}

fn addresses(map: &BTreeMap<String, TaggedAddress>) -> Value<'_> {
    let rows = map.iter().map(|(tag, at)| (tag.as_str(), at as &dyn Row));
    Value::RowMap(rows.collect())
}

/// The settings of a proxy, which are kept as they were registered.
fn proxy(proxy: &Proxy) -> Value<'_> {
    match proxy {
        Proxy::None(_) => Value::Absent,
        Proxy::Of(settings) => json(settings),
    }
}

fn json(value: &serde_json::Value) -> Value<'_> {
    match value {
        serde_json::Value::Null => Value::Absent,
        serde_json::Value::Bool(flag) => Value::Flag(*flag),
        serde_json::Value::Number(number) => number
            .as_i64()
            .map_or(Value::Absent, |number| Value::Number(number.into())),
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(items) => {
            Value::Rows(items.iter().map(|item| item as &dyn Row).collect())
        }
        serde_json::Value::Object(_) => Value::Row(value),
    }
}

impl Row for serde_json::Value {
    fn value(&self, name: &str) -> Value<'_> {
        self.get(name).map_or(Value::Absent, json)
    }
}

impl Row for Connect {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "Native" => Value::Flag(self.native),
            _ => Value::Absent,
        }
    }
}

impl Row for TaggedAddress {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "Address" => Value::Text(&self.address),
            "Port" => Value::Number(self.port.into()),
            _ => Value::Absent,
        }
    }
}

impl Row for WeightsEntry {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "Passing" => Value::Number(self.passing.into()),
            "Warning" => Value::Number(self.warning.into()),
            _ => Value::Absent,
        }
    }
}

impl Row for CatalogNode {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "ID" => Value::Text(&self.id),
            "Node" => Value::Text(&self.node),
            "Address" => Value::Text(&self.address),
            "Datacenter" => Value::Text(&self.datacenter),
            "TaggedAddresses" => optional(self.tagged_addresses.as_ref()),
            "Meta" => optional(self.meta.as_ref()),
            _ => Value::Absent,
        }
    }
}

impl Filterable for CatalogNode {
    const FIELDS: Fields = &[
        ("ID", Kind::Text),
        ("Node", Kind::Text),
        ("Address", Kind::Text),
        ("Datacenter", Kind::Text),
        ("TaggedAddresses", Kind::TextMap),
        ("Meta", Kind::TextMap),
        ("PeerName", Kind::Text),
    ];
}

impl Row for CatalogService {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "ID" => Value::Text(&self.id),
            "Node" => Value::Text(&self.node),
            "Address" => Value::Text(&self.address),
            "Datacenter" => Value::Text(&self.datacenter),
            "TaggedAddresses" => optional(self.tagged_addresses.as_ref()),
            "NodeMeta" => optional(self.node_meta.as_ref()),
            "ServiceKind" => Value::Text(&self.service_kind),
            "ServiceID" => Value::Text(&self.service_id),
            "ServiceName" => Value::Text(&self.service_name),
            "ServiceTags" => Value::Texts(&self.service_tags),
            "ServiceAddress" => Value::Text(&self.service_address),
            "ServiceTaggedAddresses" => addresses(&self.service_tagged_addresses),
            "ServiceWeights" => Value::Row(&self.service_weights),
            "ServiceMeta" => Value::TextMap(&self.service_meta),
            "ServicePort" => Value::Number(self.service_port.into()),
            "ServiceEnableTagOverride" => Value::Flag(self.service_enable_tag_override),
            "ServiceProxy" => proxy(&self.service_proxy),
            "ServiceConnect" => Value::Row(&self.service_connect),
            _ => Value::Absent,
        }
    }
}

impl Filterable for CatalogService {
    const FIELDS: Fields = &[
        ("ID", Kind::Text),
        ("Node", Kind::Text),
        ("Address", Kind::Text),
        ("Datacenter", Kind::Text),
        ("TaggedAddresses", Kind::TextMap),
        ("NodeMeta", Kind::TextMap),
        ("ServiceKind", Kind::Text),
        ("ServiceID", Kind::Text),
        ("ServiceName", Kind::Text),
        ("ServiceTags", Kind::Texts),
        ("ServiceAddress", Kind::Text),
        ("ServiceSocketPath", Kind::Text),
        ("ServiceTaggedAddresses", Kind::RowMap(ADDRESS)),
        ("ServiceWeights", Kind::Row(WEIGHTS)),
        ("ServiceMeta", Kind::TextMap),
        ("ServicePort", Kind::Integer),
        ("ServiceEnableTagOverride", Kind::Flag),
        ("ServiceProxy", Kind::Row(PROXY)),
        ("ServiceConnect", Kind::Row(CONNECT)),
        ("PeerName", Kind::Text),
    ];
}

/// The fields of an instance without its node.
const INSTANCE: Fields = &[
    ("Kind", Kind::Text),
    ("ID", Kind::Text),
    ("Service", Kind::Text),
    ("Tags", Kind::Texts),
    ("Address", Kind::Text),
    ("SocketPath", Kind::Text),
    ("TaggedAddresses", Kind::RowMap(ADDRESS)),
    ("Meta", Kind::TextMap),
    ("Port", Kind::Integer),
    ("Weights", Kind::Row(WEIGHTS)),
    ("EnableTagOverride", Kind::Flag),
    ("Proxy", Kind::Row(PROXY)),
    ("Connect", Kind::Row(CONNECT)),
    ("PeerName", Kind::Text),
];

impl Row for CatalogServiceEntry {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "Kind" => Value::Text(&self.kind),
            "ID" => Value::Text(&self.id),
            "Service" => Value::Text(&self.service),
            "Tags" => Value::Texts(&self.tags),
            "Address" => Value::Text(&self.address),
            "TaggedAddresses" => addresses(&self.tagged_addresses),
            "Meta" => optional(self.meta.as_ref()),
            "Port" => Value::Number(self.port.into()),
            "Weights" => Value::Row(&self.weights),
            "EnableTagOverride" => Value::Flag(self.enable_tag_override),
            "Proxy" => proxy(&self.proxy),
            "Connect" => Value::Row(&self.connect),
            _ => Value::Absent,
        }
    }
}

impl Filterable for CatalogServiceEntry {
    const FIELDS: Fields = INSTANCE;
}

impl Row for AgentService {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "Kind" => Value::Text(&self.kind),
            "ID" => Value::Text(&self.id),
            "Service" => Value::Text(&self.service),
            "Tags" => Value::Texts(&self.tags),
            "Address" => Value::Text(&self.address),
            "TaggedAddresses" => addresses(&self.tagged_addresses),
            "Meta" => Value::TextMap(&self.meta),
            "Port" => Value::Number(self.port.into()),
            "Weights" => Value::Row(&self.weights),
            "EnableTagOverride" => Value::Flag(self.enable_tag_override),
            "Proxy" => self.proxy.as_ref().map_or(Value::Absent, proxy),
            "Connect" => match &self.connect {
                Some(connect) => Value::Row(connect),
                None => Value::Absent,
            },
            _ => Value::Absent,
        }
    }
}

impl Filterable for AgentService {
    const FIELDS: Fields = INSTANCE;
}

impl Row for HealthCheck {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "Node" => Value::Text(&self.node),
            "CheckID" => Value::Text(&self.check_id),
            "Name" => Value::Text(&self.name),
            "Status" => Value::Text(self.status.as_str()),
            "Notes" => Value::Text(&self.notes),
            "Output" => Value::Text(&self.output),
            "ServiceID" => Value::Text(&self.service_id),
            "ServiceName" => Value::Text(&self.service_name),
            "ServiceTags" => Value::Texts(&self.service_tags),
            "Type" => Value::Text(&self.kind),
            "Interval" => Value::Text(&self.interval),
            "Timeout" => Value::Text(&self.timeout),
            "ExposedPort" => Value::Number(self.exposed_port.into()),
            _ => Value::Absent,
        }
    }
}

/// The fields of a check.
const CHECK: Fields = &[
    ("Node", Kind::Text),
    ("CheckID", Kind::Text),
    ("Name", Kind::Text),
    ("Status", Kind::Text),
    ("Notes", Kind::Text),
    ("Output", Kind::Text),
    ("ServiceID", Kind::Text),
    ("ServiceName", Kind::Text),
    ("ServiceTags", Kind::Texts),
    ("Type", Kind::Text),
    ("Interval", Kind::Text),
    ("Timeout", Kind::Text),
    ("ExposedPort", Kind::Integer),
    ("PeerName", Kind::Text),
];

impl Filterable for HealthCheck {
    const FIELDS: Fields = CHECK;
}

impl Row for HealthServiceEntry {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "Node" => Value::Row(&self.node),
            "Service" => Value::Row(&self.service),
            "Checks" => Value::Rows(self.checks.iter().map(|check| check as &dyn Row).collect()),
            _ => Value::Absent,
        }
    }
}

impl Filterable for HealthServiceEntry {
    const FIELDS: Fields = &[
        ("Node", Kind::Row(CatalogNode::FIELDS)),
        ("Service", Kind::Row(INSTANCE)),
        ("Checks", Kind::Rows(CHECK)),
    ];
}

impl Row for AgentMember {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "Name" => Value::Text(&self.name),
            "Port" => Value::Number(self.port.into()),
            "Tags" => Value::TextMap(&self.tags),
            "Status" => Value::Number(self.status.into()),
            "ProtocolMin" => Value::Number(self.protocol_min.into()),
            "ProtocolMax" => Value::Number(self.protocol_max.into()),
            "ProtocolCur" => Value::Number(self.protocol_cur.into()),
            "DelegateMin" => Value::Number(self.delegate_min.into()),
            "DelegateMax" => Value::Number(self.delegate_max.into()),
            "DelegateCur" => Value::Number(self.delegate_cur.into()),
            _ => Value::Absent,
        }
    }
}

impl Filterable for AgentMember {
    const FIELDS: Fields = &[
        ("Name", Kind::Text),
        ("Port", Kind::Unsigned),
        ("Tags", Kind::TextMap),
        ("Status", Kind::Integer),
        ("ProtocolMin", Kind::Unsigned),
        ("ProtocolMax", Kind::Unsigned),
        ("ProtocolCur", Kind::Unsigned),
        ("DelegateMin", Kind::Unsigned),
        ("DelegateMax", Kind::Unsigned),
        ("DelegateCur", Kind::Unsigned),
    ];
}
