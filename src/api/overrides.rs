//! What operators lay over the routes: a text, and single weights beside it that are shown as lines
//! of it.

use mesh::{
    model::{ServiceName, SplitKey},
    state::SetSplit,
    view::View,
};
use proxy::route::{Command, Source, Weigh, parse};

/// Weights are kept in millionths.
const MILLION: f64 = 1_000_000.0;

/// Why a text or an edit is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Lines that cannot be used.
    #[error("{0}")]
    Text(String),
    /// A name that the route language cannot carry.
    #[error("{0}")]
    Name(String),
}

/// Refuses a text with a line that the ingress could not use.
pub(crate) fn check(text: &str) -> Result<(), Refused> {
    let (_, problems) = parse::parse(text);
    if problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(Refused::Text(lines.join("\n")))
}

/// One weight as an operator gives it.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RouteWeight {
    /// Service.
    pub(crate) service: ServiceName,
    /// Route, `host/path`.
    pub(crate) src: String,
    /// Share of the matching targets together, above 0 and at most 1; none removes the line.
    pub(crate) weight: Option<f64>,
    /// Only targets that carry all of these.
    pub(crate) tags: Vec<String>,
}

/// What carries out one weight.
#[derive(Debug, PartialEq)]
pub(crate) enum Edit {
    /// The split is set or removed.
    Split(SetSplit),
    /// The operator wrote the line by hand: the whole shown text is replaced by this one.
    Text(String),
}

/// The operator's text as it is shown: byte for byte as it was written, and a line for each split
/// after it.
pub(crate) fn shown(catalog: &View) -> String {
    let mut text = catalog.route_overrides().text.clone();
    let mut splits: Vec<_> = catalog.splits().collect();
    splits.sort_by_key(|split| split.create_index);
    for split in splits {
        let weight = RouteWeight {
            service: split.key.service.clone(),
            src: split.key.route.clone(),
            weight: None,
            tags: split.key.tags.clone(),
        };
        push_line(
            &mut text,
            &weight.written(f64::from(split.share_millionths) / MILLION),
        );
    }
    text
}

fn push_line(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
}

impl RouteWeight {
    /// What sets this weight in `catalog`, replaces it where it is, or removes it.
    pub(crate) fn edit(&self, catalog: &View) -> Result<Edit, Refused> {
        let line = self.line()?;
        let wanted = self.command()?;
        let by_hand = |line: &str| is_same_target(line, &wanted);
        if catalog.route_overrides().text.lines().any(by_hand) {
            return Ok(Edit::Text(replaced(&shown(catalog), &wanted, line)));
        }
        let known = catalog
            .splits()
            .find(|split| is_same_split(&split.key, &wanted));
        let key = known.map_or_else(|| self.key(), |split| split.key.clone());
        let share_millionths = self
            .weight
            // In range by the check of the line: above 0 and at most 1.
            .map(|weight| ((weight * MILLION).round() as u32).max(1));
        Ok(Edit::Split(SetSplit {
            key,
            share_millionths,
        }))
    }

    fn key(&self) -> SplitKey {
        SplitKey {
            route: self.src.clone(),
            service: self.service.clone(),
            tags: self.tags.clone(),
        }
    }

    fn line(&self) -> Result<Option<String>, Refused> {
        let Some(weight) = self.weight else {
            return Ok(None);
        };
        // In the language 0 means "no fixed weight"; here it can only be a mistake.
        if !(weight > 0.0 && weight <= 1.0) {
            let reason = "Weight must be above 0 and at most 1; leave it out to remove the line";
            return Err(Refused::Name(reason.to_owned()));
        }
        Ok(Some(self.written(weight)))
    }

    fn written(&self, weight: f64) -> String {
        let mut line = format!("route weight {} {} weight {weight}", self.service, self.src);
        if !self.tags.is_empty() {
            line.push_str(&format!(" tags \"{}\"", self.tags.join(",")));
        }
        line
    }

    /// The command that the ingress will read from the line.
    fn command(&self) -> Result<Weigh, Refused> {
        let word = |name: &str, value: &str| {
            if value.is_empty() || value.chars().any(|c| c.is_whitespace() || c == '"') {
                let reason = format!("{name} must be a word without white space and quotes");
                return Err(Refused::Name(reason));
            }
            Ok(())
        };
        word("Service", &self.service)?;
        word("Src", &self.src)?;
        for tag in &self.tags {
            let is_plain = !tag.trim().is_empty() && !tag.contains([',', '"', '\n', '\r']);
            if !is_plain || tag.trim() != tag {
                let reason = "Tags must not be empty or hold commas, quotes and line ends";
                return Err(Refused::Name(reason.to_owned()));
            }
        }
        let line = self.written(1.0);
        check(&line)?;
        match parse::parse(&line)
            .0
            .pop()
            .map(|definition| definition.command)
        {
            Some(Command::Weigh(weigh)) => Ok(weigh),
            _ => Err(Refused::Name("Service and Src make no route".to_owned())),
        }
    }
}

/// The text with the lines of that target replaced by `line`, or removed; all others stay byte for
/// byte.
fn replaced(text: &str, wanted: &Weigh, mut line: Option<String>) -> String {
    let mut edited = String::with_capacity(text.len() + 128);
    for old in text.split_inclusive('\n') {
        if !is_same_target(old, wanted) {
            edited.push_str(old);
        } else if let Some(line) = line.take() {
            edited.push_str(&line);
            edited.push('\n');
        }
    }
    edited
}

