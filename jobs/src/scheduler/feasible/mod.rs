//! Which nodes may run a group at all, room aside.

mod constraint;
mod version;

use crate::model::{
    Constraint, GroupName, Job, NoHostNetwork, Node, Port, TaskGroup, Text, absent_refusal,
};
use constraint::Operators;
use std::collections::{BTreeMap, BTreeSet};

/// What is counted for a node whose class is known to be unfit by a look at another node of it.
pub(super) const CLASS_INELIGIBLE: &str = "computed class ineligible";

/// Why a node may not run a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Objection {
    /// The constraint, or what the node lacks.
    pub(super) reason: String,
    /// It was told of another node of the class already, in this evaluation.
    pub(super) is_known: bool,
    /// It holds for every node of the class.
    pub(super) is_of_class: bool,
}

impl Objection {
    /// What the node is counted under: clients show the constraint once for each class.
    pub(super) fn counted(&self) -> &str {
        if self.is_known {
            CLASS_INELIGIBLE
        } else {
            &self.reason
        }
    }

    /// What it is counted under when the same evaluation looks at the node once more.
    pub(super) fn counted_again(&self) -> &str {
        if self.is_of_class {
            CLASS_INELIGIBLE
        } else {
            &self.reason
        }
    }
}

/// The classes of nodes that an evaluation found unfit so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Unfit {
    /// For the whole job.
    job: BTreeSet<Text>,
    groups: BTreeMap<GroupName, BTreeSet<Text>>,
}

/// What one class of nodes is for one set of requirements.
#[derive(Clone, Debug, Default)]
enum Verdict {
    /// No node of it was looked at here.
    #[default]
    Unknown,
    Suits,
    Lacks(String),
}

/// Some requirements, judged once per class of nodes where that is enough.
#[derive(Debug, Default)]
struct Level {
    /// Some constraint looks at something that differs between nodes of one class.
    unique: bool,
    /// By class of the fleet.
    verdicts: Vec<Verdict>,
    /// Names of the classes that were found unfit, also before by the same evaluation.
    unfit: BTreeSet<Text>,
}

impl Level {
    fn new(constraints: &[&Constraint], unfit: Option<&BTreeSet<Text>>) -> Self {
        let unique = |c: &&Constraint| is_unique(&c.l_target) || is_unique(&c.r_target);
        Self {
            unique: constraints.iter().any(unique),
            verdicts: Vec::new(),
            unfit: unfit.cloned().unwrap_or_default(),
        }
    }

    /// What `judge` says of the node, or said of another one of its class.
    fn objection(
        &mut self,
        node: &Node,
        class: Option<usize>,
        judge: impl FnOnce() -> Option<String>,
    ) -> Option<Objection> {
        let Some(class) = class.filter(|_| !self.unique) else {
            return judge().map(|reason| Objection {
                reason,
                is_known: false,
                is_of_class: false,
            });
        };
        if self.verdicts.len() <= class {
            self.verdicts.resize(class + 1, Verdict::Unknown);
        }
        let (reason, is_known) = match &self.verdicts[class] {
            Verdict::Suits => return None,
            Verdict::Lacks(reason) => (reason.clone(), true),
            Verdict::Unknown => {
                let Some(reason) = judge() else {
                    self.verdicts[class] = Verdict::Suits;
                    return None;
                };
                self.verdicts[class] = Verdict::Lacks(reason.clone());
                (
                    reason,
                    !self.unfit.insert(node.computed_class.as_str().into()),
                )
            }
        };
        Some(Objection {
            reason,
            is_known,
            is_of_class: true,
        })
    }
}

/// The requirements of one group.
pub(super) struct Feasibility<'a> {
    of_job: Vec<&'a Constraint>,
    /// Of the group and its tasks.
    of_group: Vec<&'a Constraint>,
    drivers: BTreeSet<&'a str>,
    /// The network of plugins that the group asks for, as its mode.
    network: Option<&'a str>,
    /// Ports of the group that ask for a network of the host.
    host_networks: Vec<&'a Port>,
    /// Names of the host's volumes, and whether the group only reads them.
    volumes: Vec<(&'a str, bool)>,
    job_level: Level,
    group_level: Level,
    /// Why no node may run the group.
    refusal: Option<String>,
    operators: Operators,
}

impl<'a> Feasibility<'a> {
    pub(super) fn new(job: &'a Job, group: &'a TaskGroup) -> Self {
        Self::after(job, group, &Unfit::default())
    }

