//! Which nodes may run a group at all, room aside.

mod constraint;
mod version;

use crate::model::{Constraint, Job, Node, TaskGroup, absent_refusal};
use constraint::Operators;
use std::{borrow::Cow, collections::BTreeSet};

/// Why a node may not run a group; none when it may.
type Verdict = Option<String>;

/// The requirements of one group, judged once per class of nodes where that is enough.
pub(super) struct Feasibility<'a> {
    constraints: Vec<&'a Constraint>,
    drivers: BTreeSet<&'a str>,
    /// Names of the host's volumes, and whether the group only reads them.
    volumes: Vec<(&'a str, bool)>,
    /// Some constraint looks at something that differs between nodes of one class.
    unique: bool,
    /// By class, once one of its nodes was judged.
    verdicts: Vec<Option<Verdict>>,
    /// Why no node may run the group.
    refusal: Option<String>,
    operators: Operators,
}

impl<'a> Feasibility<'a> {
    pub(super) fn new(job: &'a Job, group: &'a TaskGroup) -> Self {
        let constraints: Vec<&Constraint> = job
            .constraints
            .iter()
            .chain(&group.constraints)
            .chain(group.tasks.iter().flat_map(|task| &task.constraints))
            .filter(|c| !is_distinct(c))
            .collect();
        let unique = constraints
            .iter()
            .any(|c| is_unique(&c.l_target) || is_unique(&c.r_target));
        Self {
            constraints,
            drivers: group.tasks.iter().map(|t| t.driver.as_str()).collect(),
            volumes: (group.volumes.values())
                .map(|volume| (volume.source.as_str(), volume.read_only))
                .collect(),
            unique,
            verdicts: Vec::new(),
            refusal: absent_refusal(group),
            operators: Operators::default(),
        }
    }

    /// Why the node, of that class of the fleet, may not run the group; none when it may.
    pub(super) fn objection(&mut self, node: &Node, class: Option<usize>) -> Verdict {
        if self.refusal.is_some() {
            return self.refusal.clone();
        }
        let Some(class) = class.filter(|_| !self.unique) else {
            return self.judge(node);
        };
        if let Some(Some(known)) = self.verdicts.get(class) {
            return known.clone();
        }
        let verdict = self.judge(node);
        if self.verdicts.len() <= class {
            self.verdicts.resize(class + 1, None);
        }
        self.verdicts[class] = Some(verdict.clone());
        verdict
    }

    fn judge(&mut self, node: &Node) -> Verdict {
        let runs = |driver: &&str| {
            node.drivers
                .get(*driver)
                .is_some_and(|info| info.detected && info.healthy)
        };
        if !self.drivers.iter().all(runs) {
            return Some("missing drivers".into());
        }
        let mounts = |(source, only_reads): &(&str, bool)| {
            node.host_volumes
                .get(*source)
                .is_some_and(|volume| *only_reads || !volume.read_only)
        };
        if !self.volumes.iter().all(mounts) {
            return Some("missing compatible host volumes".into());
        }
        let Self {
            constraints,
            operators,
            ..
        } = self;
        let failed = constraints.iter().find(|c| !operators.holds(c, node));
        failed.map(|c| describe(c))
    }
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

/// What a target such as `${attr.kernel.name}` is on a node; a text without `${` is itself.
pub(super) fn resolve<'n>(target: &'n str, node: &'n Node) -> Option<Cow<'n, str>> {
    let Some(name) = target.strip_prefix("${").and_then(|t| t.strip_suffix('}')) else {
        return Some(target.into());
    };
    match name {
        "node.unique.id" => Some(node.id.to_string().into()),
        "node.unique.name" => Some(node.name.as_str().into()),
        "node.datacenter" => Some((&node.datacenter).into()),
        "node.class" => Some((&node.node_class).into()),
        "node.pool" => Some((&node.node_pool).into()),
        _ => {
            let attribute = name
                .strip_prefix("attr.")
                .map(|key| node.attributes.get(key));
            let meta = || name.strip_prefix("meta.").map(|key| node.meta.get(key));
            attribute.or_else(meta)?.map(Into::into)
        }
    }
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
    use crate::model::{FlatMap, HostVolume, Job, Node, TaskGroup, VolumeRequest};

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
        let expected = "group.volume with type \"csi\": ";
        assert!(objection.is_some_and(|text| text.starts_with(expected)));
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
            Feasibility::new(&job, &group).objection(node, None)
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
