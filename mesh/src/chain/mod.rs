//! The chain of a service: where its requests go by what the configuration entries say together.
//!
//! [`compile()`] is pure: it asks for entries through [`Entries`] and gives a [`Chain`], a graph of
//! steps from [`Chain::start`] to targets. Who carries traffic walks it: a router picks a step by
//! request, a splitter by share, a resolver names the target and those that stand in for it.
//! [`Chain::shares`] flattens what needs no request. Nothing here looks at instances.

mod compile;
mod entry;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::model::ConfigKey;
use crate::view::View;

pub use compile::{compile, protocol};
pub use entry::{HeaderMatch, MatchKind, RouteMatch};

/// Protocols whose requests can be told apart.
pub const HTTP_LIKE: [&str; 3] = ["http", "http2", "grpc"];
/// Pause after which connecting fails, unless an entry says another.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most steps of one chain; entries that make a longer one are refused.
pub const STEPS_MAX: usize = 4096;
/// Most splitters inside each other, and most redirects one after the other.
pub const DEPTH_MAX: usize = 128;
/// A whole share, in hundredths of a percent.
pub const WHOLE_SHARE: u32 = 10_000;

/// A version of a service while an update has canaries. Each is a subset of every service whose
/// resolver has none of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The canaries: the subset `canary`.
    Canary,
    /// All other instances: the subset `stable`.
    Stable,
}

impl Version {
    /// The version that a subset is, where no resolver says another.
    #[must_use]
    pub fn of_subset(name: &str) -> Option<Self> {
        match name {
            "canary" => Some(Self::Canary),
            "stable" => Some(Self::Stable),
            _ => None,
        }
    }
}

/// Where entries are found.
pub trait Entries {
    /// What the entry says, a JSON object; none when there is none.
    fn entry(&self, kind: &str, name: &str) -> Option<Value>;
}

impl Entries for View {
    fn entry(&self, kind: &str, name: &str) -> Option<Value> {
        let key = ConfigKey {
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        let row = self.config_entry(&key)?;
        serde_json::from_str(&row.body).ok()
    }
}

/// What is compiled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// The service; it need not exist.
    pub service: &'a str,
    /// The datacenter from which it is asked for.
    pub datacenter: &'a str,
    /// Trust domain of the cluster, for names in TLS; may be empty.
    pub trust_domain: &'a str,
    /// What the asker wants instead of what the entries say.
    pub overrides: Overrides,
}

/// What somebody who asks for a chain wants otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Protocol; empty for that of the entries. One without requests ignores routers and splitters.
    pub protocol: String,
    /// Time to connect; zero for that of the entries.
    pub connect_timeout: Duration,
    /// Mode of mesh gateways; empty for that of the entries.
    pub gateway_mode: String,
}

/// Why entries do not fit together, in the words that clients know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Services of one chain speak differently.
    #[error(
        "discovery chain {chain:?} uses inconsistent protocols; service {service:?} has {has:?} which is not {wanted:?}"
    )]
    Protocols {
        /// The chain.
        chain: String,
        /// The service that differs.
        service: String,
        /// Its protocol.
        has: String,
        /// That of the others.
        wanted: String,
    },
    /// The protocol has no requests to tell apart.
    #[error(
        "discovery chain {chain:?} uses a protocol {protocol:?} that does not permit advanced routing or splitting behavior"
    )]
    NoRequests {
        /// The chain.
        chain: String,
        /// Its protocol.
        protocol: String,
    },
    /// A subset is named that its resolver does not have.
    #[error("service {service:?} does not have a subset named {subset:?}")]
    UnknownSubset {
        /// The service.
        service: String,
        /// The subset.
        subset: String,
    },
    /// Redirects lead back.
    #[error("detected circular resolver redirect: [{}]", path.join(" -> "))]
    Redirects {
        /// The targets, the first one again at the end.
        path: Vec<String>,
    },
    /// Splitters lead back.
    #[error("detected circular reference: [{}]", path.join(" -> "))]
    Circle {
        /// The steps, the first one again at the end.
        path: Vec<String>,
    },
    /// More steps than any sensible set of entries makes.
    #[error(
        "discovery chain {chain:?} has more than {STEPS_MAX} steps, or {DEPTH_MAX} of them inside each other"
    )]
    TooLong {
        /// The chain.
        chain: String,
    },
}

/// The chain of a service.
///
/// Invariants:
/// 1. `start` and every `next` name a step in `steps`; every target of a resolver is in `targets`.
/// 2. There is no circle, and no step or target that cannot be reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// The service.
    pub service: String,
    /// The datacenter from which it is asked for.
    pub datacenter: String,
    /// How all of its services speak.
    pub protocol: String,
    /// Whether no entry says anything about where requests go.
    pub is_default: bool,
    /// Whether the asker's wishes changed it.
    pub is_customized: bool,
    /// Name of the first step.
    pub start: String,
    /// Steps by name: `router:a.default.default`, `splitter:a.default.default`,
    /// `resolver:v1.a.default.default.dc1`.
    pub steps: BTreeMap<String, Step>,
    /// Targets by id: `v1.a.default.default.dc1`.
    pub targets: BTreeMap<String, Target>,
}

