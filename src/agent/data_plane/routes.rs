//! Catalog to routing table.

use jobs::model::STICKY_META;
use mesh::{
    model::{Split, Status},
    view::{Instance, View},
};
use proxy::route::{self, Command, Definition, Origin, Problem, Source, Weigh, Weight};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

pub(in crate::agent) use super::holding::Holding;
use super::hosts::Addresses;
use super::versions::{self, Versions};

/// What was made of a catalog.
pub(in crate::agent) struct Built {
    pub(in crate::agent) table: route::Table,
    /// What was left out, and why.
    pub(in crate::agent) problems: BTreeSet<String>,
    /// Names of targets whose addresses are wanted.
    pub(in crate::agent) names: BTreeSet<String>,
}

/// What routes are made by, beside the catalog.
#[derive(Clone, Copy)]
pub(in crate::agent) struct Rules<'a> {
    pub(in crate::agent) datacenter: &'a str,
    /// Begins the tags that ask for routes.
    pub(in crate::agent) prefix: &'a str,
    pub(in crate::agent) matching: route::Matching,
    /// Of targets that have names.
    pub(in crate::agent) addresses: &'a Addresses,
    /// Keys of a store elsewhere with more commands, after those of the catalog.
    pub(in crate::agent) texts: &'a [(String, String)],
}

/// The table of the instances of `catalog` that may get requests, with versions, the operator's
/// text and then the splits applied after. Routes without an instance are held where they ask for
/// that, or for a time by default.
pub(in crate::agent) fn build(
    catalog: &View,
    instances: &[Instance],
    rules: Rules<'_>,
    old: &route::Table,
    (holding, hold): (&mut Holding, Duration),
) -> Built {
    let Rules {
        datacenter,
        prefix,
        matching,
        addresses,
        texts,
    } = rules;
    let mut problems = Vec::new();
    let is_alive = |instance: &&Instance| instance.status != Status::Critical;
    let alive = instances.iter().filter(is_alive);
    let mut definitions = adds(alive, (datacenter, prefix), &mut problems);
    let critical = instances.iter().filter(|instance| !is_alive(instance));
    let registered = adds(critical, (datacenter, prefix), &mut problems);
    let held = holding.update(&definitions, &registered, hold, Instant::now());
    let mut versions = Versions::new(catalog, datacenter, instances);
    let split = versions.definitions(&definitions, &registered);
    let sentences = versions.problems;
    definitions.extend(held);
    definitions.extend(split);
    let overrides = catalog.route_overrides();
    let (found, wrong) = route::parse::parse(&overrides.text);
    definitions.extend(found);
    problems.extend(wrong);
    let texts = texts
        .iter()
        .map(|(key, text)| (key.as_str(), text.as_str()));
    for (key, text) in overrides.commands().chain(texts) {
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
    let names = route::names(&definitions).map(str::to_owned).collect();
    route::place(&mut definitions, |name| addresses.get(name).copied());
    let (table, wrong) = route::Table::build_with(matching, definitions, Some(old));
    problems.extend(wrong);
    let left_out = overrides.left_out.iter();
    let left_out = left_out.map(|key| {
        format!("key `{key}`: it is left out, as all route texts together are larger than 1 MiB")
    });
    let told = problems.iter().map(ToString::to_string);
    Built {
        table,
        problems: told.chain(sentences).chain(left_out).collect(),
        names,
    }
}

/// The routes that instances ask for in their tags.
fn adds<'a>(
    instances: impl Iterator<Item = &'a Instance>,
    (datacenter, prefix): (&str, &str),
    problems: &mut Vec<Problem>,
) -> Vec<Definition> {
    let mut definitions = Vec::new();
    for instance in instances {
        let traits = versions::traits(instance);
        let facts = route::Instance {
            id: &instance.service.id,
            service: &instance.service.name,
            address: instance.address(),
            port: instance.service.port,
            tags: &instance.service.tags,
            datacenter,
            version: &traits.version,
            turns: traits.turns,
            is_judged: traits.is_judged,
        };
        let (found, wrong) = route::tags::definitions_after(prefix, &facts);
        let sticky = instance.service.meta.get(STICKY_META);
        let sticky = sticky.and_then(|text| route::Sticky::parse(text));
        definitions.extend(
            found
                .into_iter()
                .map(|definition| keep(definition, &sticky)),
        );
        problems.extend(wrong);
    }
    definitions
}

/// The definition of an instance whose service says what keeps clients with one version, unless
/// its tag says that itself.
fn keep(mut definition: Definition, sticky: &Option<route::Sticky>) -> Definition {
    if let Command::Add(add) = &mut definition.command
        && add.options.policy.sticky.is_none()
    {
        add.options.policy.sticky.clone_from(sticky);
    }
    definition
}

/// The splits of `catalog` in the order in which they were first set.
fn in_order(catalog: &View) -> Vec<&Arc<Split>> {
    let mut splits: Vec<&Arc<Split>> = catalog.splits().collect();
    splits.sort_by_key(|split| split.create_index);
    splits
}

fn weigh(split: &Split) -> Result<Definition, Problem> {
    let origin = || Origin::Split {
        service: split.key.service.to_string(),
        route: split.key.route.clone(),
    };
    let source = Source::parse(&split.key.route).map_err(|fault| Problem {
        origin: origin(),
        fault,
    })?;
    Ok(Definition {
        origin: origin(),
        command: Command::Weigh(Weigh {
            service: Some(split.key.service.to_string()),
            source,
            weight: Weight::from_millionths(split.share_millionths.into()),
            tags: split.key.tags.clone(),
        }),
    })
}

/// Names of services that the routes of a table want for the ingress.
pub(in crate::agent) fn aliases(table: &route::Table) -> BTreeSet<String> {
    let targets = table.routes().flat_map(route::Route::targets);
    let names = targets.filter_map(|target| target.options().register.clone());
    names.collect()
}

/// Ids of the instances that `new` no longer sends to.
pub(in crate::agent) fn left_by(old: &route::Table, new: &route::Table) -> BTreeSet<String> {
    old.upstreams()
        .filter(|upstream| !new.has_upstream(upstream))
        .map(|upstream| upstream.instance().to_owned())
        .filter(|instance| !instance.is_empty())
        .collect()
}

/// Which of `instances` are among those that `left`, and so there still, but critical: what they
/// were asked they will hardly answer. One that drains answers, and one that is gone has broken its
/// connections.
pub(in crate::agent) fn dead(instances: &[Instance], left: &BTreeSet<String>) -> BTreeSet<String> {
    instances
        .iter()
        .filter(|instance| instance.status == Status::Critical)
        .map(|instance| instance.service.id.as_str())
        .filter(|&id| left.contains(id))
        .map(str::to_owned)
        .collect()
}
