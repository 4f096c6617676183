//! What agents ask the servers for and are told of again whenever it changes: values that are not
//! in the catalog that every agent holds.

use jobs::model::{AllocId, Index, Namespace, TaskName, Timestamp, VariableKey};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Something that an agent wants to be told of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    /// The value of a key.
    Key(String),
    /// The keys that start so, with their values.
    KeysBelow(String),
    /// A variable.
    Variable(VariableKey),
    /// The variables whose path starts so, without their contents.
    VariablesBelow {
        /// Namespace.
        namespace: Namespace,
        /// Start of their paths.
        prefix: String,
    },
    /// The tokens that say who a task of the agent's node is.
    Tokens {
        /// Allocation.
        alloc_id: AllocId,
        /// Task.
        task: TaskName,
    },
}

/// What there is of a [`Subject`]. Its debug form shows no values: they may be secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// There is no such key or variable.
    Nothing,
    /// The value of a key. What is no text has other letters in the place of what is none.
    Text(String),
    /// Keys and their values, by key; may be empty.
    Pairs(Vec<(String, String)>),
    /// A variable with its items.
    Items {
        /// Names and values.
        items: BTreeMap<String, String>,
        /// The rest.
        facts: VariableFacts,
    },
    /// Variables by path; may be empty.
    List(Vec<VariableFacts>),
    /// Tokens by the name of the identity; new ones come before the old ones end.
    Tokens(BTreeMap<String, String>),
    /// This agent is not told, with the reason.
    Refused(String),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Pairs(pairs) => write!(f, "Pairs({})", pairs.len()),
            Self::Items { facts, items } => write!(f, "Items({:?}, {})", facts.path, items.len()),
            Self::List(list) => write!(f, "List({})", list.len()),
            Self::Tokens(tokens) => write!(f, "Tokens({})", tokens.len()),
            Self::Refused(reason) => write!(f, "Refused({reason:?})"),
        }
    }
}

/// What is known of a variable beside its contents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VariableFacts {
    /// Namespace.
    pub namespace: Namespace,
    /// Path.
    pub path: String,
    /// Entry that made it.
    pub create_index: Index,
    /// Entry that changed it last.
    pub modify_index: Index,
    /// When it was made, nanoseconds since 1970.
    pub create_time: Timestamp,
    /// When it was changed last, nanoseconds since 1970.
    pub modify_time: Timestamp,
}
