//! Where a request would go, and why.

use std::sync::Arc;

use serde::Serialize;

use super::definition::Rewrite;
use super::group::hash;
use super::path::RequestPath;
use super::picker::Choice;
use super::policy::Sticky;
use super::rule::Facts;
use super::table::{Route, Ruled, Table, Target};

/// Where a request would go.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Explanation {
    /// The route, host and path as written; empty if there is none.
    pub route: String,
    /// Why that route, that version and that instance, a sentence each.
    pub why: Vec<String>,
    /// The path that the instance gets, if it is another one.
    pub path: Option<String>,
    /// The instances that may get it, the most likely first.
    pub candidates: Vec<Candidate>,
}

/// An instance that may get a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Candidate {
    /// Its service.
    pub service: String,
    /// The version that it runs; empty if nobody says.
    pub version: String,
    /// The version of its service that it belongs to by a split; empty without one.
    pub part: String,
    /// Its id; empty for a target that was written by hand.
    pub instance: String,
    /// Where it listens.
    pub address: String,
    /// How likely it gets the request, 0 to 1.
    pub share: f64,
    /// Requests that it has now.
    pub in_flight: u64,
    /// It gets none because it failed or is silent.
    pub is_resting: bool,
}

impl Table {
    /// Where a request would go: by its host and path as sent, and what rules and keys ask for. No
    /// turn is taken. `now_ms` is a time of the clock by which targets rest.
    pub fn explain(
        &self,
        host: &str,
        path: &RequestPath<'_>,
        facts: &Facts<'_>,
        now_ms: u64,
    ) -> Explanation {
        let Some(route) = self.lookup(host, path) else {
            let why = format!("no route matches host `{host}` and this path");
            return Explanation {
                why: vec![why],
                ..Explanation::default()
            };
        };
        let mut why = vec![of_route(route)];
        let mut candidates: Vec<Candidate> = route
            .targets()
            .iter()
            .map(|target| candidate(target, now_ms))
            .collect();
        let ruled = route.rule(facts);
        let rewrite = ruled.and_then(|(ruled, _)| ruled.rewrite());
        let sends = ruled.filter(|(ruled, _)| ruled.names().next().is_some());
        if let Some((ruled, at)) = sends {
            let told: Vec<String> = ruled
                .shares()
                .map(|(name, share)| of_version(name, share))
                .collect();
            why.push(format!(
                "rule {} sends it to version {}",
                at + 1,
                told.join(" or ")
            ));
            if !give_by_rule(route, ruled, &mut candidates) {
                why.push("none of its instances can take it, so the shares count".to_owned());
            }
        } else if candidates
            .iter()
            .any(|candidate| !candidate.part.is_empty())
        {
            why.push("its version is chosen by the shares".to_owned());
        }
        if let Some(rewrite) = rewrite {
            let Rewrite {
                prefix,
                replacement,
                ..
            } = &**rewrite;
            why.push(format!(
                "the rule puts `{replacement}` in the place of `{prefix}`"
            ));
        }
        let mut first = None;
        if let Some(key) = key(route, facts) {
            let sound = |target: &Target| !target.upstream().health().rests(now_ms);
            let version = sends.map(|(ruled, _)| ruled);
            let picked = route.pick_of(version, Choice::Hash(hash(key)), sound);
            if let Some(picked) = picked {
                why.push("the key that it carries keeps it with one instance".to_owned());
                candidates = vec![Candidate {
                    share: 1.0,
                    ..candidate(picked, now_ms)
                }];
                first = Some(picked);
            }
        }
        candidates.retain(|candidate| candidate.share > 0.0);
        why.push(of_candidates(route, &candidates));
        candidates.sort_by(|one, other| other.share.total_cmp(&one.share));
        let is_first = |target: &&Arc<Target>| {
            let first = candidates.first();
            first.is_some_and(|own| own.address == target.address().to_string())
        };
        let first = first.or_else(|| route.targets().iter().find(is_first));
        let sent = (path.sent(), "");
        let rewrite = rewrite.map(|rewrite| &**rewrite);
        Explanation {
            route: format!("{}{}", route.host(), route.path()),
            why,
            path: first.and_then(|target| target.forwarded(path, sent, rewrite)),
            candidates,
        }
    }
}

