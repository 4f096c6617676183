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
    },
    /// The services of the catalog: a list of objects with `Name` and `Tags`.
    Services,
    /// The nodes of the catalog: a list of objects.
    Nodes,
    /// One node, the agent's own without a name: an object with `Node` and `Services`.
    Node(Option<String>),
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
        let within = |namespace: &Option<String>| match namespace {
            Some(namespace) => format!("@{namespace}"),
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
            Self::Service { name, tag, health } => {
                let tag = tag.as_ref().map(|tag| format!("{tag}."));
                let tag = tag.unwrap_or_default();
                write!(f, "health.service({tag}{name}|{})", health.join(","))
            }
            Self::Services => f.write_str("catalog.services"),
            Self::Nodes => f.write_str("catalog.nodes"),
            Self::Node(name) => write!(f, "catalog.node({})", name.as_deref().unwrap_or_default()),
            Self::Datacenters => f.write_str("catalog.datacenters"),
            Self::NativeService { name, .. } => write!(f, "nomad.service({name})"),
            Self::NativeServices => f.write_str("nomad.services"),
        }
    }
}
