//! The operator's route text: checked, and edited one weight at a time.

use proxy::route::{Command, Source, Weigh, parse};

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
    pub(crate) service: String,
    /// Route, `host/path`.
    pub(crate) src: String,
    /// Share of the matching targets together, above 0 and at most 1; none removes the line.
    pub(crate) weight: Option<f64>,
    /// Only targets that carry all of these.
    pub(crate) tags: Vec<String>,
}

impl RouteWeight {
    /// The text with the line of this weight replaced, appended or removed; all other lines stay as
    /// they are, byte for byte.
    pub(crate) fn edit(&self, text: &str) -> Result<String, Refused> {
        let line = self.line()?;
        let wanted = self.command()?;
        let mut edited = String::with_capacity(text.len() + 128);
        let mut placed = false;
        for old in text.split_inclusive('\n') {
            if !is_same_target(old, &wanted) {
                edited.push_str(old);
            } else if let Some(line) = line.as_ref().filter(|_| !placed) {
                placed = true;
                edited.push_str(line);
                edited.push('\n');
            }
        }
        if let Some(line) = line.filter(|_| !placed) {
            if !edited.is_empty() && !edited.ends_with('\n') {
                edited.push('\n');
            }
            edited.push_str(&line);
            edited.push('\n');
        }
        Ok(edited)
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

fn is_same_target(line: &str, wanted: &Weigh) -> bool {
    fn key(weigh: &Weigh) -> (Option<&str>, &Source, Vec<&str>) {
        let mut tags: Vec<&str> = weigh.tags.iter().map(String::as_str).collect();
        tags.sort_unstable();
        (weigh.service.as_deref(), &weigh.source, tags)
    }
    let (definitions, _) = parse::parse(line);
    matches!(
        definitions.first().map(|definition| &definition.command),
        Some(Command::Weigh(weigh)) if key(weigh) == key(wanted)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(weight: Option<f64>, tags: &[&str]) -> RouteWeight {
        RouteWeight {
            service: "todo".into(),
            src: "/todo".into(),
            weight,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        }
    }

    #[test]
    fn a_line_is_appended_replaced_and_removed() {
        let text = "# by hand\nroute del old";
        let text = weight(Some(0.25), &["canary"]).edit(text).unwrap();
        assert_eq!(
            text,
            "# by hand\nroute del old\nroute weight todo /todo weight 0.25 tags \"canary\"\n"
        );
        let text = weight(Some(0.5), &["canary"]).edit(&text).unwrap();
        let text = weight(Some(0.1), &[]).edit(&text).unwrap();
        assert_eq!(
            text,
            "# by hand\nroute del old\nroute weight todo /todo weight 0.5 tags \"canary\"\n\
             route weight todo /todo weight 0.1\n"
        );
        let text = weight(None, &["canary"]).edit(&text).unwrap();
        assert_eq!(
            text,
            "# by hand\nroute del old\nroute weight todo /todo weight 0.1\n"
        );
        check(&text).unwrap();
    }

    #[test]
    fn the_order_of_tags_does_not_matter() {
        let text = weight(Some(0.5), &["a", "b"]).edit("").unwrap();
        assert_eq!(weight(None, &["b", "a"]).edit(&text).unwrap(), "");
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
            assert!(weight.edit("").is_err(), "{weight:?}");
        }
        for share in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
            assert!(weight(Some(share), &[]).edit("").is_err());
        }
    }

    #[test]
    fn a_text_with_a_bad_line_is_refused_with_its_number() {
        let refused = check("route add a / http://1.2.3.4:80/\nnonsense\n").unwrap_err();
        assert!(refused.to_string().starts_with("line 2: "), "{refused}");
    }
}