    /// As an evaluation asks that knows some classes already.
    pub(super) fn after(job: &'a Job, group: &'a TaskGroup, unfit: &Unfit) -> Self {
        let of_job: Vec<&Constraint> = (job.constraints.iter())
            .filter(|c| !is_distinct(c))
            .collect();
        let of_group: Vec<&Constraint> = group
            .constraints
            .iter()
            .chain(group.tasks.iter().flat_map(|task| &task.constraints))
            .filter(|c| !is_distinct(c))
            .collect();
        Self {
            job_level: Level::new(&of_job, Some(&unfit.job)),
            group_level: Level::new(&of_group, unfit.groups.get(&group.name)),
            of_job,
            of_group,
            drivers: group.tasks.iter().map(|t| t.driver.as_str()).collect(),
            network: (group.networks.iter())
                .map(|network| network.mode.as_str())
                .find(|mode| mode.starts_with("cni/")),
            host_networks: (group.networks.iter())
                .flat_map(|network| network.reserved_ports.iter().chain(&network.dynamic_ports))
                .filter(|port| !port.host_network.is_empty())
                .collect(),
            volumes: (group.volumes.values())
                .map(|volume| (volume.source.as_str(), volume.read_only))
                .collect(),
            refusal: absent_refusal(group),
            operators: Operators::default(),
        }
    }

    /// Keeps for the evaluation what was learned of the classes of nodes.
    pub(super) fn teach(self, group: &TaskGroup, unfit: &mut Unfit) {
        unfit.job = self.job_level.unfit;
        (unfit.groups).insert(group.name.clone(), self.group_level.unfit);
    }

    /// Why the node, of that class of the fleet, may not run the group; none when it may.
    pub(super) fn objection(&mut self, node: &Node, class: Option<usize>) -> Option<Objection> {
        if let Some(reason) = &self.refusal {
            return Some(Objection {
                reason: reason.clone(),
                is_known: false,
                is_of_class: false,
            });
        }
        let Self {
            of_job,
            of_group,
            drivers,
            operators,
            job_level,
            group_level,
            ..
        } = self;
        let unmet = job_level.objection(node, class, || first_unmet(of_job, operators, node));
        let unmet = unmet.or_else(|| {
            group_level.objection(node, class, || {
                if has_drivers(node, drivers) {
                    first_unmet(of_group, operators, node)
                } else {
                    Some("missing drivers".into())
                }
            })
        });
        unmet
            .or_else(|| self.network_objection(node))
            .or_else(|| self.host_network_objection(node))
            .or_else(|| self.volume_objection(node))
    }

    fn network_objection(&self, node: &Node) -> Option<Objection> {
        let mode = self.network?;
        let mut networks = node.node_resources.networks.iter();
        (!networks.any(|network| network.mode == mode)).then(|| Objection {
            reason: "missing network".into(),
            is_known: false,
            is_of_class: false,
        })
    }

    fn host_network_objection(&self, node: &Node) -> Option<Objection> {
        let reason = self.host_networks.iter().find_map(|port| {
            let (label, asked) = (&port.label, &port.host_network);
            Some(match node.ip_of(asked).err()? {
                NoHostNetwork::Template => {
                    format!("invalid host network {asked:?} template for port {label:?}")
                }
                NoHostNetwork::Missing { name } => {
                    format!("missing host network {name:?} for port {label:?}")
                }
            })
        })?;
        Some(Objection {
            reason,
            is_known: false,
            is_of_class: false,
        })
    }

    fn volume_objection(&self, node: &Node) -> Option<Objection> {
        let mounts = |(source, only_reads): &(&str, bool)| {
            node.host_volumes
                .get(*source)
                .is_some_and(|volume| *only_reads || !volume.read_only)
        };
        (!self.volumes.iter().all(mounts)).then(|| Objection {
            reason: "missing compatible host volumes".into(),
            is_known: false,
            is_of_class: false,
        })
    }
}

fn has_drivers(node: &Node, drivers: &BTreeSet<&str>) -> bool {
    drivers.iter().all(|driver| {
        node.drivers
            .get(*driver)
            .is_some_and(|info| info.detected && info.healthy)
    })
}

fn first_unmet(
    constraints: &[&Constraint],
    operators: &mut Operators,
    node: &Node,
) -> Option<String> {
    let unmet = constraints.iter().find(|c| !operators.holds(c, node));
    unmet.map(|c| describe(c))
}

/// True when the constraint is about the other allocations rather than about the node.
pub(super) fn is_distinct(constraint: &Constraint) -> bool {
    matches!(
        constraint.operand.as_str(),
        "distinct_hosts" | "distinct_property"
    )
}

