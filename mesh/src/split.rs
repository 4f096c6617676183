//! Whether a splitter tells the versions of a service apart: the canaries of an update and the
//! other instances. Then its shares are theirs, whatever the update says itself; and what the
//! update says, for those who read it as a splitter.

use crate::{
    chain::{self, Chain, Overrides, Request, Target, Version},
    filter::Filter,
    model::ServiceId,
    view::{Instance, View},
    wire::HealthServiceEntry,
};

/// Name of the splitter that tells the canaries of a service apart from its other instances; none
/// if there is no such splitter, or if there are not both. A splitter between services, or by
/// something else, does not: some of its parts hold both.
#[must_use]
pub fn splitter_of_versions(view: &View, datacenter: &str, service: &str) -> Option<String> {
    let instances = view.instances(service);
    if instances.iter().all(is_canary) || !instances.iter().any(is_canary) {
        return None;
    }
    let request = Request {
        service,
        datacenter,
        trust_domain: "",
        overrides: Overrides {
            protocol: "http".to_owned(),
            ..Overrides::default()
        },
    };
    let chain = chain::compile(view, &request).ok()?;
    let splitter = chain.splitter(&chain.start)?;
    let mut tells = false;
    for share in chain.shares(&chain.start) {
        if !is_of(&chain, share.target) {
            continue;
        }
        let meant = meant(share.target, &instances)?;
        let canaries = meant.iter().filter(|instance| is_canary(instance)).count();
        if canaries > 0 && canaries < meant.len() {
            return None;
        }
        tells |= !meant.is_empty();
    }
    tells.then(|| splitter.to_owned())
}

/// What the update of a service says of its canaries' part of the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The share of all of them, in hundredths of a percent.
    pub share: u32,
    /// One of them.
    pub canary: ServiceId,
}

/// What the update of a service says while it has canaries whose share was decided.
#[must_use]
pub fn decided(view: &View, service: &str) -> Option<Decided> {
    let instances = view.instances(service);
    let canaries = instances.iter().filter(|instance| is_canary(instance));
    let shares: Vec<(u32, &Instance)> = canaries
        .filter_map(|canary| Some((canary.service.origin.as_ref()?.share?, canary)))
        .collect();
    let (_, first) = shares.first()?;
    let millionths: u32 = shares
        .iter()
        .fold(0, |sum, (share, _)| sum.saturating_add(*share));
    Some(Decided {
        // Shares of single canaries are rounded down.
        share: (millionths.saturating_add(50) / 100).min(chain::WHOLE_SHARE),
        canary: first.service.id.clone(),
    })
}

/// Whether an instance is of the version that a target means.
#[must_use]
pub fn is_of_version(target: &Target, instance: &Instance) -> bool {
    match target.version {
        None => true,
        Some(Version::Canary) => is_canary(instance),
        Some(Version::Stable) => !is_canary(instance),
    }
}

fn is_canary(instance: &Instance) -> bool {
    let origin = instance.service.origin.as_ref();
    origin.is_some_and(|origin| origin.canary)
}

fn is_of(chain: &Chain, target: &Target) -> bool {
    target.service == chain.service
        && target.peer.is_empty()
        && target.datacenter == chain.datacenter
}

