use super::version;
use crate::model::{Constraint, Node};
use regex::Regex;
use std::{cmp::Ordering, collections::BTreeMap};

/// Evaluates constraints; keeps compiled expressions.
#[derive(Default)]
pub(super) struct Operators {
    expressions: BTreeMap<String, Option<Regex>>,
}

impl Operators {
    /// Whether the constraint holds on the node. A side that does not resolve fails everything but
    /// `!=` and `is_not_set`.
    pub(super) fn holds(&mut self, constraint: &Constraint, node: &Node) -> bool {
        let left = node.resolve(&constraint.l_target);
        let right = node.resolve(&constraint.r_target);
        match constraint.operand.as_str() {
            "is_set" => left.is_some(),
            "is_not_set" => left.is_none(),
            "!=" | "not" => left != right,
            operand => match (left, right) {
                (Some(left), Some(right)) => self.compare(operand, &left, &right),
                _ => false,
            },
        }
    }

    fn compare(&mut self, operand: &str, left: &str, right: &str) -> bool {
        match operand {
            "" | "=" | "==" | "is" => left == right,
            "<" => order(left, right).is_lt(),
            "<=" => order(left, right).is_le(),
            ">" => order(left, right).is_gt(),
            ">=" => order(left, right).is_ge(),
            "regexp" => self.matches(left, right),
            "version" => version::satisfies(left, right, version::Rules::Loose),
            "semver" => version::satisfies(left, right, version::Rules::Semantic),
            "set_contains" | "set_contains_all" => {
                parts(right).all(|w| parts(left).any(|p| p == w))
            }
            "set_contains_any" => parts(right).any(|w| parts(left).any(|p| p == w)),
            _ => false,
        }
    }

    fn matches(&mut self, text: &str, expression: &str) -> bool {
        if !self.expressions.contains_key(expression) {
            let compiled = Regex::new(expression).ok();
            self.expressions.insert(expression.to_owned(), compiled);
        }
        self.expressions
            .get(expression)
            .and_then(Option::as_ref)
            .is_some_and(|regex| regex.is_match(text))
    }
}

fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

/// Numeric when both sides are integers or both are numbers; lexical otherwise.
fn order(left: &str, right: &str) -> Ordering {
    if let (Ok(left), Ok(right)) = (left.parse::<i64>(), right.parse::<i64>()) {
        return left.cmp(&right);
    }
    if let (Ok(left), Ok(right)) = (left.parse::<f64>(), right.parse::<f64>()) {
        return left.total_cmp(&right);
    }
    left.cmp(right)
}

#[cfg(test)]
mod tests {
    use super::Operators;
    use crate::model::{Constraint, Node};

    #[test]
    fn operands_compare_as_published() {
        let mut node = Node::default();
        for (key, value) in [
            ("kernel", "linux"),
            ("cpus", "8"),
            ("v", "1.10.2"),
            ("pre", "1.7.0-beta1"),
            ("set", "a,b, c"),
        ] {
            node.attributes.insert(key.into(), value.into());
        }
        for (left, operand, right, expected) in [
            ("${attr.kernel}", "=", "linux", true),
            ("${attr.kernel}", "!=", "linux", false),
            ("${attr.none}", "!=", "x", true),
            ("${attr.none}", "=", "x", false),
            ("${attr.none}", "is_not_set", "", true),
            ("${attr.kernel}", "is_set", "", true),
            ("${attr.cpus}", ">", "10", false),
            ("${attr.cpus}", "<", "10", true),
            ("${attr.kernel}", "regexp", "^lin", true),
            ("${attr.kernel}", "regexp", "(", false),
            ("${attr.v}", "version", ">= 1.2, < 2", true),
            ("${attr.v}", "version", "~> 1.9", true),
            ("${attr.v}", "version", "~> 1.9.1", false),
            ("${attr.pre}", "version", ">= 1.6", false),
            ("${attr.pre}", "semver", ">= 1.6.0", true),
            ("${attr.set}", "set_contains", "a,c", true),
            ("${attr.set}", "set_contains", "a,d", false),
            ("${attr.set}", "set_contains_any", "d,b", true),
            ("${attr.kernel}", "nonsense", "linux", false),
        ] {
            let constraint = Constraint {
                l_target: left.into(),
                r_target: right.into(),
                operand: operand.into(),
            };
            let holds = Operators::default().holds(&constraint, &node);
            assert_eq!(holds, expected, "{left} {operand} {right}");
        }
    }
}
