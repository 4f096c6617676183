//! Catalog to routing table.

use mesh::state::Instance;
use proxy::route;
use std::collections::BTreeSet;

/// The table of all usable instances, with the operator's text applied after, and what was left out.
pub(super) fn build(
    instances: &[Instance],
    overrides: &str,
    datacenter: &str,
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
    let (found, wrong) = route::parse::parse(overrides);
    definitions.extend(found);
    problems.extend(wrong);
    let (table, wrong) = route::Table::build(definitions, Some(old));
    problems.extend(wrong);
    (table, problems.iter().map(ToString::to_string).collect())
}

/// Ids of the instances that `new` no longer sends to.
pub(super) fn left_by(old: &route::Table, new: &route::Table) -> BTreeSet<String> {
    old.upstreams()
        .filter(|upstream| !new.has_upstream(upstream))
        .map(|upstream| upstream.instance().to_owned())
        .filter(|instance| !instance.is_empty())
        .collect()
}