fn of_route(route: &Route) -> String {
    let host = match route.host() {
        "" => "any host".to_owned(),
        host => format!("host `{host}`"),
    };
    format!(
        "it is the first route that matches: for {host} and path `{}`",
        route.path()
    )
}

fn of_candidates(route: &Route, candidates: &[Candidate]) -> String {
    let well = candidates.iter().filter(|own| !own.is_resting).count();
    match (candidates.len(), well) {
        (0, _) if !route.held().is_empty() => {
            let services = route.held().join("`, `");
            format!("no instance of `{services}` is there: it waits for one")
        }
        (0, _) => "no instance has a share of this route".to_owned(),
        (1, 1) => "one instance is left to take it".to_owned(),
        (_, 0) => "all instances rest, so any of them is tried".to_owned(),
        (_, well) => format!("{well} instances take it in turn, by their shares"),
    }
}

fn candidate(target: &Target, now_ms: u64) -> Candidate {
    Candidate {
        service: target.service().to_owned(),
        version: target.version().to_owned(),
        part: target.part().unwrap_or_default().to_owned(),
        instance: target.instance().to_owned(),
        address: target.address().to_string(),
        share: target.share(),
        in_flight: target.upstream().in_flight(),
        is_resting: target.upstream().health().rests(now_ms),
    }
}

fn of_version(name: &str, share: f64) -> String {
    if share < 1.0 {
        format!("`{name}` ({:.2}%)", share * 100.0)
    } else {
        format!("`{name}`")
    }
}

/// Gives candidates the shares that a rule gives their versions, where any of those can take a
/// request; versions of whose instances none can leave theirs to the others.
fn give_by_rule(route: &Route, ruled: &Ruled, candidates: &mut [Candidate]) -> bool {
    let can_take = |name: &str| {
        let mut own = candidates.iter().filter(|own| own.part == name);
        own.any(|own| !own.is_resting)
    };
    let versions: Vec<(&str, f64)> = ruled.shares().filter(|(name, _)| can_take(name)).collect();
    let all: f64 = versions.iter().map(|(_, share)| share).sum();
    if versions.is_empty() {
        return false;
    }
    // A version that gets requests only when the others cannot take any.
    let even = 1.0 / versions.len() as f64;
    for (at, candidate) in candidates.iter_mut().enumerate() {
        let own = versions.iter().filter(|(name, _)| *name == candidate.part);
        let share: f64 = own
            .map(|(_, share)| if all > 0.0 { share / all } else { even })
            .sum();
        candidate.share = share * route.part(at);
    }
    true
}

