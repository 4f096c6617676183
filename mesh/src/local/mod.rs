//! What one agent was told to register: its services and checks, and how the checks stand.
//!
//! The agent is the source of truth for them; the catalog follows. [`Local`] never waits and keeps
//! no timer: it says what was [`Touched`], which is then pushed, and when it wants to be called
//! again. [`Local::differences`] compares everything with the catalog.

mod alias;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{
    Check, CheckDefinition, CheckId, CheckKey, NodeName, Probe, SERF_HEALTH, Service, ServiceId,
    ServiceKey, Status, Timestamp, bound_output,
};
use crate::view::View;

/// Shortest time for which a check is critical before its instance goes.
const DEREGISTER_AFTER_MIN: Duration = Duration::from_mins(1);
/// Shortest time between two pushes of a check that differ in output only.
const OUTPUT_INTERVAL: Duration = Duration::from_mins(5);
/// Name of the service that the servers register themselves as.
const SERVERS: &str = "consul";
/// What an expired check says.
const EXPIRED: &str = "TTL expired";

/// The services and checks of one agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Local {
    services: BTreeMap<ServiceId, Service>,
    checks: BTreeMap<CheckId, LocalCheck>,
    /// What of both files of the machine define.
    of_files: Ids,
}

/// Ids of services and checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Ids {
    services: BTreeSet<ServiceId>,
    checks: BTreeSet<CheckId>,
}

/// A service with its checks, and how they are made.
pub type Definition = (Service, Vec<(Check, CheckDefinition)>);

/// A check of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalCheck {
    /// As the catalog shows it; its node and service name are filled in when it is pushed.
    pub check: Check,
    /// How it is made.
    pub definition: CheckDefinition,
    /// Since when it has its status.
    since: Timestamp,
    /// When somebody last said how it stands.
    heard: Timestamp,
    /// When it was last pushed.
    pushed: Timestamp,
}

/// Ids of services and checks that are new, different or gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Of services.
    pub services: BTreeSet<ServiceId>,
    /// Of checks.
    pub checks: BTreeSet<CheckId>,
}

impl Touched {
    /// Whether there is nothing to push.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.checks.is_empty()
    }

    /// Adds what another one has.
    pub fn extend(&mut self, other: Self) {
        self.services.extend(other.services);
        self.checks.extend(other.checks);
    }
}

/// A change that brings the catalog closer to what an agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// Registers an instance with its checks, or checks alone.
    Register {
        /// The instance.
        service: Option<Box<Service>>,
        /// The checks.
        checks: Vec<Check>,
    },
    /// Removes an instance.
    DeregisterService {
        /// Its id.
        id: ServiceId,
    },
    /// Removes a check.
    DeregisterCheck {
        /// Its id.
        id: CheckId,
    },
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The agent has no such service.
    #[error("service `{id}` is not registered with this agent")]
    UnknownService {
        /// Its id.
        id: ServiceId,
    },
    /// The agent has no check of this id that somebody else speaks for.
    #[error("check `{id}` does not live on what is said of it")]
    NoTtl {
        /// Its id.
        id: CheckId,
    },
}

impl Local {
    /// The services, by id.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// A service.
    #[must_use]
    pub fn service(&self, id: &str) -> Option<&Service> {
        self.services.get(id)
    }

    /// A check.
    #[must_use]
    pub fn check(&self, id: &str) -> Option<&LocalCheck> {
        self.checks.get(id)
    }

    /// The checks, by id.
    pub fn checks(&self) -> impl Iterator<Item = &LocalCheck> {
        self.checks.values()
    }

    /// The checks of a service, by id.
    pub fn checks_of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a LocalCheck> {
        let all = self.checks.values();
        all.filter(move |local| local.check.is_of(service))
    }