/// Service, source and tags, which are compared as a set.
fn target(weigh: &Weigh) -> (Option<&str>, &Source, Vec<&str>) {
    let mut tags: Vec<&str> = weigh.tags.iter().map(String::as_str).collect();
    tags.sort_unstable();
    (weigh.service.as_deref(), &weigh.source, tags)
}

fn is_same_target(line: &str, wanted: &Weigh) -> bool {
    let (definitions, _) = parse::parse(line);
    matches!(
        definitions.first().map(|definition| &definition.command),
        Some(Command::Weigh(weigh)) if target(weigh) == target(wanted)
    )
}

fn is_same_split(key: &SplitKey, wanted: &Weigh) -> bool {
    let weigh = Source::parse(&key.route).map(|source| Weigh {
        service: Some(key.service.to_string()),
        source,
        weight: None,
        tags: key.tags.clone(),
    });
    weigh.is_ok_and(|weigh| target(&weigh) == target(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh::model::Timestamp;
    use mesh::state::{SetRouteOverrides, Stamp, State};

    fn weight(weight: Option<f64>, tags: &[&str]) -> RouteWeight {
        RouteWeight {
            service: "todo".into(),
            src: "/todo".into(),
            weight,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        }
    }

    /// A catalog that edits are carried out on, as the log would.
    #[derive(Default)]
    struct World {
        catalog: State,
        index: u64,
    }

    impl World {
        fn apply(&mut self, command: mesh::state::Command) {
            self.index += 1;
            let at = Stamp {
                index: self.index,
                now: Timestamp::default(),
            };
            self.catalog.apply(at, command).unwrap();
        }

        fn write(&mut self, text: &str) {
            self.apply(mesh::state::Command::SetRouteOverrides(SetRouteOverrides {
                text: text.to_owned(),
                expected_index: None,
            }));
        }

        fn weigh(&mut self, weight: &RouteWeight) {
            match weight.edit(self.catalog.current().view()).unwrap() {
                Edit::Split(split) => self.apply(mesh::state::Command::SetSplit(split)),
                Edit::Text(text) => self.write(&text),
            }
        }

        fn shown(&self) -> String {
            shown(self.catalog.current().view())
        }
    }

    #[test]
    fn a_line_is_appended_replaced_and_removed() {
        let mut world = World::default();
        world.write("# by hand\nroute del old");
        world.weigh(&weight(Some(0.25), &["canary"]));
        assert_eq!(
            world.shown(),
            "# by hand\nroute del old\nroute weight todo /todo weight 0.25 tags \"canary\"\n"
        );
        world.weigh(&weight(Some(0.5), &["canary"]));
        world.weigh(&weight(Some(0.1), &[]));
        assert_eq!(
            world.shown(),
            "# by hand\nroute del old\nroute weight todo /todo weight 0.5 tags \"canary\"\n\
             route weight todo /todo weight 0.1\n"
        );
        check(&world.shown()).unwrap();
        // What was shown is written back, and edited where it stands.
        let text = world.shown().replace("# by hand", "# by me");
        world.write(&text);
        assert_eq!(world.shown(), text);
        world.weigh(&weight(Some(0.75), &["canary"]));
        world.weigh(&weight(None, &[]));
        assert_eq!(
            world.shown(),
            "# by me\nroute del old\nroute weight todo /todo weight 0.75 tags \"canary\"\n"
        );
        world.weigh(&weight(None, &["canary"]));
        assert_eq!(world.shown(), "# by me\nroute del old\n");
    }

    #[test]
    fn weights_stand_in_the_catalog_row_by_row() {
        let mut world = World::default();
        world.weigh(&weight(Some(0.05), &["canary"]));
        let catalog = world.catalog.snapshot();
        let rows: Vec<_> = catalog.splits().collect();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].share_millionths, 50_000);
        assert_eq!(catalog.route_overrides().text, "");
        world.weigh(&weight(None, &["canary"]));
        assert_eq!(world.catalog.current().splits().count(), 0);
    }

    #[test]
    fn the_order_of_tags_does_not_matter() {
        let mut world = World::default();
        world.weigh(&weight(Some(0.5), &["b", "a"]));
        assert!(world.shown().contains("\"b,a\""));
        world.weigh(&weight(None, &["a", "b"]));
        assert_eq!(world.shown(), "");
    }

    #[test]
    fn nothing_but_the_one_line_can_be_written() {
        for (service, src, tag) in [
            ("a\nroute del x", "/", "t"),
            ("a", "/ weight 1\nroute del x", "t"),
            ("a", "/", "t\"\nroute del x"),
            ("a", "http://x/", "t"),
            ("", "/", "t"),
            ("a", "", "t"),
            ("a", "/", ""),
        ] {
            let weight = RouteWeight {
                service: service.into(),
                src: src.into(),
                weight: Some(0.5),
                tags: vec![tag.into()],
            };
            assert!(weight.edit(&View::default()).is_err(), "{weight:?}");
        }
        for share in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
            assert!(weight(Some(share), &[]).edit(&View::default()).is_err());
        }
    }

    #[test]
    fn a_text_with_a_bad_line_is_refused_with_its_number() {
        let refused = check("route add a / http://1.2.3.4:80/\nnonsense\n").unwrap_err();
        assert!(refused.to_string().starts_with("line 2: "), "{refused}");
    }
}
