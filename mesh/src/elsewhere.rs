//! Instances as another catalog shows them, for those who route to them.
//!
//! What runs here is registered there too. It is known better here: whether it drains, which job it
//! is of, how its checks stand; so the row of this catalog takes the place of the other one's
//! ([`merged`]). Pure: whoever uses it asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use crate::external::OWNER_META;
use crate::model::{
    Check, CheckId, Node, NodeId, NodeName, Service, ServiceId, ServiceKey, ServiceName, Status,
    Weights,
};
use crate::view::{Instance, View};

/// An instance as the health endpoints list it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FoundInstance {
    node: FoundNode,
    service: FoundService,
    checks: Vec<FoundCheck>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct FoundNode {
    #[serde(rename = "ID")]
    id: NodeId,
    node: NodeName,
    address: String,
    datacenter: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct FoundService {
    #[serde(rename = "ID")]
    id: ServiceId,
    service: ServiceName,
    address: String,
    port: u16,
    tags: Option<Vec<String>>,
    meta: Option<BTreeMap<String, String>>,
}

/// A check as the health endpoints list it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FoundCheck {
    node: NodeName,
    #[serde(rename = "CheckID")]
    check_id: CheckId,
    status: String,
    #[serde(rename = "ServiceID")]
    service_id: ServiceId,
    service_name: ServiceName,
}

impl FoundCheck {
    /// The services whose instances stand otherwise in `new` than in `old`; nothing when that may
    /// be any, because a check of a node changed.
    #[must_use]
    pub fn changed_services(old: &[Self], new: &[Self]) -> Option<BTreeSet<ServiceName>> {
        fn keyed(all: &[FoundCheck]) -> BTreeMap<(&str, &str), &FoundCheck> {
            let keyed = all.iter();
            keyed
                .map(|check| ((check.node.as_str(), check.check_id.as_str()), check))
                .collect()
        }
        let (old, new) = (keyed(old), keyed(new));
        let gone = old.iter().filter(|(key, _)| !new.contains_key(*key));
        let other = new
            .iter()
            .filter(|(key, check)| old.get(*key) != Some(*check));
        let mut changed = BTreeSet::new();
        for (_, check) in gone.chain(other) {
            if check.service_id.is_empty() {
                return None;
            }
            changed.insert(check.service_name.clone());
        }
        Some(changed)
    }
}

impl From<FoundCheck> for Check {
    fn from(found: FoundCheck) -> Self {
        Self {
            node: found.node,
            id: found.check_id,
            // A word that is not known is nothing to send requests to.
            status: found.status.parse().unwrap_or(Status::Critical),
            service_id: found.service_id.or_none(),
            service_name: found.service_name.or_none(),
            ..Self::default()
        }
    }
}

/// Which checks an instance needs to get requests, where more is asked than that none is critical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The statuses that count.
    pub statuses: Vec<String>,
    /// Whether all checks of the instance must have one of them; one at least if not.
    pub needs_all: bool,
}

impl Admission {
    /// An instance has checks of its own that count, its node is alive, and neither of them is in
    /// maintenance.
    fn admits(&self, instance: &FoundInstance) -> bool {
        let own = || {
            let checks = instance.checks.iter();
            checks.filter(|check| check.service_id == instance.service.id)
        };
        let counts = |check: &FoundCheck| self.statuses.contains(&check.status);
        let maintained = format!("{SERVICE_MAINTENANCE}:{}", instance.service.id);
        let is_kept_out = instance.checks.iter().any(|check| {
            let id = check.check_id.as_str();
            let is_critical = check.status == Status::Critical.as_str();
            match id {
                NODE_MAINTENANCE => true,
                NODE_ALIVE => is_critical,
                _ => is_critical && id == maintained,
            }
        });
        let is_well = if self.needs_all {
            own().all(counts)
        } else {
            own().any(counts)
        };
        !is_kept_out && is_well && own().next().is_some()
    }
}

/// The check that says whether a node is alive.
const NODE_ALIVE: &str = "serfHealth";
/// The check of a node in maintenance.
const NODE_MAINTENANCE: &str = "_node_maintenance";
/// Begins that of a service in maintenance.
const SERVICE_MAINTENANCE: &str = "_service_maintenance";