fn key<'a>(route: &Route, facts: &Facts<'a>) -> Option<&'a [u8]> {
    match route.policy().sticky.as_ref()? {
        Sticky::Cookie(name) => facts.cookie(name),
        Sticky::Header(name) => (facts.header)(&name.to_ascii_lowercase()),
        Sticky::OwnCookie => facts.cookie(super::STICKY_COOKIE),
        Sticky::Address => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Explanation;
    use crate::route::{
        Command, Condition, Definition, Facts, Origin, Part, RequestPath, Rewrite, Rule, Split,
        Table, Test, parse,
    };

    const TEXT: &str = "route add web shop.io/ http://10.0.0.1:80/
route add web shop.io/ http://10.0.0.2:80/ weight 0.25
route add api shop.io/api http://10.0.0.3:80/ opts \"strip=/api sticky=header:x-user\"
route add api shop.io/api http://10.0.0.4:80/ opts \"strip=/api sticky=header:x-user\"";

    fn explained(table: &Table, path: &str, user: &'static str) -> Explanation {
        let path = RequestPath::new(path);
        let header = |name: &str| (name == "x-user" && !user.is_empty()).then_some(user.as_bytes());
        let facts = Facts {
            method: "GET",
            path: path.decoded(),
            query: "",
            header: &header,
        };
        table.explain("shop.io", &path, &facts, 100)
    }

    #[test]
    fn it_says_where_a_request_goes_and_why() {
        let (table, _) = Table::build(parse::parse(TEXT).0, None);
        let found = explained(&table, "/cart", "");
        assert_eq!(found.route, "shop.io/");
        let shares: Vec<f64> = found.candidates.iter().map(|own| own.share).collect();
        assert_eq!(shares, [0.75, 0.25]);
        assert!(
            found.why[1].starts_with("2 instances take it in turn"),
            "{:?}",
            found.why
        );
        let found = explained(&table, "/api/x", "ann");
        assert_eq!(
            (found.route.as_str(), found.path.as_deref()),
            ("shop.io/api", Some("/x"))
        );
        assert_eq!(found.candidates.len(), 1);
        assert_eq!(found, explained(&table, "/api/x", "ann"));
        assert_eq!(explained(&table, "/api/x", "").candidates.len(), 2);
        let resting = table.routes().find(|route| route.path() == "/").unwrap();
        resting.targets()[0].upstream().health().suspected(50);
        let found = explained(&table, "/cart", "");
        assert!(found.candidates[0].is_resting);
        assert!(found.why[1].starts_with("1 instances"), "{:?}", found.why);
        let path = RequestPath::new("/");
        let header = |_: &str| None;
        let facts = Facts {
            method: "GET",
            path: path.decoded(),
            query: "",
            header: &header,
        };
        let nowhere = table.explain("other.io", &path, &facts, 0);
        assert!(nowhere.route.is_empty() && nowhere.why[0].starts_with("no route"));
    }

    #[test]
    fn a_rule_with_several_versions_shows_their_true_shares() {
        let text = "route add web / http://10.0.0.1:80/\nroute add web / http://10.0.0.2:80/
route add web / http://10.0.0.3:80/\nroute add web / http://10.0.0.4:80/";
        let (mut definitions, _) = parse::parse(text);
        for (definition, (id, turns)) in
            definitions
                .iter_mut()
                .zip([("a", 1), ("b", 3), ("c", 1), ("d", 1)])
        {
            let Command::Add(add) = &mut definition.command else {
                unreachable!("it is one");
            };
            add.instance = id.to_owned();
            add.traits.turns = turns;
        }
        let part = |name: &str, millionths, ids: &[&str]| Part {
            name: name.to_owned(),
            millionths: Some(millionths),
            instances: ids.iter().map(|id| (*id).to_owned()).collect(),
        };
        let split = Split {
            service: "web".to_owned(),
            parts: vec![
                part("canary", 0, &["a", "b"]),
                part("stable", 1_000_000, &["c", "d"]),
            ],
            rules: vec![Rule {
                conditions: vec![Condition::Path(Test::Prefix("/beta".to_owned()))],
                parts: vec![(0, 200_000), (1, 800_000)],
                rewrite: Some(Rewrite {
                    prefix: "/beta".to_owned(),
                    ignores_case: false,
                    replacement: "/".to_owned(),
                }),
            }],
        };
        definitions.push(Definition {
            origin: Origin::Split {
                service: "web".to_owned(),
                route: String::new(),
            },
            command: Command::Split(split),
        });
        let (table, _) = Table::build(definitions, None);
        let shares = |found: &Explanation| -> Vec<(String, f64)> {
            let own = found.candidates.iter();
            own.map(|own| (own.instance.clone(), (own.share * 100.0).round()))
                .collect()
        };
        let named = |of: &[(&str, f64)]| -> Vec<(String, f64)> {
            of.iter()
                .map(|(id, share)| ((*id).to_owned(), *share))
                .collect()
        };
        let found = explained(&table, "/beta/x", "");
        assert_eq!(found.path.as_deref(), Some("/x"));
        assert_eq!(
            shares(&found),
            named(&[("c", 40.0), ("d", 40.0), ("b", 15.0), ("a", 5.0)])
        );
        assert!(
            found.why[1].ends_with("version `canary` (20.00%) or `stable` (80.00%)"),
            "{:?}",
            found.why
        );
        let found = explained(&table, "/x", "");
        assert_eq!(shares(&found), named(&[("c", 50.0), ("d", 50.0)]));
        assert_eq!(found.path, None);
        // What a version cannot take, the others do.
        for target in &table.routes().next().unwrap().targets()[2..] {
            target.upstream().health().suspected(50);
        }
        let found = explained(&table, "/beta", "");
        assert_eq!(shares(&found), named(&[("b", 75.0), ("a", 25.0)]));
        assert_eq!(found.path.as_deref(), Some("/"));
    }
}
