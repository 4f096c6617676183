//! Comparing versions.

use std::cmp::Ordering;

/// How a version and its bounds are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// Parts may be missing; a prerelease matches only a bound that names one.
    Loose,
    /// Semantic Versioning 2.0: three parts, prereleases compare normally.
    Semantic,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    parts: Vec<u64>,
    /// How many parts were written.
    written: usize,
    prerelease: String,
}

impl Version {
    fn parse(text: &str, rules: Rules) -> Option<Self> {
        let text = text.trim();
        let text = match rules {
            Rules::Loose => text.strip_prefix('v').unwrap_or(text),
            Rules::Semantic => text,
        };
        let text = text.split_once('+').map_or(text, |(version, _)| version);
        let (numbers, prerelease) = text.split_once('-').unwrap_or((text, ""));
        let mut parts: Vec<u64> = numbers
            .split('.')
            .map(|part| part.parse().ok())
            .collect::<Option<_>>()?;
        let written = parts.len();
        if rules == Rules::Semantic && written != 3 {
            return None;
        }
        parts.resize(written.max(3), 0);
        Some(Self {
            parts,
            written,
            prerelease: prerelease.to_owned(),
        })
    }

    fn order(&self, other: &Self) -> Ordering {
        let width = self.parts.len().max(other.parts.len());
        let part = |version: &Self, at: usize| version.parts.get(at).copied().unwrap_or(0);
        for at in 0..width {
            let order = part(self, at).cmp(&part(other, at));
            if order.is_ne() {
                return order;
            }
        }
        match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => order_prereleases(&self.prerelease, &other.prerelease),
        }
    }
}

fn order_prereleases(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Whether `version` satisfies every bound of a list such as `>= 1.2, < 2`.
pub(super) fn satisfies(version: &str, bounds: &str, rules: Rules) -> bool {
    let Some(version) = Version::parse(version, rules) else {
        return false;
    };
    bounds
        .split(',')
        .all(|bound| satisfies_one(&version, bound.trim(), rules))
}

fn satisfies_one(version: &Version, bound: &str, rules: Rules) -> bool {
    let operator_len = bound
        .find(|c: char| c.is_ascii_alphanumeric())
        .unwrap_or(bound.len());
    let (operator, wanted) = bound.split_at(operator_len);
    let Some(wanted) = Version::parse(wanted, rules) else {
        return false;
    };
    if rules == Rules::Loose && !version.prerelease.is_empty() && wanted.prerelease.is_empty() {
        return false;
    }
    let order = version.order(&wanted);
    match operator.trim() {
        "" | "=" => order.is_eq(),
        "!=" => order.is_ne(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        "~>" => order.is_ge() && same_leading_parts(version, &wanted),
        _ => false,
    }
}

/// The part of `~>` above the last one written stays the same.
fn same_leading_parts(version: &Version, wanted: &Version) -> bool {
    let fixed = wanted.written.saturating_sub(1);
    version.parts.get(..fixed) == wanted.parts.get(..fixed)
}
