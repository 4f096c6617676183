//! What another catalog has to be told, so that it shows the allocations of one node.
//!
//! The other catalog's agent forgets when it restarts, and others may change what it has; so what
//! it has is compared again and again with what it should have ([`calls`]). Pure: whoever uses it
//! asks and calls.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{Check, CheckId, Service, ServiceAddress, ServiceId, ServiceName, Status};
use crate::view::View;

/// Metadata of a registration that names the node that it is of; only these are ever changed.
pub const OWNER_META: &str = "trivet-node";
/// How keys of metadata begin that say whom the servers ask about canaries. They stay here: nobody
/// there reads them, they may hold passwords, and they may be longer than what is taken there.
const ASKED_META: [&str; 2] = ["rollout_metric_", "rollout_hook_"];
/// How long the other catalog takes a check for what it was last said to be, seconds.
pub const TTL_SECS: u64 = 60;

/// An instance with its checks, as the other catalog has to show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registration {
    /// The instance.
    pub service: Service,
    /// Its checks, by id.
    pub checks: BTreeMap<CheckId, Check>,
}

/// A service as the other agent lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KnownService {
    service: ServiceName,
    tags: Option<Vec<String>>,
    meta: Option<BTreeMap<String, String>>,
    port: u16,
    address: String,
    tagged_addresses: Option<BTreeMap<String, Address>>,
    weights: Shares,
}

/// A check as the other agent lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KnownCheck {
    name: String,
    status: String,
    #[serde(rename = "ServiceID")]
    service_id: ServiceId,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Address {
    address: String,
    port: u16,
}

impl From<&ServiceAddress> for Address {
    fn from(at: &ServiceAddress) -> Self {
        Self {
            address: at.address.clone(),
            port: at.port,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Shares {
    passing: u16,
    warning: u16,
}

/// What has to be called, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A service is to go.
    Deregister {
        /// Its id.
        id: ServiceId,
    },
    /// A service is new or another one; these are all of its checks.
    Register(Box<Registration>),
    /// A check stands so.
    Update {
        /// Its id.
        id: CheckId,
        /// How it stands.
        status: Status,
        /// What its last run said.
        output: String,
    },
}

/// The body of a registration.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Body<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    tags: &'a [String],
    port: u16,
    address: &'a str,
    meta: BTreeMap<&'a str, &'a str>,
    tagged_addresses: BTreeMap<&'a str, Address>,
    weights: Shares,
    enable_tag_override: bool,
    checks: Vec<BodyCheck<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct BodyCheck<'a> {
    #[serde(rename = "CheckID")]
    id: &'a str,
    name: &'a str,
    notes: &'a str,
    #[serde(rename = "TTL")]
    ttl: String,
    status: &'static str,
}

impl Registration {
    /// What is sent for it by the node with the id `owner`.
    #[must_use]
    pub fn body<'a>(&'a self, owner: &'a str) -> Body<'a> {
        let service = &self.service;
        let meta = service.meta.iter();
        let meta = meta.map(|(key, value)| (key.as_str(), value.as_str()));
        let tagged = service.tagged_addresses.iter();
        Body {
            id: &service.id,
            name: &service.name,
            tags: &service.tags,
            port: service.port,
            address: &service.address,
            meta: meta.chain([(OWNER_META, owner)]).collect(),
            tagged_addresses: tagged
                .map(|(tag, at)| (tag.as_str(), Address::from(at)))
                .collect(),
            weights: shares(service),
            enable_tag_override: service.enable_tag_override,
            checks: self
                .checks
                .values()
                .map(|check| BodyCheck {
                    id: &check.id,
                    name: &check.name,
                    notes: &check.notes,
                    ttl: format!("{TTL_SECS}s"),
                    status: check.status.as_str(),
                })
                .collect(),
        }
    }