/// True when nodes of one class may have different values for the target.
pub(super) fn is_unique(target: &str) -> bool {
    target.contains("unique.")
}

/// A constraint as it is shown.
fn describe(constraint: &Constraint) -> String {
    let Constraint {
        l_target,
        r_target,
        operand,
    } = constraint;
    format!("{l_target} {operand} {r_target}").trim().to_owned()
}

/// True when the node matches the target with that operand, as an affinity has it.
pub(super) fn matches(l_target: &str, r_target: &str, operand: &str, node: &Node) -> bool {
    let constraint = Constraint {
        l_target: l_target.into(),
        r_target: r_target.into(),
        operand: operand.into(),
    };
    Operators::default().holds(&constraint, node)
}

/// True when the node stands in one of the job's datacenters and in its pool.
pub(super) fn in_reach(job: &Job, node: &Node) -> bool {
    in_pool(job, node) && (job.datacenters.iter()).any(|glob| glob_matches(glob, &node.datacenter))
}

/// True when the node is in the job's pool.
pub(super) fn in_pool(job: &Job, node: &Node) -> bool {
    let wanted = if job.node_pool.is_empty() {
        "default"
    } else {
        &job.node_pool
    };
    let pool = if node.node_pool.is_empty() {
        "default"
    } else {
        &node.node_pool
    };
    wanted == "all" || wanted == pool
}

/// Whether `text` matches `glob`, in which `*` stands for anything.
fn glob_matches(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{Feasibility, glob_matches};
    use crate::model::{FlatMap, HostVolume, Job, NetworkResource, Node, TaskGroup, VolumeRequest};

    #[test]
    fn no_node_runs_a_group_that_asks_for_what_is_not_built() {
        let mut group = TaskGroup::default();
        let (job, node) = (Job::default(), Node::default());
        assert_eq!(Feasibility::new(&job, &group).objection(&node, None), None);
        group.volumes = FlatMap::from([(
            "data".to_owned(),
            VolumeRequest {
                volume_type: "csi".into(),
                ..VolumeRequest::default()
            },
        )]);
        let objection = Feasibility::new(&job, &group).objection(&node, None);
        let objection = objection.map(|objection| objection.reason);
        let expected = "group.volume with type \"csi\": ";
        assert!(objection.is_some_and(|text| text.starts_with(expected)));
    }

    #[test]
    fn a_group_goes_where_plugins_make_its_network() {
        let group = TaskGroup {
            networks: vec![NetworkResource {
                mode: "cni/own".into(),
                ..NetworkResource::default()
            }],
            ..TaskGroup::default()
        };
        let job = Job::default();
        let mut node = Node::default();
        let judge = |node: &Node| {
            let objection = Feasibility::new(&job, &group).objection(node, None);
            objection.map(|objection| objection.reason)
        };
        for (mode, expected) in [
            ("host", Some("missing network")),
            ("cni/other", Some("missing network")),
            ("cni/own", None),
        ] {
            node.node_resources.networks.push(NetworkResource {
                mode: mode.into(),
                ..NetworkResource::default()
            });
            assert_eq!(judge(&node).as_deref(), expected, "{mode}");
        }
    }

    #[test]
    fn a_group_goes_where_its_volumes_are_and_may_be_written_to() {
        let (job, mut node, mut group) = (Job::default(), Node::default(), TaskGroup::default());
        let mut ask = |node: &Node, read_only| {
            let request = VolumeRequest {
                volume_type: "host".into(),
                source: "certs".into(),
                read_only,
                ..VolumeRequest::default()
            };
            group.volumes = FlatMap::from([("data".to_owned(), request)]);
            let objection = Feasibility::new(&job, &group).objection(node, None);
            objection.map(|objection| objection.reason)
        };
        let missing = Some("missing compatible host volumes".to_owned());
        assert_eq!(ask(&node, true), missing);
        let volume = HostVolume {
            read_only: true,
            ..HostVolume::default()
        };
        node.host_volumes.insert("certs".into(), volume);
        assert_eq!(ask(&node, false), missing);
        assert_eq!(ask(&node, true), None);
        node.host_volumes
            .insert("certs".into(), HostVolume::default());
        assert_eq!(ask(&node, false), None);
    }

    #[test]
    fn globs_match_any_text_at_stars() {
        for (glob, text, expected) in [
            ("*", "dc1", true),
            ("dc1", "dc1", true),
            ("dc1", "dc12", false),
            ("dc*", "dc12", true),
            ("*1", "dc1", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(glob_matches(glob, text), expected, "{glob} {text}");
        }
    }
}