/// Instances of a target, healthy or not; none if nobody can say which.
fn meant<'a>(target: &Target, instances: &'a [Instance]) -> Option<Vec<&'a Instance>> {
    if target.filter.is_empty() {
        let meant = instances.iter();
        return Some(meant.filter(|own| is_of_version(target, own)).collect());
    }
    let filter = Filter::of::<HealthServiceEntry>(&target.filter).ok()?;
    let is_meant = |instance: &&Instance| filter.holds(&HealthServiceEntry::from(*instance));
    Some(instances.iter().filter(is_meant).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{ConfigEntry, ConfigKey, Node, Origin, Service},
        view::Change,
    };
    use std::sync::Arc;

    const RESOLVER: &str = r#"{"Subsets": {
        "v1": {"Filter": "Service.Meta.version == 1"}, "v2": {"Filter": "Service.Meta.version == 2"},
        "east": {"Filter": "Service.Meta.zone == east"}, "west": {"Filter": "Service.Meta.zone == west"},
        "fresh": {"Filter": "canary in Service.Tags"}, "gone": {"Filter": "Service.Meta.version == 9"}}}"#;

    /// Stable instances `a` and `b` of version 1 and the canary `c` of version 2; `a` and `c` are
    /// in the east.
    fn catalog(canary: bool) -> View {
        let mut view = View::default();
        let mut index = 0;
        let mut put = |change| {
            index += 1;
            view.apply(index, change);
        };
        put(Change::PutNode(Arc::new(Node {
            name: "n1".into(),
            ..Node::default()
        })));
        for (id, zone) in [("a", "east"), ("b", "west"), ("c", "east")] {
            let is_new = id == "c";
            let version = if is_new { "2" } else { "1" };
            let meta = [("version", version), ("zone", zone)];
            put(Change::PutService(Arc::new(Service {
                id: id.into(),
                node: "n1".into(),
                name: "web".into(),
                meta: meta.map(|(key, value)| (key.into(), value.into())).into(),
                tags: is_new.then(|| "canary".into()).into_iter().collect(),
                origin: Some(Origin {
                    canary: is_new && canary,
                    ..Origin::default()
                }),
                ..Service::default()
            })));
        }
        view
    }

    fn write(view: &mut View, kind: &str, name: &str, body: &str) {
        let index = view.index() + 1;
        view.apply(
            index,
            Change::PutConfigEntry(Arc::new(ConfigEntry {
                key: ConfigKey {
                    kind: kind.into(),
                    name: name.into(),
                },
                body: body.into(),
                ..ConfigEntry::default()
            })),
        );
    }

    /// Parts of the splitter, and whether it tells the versions apart.
    const SPLITS: &[(&str, bool)] = &[
        (
            r#"{"Weight": 90, "ServiceSubset": "v1"}, {"Weight": 10, "ServiceSubset": "v2"}"#,
            true,
        ),
        (r#"{"Weight": 100, "ServiceSubset": "v1"}"#, true),
        (
            r#"{"Weight": 60, "ServiceSubset": "stable"}, {"Weight": 40, "ServiceSubset": "canary"}"#,
            true,
        ),
        (r#"{"Weight": 100, "ServiceSubset": "fresh"}"#, true),
        (
            r#"{"Weight": 50, "ServiceSubset": "v1"}, {"Weight": 20, "ServiceSubset": "v2"}, {"Weight": 30, "Service": "api"}"#,
            true,
        ),
        (
            r#"{"Weight": 90, "ServiceSubset": "east"}, {"Weight": 10, "ServiceSubset": "west"}"#,
            false,
        ),
        (
            r#"{"Weight": 90}, {"Weight": 10, "ServiceSubset": "v2"}"#,
            false,
        ),
        (r#"{"Weight": 90}, {"Weight": 10, "Service": "api"}"#, false),
        (r#"{"Weight": 100, "Service": "api"}"#, false),
        (r#"{"Weight": 100, "ServiceSubset": "gone"}"#, false),
        (r#"{"Weight": 100, "ServiceSubset": "unknown"}"#, false),
    ];

    #[test]
    fn a_splitter_tells_versions_apart_when_no_part_of_it_holds_both() {
        for (splits, tells) in SPLITS {
            let mut view = catalog(true);
            write(&mut view, "service-resolver", "web", RESOLVER);
            write(
                &mut view,
                "service-splitter",
                "web",
                &format!(r#"{{"Splits": [{splits}]}}"#),
            );
            let found = splitter_of_versions(&view, "dc1", "web");
            assert_eq!(found.as_deref(), tells.then_some("web"), "{splits}");
        }
    }

    #[test]
    fn what_an_update_says_is_the_sum_of_its_canaries() {
        for (shares, expected) in [
            (&[Some(100_000), Some(100_000)][..], Some(2_000)),
            (&[Some(33_333), Some(33_333), Some(33_333)], Some(1_000)),
            (&[Some(0)], Some(0)),
            (&[Some(1_000_000), Some(1_000_000)], Some(10_000)),
            (&[None, None], None),
            (&[], None),
        ] {
            let mut view = catalog(false);
            for (at, share) in shares.iter().enumerate() {
                let index = view.index() + 1;
                view.apply(
                    index,
                    Change::PutService(Arc::new(Service {
                        id: format!("canary-{at}").into(),
                        node: "n1".into(),
                        name: "web".into(),
                        origin: Some(Origin {
                            canary: true,
                            share: *share,
                            ..Origin::default()
                        }),
                        ..Service::default()
                    })),
                );
            }
            let found = decided(&view, "web").map(|decided| decided.share);
            assert_eq!(found, expected, "{shares:?}");
        }
    }

    #[test]
    fn without_a_splitter_or_canaries_there_is_nothing_to_tell_apart() {
        let mut view = catalog(true);
        write(&mut view, "service-resolver", "web", RESOLVER);
        assert_eq!(splitter_of_versions(&view, "dc1", "web"), None);
        let mut view = catalog(false);
        write(&mut view, "service-resolver", "web", RESOLVER);
        let body = format!(r#"{{"Splits": [{}]}}"#, SPLITS[0].0);
        write(&mut view, "service-splitter", "web", &body);
        assert_eq!(splitter_of_versions(&view, "dc1", "web"), None);
        // A router before it sends on what it does not pick itself.
        let mut view = catalog(true);
        write(&mut view, "service-resolver", "web", RESOLVER);
        write(&mut view, "service-splitter", "web", &body);
        let routes = r#"{"Routes": [{"Match": {"HTTP": {"PathPrefix": "/new"}}, "Destination": {"ServiceSubset": "v2"}}]}"#;
        write(&mut view, "service-router", "web", routes);
        let found = splitter_of_versions(&view, "dc1", "web");
        assert_eq!(found.as_deref(), Some("web"));
    }
}
