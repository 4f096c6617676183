//! What filter expressions may name in each kind of row.
//!
//! Names are those of the JSON, except that indexes cannot be named.

use std::collections::BTreeMap;

use crate::{
    filter::{Fields, Filterable, Kind, Row, Value},
    model::{Name, Status},
};

use super::agent::{AgentMember, AgentService};
use super::catalog::{
    CatalogNode, CatalogService, CatalogServiceEntry, Connect, Proxy, TaggedAddress, WeightsEntry,
};
use super::health::{HealthCheck, HealthServiceEntry};
use super::ui::NodeOverview;

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
/// How a proxy takes over all connections of its machine.
const TRANSPARENT: Fields = &[
    ("DialedDirectly", Kind::Flag),
    ("OutboundListenerPort", Kind::Integer),
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
    ("TransparentProxy", Kind::Row(TRANSPARENT)),
    ("Upstreams", Kind::Rows(UPSTREAM)),
];

/// A field as filters read it.
trait Field {
    fn value(&self) -> Value<'_>;
}

impl Field for String {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl<K> Field for Name<K> {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Field for Status {
    fn value(&self) -> Value<'_> {
        Value::Text(self.as_str())
    }
}

/// Fields that are whole numbers.
macro_rules! numbers {
    ($($kind:ty),*) => {
        $(impl Field for $kind {
            fn value(&self) -> Value<'_> {
                Value::Number((*self).into())
            }
        })*
    };
}

numbers!(u8, u16);

impl Field for bool {
    fn value(&self) -> Value<'_> {
        Value::Flag(*self)
    }
}

impl Field for Vec<String> {
    fn value(&self) -> Value<'_> {
        Value::Texts(self)
    }
}

impl Field for BTreeMap<String, String> {
    fn value(&self) -> Value<'_> {
        Value::TextMap(self)
    }
}

impl Field for BTreeMap<String, TaggedAddress> {
    fn value(&self) -> Value<'_> {
        let rows = self.iter().map(|(tag, at)| (tag.as_str(), at as &dyn Row));
        Value::RowMap(rows.collect())
    }
}

impl Field for Vec<HealthCheck> {
    fn value(&self) -> Value<'_> {
        Value::Rows(self.iter().map(|check| check as &dyn Row).collect())
    }
}

impl<T: Field> Field for Option<T> {
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Absent, Field::value)
    }
}

/// The settings of a proxy are kept as they were registered.
impl Field for Proxy {
    fn value(&self) -> Value<'_> {
        match self {
            Self::None(_) => Value::Absent,
            Self::Of(settings) => json(settings),
        }
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

/// What expressions may name in a kind of row: name, kind, and the field that has the value. What
/// has no field here is known by its name and never set.
macro_rules! fields {
    (@of $row:ident { $($name:literal: $kind:expr $(=> $field:ident)?,)* }) => {
        impl Row for $row {
            fn value(&self, name: &str) -> Value<'_> {
                match name {
                    $($($name => Field::value(&self.$field),)?)*
                    _ => Value::Absent,
                }
            }
        }

        impl Filterable for $row {
            const FIELDS: Fields = &[$(($name, $kind)),*];
        }
    };
    ($($($row:ident),+ => $fields:tt)*) => {
        $($(fields!(@of $row $fields);)+)*
    };
}

/// Rows stand in others as they are.
macro_rules! rows {
    ($($row:ident),*) => {
        $(impl Field for $row {
            fn value(&self) -> Value<'_> {
                Value::Row(self)
            }
        })*
    };
}

rows!(Connect, WeightsEntry, CatalogNode, CatalogServiceEntry);