impl FoundInstance {
    /// The instance, which passes if it is admitted and is critical if not.
    #[must_use]
    pub fn admitted(self, admission: &Admission) -> Instance {
        let status = if admission.admits(&self) {
            Status::Passing
        } else {
            Status::Critical
        };
        Instance {
            status,
            ..self.into()
        }
    }
}

impl From<FoundInstance> for Instance {
    fn from(found: FoundInstance) -> Self {
        let checks: Vec<Arc<Check>> = found
            .checks
            .into_iter()
            .map(|check| Arc::new(check.into()))
            .collect();
        let status = checks.iter().map(|check| check.status).max();
        let service = Service {
            id: found.service.id,
            node: found.node.node.clone(),
            name: found.service.service,
            address: found.service.address,
            port: found.service.port,
            tags: found.service.tags.unwrap_or_default(),
            meta: found.service.meta.unwrap_or_default(),
            weights: Weights::default(),
            ..Service::default()
        };
        let node = Node {
            id: found.node.id,
            name: found.node.node,
            address: found.node.address,
            datacenter: found.node.datacenter,
            ..Node::default()
        };
        Self {
            node: Arc::new(node),
            service: Arc::new(service),
            checks,
            status: status.unwrap_or(Status::Passing),
        }
    }
}

/// What was found elsewhere. An instance that a node of `view` registered there is as `view` has
/// it, at best as well as it is said to be there, and left out when `view` does not show it any
/// more.
#[must_use]
pub fn merged(view: &View, found: &[Instance]) -> Vec<Instance> {
    let merged = found.iter().filter_map(|instance| {
        let owner = instance.service.meta.get(OWNER_META);
        let Some(node) = owner.and_then(|id| view.node_by_id(id)) else {
            return Some(instance.clone());
        };
        let key = ServiceKey {
            node: node.name.clone(),
            id: instance.service.id.clone(),
        };
        let mut own = view.instance_of(&key)?;
        own.status = own.status.max(instance.status);
        Some(own)
    });
    merged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::state::{CheckResult, Command, DrainService, Register, Stamp, State, UpdateChecks};

    fn found(owner: &str, status: &str) -> Instance {
        let text = serde_json::json!({
            "Node": {"ID": "e", "Node": "elsewhere", "Address": "192.0.2.9", "Meta": null},
            "Service": {
                "ID": "s", "Service": "web", "Tags": null, "Address": "", "Port": 80,
                "Meta": if owner.is_empty() { serde_json::Value::Null } else { serde_json::json!({OWNER_META: owner}) },
            },
            "Checks": [{"Node": "elsewhere", "CheckID": "c", "Status": status, "ServiceID": "s"}],
        });
        let found: FoundInstance = serde_json::from_value(text).unwrap();
        found.into()
    }

    fn check(status: Status) -> Check {
        Check {
            id: "c".into(),
            node: "one".into(),
            service_id: Some("s".into()),
            status,
            ..Check::default()
        }
    }

    #[test]
    fn an_instance_of_ours_is_as_we_know_it() {
        let mut state = State::default();
        let mut index = 0;
        let mut apply = |state: &mut State, command: Command| {
            index += 1;
            let at = Stamp {
                index,
                now: Timestamp::default(),
            };
            state.apply(at, command).unwrap();
        };
        let register = Register {
            node: Node {
                id: "aaaaaaaa-0000-4000-8000-000000000000".into(),
                name: "one".into(),
                address: "192.0.2.1".to_owned(),
                ..Node::default()
            },
            service: Some(Service {
                id: "s".into(),
                name: "web".into(),
                port: 81,
                ..Service::default()
            }),
            checks: vec![check(Status::Passing)],
            ..Register::default()
        };
        apply(&mut state, Command::Register(Box::new(register)));
        let owner = "aaaaaaaa-0000-4000-8000-000000000000";
        let shown = |state: &State, owner: &str, status: &str| {
            let merged = merged(state.current().view(), &[found(owner, status)]);
            let texts = merged.iter().map(|instance| {
                let port = instance.service.port;
                format!("{}:{port} {}", instance.address(), instance.status)
            });
            texts.collect::<String>()
        };
        assert_eq!(shown(&state, "", "passing"), "192.0.2.9:80 passing");
        assert_eq!(shown(&state, "", "strange"), "192.0.2.9:80 critical");
        assert_eq!(shown(&state, "unknown", "passing"), "192.0.2.9:80 passing");
        assert_eq!(shown(&state, owner, "passing"), "192.0.2.1:81 passing");
        assert_eq!(shown(&state, owner, "critical"), "192.0.2.1:81 critical");
        let update = UpdateChecks {
            results: vec![CheckResult {
                node: "one".into(),
                check_id: "c".into(),
                status: Status::Warning,
                output: String::new(),
            }],
        };
        apply(&mut state, Command::UpdateChecks(update));
        assert_eq!(shown(&state, owner, "passing"), "192.0.2.1:81 warning");
        let drain = DrainService {
            node: "one".into(),
            id: "s".into(),
        };
        apply(&mut state, Command::DrainService(drain));
        assert_eq!(shown(&state, owner, "passing"), "");
    }

    #[test]
    fn checks_that_are_asked_for_admit_instances() {
        let own = ("c", "s");
        let maintained = ("_service_maintenance:s", "s");
        let node = |id: &'static str| (id, "");
        type Row<'a> = (&'a [((&'a str, &'a str), &'a str)], &'a str, bool, bool);
        let rows: &[Row<'_>] = &[
            (
                &[(own, "passing"), (("d", "s"), "critical")],
                "passing",
                true,
                false,
            ),
            (
                &[(own, "passing"), (("d", "s"), "warning")],
                "passing,warning",
                true,
                true,
            ),
            (&[(own, "critical")], "critical", true, true),
            (
                &[(own, "passing"), (node("serfHealth"), "critical")],
                "passing",
                false,
                false,
            ),
            (
                &[(own, "passing"), (node("serfHealth"), "warning")],
                "passing",
                true,
                true,
            ),
            (
                &[(own, "passing"), (node("_node_maintenance"), "passing")],
                "passing",
                false,
                false,
            ),
            (
                &[(own, "passing"), (maintained, "critical")],
                "passing,critical",
                false,
                false,
            ),
            (
                &[(own, "passing"), (maintained, "passing")],
                "passing",
                true,
                true,
            ),
            (
                &[
                    (own, "passing"),
                    (("_service_maintenance:t", "t"), "critical"),
                ],
                "passing",
                true,
                true,
            ),
            (
                &[(own, "passing"), (node("disk"), "critical")],
                "passing",
                true,
                true,
            ),
            (&[(node("disk"), "passing")], "passing", false, false),
            (&[], "passing", false, false),
        ];
        for (checks, statuses, one, all) in rows {
            for (needs_all, expected) in [(false, *one), (true, *all)] {
                let checks = checks.iter().map(|((id, service), status)| {
                    serde_json::json!({"Node": "n", "CheckID": id, "Status": status, "ServiceID": service})
                });
                let found = serde_json::json!({
                    "Node": {"Node": "n"}, "Service": {"ID": "s", "Service": "web"},
                    "Checks": checks.collect::<Vec<_>>(),
                });
                let found: FoundInstance = serde_json::from_value(found).unwrap();
                let admission = Admission {
                    statuses: statuses.split(',').map(str::to_owned).collect(),
                    needs_all,
                };
                let is_admitted = found.clone().admitted(&admission).status == Status::Passing;
                assert_eq!(is_admitted, expected, "{found:?} {admission:?}");
            }
        }
    }

    #[test]
    fn only_services_whose_checks_changed_are_asked_for() {
        let check = |id: &str, service: &str, status: &str| FoundCheck {
            node: "n".into(),
            check_id: id.into(),
            status: status.to_owned(),
            service_id: service.into(),
            service_name: service.into(),
        };
        let old = [
            check("node", "", "passing"),
            check("a", "web", "passing"),
            check("b", "db", "passing"),
        ];
        let names = |new: &[FoundCheck]| {
            let changed = FoundCheck::changed_services(&old, new)?;
            let changed: Vec<&str> = changed.iter().map(ServiceName::as_str).collect();
            Some(changed.join(" "))
        };
        let [node, a, b] = old.clone();
        assert_eq!(names(&old).as_deref(), Some(""));
        let critical = check("a", "web", "critical");
        let other = [node.clone(), critical, b.clone()];
        assert_eq!(names(&other).as_deref(), Some("web"));
        let new = check("c", "new", "passing");
        assert_eq!(names(&[node, a.clone(), new]).as_deref(), Some("db new"));
        let down = check("node", "", "critical");
        assert_eq!(names(&[down, a.clone(), b.clone()]), None);
        assert_eq!(names(&[a, b]), None);
    }
}
