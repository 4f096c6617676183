//! Routes whose last instance is gone for a moment: their requests are held, where a route asks for
//! that.

use proxy::route::{Command, Definition, Hold, Origin, Policy, Source};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// The most routes that are remembered.
const ROUTES_MAX: usize = 10_000;

/// A service on a route.
type Key = (String, Source);

/// What is remembered of routes that ask for their requests to be held.
#[derive(Clone, Debug, Default)]
pub(in crate::agent) struct Holding {
    routes: BTreeMap<Key, Remembered>,
}

#[derive(Clone, Debug)]
struct Remembered {
    policy: Policy,
    hold: Duration,
    /// When the last instance went, registered or not.
    gone: Option<Instant>,
}

impl Holding {
    /// Notes which routes have instances by `usable`, and which have registered ones at least by
    /// `registered`; the definitions for those that have none to use. A route asks for a hold
    /// itself, or the default is meant.
    pub(in crate::agent) fn update(
        &mut self,
        usable: &[Definition],
        registered: &[Definition],
        default: Duration,
        now: Instant,
    ) -> Vec<Definition> {
        let mut alive = BTreeSet::new();
        let mut there = BTreeSet::new();
        for (definitions, keys) in [(usable, &mut alive), (registered, &mut there)] {
            for (key, policy) in definitions.iter().filter_map(asked) {
                let hold = policy.hold.unwrap_or(default);
                if !hold.is_zero() && self.routes.len() < ROUTES_MAX {
                    let remembered = Remembered {
                        policy: policy.clone(),
                        hold,
                        gone: None,
                    };
                    self.routes.insert(key.clone(), remembered);
                }
                keys.insert(key);
            }
        }
        self.routes.retain(|key, route| {
            if !alive.contains(key) && !there.contains(key) {
                let gone = *route.gone.get_or_insert(now);
                return now < gone + route.hold;
            }
            true
        });
        let missing = self.routes.iter().filter(|(key, _)| !alive.contains(key));
        missing.map(|(key, route)| hold(key, route)).collect()
    }

    /// When a route is forgotten, unless its instances come back.
    pub(in crate::agent) fn next(&self) -> Option<Instant> {
        let routes = self.routes.values();
        routes
            .filter_map(|route| Some(route.gone? + route.hold))
            .min()
    }
}

fn asked(definition: &Definition) -> Option<(Key, &Policy)> {
    match &definition.command {
        Command::Add(add) => Some((
            (add.service.clone(), add.source.clone()),
            &add.options.policy,
        )),
        Command::Delete(_) | Command::Weigh(_) | Command::Split(_) | Command::Hold(_) => None,
    }
}

fn hold((service, source): &Key, route: &Remembered) -> Definition {
    Definition {
        origin: Origin::Split {
            service: service.clone(),
            route: source.to_string(),
        },
        command: Command::Hold(Hold {
            service: service.clone(),
            source: source.clone(),
            policy: Policy {
                hold: Some(route.hold),
                ..route.policy.clone()
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy::route;

    fn definitions(text: &str) -> Vec<Definition> {
        let (definitions, problems) = route::parse::parse(text);
        assert_eq!(problems, []);
        definitions
    }

    #[tokio::test(start_paused = true)]
    async fn a_route_is_held_for_its_time_and_then_forgotten() {
        let web = definitions(
            "route add web /a http://10.0.0.1:80/ opts \"hold=5s\"\nroute add web /b http://10.0.0.1:80/",
        );
        let mut holding = Holding::default();
        let now = Instant::now();
        assert_eq!(holding.update(&web, &[], Duration::ZERO, now), []);
        assert_eq!(holding.next(), None);
        // As long as an instance is registered, it may become well.
        let held = holding.update(&[], &web, Duration::ZERO, now);
        assert_eq!((held.len(), holding.next()), (1, None));
        let Command::Hold(held) = &held[0].command else {
            panic!("it is held");
        };
        assert_eq!(
            (held.source.path.as_str(), held.policy.hold),
            ("/a", Some(Duration::from_secs(5)))
        );
        let later = now + Duration::from_secs(60);
        assert_eq!(holding.update(&[], &[], Duration::ZERO, later).len(), 1);
        assert_eq!(holding.next(), Some(later + Duration::from_secs(5)));
        let end = later + Duration::from_secs(5);
        assert_eq!(holding.update(&[], &[], Duration::ZERO, end), []);
        assert_eq!(holding.next(), None);
        // With a default, all routes are held.
        holding.update(&web, &[], Duration::from_secs(1), end);
        assert_eq!(
            holding.update(&[], &[], Duration::from_secs(1), end).len(),
            2
        );
        assert_eq!(holding.next(), Some(end + Duration::from_secs(1)));
    }
}