    /// Registers a service with checks, or replaces it. Checks that are known keep how they stand;
    /// others of the service stay unless `replaces` says that these are all.
    pub fn register_service(
        &mut self,
        now: Timestamp,
        service: Service,
        checks: Vec<(Check, CheckDefinition)>,
        replaces: bool,
    ) -> Touched {
        let mut touched = Touched::default();
        let id = service.id.clone();
        if replaces {
            let named: BTreeSet<&CheckId> = checks.iter().map(|(check, _)| &check.id).collect();
            let of_service = self.checks_of(&id).map(|local| local.check.id.clone());
            let dropped: Vec<CheckId> = of_service.filter(|known| !named.contains(known)).collect();
            for check in dropped {
                self.checks.remove(&check);
                touched.checks.insert(check);
            }
        }
        for (check, definition) in checks {
            let mut check = Check {
                service_id: Some(id.clone()),
                ..check
            };
            if let Some(known) = self.checks.get(&check.id) {
                check.status = known.check.status;
                check.output.clone_from(&known.check.output);
            }
            self.put_check(now, check, definition);
        }
        touched.services.insert(id.clone());
        self.services.insert(id, service);
        self.settle(now, &mut touched);
        touched
    }

    /// Removes a service with its checks; none when there is none.
    pub fn deregister_service(&mut self, now: Timestamp, id: &str) -> Option<Touched> {
        self.services.remove(id)?;
        self.checks.retain(|_, local| !local.check.is_of(id));
        let mut touched = Touched::default();
        touched.services.insert(id.into());
        self.settle(now, &mut touched);
        Some(touched)
    }

    /// Registers a check, or replaces it.
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn register_check(
        &mut self,
        now: Timestamp,
        check: Check,
        definition: CheckDefinition,
    ) -> Result<Touched, Error> {
        if let Some(id) = &check.service_id
            && !self.services.contains_key(id)
        {
            let id = id.clone();
            return Err(Error::UnknownService { id });
        }
        let mut touched = Touched::default();
        touched.checks.insert(check.id.clone());
        self.put_check(now, check, definition);
        self.settle(now, &mut touched);
        Ok(touched)
    }

    /// Removes a check; none when there is none.
    pub fn deregister_check(&mut self, now: Timestamp, id: &str) -> Option<Touched> {
        self.checks.remove(id)?;
        let mut touched = Touched::default();
        touched.checks.insert(id.into());
        self.settle(now, &mut touched);
        Some(touched)
    }

    /// Takes over what files define: what they defined before and do not any more goes, checks that
    /// are known keep how they stand.
    ///
    /// # Errors
    /// [`Error::UnknownService`] for a check of a service that nobody registered.
    pub fn load(
        &mut self,
        now: Timestamp,
        services: Vec<Definition>,
        checks: Vec<(Check, CheckDefinition)>,
    ) -> Result<Touched, Error> {
        let mut defined = Ids::default();
        for (service, own) in &services {
            defined.services.insert(service.id.clone());
            defined
                .checks
                .extend(own.iter().map(|(check, _)| check.id.clone()));
        }
        defined
            .checks
            .extend(checks.iter().map(|(check, _)| check.id.clone()));
        let before = std::mem::replace(&mut self.of_files, defined);
        let mut touched = Touched::default();
        for id in before.services.difference(&self.of_files.services.clone()) {
            touched.extend(self.deregister_service(now, id).unwrap_or_default());
        }
        for id in before.checks.difference(&self.of_files.checks.clone()) {
            touched.extend(self.deregister_check(now, id).unwrap_or_default());
        }
        for (service, own) in services {
            touched.extend(self.register_service(now, service, own, false));
        }
        for (mut check, definition) in checks {
            if let Some(known) = self.checks.get(&check.id) {
                check.status = known.check.status;
                check.output.clone_from(&known.check.output);
            }
            touched.extend(self.register_check(now, check, definition)?);
        }
        Ok(touched)
    }

