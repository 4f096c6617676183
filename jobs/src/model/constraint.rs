use serde::{Deserialize, Serialize};

/// A hard requirement on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Constraint {
    /// Left side, usually `${attr.…}`.
    #[serde(rename = "LTarget")]
    pub l_target: String,
    /// Right side.
    #[serde(rename = "RTarget")]
    pub r_target: String,
    /// `=`, `!=`, `regexp`, `version`, `distinct_hosts` …
    pub operand: String,
}

/// A soft preference for nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Affinity {
    /// Left side, usually `${attr.…}`.
    #[serde(rename = "LTarget")]
    pub l_target: String,
    /// Right side.
    #[serde(rename = "RTarget")]
    pub r_target: String,
    /// As of a constraint.
    pub operand: String,
    /// −100 to 100, not 0.
    pub weight: i8,
}

/// A wanted distribution over the values of an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Spread {
    /// The attribute, `${…}`.
    pub attribute: String,
    /// 1 to 100.
    pub weight: i8,
    /// Wanted shares; empty is even.
    pub spread_target: Vec<SpreadTarget>,
}

/// The wanted share of one value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SpreadTarget {
    /// Attribute value.
    pub value: String,
    /// 0 to 100.
    pub percent: u8,
}
