//! Catalog to routing table.

use mesh::{
    model::{Split, Status},
    view::{Instance, View},
};
use proxy::route::{self, Command, Definition, Origin, Problem, Source, Weigh, Weight};
use std::{collections::BTreeSet, sync::Arc};

/// The table of all usable instances of `catalog`, with the operator's text and then the splits
/// applied after, and what was left out.
pub(super) fn build(
    catalog: &View,
    instances: &[Instance],
    (datacenter, matching): (&str, route::Matching),
    old: &route::Table,
) -> (route::Table, BTreeSet<String>) {
    let mut definitions = Vec::new();
    let mut problems = Vec::new();
    for instance in instances.iter().filter(|instance| instance.is_usable()) {
        let (found, wrong) = route::tags::definitions(&route::Instance {
            id: &instance.service.id,
            service: &instance.service.name,
            address: instance.address(),
            port: instance.service.port,
            tags: &instance.service.tags,
            datacenter,
        });
        definitions.extend(found);
        problems.extend(wrong);
    }
    let overrides = catalog.route_overrides();
    let (found, wrong) = route::parse::parse(&overrides.text);
    definitions.extend(found);
    problems.extend(wrong);
    for (key, text) in overrides.commands() {
        let origin = |line| Origin::Key {
            key: key.to_owned(),
            line,
        };
        let (found, wrong) = route::parse::parse_from(text, origin);
        definitions.extend(found);
        problems.extend(wrong);
    }
    for split in in_order(catalog) {
        match weigh(split) {
            Ok(definition) => definitions.push(definition),
            Err(problem) => problems.push(problem),
        }
    }
    let (table, wrong) = route::Table::build_with(matching, definitions, Some(old));
    problems.extend(wrong);
    let left_out = overrides.left_out.iter();
    let left_out = left_out.map(|key| {
        format!("key `{key}`: it is left out, as all route texts together are larger than 1 MiB")
    });
    let told = problems.iter().map(ToString::to_string);
    (table, told.chain(left_out).collect())
}

/// The splits of `catalog` in the order in which they were first set.
fn in_order(catalog: &View) -> Vec<&Arc<Split>> {
    let mut splits: Vec<&Arc<Split>> = catalog.splits().collect();
    splits.sort_by_key(|split| split.create_index);
    splits
}

fn weigh(split: &Split) -> Result<Definition, Problem> {
    let origin = || Origin::Split {
        service: split.key.service.clone(),
        route: split.key.route.clone(),
    };
    let source = Source::parse(&split.key.route).map_err(|fault| Problem {
        origin: origin(),
        fault,
    })?;
    Ok(Definition {
        origin: origin(),
        command: Command::Weigh(Weigh {
            service: Some(split.key.service.clone()),
            source,
            weight: Weight::from_millionths(split.share_millionths.into()),
            tags: split.key.tags.clone(),
        }),
    })
}

/// Ids of the instances that `new` no longer sends to.
pub(super) fn left_by(old: &route::Table, new: &route::Table) -> BTreeSet<String> {
    old.upstreams()
        .filter(|upstream| !new.has_upstream(upstream))
        .map(|upstream| upstream.instance().to_owned())
        .filter(|instance| !instance.is_empty())
        .collect()
}

/// Which of the instances that `left` are there still, but critical: what they were asked they will
/// hardly answer. One that drains answers, and one that is gone has broken its connections.
pub(super) fn dead(catalog: &View, left: &BTreeSet<String>) -> BTreeSet<String> {
    if left.is_empty() {
        return BTreeSet::new();
    }
    catalog
        .all_instances()
        .filter(|instance| instance.status == Status::Critical)
        .map(|instance| instance.service.id.clone())
        .filter(|id| left.contains(id))
        .collect()
}
