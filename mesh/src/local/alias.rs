//! Checks that repeat what others say: of a service, or of the node itself.
//!
//! The checks of a node count for its services too. An alias at the node is none of them, or two
//! would hold each other critical.

use crate::model::{Check, CheckId, NodeName, Probe, ServiceId, ServiceKey, Status, Timestamp};
use crate::view::View;

use super::{Local, LocalCheck, Touched};

/// A check that repeats others.
struct Alias {
    id: CheckId,
    /// The node of the others; absent for this agent's.
    node: Option<NodeName>,
    /// The service that they are of; absent for the node itself.
    service: Option<ServiceId>,
}

impl Alias {
    fn of(local: &LocalCheck) -> Option<Self> {
        match &local.definition.probe {
            Probe::Alias { node, service } => Some(Self {
                id: local.check.id.clone(),
                node: node.clone(),
                service: service.clone(),
            }),
            _ => None,
        }
    }

    /// Whether it repeats a check.
    fn repeats(&self, check: &Check) -> bool {
        let service = self.service.as_ref();
        check.service_id.is_none() || service.is_some_and(|service| check.is_of(service))
    }
}

impl Local {
    /// Whether a check repeats what only the catalog knows, so that [`Local::follow`] has to be
    /// called when the catalog changes.
    #[must_use]
    pub fn has_distant_aliases(&self) -> bool {
        let mut aliases = self.checks.values().filter_map(Alias::of);
        aliases.any(|alias| !self.is_near(&alias))
    }

    /// Brings checks in line that repeat what only the catalog knows; `node` is that of this agent.
    pub fn follow(&mut self, now: Timestamp, node: &str, view: &View) -> Touched {
        let mut touched = Touched::default();
        for alias in self.aliases() {
            if self.is_near(&alias) {
                continue;
            }
            let (status, output) = self.said_in(&alias, node, view);
            self.set(now, &alias.id, status, output, &mut touched);
        }
        touched
    }

    /// Brings checks in line that repeat what others of this agent say.
    pub(super) fn settle(&mut self, now: Timestamp, touched: &mut Touched) {
        for alias in self.aliases() {
            if !self.is_near(&alias) {
                continue;
            }
            let others = self.checks.values().filter(|local| {
                local.check.id != alias.id && alias.repeats(&local.check) && !is_of_node(local)
            });
            let (status, output) = worst(others.map(|local| &local.check));
            self.set(now, &alias.id, status, output, touched);
        }
    }

    fn aliases(&self) -> Vec<Alias> {
        self.checks.values().filter_map(Alias::of).collect()
    }

    /// Whether this agent itself knows what the check repeats.
    fn is_near(&self, alias: &Alias) -> bool {
        let service = alias.service.as_ref();
        alias.node.is_none() && service.is_none_or(|service| self.services.contains_key(service))
    }

    /// What the catalog says of what the check repeats.
    fn said_in(&self, alias: &Alias, own: &str, view: &View) -> (Status, String) {
        let node = alias.node.as_deref().unwrap_or(own);
        let is_missing = |id: &&ServiceId| {
            let service = ServiceKey {
                node: node.into(),
                id: (*id).clone(),
            };
            view.instance_of(&service).is_none()
        };
        if let Some(id) = alias.service.as_ref().filter(is_missing) {
            let missing = format!("Service {id} could not be found on node {node}");
            return (Status::Critical, missing);
        }
        let is_alias = |check: &Check| {
            let known = self.checks.get(&check.id);
            node == own
                && known.is_some_and(|known| known.check.id == alias.id || is_of_node(known))
        };
        let checks = view.checks_of_node(node).map(AsRef::as_ref);
        worst(checks.filter(|check| alias.repeats(check) && !is_alias(check)))
    }
}

/// Whether a check is an alias at the node itself.
fn is_of_node(local: &LocalCheck) -> bool {
    local.check.service_id.is_none() && matches!(local.definition.probe, Probe::Alias { .. })
}

/// The worst of what is repeated.
fn worst<'a>(checks: impl Iterator<Item = &'a Check>) -> (Status, String) {
    match checks.max_by_key(|check| check.status) {
        None => (Status::Passing, "No checks found.".to_owned()),
        Some(worst) if worst.status == Status::Passing => {
            (Status::Passing, "All checks passing.".to_owned())
        }
        Some(worst) => {
            let output = format!("Aliased check {:?} failing: {}", worst.id, worst.output);
            (worst.status, output)
        }
    }
}
