//! Routes that a service instance asks for in its tags.

use super::definition::{Add, Command, Definition, Destination, Options, Source, Traits, Weight};
use super::problem::{Fault, Origin, Problem};

/// Begins every tag that defines a route.
pub const PREFIX: &str = "urlprefix-";

/// The facts of a registered instance that routes are made from.
#[derive(Clone, Copy, Debug)]
pub struct Instance<'a> {
    /// Identifies the instance; requests in flight are counted by it together with the address.
    pub id: &'a str,
    /// The service's name.
    pub service: &'a str,
    /// Where it listens: an address or a name.
    pub address: &'a str,
    /// Where it listens.
    pub port: u16,
    /// All tags, in the order of registration.
    pub tags: &'a [String],
    /// What `$DC` in a route stands for.
    pub datacenter: &'a str,
    /// The version that it runs; empty if nobody says.
    pub version: &'a str,
    /// Its turns among those of its version, by its health; 0 for none.
    pub turns: u16,
    /// Whether it gets its share whatever it answers, as in [`Traits`].
    pub is_judged: bool,
}

/// The routes that an instance's `urlprefix-` tags define, one `route add` for each tag, and the
/// tags that cannot be used. All other tags become the tags of its targets.
pub fn definitions(instance: &Instance<'_>) -> (Vec<Definition>, Vec<Problem>) {
    definitions_after(PREFIX, instance)
}

/// The same for tags that begin with `prefix`.
pub fn definitions_after(prefix: &str, instance: &Instance<'_>) -> (Vec<Definition>, Vec<Problem>) {
    let mut definitions = Vec::new();
    let mut problems = Vec::new();
    let (routes, labels): (Vec<&String>, Vec<&String>) = instance
        .tags
        .iter()
        .partition(|tag| tag.trim_start().starts_with(prefix));
    for tag in routes {
        let origin = Origin::Tag {
            instance: instance.id.to_owned(),
            tag: tag.clone(),
        };
        match add(instance, (prefix, tag), &labels) {
            Ok(add) => definitions.push(Definition {
                origin,
                command: Command::Add(Box::new(add)),
            }),
            Err(fault) => problems.push(Problem { origin, fault }),
        }
    }
    (definitions, problems)
}

fn add(
    instance: &Instance<'_>,
    (prefix, tag): (&str, &str),
    labels: &[&String],
) -> Result<Add, Fault> {
    if instance.service.is_empty()
        || instance
            .service
            .contains(|c: char| c.is_whitespace() || c == '"')
    {
        return Err(Fault::InvalidService {
            service: instance.service.to_owned(),
        });
    }
    let text = tag.trim_start().strip_prefix(prefix).unwrap_or_default();
    let mut words = text.split_whitespace();
    // A tag with nothing, or with a space, behind the prefix names no source.
    let source = if text.starts_with(char::is_whitespace) {
        ""
    } else {
        words.next().unwrap_or_default()
    };
    let source = Source::parse(&expand(source, instance.datacenter))?;
    let mut weight = None;
    let mut rest = Vec::new();
    for word in words {
        match word.strip_prefix("weight=") {
            Some(value) => weight = Weight::parse(value)?,
            None => rest.push(word),
        }
    }
    let mut options = Options::parse(rest.into_iter())?;
    let destination = match options.redirect.take() {
        Some((status, url)) => {
            // As in a line, the destination is one thing and the status the other.
            let is_redirect = |(key, _): &&mut (String, String)| key == "redirect";
            if let Some((_, value)) = options.written.iter_mut().find(is_redirect) {
                *value = status.to_string();
            }
            options.redirect = Some((status, None));
            Destination::redirect(status, &url.unwrap_or_default())?
        }
        None => Destination::at(instance.address, instance.port, &options)?,
    };
    Ok(Add {
        service: instance.service.to_owned(),
        instance: instance.id.to_owned(),
        source,
        destination,
        weight,
        tags: labels.iter().map(|label| (*label).clone()).collect(),
        options,
        traits: Traits {
            version: instance.version.to_owned(),
            turns: instance.turns,
            is_judged: instance.is_judged,
        },
    })
}

/// Replaces `$NAME` and `${NAME}`; the only known name is `DC`, unknown ones become empty.
fn expand(source: &str, datacenter: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, tail) = match after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
        {
            Some(braced) => braced,
            None => {
                let end = after
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(after.len());
                after.split_at(end)
            }
        };
        if name == "DC" {
            out.push_str(datacenter);
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}