    /// Takes note of how a check stands.
    pub fn on_result(
        &mut self,
        now: Timestamp,
        id: &str,
        status: Status,
        output: String,
    ) -> Touched {
        let mut touched = Touched::default();
        self.set(now, id, status, output, &mut touched);
        self.settle(now, &mut touched);
        touched
    }

    /// Takes note of what is said of a check that lives on it.
    ///
    /// # Errors
    /// [`Error::NoTtl`].
    pub fn on_heard(
        &mut self,
        now: Timestamp,
        id: &str,
        status: Status,
        output: String,
    ) -> Result<Touched, Error> {
        match self.checks.get_mut(id) {
            Some(local) if matches!(local.definition.probe, Probe::Ttl { .. }) => {
                local.heard = now;
                Ok(self.on_result(now, id, status, output))
            }
            _ => Err(Error::NoTtl { id: id.into() }),
        }
    }

    /// Lets checks expire of which nobody said anything, and removes services whose checks were
    /// critical for too long.
    pub fn on_tick(&mut self, now: Timestamp) -> Touched {
        let mut touched = Touched::default();
        let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        let expired: Vec<(CheckId, String)> = self
            .checks
            .values()
            .filter(|local| due(local.expires()))
            .map(|local| (local.check.id.clone(), local.check.output.clone()))
            .collect();
        for (id, output) in expired {
            let text = if output.is_empty() {
                EXPIRED.to_owned()
            } else {
                format!("{EXPIRED} (last output before timeout follows): {output}")
            };
            self.set(now, &id, Status::Critical, text, &mut touched);
        }
        let reaped: BTreeSet<ServiceId> = self
            .checks
            .values()
            .filter(|local| due(local.reaped()))
            .filter_map(|local| local.check.service_id.clone())
            .collect();
        for id in reaped {
            touched.extend(self.deregister_service(now, &id).unwrap_or_default());
        }
        self.settle(now, &mut touched);
        touched
    }

    /// When [`Local::on_tick`] has something to do.
    #[must_use]
    pub fn next_tick(&self) -> Option<Timestamp> {
        let checks = self.checks.values();
        checks
            .flat_map(|local| [local.expires(), local.reaped()])
            .flatten()
            .min()
    }

    /// Takes over how the checks stood before this agent was started again.
    pub fn adopt(&mut self, now: Timestamp, node: &str, view: &View) {
        for local in self.checks.values_mut() {
            let key = CheckKey {
                node: node.into(),
                id: local.check.id.clone(),
            };
            if let Some(row) = view.check(&key) {
                local.check.status = row.status;
                local.check.output.clone_from(&row.output);
            }
            local.since = now;
            local.heard = now;
        }
    }

    /// What tells the catalog of things that were touched.
    #[must_use]
    pub fn pushed(&self, touched: &Touched) -> Vec<Difference> {
        let services = touched
            .services
            .iter()
            .map(|id| match self.services.get(id) {
                Some(service) => self.registration(service),
                None => Difference::DeregisterService { id: id.clone() },
            });
        let of_pushed = |local: &LocalCheck| {
            let service = local.check.service_id.as_ref();
            service.is_some_and(|id| touched.services.contains(id))
        };
        let checks = touched
            .checks
            .iter()
            .filter_map(|id| match self.checks.get(id) {
                Some(local) if of_pushed(local) => None,
                Some(local) => Some(Difference::Register {
                    service: None,
                    checks: vec![local.check.clone()],
                }),
                None => Some(Difference::DeregisterCheck { id: id.clone() }),
            });
        services.chain(checks).collect()
    }