/// One step of a chain.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Picks the next step by the request.
    Router {
        /// The first that matches counts; the last one matches everything. Never empty.
        routes: Vec<Route>,
    },
    /// Picks the next step by share.
    Splitter {
        /// The parts; never empty. No next step is a splitter.
        splits: Vec<Split>,
        /// How targets are balanced, as the entry has it.
        load_balancer: Option<Value>,
    },
    /// Names where the request goes.
    Resolver {
        /// The rest.
        resolver: Resolver,
        /// How targets are balanced, as the entry has it.
        load_balancer: Option<Value>,
    },
}

/// A way out of a router.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Requests that go here.
    pub matches: RouteMatch,
    /// What replaces the matched path prefix; empty for nothing.
    pub prefix_rewrite: String,
    /// The route as the entry has it.
    pub definition: Value,
    /// Name of the next step.
    pub next: String,
}

/// A part of a splitter.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Its share in hundredths of a percent; all of a splitter are 10,000, rounding aside.
    pub share: u32,
    /// The part as the entry has it.
    pub definition: Value,
    /// Name of the next step.
    pub next: String,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// Whether no entry says anything about the service.
    pub is_default: bool,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for a whole request; zero for no limit of its own.
    pub request_timeout: Duration,
    /// Id of the target.
    pub target: String,
    /// Ids of the targets that stand in when it has no healthy instance, the first one first.
    pub failover: Vec<String>,
    /// How these are picked, as the entry has it.
    pub failover_policy: Option<Value>,
}

/// Instances that get requests: of a service, or of a subset of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// `[SUBSET.]SERVICE.default.default.DATACENTER`.
    pub id: String,
    /// The service.
    pub service: String,
    /// Name of the subset; empty for all instances.
    pub subset: String,
    /// Filter expression over health entries that makes the subset; empty for all.
    pub filter: String,
    /// The version that makes it instead; none for both.
    pub version: Option<Version>,
    /// Whether instances in warning are left out.
    pub only_passing: bool,
    /// The datacenter; empty for a peer's.
    pub datacenter: String,
    /// The peer; empty for none.
    pub peer: String,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Mode of mesh gateways; empty for none.
    pub gateway_mode: String,
    /// Name in TLS; empty for a peer's.
    pub sni: String,
    /// Whether `sni` is that of something outside the mesh.
    pub is_external: bool,
}

/// A target with its share of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share<'a> {
    /// In hundredths of a percent.
    pub share: u32,
    /// The target.
    pub target: &'a Target,
    /// Those that stand in for it, the first one first.
    pub failover: Vec<&'a Target>,
}

impl Chain {
    /// The first step.
    #[must_use]
    pub fn first(&self) -> Option<&Step> {
        self.steps.get(&self.start)
    }

    /// The routes by which requests are told apart; empty when all are equal.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        match self.first() {
            Some(Step::Router { routes }) => routes,
            _ => &[],
        }
    }

    /// Targets and shares from a step on. From a router those of its last route, which takes every
    /// request that no other takes.
    #[must_use]
    pub fn shares(&self, step: &str) -> Vec<Share<'_>> {
        match self.steps.get(step) {
            Some(Step::Router { routes }) => routes
                .last()
                .map_or_else(Vec::new, |last| self.shares(&last.next)),
            Some(Step::Splitter { splits, .. }) => splits
                .iter()
                .filter_map(|split| self.share_of(&split.next, split.share))
                .collect(),
            Some(Step::Resolver { .. }) => self.share_of(step, WHOLE_SHARE).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// Name of the splitter that decides about requests from a step on; none if there is none. From
    /// a router that of its last route.
    #[must_use]
    pub fn splitter<'a>(&'a self, step: &'a str) -> Option<&'a str> {
        match self.steps.get(step)? {
            Step::Router { routes } => self.splitter(&routes.last()?.next),
            Step::Splitter { .. } => {
                let name = step.strip_prefix("splitter:")?;
                Some(name.strip_suffix(".default.default").unwrap_or(name))
            }
            Step::Resolver { .. } => None,
        }
    }

    fn share_of(&self, step: &str, share: u32) -> Option<Share<'_>> {
        let Some(Step::Resolver { resolver, .. }) = self.steps.get(step) else {
            return None;
        };
        let stand_ins = resolver.failover.iter();
        Some(Share {
            share,
            target: self.targets.get(&resolver.target)?,
            failover: stand_ins.filter_map(|id| self.targets.get(id)).collect(),
        })
    }
}