fields! {
    Connect => {
        "Native": Kind::Flag => native,
    }
    TaggedAddress => {
        "Address": Kind::Text => address,
        "Port": Kind::Integer => port,
    }
    WeightsEntry => {
        "Passing": Kind::Integer => passing,
        "Warning": Kind::Integer => warning,
    }
    CatalogNode => {
        "ID": Kind::Text => id,
        "Node": Kind::Text => node,
        "Address": Kind::Text => address,
        "Datacenter": Kind::Text => datacenter,
        "TaggedAddresses": Kind::TextMap => tagged_addresses,
        "Meta": Kind::TextMap => meta,
        "PeerName": Kind::Text,
    }
    CatalogService => {
        "ID": Kind::Text => id,
        "Node": Kind::Text => node,
        "Address": Kind::Text => address,
        "Datacenter": Kind::Text => datacenter,
        "TaggedAddresses": Kind::TextMap => tagged_addresses,
        "NodeMeta": Kind::TextMap => node_meta,
        "ServiceKind": Kind::Text => service_kind,
        "ServiceID": Kind::Text => service_id,
        "ServiceName": Kind::Text => service_name,
        "ServiceTags": Kind::Texts => service_tags,
        "ServiceAddress": Kind::Text => service_address,
        "ServiceSocketPath": Kind::Text => service_socket_path,
        "ServiceTaggedAddresses": Kind::RowMap(TaggedAddress::FIELDS) => service_tagged_addresses,
        "ServiceWeights": Kind::Row(WeightsEntry::FIELDS) => service_weights,
        "ServiceMeta": Kind::TextMap => service_meta,
        "ServicePort": Kind::Integer => service_port,
        "ServiceEnableTagOverride": Kind::Flag => service_enable_tag_override,
        "ServiceProxy": Kind::Row(PROXY) => service_proxy,
        "ServiceConnect": Kind::Row(Connect::FIELDS) => service_connect,
        "PeerName": Kind::Text,
    }
    CatalogServiceEntry, AgentService => {
        "Kind": Kind::Text => kind,
        "ID": Kind::Text => id,
        "Service": Kind::Text => service,
        "Tags": Kind::Texts => tags,
        "Address": Kind::Text => address,
        "SocketPath": Kind::Text => socket_path,
        "TaggedAddresses": Kind::RowMap(TaggedAddress::FIELDS) => tagged_addresses,
        "Meta": Kind::TextMap => meta,
        "Port": Kind::Integer => port,
        "Weights": Kind::Row(WeightsEntry::FIELDS) => weights,
        "EnableTagOverride": Kind::Flag => enable_tag_override,
        "Proxy": Kind::Row(PROXY) => proxy,
        "Connect": Kind::Row(Connect::FIELDS) => connect,
        "PeerName": Kind::Text,
    }
    HealthCheck => {
        "Node": Kind::Text => node,
        "CheckID": Kind::Text => check_id,
        "Name": Kind::Text => name,
        "Status": Kind::Text => status,
        "Notes": Kind::Text => notes,
        "Output": Kind::Text => output,
        "ServiceID": Kind::Text => service_id,
        "ServiceName": Kind::Text => service_name,
        "ServiceTags": Kind::Texts => service_tags,
        "Type": Kind::Text => kind,
        "Interval": Kind::Text => interval,
        "Timeout": Kind::Text => timeout,
        "ExposedPort": Kind::Integer => exposed_port,
        "PeerName": Kind::Text,
    }
    HealthServiceEntry => {
        "Node": Kind::Row(CatalogNode::FIELDS) => node,
        "Service": Kind::Row(CatalogServiceEntry::FIELDS) => service,
        "Checks": Kind::Rows(HealthCheck::FIELDS) => checks,
    }
    AgentMember => {
        "Name": Kind::Text => name,
        "Port": Kind::Unsigned => port,
        "Tags": Kind::TextMap => tags,
        "Status": Kind::Integer => status,
        "ProtocolMin": Kind::Unsigned => protocol_min,
        "ProtocolMax": Kind::Unsigned => protocol_max,
        "ProtocolCur": Kind::Unsigned => protocol_cur,
        "DelegateMin": Kind::Unsigned => delegate_min,
        "DelegateMax": Kind::Unsigned => delegate_max,
        "DelegateCur": Kind::Unsigned => delegate_cur,
    }
}

impl Row for NodeOverview {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "Services" => Value::Rows(self.services.iter().map(|row| row as &dyn Row).collect()),
            "Checks" => Field::value(&self.checks),
            name => Row::value(&self.node, name),
        }
    }
}

impl Filterable for NodeOverview {
    const FIELDS: Fields = &[
        ("ID", Kind::Text),
        ("Node", Kind::Text),
        ("Address", Kind::Text),
        ("TaggedAddresses", Kind::TextMap),
        ("Meta", Kind::TextMap),
        ("Services", Kind::Rows(CatalogServiceEntry::FIELDS)),
        ("Checks", Kind::Rows(HealthCheck::FIELDS)),
    ];
}
