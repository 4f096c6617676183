//! The shares of canaries, as route commands for another program that reads them from the store of
//! the catalog elsewhere.
//!
//! The other program knows canaries by a tag that no stable instance has. A canary with a share
//! gets `route weight`, one that is to get nothing `route del`; both are there as long as it is.

use mesh::{
    model::{ServiceName, Status},
    view::{Instance, View},
};
use proxy::route::{self, Command};
use std::{collections::BTreeSet, fmt::Write as _};

/// Where the other program looks for commands; each node has a key of its own below.
pub(super) const PREFIX: &str = "fabio/config/trivet-";
/// The whole, in millionths.
const WHOLE: f64 = 1e6;

/// The commands for canaries of a node, line by line, and the services whose canaries cannot be
/// told apart.
pub(super) fn commands(view: &View, node: &str) -> (String, Vec<ServiceName>) {
    let rows = view.services_of_node(node);
    let names: BTreeSet<ServiceName> = rows
        .filter(|row| row.origin.as_ref().is_some_and(|own| own.share.is_some()))
        .map(|row| row.name.clone())
        .collect();
    let mut text = String::new();
    let mut alike = Vec::new();
    for name in names {
        let instances = view.instances(&name);
        let (canaries, others): (Vec<&Instance>, Vec<&Instance>) =
            instances.iter().partition(|own| share(own).is_some());
        let Some(tag) = own_tag(&canaries, &others) else {
            alike.push(name);
            continue;
        };
        let share: u64 = canaries
            .iter()
            .filter(|own| own.status != Status::Critical)
            .filter_map(|own| share(own))
            .sum();
        // Writing to a text cannot fail.
        if share == 0 {
            writeln!(text, "route del {name} tags \"{tag}\"").ok();
            continue;
        }
        for source in sources(&canaries) {
            writeln!(
                text,
                "route weight {name} {source} weight {} tags \"{tag}\"",
                share as f64 / WHOLE
            )
            .ok();
        }
    }
    (text, alike)
}

/// The share of a canary that is not promoted, in millionths.
fn share(instance: &Instance) -> Option<u64> {
    let origin = instance.service.origin.as_ref()?;
    origin.share.filter(|_| origin.canary).map(u64::from)
}

/// A tag that all canaries have and nobody else.
fn own_tag<'a>(canaries: &[&'a Instance], others: &[&Instance]) -> Option<&'a String> {
    let has = |own: &Instance, tag: &String| own.service.tags.contains(tag);
    let (first, rest) = canaries.split_first()?;
    first.service.tags.iter().find(|tag| {
        let is_plain = !tag.starts_with(route::tags::PREFIX)
            && tag
                .chars()
                .all(|c| c.is_ascii_graphic() && c != '"' && c != ',');
        is_plain && rest.iter().all(|own| has(own, tag)) && !others.iter().any(|own| has(own, tag))
    })
}

/// Hosts and paths of the routes that canaries ask for.
fn sources(canaries: &[&Instance]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for canary in canaries {
        let service = &canary.service;
        let (definitions, _) = route::tags::definitions(&route::Instance {
            id: &service.id,
            service: &service.name,
            address: canary.address(),
            port: service.port,
            tags: &service.tags,
            datacenter: "",
            version: "",
            turns: 1,
            is_judged: false,
        });
        for definition in definitions {
            if let Command::Add(add) = definition.command {
                found.insert(add.source.to_string());
            }
        }
    }
    found
}