    /// What makes the catalog's rows of `node` those of this agent. Instances of allocations, the
    /// servers themselves and the agent's own liveness are others' business.
    #[must_use]
    pub fn differences(&self, node: &str, view: &View) -> Vec<Difference> {
        let mut found = Vec::new();
        let node = NodeName::from(node);
        for service in self.services.values() {
            let row = view.service(&ServiceKey {
                node: node.clone(),
                id: service.id.clone(),
            });
            if !row.is_some_and(|row| is_same_service(row, service)) {
                found.push(self.registration(service));
            }
        }
        for local in self.checks.values() {
            let row = view.check(&CheckKey {
                node: node.clone(),
                id: local.check.id.clone(),
            });
            if !row.is_some_and(|row| is_same_check(row, &local.check)) {
                let checks = vec![local.check.clone()];
                let service = None;
                found.push(Difference::Register { service, checks });
            }
        }
        for row in view.services_of_node(&node) {
            let is_own = row.origin.is_none() && row.name != SERVERS;
            if is_own && !self.services.contains_key(&row.id) {
                let id = row.id.clone();
                found.push(Difference::DeregisterService { id });
            }
        }
        for row in view.checks_of_node(&node) {
            let service = row.service_id.as_ref();
            let is_of_known = service.is_none_or(|id| self.service(id).is_some());
            if is_of_known && row.id != SERF_HEALTH && !self.checks.contains_key(&row.id) {
                let id = row.id.clone();
                found.push(Difference::DeregisterCheck { id });
            }
        }
        found
    }

    fn registration(&self, service: &Service) -> Difference {
        let checks = self.checks_of(&service.id);
        Difference::Register {
            service: Some(Box::new(service.clone())),
            checks: checks.map(|local| local.check.clone()).collect(),
        }
    }

    fn put_check(&mut self, now: Timestamp, check: Check, definition: CheckDefinition) {
        let local = LocalCheck {
            check: Check {
                output: bound_output(check.output),
                ..check
            },
            definition,
            since: now,
            heard: now,
            pushed: now,
        };
        self.checks.insert(local.check.id.clone(), local);
    }

    fn set(
        &mut self,
        now: Timestamp,
        id: &str,
        status: Status,
        output: String,
        touched: &mut Touched,
    ) {
        let Some(local) = self.checks.get_mut(id) else {
            return;
        };
        let output = bound_output(output);
        let is_new = local.check.status != status;
        if !is_new && local.check.output == output {
            return;
        }
        // The first words of a check are news.
        let is_due = local.check.output.is_empty() || now.since(local.pushed) >= OUTPUT_INTERVAL;
        if is_new {
            local.since = now;
        }
        local.check.status = status;
        local.check.output = output;
        if is_new || is_due {
            local.pushed = now;
            touched.checks.insert(id.into());
        }
    }
}

impl LocalCheck {
    /// When it becomes critical unless somebody says something.
    fn expires(&self) -> Option<Timestamp> {
        match self.definition.probe {
            Probe::Ttl { ttl } if !self.is_expired() => Some(self.heard + ttl),
            _ => None,
        }
    }

    fn is_expired(&self) -> bool {
        self.check.status == Status::Critical && self.check.output.starts_with(EXPIRED)
    }

    /// When its service goes.
    fn reaped(&self) -> Option<Timestamp> {
        let after = self.definition.deregister_after;
        let counts = !after.is_zero()
            && self.check.status == Status::Critical
            && self.check.service_id.is_some();
        counts.then(|| self.since + after.max(DEREGISTER_AFTER_MIN))
    }
}

fn is_same_service(row: &Service, own: &Service) -> bool {
    row.name == own.name
        && row.address == own.address
        && row.port == own.port
        && (row.tags == own.tags || own.enable_tag_override)
        && row.meta == own.meta
        && row.tagged_addresses == own.tagged_addresses
        && row.ports == own.ports
        && row.socket_path == own.socket_path
        && row.locality == own.locality
        && row.role == own.role
        && row.weights == own.weights
        && row.enable_tag_override == own.enable_tag_override
        && !row.draining
}

/// Outputs are not compared: they are pushed seldom.
fn is_same_check(row: &Check, own: &Check) -> bool {
    row.status == own.status
        && row.name == own.name
        && row.notes == own.notes
        && row.service_id == own.service_id
        && row.kind == own.kind
        && row.interval == own.interval
        && row.timeout == own.timeout
}
