//! Why allocations could not be placed, as bullets.

use crate::render::columns;
use crate::view::{Ink, Paint, View, quoted};
use jobs::model::{AllocMetric, FlatMap, GroupName};

/// `Task Group "app" (failed to place 2 allocations)`.
pub(crate) fn group_title(group: &str, metric: &AllocMetric) -> String {
    let noun = if metric.coalesced_failures > 0 {
        "allocations"
    } else {
        "allocation"
    };
    let count = u64::from(metric.coalesced_failures) + 1;
    format!(
        "Task Group {} (failed to place {count} {noun})",
        quoted(group)
    )
}

/// One bullet per line; empty when the metric says nothing.
pub(crate) fn bullets(metric: &AllocMetric, paint: Paint, indent: &str) -> String {
    let mut lines = Vec::new();
    if metric.nodes_evaluated == 0 {
        lines.push("* No nodes were eligible for evaluation".to_owned());
    }
    for (datacenter, _) in metric.nodes_available.iter().filter(|(_, n)| **n == 0) {
        lines.push(format!(
            "* No nodes are available in datacenter {}",
            quoted(datacenter)
        ));
    }
    for (class, count) in &metric.class_filtered {
        lines.push(format!(
            "* Class {}: {count} nodes excluded by filter",
            quoted(class)
        ));
    }
    for (constraint, count) in &metric.constraint_filtered {
        let line = format!(
            "* Constraint {}: {count} nodes excluded by filter",
            quoted(constraint)
        );
        // A missing driver is the most common mistake, so it stands out.
        if constraint.contains("missing drivers") {
            lines.push(paint.ink(Ink::Red, &line));
        } else {
            lines.push(line);
        }
    }
    if metric.nodes_exhausted > 0 {
        lines.push(format!(
            "* Resources exhausted on {} nodes",
            metric.nodes_exhausted
        ));
    }
    for (class, count) in &metric.class_exhausted {
        lines.push(format!(
            "* Class {} exhausted on {count} nodes",
            quoted(class)
        ));
    }
    for (dimension, count) in &metric.dimension_exhausted {
        lines.push(format!(
            "* Dimension {} exhausted on {count} nodes",
            quoted(dimension)
        ));
    }
    let indented: Vec<String> = lines.iter().map(|line| format!("{indent}{line}")).collect();
    indented.join("\n")
}

/// Every group with its bullets.
pub(crate) fn groups(failed: &FlatMap<GroupName, AllocMetric>, paint: Paint) -> String {
    let blocks: Vec<String> = failed
        .iter()
        .map(|(group, metric)| {
            let title = group_title(group, metric);
            format!("{title}:\n{}", bullets(metric, paint, "  "))
        })
        .collect();
    blocks.join("\n\n")
}

/// The scores of the best nodes, one row each; empty when none were kept.
pub(crate) fn scores(metric: &AllocMetric, view: &View) -> String {
    if metric.score_meta_data.is_empty() {
        return String::new();
    }
    let mut names: Vec<&str> = metric
        .score_meta_data
        .iter()
        .flat_map(|node| node.scores.keys().map(|name| name.as_str()))
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut lines = vec![
        std::iter::once("Node")
            .chain(names.iter().copied())
            .chain(std::iter::once("final score"))
            .map(str::to_owned)
            .collect::<Vec<String>>(),
    ];
    for node in &metric.score_meta_data {
        let mut line = vec![view.id(node.node_id)];
        for name in &names {
            line.push(score(node.scores.get(*name).copied().unwrap_or(0.0)));
        }
        line.push(score(node.norm_score));
        lines.push(line);
    }
    columns::list(&lines)
}

/// A score with three significant digits.
fn score(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a decimal exponent of a finite number fits"
    )]
    let exponent = value.abs().log10().floor() as i32;
    let digits = usize::try_from(2 - exponent).unwrap_or(0).min(12);
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bullets_come_in_the_published_order() {
        let count = |key: &str, n| FlatMap::from([(key.to_owned(), n)]);
        let metric = AllocMetric {
            nodes_available: FlatMap::from([("dc2".into(), 0)]),
            class_filtered: count("gpu", 3),
            constraint_filtered: count("${attr.kernel.name} = linux", 2),
            nodes_exhausted: 4,
            class_exhausted: count("large", 1),
            dimension_exhausted: count("memory", 4),
            coalesced_failures: 1,
            ..AllocMetric::default()
        };
        let failed = FlatMap::from([("app".into(), metric)]);
        assert_eq!(
            groups(&failed, Paint::Plain),
            "Task Group \"app\" (failed to place 2 allocations):
  * No nodes were eligible for evaluation
  * No nodes are available in datacenter \"dc2\"
  * Class \"gpu\": 3 nodes excluded by filter
  * Constraint \"${attr.kernel.name} = linux\": 2 nodes excluded by filter
  * Resources exhausted on 4 nodes
  * Class \"large\" exhausted on 1 nodes
  * Dimension \"memory\" exhausted on 4 nodes"
        );
    }

    #[test]
    fn scores_have_three_significant_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (0.123_456, "0.123"),
            (-0.5, "-0.5"),
            (12.345, "12.3"),
            (1.0, "1"),
        ] {
            assert_eq!(score(value), expected);
        }
    }
}
