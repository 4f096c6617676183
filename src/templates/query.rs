//! What templates ask the cluster for.

use std::fmt;

/// One question to the cluster. Its text is the name by which people are told that it is waited
/// for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Query {
    /// The value of a key: a text.
    Key(String),
    /// The keys that start so: a list of objects with `Key` (whole) and `Value`, by key.
    Keys(String),
    /// A variable: an object with `Items` and the facts about it.
    Variable {
        /// Path.
        path: String,
        /// Namespace; none for that of the task's job.
        namespace: Option<String>,
    },
    /// The variables whose path starts so: a list of objects with the facts about them.
    Variables {
        /// Start of the path.
        prefix: String,
        /// Namespace; none for that of the task's job.
        namespace: Option<String>,
    },
    /// Instances of a service: a list of objects.
    Service {
        /// Name.
        name: String,
        /// A tag that instances must have; none for all.
        tag: Option<String>,
        /// Which of them by their health: `passing`, `warning`, `critical` or `any`; never empty.
        health: Vec<String>,
        /// Where they are; none for the whole region.
        datacenter: Option<String>,
    },
    /// The services of the catalog: a list of objects with `Name` and `Tags`.
    Services {
        /// Where instances are; none for the whole region.
        datacenter: Option<String>,
    },
    /// The nodes of the catalog: a list of objects.
    Nodes {
        /// Where they are; none for the whole region.
        datacenter: Option<String>,
    },
    /// One node: an object with `Node` and `Services`.
    Node {
        /// Name; none for the agent's own.
        name: Option<String>,
        /// Where it has to be; none for anywhere.
        datacenter: Option<String>,
    },
    /// The datacenters: a list of texts.
    Datacenters,
    /// Instances of a service that jobs keep to themselves: a list of objects.
    NativeService {
        /// Name.
        name: String,
        /// A few of them only; none for all.
        choice: Option<Choice>,
    },
    /// The services that jobs keep to themselves: a list of objects with `Name` and `Tags`.
    NativeServices,
}

/// A few instances, always the same ones for the same key as long as they are there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choice {
    /// How many.
    pub count: usize,
    /// Decides which.
    pub key: String,
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = |place: &Option<String>| match place {
            Some(place) => format!("@{place}"),
            None => String::new(),
        };
        let in_brackets = |place: &Option<String>| match place {
            Some(place) => format!("(@{place})"),
            None => String::new(),
        };
        match self {
            Self::Key(key) => write!(f, "kv.block({key})"),
            Self::Keys(prefix) => write!(f, "kv.list({prefix})"),
            Self::Variable { path, namespace } => {
                write!(f, "nomad.var.block({path}{})", within(namespace))
            }
            Self::Variables { prefix, namespace } => {
                write!(f, "nomad.var.list({prefix}{})", within(namespace))
            }
            Self::Service {
                name,
                tag,
                health,
                datacenter,
            } => {
                let tag = tag.as_ref().map(|tag| format!("{tag}."));
                let tag = tag.unwrap_or_default();
                let (place, health) = (within(datacenter), health.join(","));
                write!(f, "health.service({tag}{name}{place}|{health})")
            }
            Self::Services { datacenter } => {
                write!(f, "catalog.services{}", in_brackets(datacenter))
            }
            Self::Nodes { datacenter } => write!(f, "catalog.nodes{}", in_brackets(datacenter)),
            Self::Node { name, datacenter } => {
                let name = name.as_deref().unwrap_or_default();
                write!(f, "catalog.node({name}{})", within(datacenter))
            }
            Self::Datacenters => f.write_str("catalog.datacenters"),
            Self::NativeService { name, .. } => write!(f, "nomad.service({name})"),
            Self::NativeServices => f.write_str("nomad.services"),
        }
    }
}
