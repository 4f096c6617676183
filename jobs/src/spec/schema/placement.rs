use super::{BARE, BlockType, Schema, flag, labeled, many, plain, preset, text, whole};
use serde_json::{Map, Value};

pub(super) const CONSTRAINTS: BlockType = many("constraint", "Constraints", &CONSTRAINT);
pub(super) const AFFINITIES: BlockType = many("affinity", "Affinities", &AFFINITY);
pub(super) const SPREADS: BlockType = many("spread", "Spreads", &SPREAD);

static CONSTRAINT: Schema = Schema {
    attributes: &[
        text("attribute", "LTarget"),
        text("operator", "Operand"),
        text("value", "RTarget"),
        flag("distinct_hosts", "distinct_hosts"),
        text("distinct_property", "distinct_property"),
        text("version", "version"),
        text("semver", "semver"),
        text("regexp", "regexp"),
        text("set_contains", "set_contains"),
        text("set_contains_all", "set_contains_all"),
        text("set_contains_any", "set_contains_any"),
        flag("is_set", "is_set"),
        flag("is_not_set", "is_not_set"),
    ],
    blocks: &[],
    finish: finish_constraint,
    ..BARE
};

static AFFINITY: Schema = Schema {
    attributes: &[
        text("attribute", "LTarget"),
        text("operator", "Operand"),
        text("value", "RTarget"),
        text("version", "version"),
        text("semver", "semver"),
        text("regexp", "regexp"),
        text("set_contains", "set_contains"),
        text("set_contains_all", "set_contains_all"),
        text("set_contains_any", "set_contains_any"),
        whole("weight", "Weight"),
    ],
    blocks: &[],
    finish: finish_constraint,
    ..BARE
};

/// Shorthands such as `version = ">= 1"` become operand and value.
fn finish_constraint(constraint: &mut Map<String, Value>) {
    for operand in [
        "version",
        "semver",
        "regexp",
        "set_contains",
        "set_contains_all",
        "set_contains_any",
    ] {
        if let Some(value) = constraint.remove(operand) {
            constraint.insert("Operand".into(), operand.into());
            constraint.insert("RTarget".into(), value);
        }
    }
    for operand in ["is_set", "is_not_set"] {
        if constraint.remove(operand) == Some(Value::Bool(true)) {
            constraint.insert("Operand".into(), operand.into());
        }
    }
    if let Some(property) = constraint.remove("distinct_property") {
        constraint.insert("Operand".into(), "distinct_property".into());
        constraint.insert("LTarget".into(), property);
    }
    if let Some(Value::Bool(flag)) = constraint.remove("distinct_hosts") {
        constraint.insert("Operand".into(), "distinct_hosts".into());
        constraint.insert("RTarget".into(), flag.to_string().into());
    }
    preset(constraint, "Operand", "=");
}

static SPREAD: Schema = Schema {
    attributes: &[text("attribute", "Attribute"), whole("weight", "Weight")],
    blocks: &[labeled("target", "SpreadTarget", "Value", &SPREAD_TARGET)],
    finish: super::keep,
    ..BARE
};

static SPREAD_TARGET: Schema = plain(&[whole("percent", "Percent"), text("value", "Value")]);