    fn is_shown_by(&self, known: &KnownService, owner: &str) -> bool {
        let service = &self.service;
        let meta = known.meta.clone().unwrap_or_default();
        let mut wanted = service.meta.clone();
        wanted.insert(OWNER_META.to_owned(), owner.to_owned());
        let tagged = known.tagged_addresses.clone().unwrap_or_default();
        // The other agent adds addresses of its own.
        let mut addresses = service.tagged_addresses.iter();
        known.service == service.name
            && known.tags.as_deref().unwrap_or_default() == service.tags
            && known.port == service.port
            && known.address == service.address
            && known.weights == shares(service)
            && meta == wanted
            && addresses.all(|(tag, at)| tagged.get(tag) == Some(&Address::from(at)))
    }
}

fn shares(service: &Service) -> Shares {
    Shares {
        passing: service.weights.passing,
        warning: service.weights.warning,
    }
}

/// What the other catalog has to show of a node: its allocations' instances that do not leave, by
/// id.
#[must_use]
pub fn wanted(view: &View, node: &str) -> BTreeMap<ServiceId, Registration> {
    let rows = view.services_of_node(node);
    let of_allocations = rows.filter(|row| row.origin.is_some());
    of_allocations
        .map(|row| {
            let checks = view.checks_of_node(node);
            let own = checks.filter(|check| check.is_of(&row.id));
            let registration = Registration {
                service: told(row),
                checks: own
                    .map(|check| (check.id.clone(), (**check).clone()))
                    .collect(),
            };
            (row.id.clone(), registration)
        })
        .collect()
}

/// What is told of an instance.
fn told(service: &Service) -> Service {
    let mut service = service.clone();
    let is_asked = |key: &String| ASKED_META.iter().any(|kind| key.starts_with(kind));
    service.meta.retain(|key, _| !is_asked(key));
    service
}

/// What has to be called so that the other catalog shows what is wanted. With `refresh`, also how
/// every check stands, before its time is over.
#[must_use]
pub fn calls(
    wanted: &BTreeMap<ServiceId, Registration>,
    services: &BTreeMap<ServiceId, KnownService>,
    checks: &BTreeMap<CheckId, KnownCheck>,
    owner: &str,
    refresh: bool,
) -> Vec<Call> {
    let mut calls = Vec::new();
    for (id, known) in services {
        let meta = known.meta.as_ref();
        let is_own = meta.is_some_and(|meta| meta.get(OWNER_META).is_some_and(|of| of == owner));
        if is_own && !wanted.contains_key(id) {
            calls.push(Call::Deregister { id: id.clone() });
        }
    }
    for (id, registration) in wanted {
        let known: BTreeSet<&CheckId> = checks
            .iter()
            .filter(|(_, check)| check.service_id == *id)
            .map(|(check, _)| check)
            .collect();
        let named = registration.checks.values();
        let has_names = || {
            let mut named = registration.checks.values();
            named.all(|check| {
                checks
                    .get(&check.id)
                    .is_some_and(|row| row.name == check.name)
            })
        };
        let is_shown = services
            .get(id)
            .is_some_and(|known| registration.is_shown_by(known, owner))
            && known == registration.checks.keys().collect()
            && has_names();
        if !is_shown {
            calls.push(Call::Register(Box::new(registration.clone())));
        }
        for check in named {
            let stands = checks.get(&check.id).map(|known| known.status.as_str());
            if !is_shown || refresh || stands != Some(check.status.as_str()) {
                calls.push(Call::Update {
                    id: check.id.to_string().into(),
                    status: check.status,
                    output: check.output.clone(),
                });
            }
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(port: u16, status: Status) -> Registration {
        let check = Check {
            id: "c".into(),
            name: "up".to_owned(),
            service_id: Some("s".into()),
            status,
            output: "fine".to_owned(),
            ..Check::default()
        };
        Registration {
            service: Service {
                id: "s".into(),
                name: "web".into(),
                tags: vec!["a".to_owned()],
                address: "192.0.2.1".to_owned(),
                port,
                ..Service::default()
            },
            checks: [("c".into(), check)].into(),
        }
    }

    /// What the other agent lists after a registration.
    fn listed(registration: &Registration) -> (KnownService, KnownCheck) {
        let body = serde_json::to_value(registration.body("n")).unwrap();
        let mut service = body.clone();
        service["Service"] = body["Name"].clone();
        service["TaggedAddresses"]["lan_ipv4"] =
            serde_json::json!({"Address": "192.0.2.1", "Port": 1});
        let mut check = body["Checks"][0].clone();
        check["ServiceID"] = "s".into();
        (
            serde_json::from_value(service).unwrap(),
            serde_json::from_value(check).unwrap(),
        )
    }

    #[test]
    fn whom_servers_ask_about_canaries_is_not_told() {
        let mut service = registration(80, Status::Passing).service;
        for key in ["rollout_metric_a", "rollout_hook_b", "rollout_steps", "c"] {
            service.meta.insert(key.to_owned(), "x".to_owned());
        }
        let told = told(&service).meta;
        let keys: Vec<&str> = told.keys().map(String::as_str).collect();
        assert_eq!(keys, ["c", "rollout_steps"]);
    }

    #[test]
    fn what_is_shown_needs_no_call_and_every_difference_one() {
        let shown = registration(80, Status::Passing);
        let (service, check) = listed(&shown);
        let services = BTreeMap::from([("s".into(), service)]);
        let checks = BTreeMap::from([("c".into(), check)]);
        let names = |wanted: Vec<Registration>, services: &_, checks: &_, refresh| {
            let wanted = wanted.into_iter().map(|row| (row.service.id.clone(), row));
            let found = calls(&wanted.collect(), services, checks, "n", refresh);
            let name = |call: &Call| match call {
                Call::Deregister { id } => format!("deregister {id}"),
                Call::Register(row) => format!("register {}", row.service.id),
                Call::Update { id, status, .. } => format!("{id} {}", status.as_str()),
            };
            found.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        let none = BTreeMap::new();
        let no_checks = BTreeMap::new();
        let warning = registration(80, Status::Warning);
        for (wanted, services, checks, refresh, expected) in [
            (vec![shown.clone()], &services, &checks, false, ""),
            (vec![shown.clone()], &services, &checks, true, "c passing"),
            (vec![warning], &services, &checks, false, "c warning"),
            (
                vec![registration(81, Status::Passing)],
                &services,
                &checks,
                false,
                "register s, c passing",
            ),
            // The other agent was restarted without its data.
            (
                vec![shown.clone()],
                &none,
                &no_checks,
                false,
                "register s, c passing",
            ),
            // Somebody removed a check.
            (
                vec![shown],
                &services,
                &no_checks,
                false,
                "register s, c passing",
            ),
            (vec![], &services, &checks, false, "deregister s"),
        ] {
            assert_eq!(names(wanted, services, checks, refresh), expected);
        }
        // What belongs to others stays.
        let mut foreign = services;
        for row in foreign.values_mut() {
            row.meta = None;
        }
        assert_eq!(names(vec![], &foreign, &checks, false), "");
    }
}
