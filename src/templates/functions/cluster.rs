//! What comes from outside of the template: the environment, files, keys, services and variables.

use super::{Answer, State, access::Object, add, failed, size_at, text_at, told, yes_or_no};
use crate::{
    query::{Choice, Query},
    values::{self, text as from},
};
use gotmpl::{FuncMap, TemplateError, Value};
use std::sync::Arc;

/// Functions that are known and refused, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("secret", VAULT),
    ("secrets", VAULT),
    ("pkiCert", VAULT),
    ("caLeaf", MESH),
    ("caRoots", MESH),
    ("connect", MESH),
    ("peerings", "there is one catalog without peers"),
    ("partitions", "there is one catalog without partitions"),
    (
        "exportedServices",
        "there is one catalog, which exports nothing",
    ),
    (
        "importedServices",
        "there is one catalog, which imports nothing",
    ),
    (
        "plugin",
        "templates start no programs; render the text in a task before this one",
    ),
    (
        "writeToFile",
        "a template writes its destination only; use another template block",
    ),
    ("executeTemplate", "use {{ template \"name\" }}"),
    (
        "sockaddr",
        "the addresses of a task are in its environment: {{ env \"NOMAD_IP_label\" }}",
    ),
    ("spew_dump", SPEW),
    ("spew_printf", SPEW),
    ("spew_sdump", SPEW),
    ("spew_sprintf", SPEW),
];
const VAULT: &str =
    "secrets are not read from Vault; keep them in a variable and read it by nomadVar";
const SPEW: &str = "values are shown by toJSONPretty";
const MESH: &str = "certificates of the mesh are not given to templates yet";
/// Instances that are picked at most.
const CHOICE_MAX: usize = 10_000;

pub(super) fn add_all(map: &mut FuncMap, state: &Arc<State>) {
    environment(map, state);
    keys(map, state);
    services(map, state);
    variables(map, state);
    for (name, reason) in REFUSED {
        add(map, name, 0..=usize::MAX, move |_| Err(failed(*reason)));
    }
}

/// Adds a function that works on what the rendering knows.
fn of(
    map: &mut FuncMap,
    state: &Arc<State>,
    name: &'static str,
    arguments: std::ops::RangeInclusive<usize>,
    f: impl Fn(&State, &[Value]) -> Answer + Send + Sync + 'static,
) {
    let state = Arc::clone(state);
    add(map, name, arguments, move |args| f(&state, args));
}

fn environment(map: &mut FuncMap, state: &Arc<State>) {
    of(map, state, "env", 1..=1, |state, args| {
        told(state.world.variable(&text_at(args, 0)?).unwrap_or_default())
    });
    of(map, state, "envOrDefault", 2..=2, |state, args| {
        let value = state.world.variable(&text_at(args, 0)?);
        match value.filter(|value| !value.is_empty()) {
            Some(value) => told(value),
            None => told(text_at(args, 1)?),
        }
    });
    of(map, state, "mustEnv", 1..=1, |state, args| {
        let name = text_at(args, 0)?;
        let value = state.world.variable(&name);
        let missing = || failed(format!("missing required environment variable {name}"));
        told(value.ok_or_else(missing)?)
    });
    of(map, state, "file", 1..=1, |state, args| {
        told(state.world.file(&text_at(args, 0)?).map_err(failed)?)
    });
}

/// A name without `@datacenter`, `~near` and `?options`.
fn plain(text: &str) -> &str {
    until(text, &['@', '~', '?'])
}

/// A name and the datacenter behind it. Nothing is near, and there are no options.
fn located(text: &str) -> (&str, Option<String>) {
    let name = plain(text);
    let behind = text.get(name.len()..).unwrap_or_default();
    let datacenter = behind
        .strip_prefix('@')
        .map(|place| until(place, &['~', '?']));
    let datacenter = datacenter.filter(|datacenter| !datacenter.is_empty());
    (name, datacenter.map(str::to_owned))
}

fn until<'a>(text: &'a str, ends: &[char]) -> &'a str {
    let end = text.find(ends).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

/// The datacenter that is the only argument, `@datacenter`.
fn only_place(args: &[Value]) -> Result<Option<String>, TemplateError> {
    match args {
        [] => Ok(None),
        _ => Ok(located(&text_at(args, 0)?).1),
    }
}

fn keys(map: &mut FuncMap, state: &Arc<State>) {
    let value =
        |state: &State, args: &[Value]| -> Result<(Query, Option<Option<String>>), TemplateError> {
            let text = text_at(args, 0)?;
            let query = Query::Key(plain(&text).trim_start_matches('/').to_owned());
            let answer = state.ask(&query);
            let answer = answer.map(|answer| answer.as_str().map(str::to_owned));
            Ok((query, answer))
        };
    of(map, state, "key", 1..=1, move |state, args| {
        let (query, value) = value(state, args)?;
        if value == Some(None) {
            state.wait_for(&query);
        }
        told(value.flatten().unwrap_or_default())
    });
    of(map, state, "keyOrDefault", 2..=2, move |state, args| {
        let (_, value) = value(state, args)?;
        match value.flatten().filter(|value| !value.is_empty()) {
            Some(value) => told(value),
            None => told(text_at(args, 1)?),
        }
    });
    of(map, state, "keyExists", 1..=1, move |state, args| {
        yes_or_no(value(state, args)?.1.flatten().is_some())
    });
    of(map, state, "keyExistsGet", 1..=1, move |state, args| {
        let (_, value) = value(state, args)?;
        let found = value.flatten();
        Ok(values::map([
            ("Key", from(text_at(args, 0)?)),
            ("Exists", Value::Bool(found.is_some())),
            ("Value", from(found.unwrap_or_default())),
        ]))
    });
    for (name, below, needs_some) in [
        ("ls", false, false),
        ("safeLs", false, true),
        ("tree", true, false),
        ("safeTree", true, true),
    ] {
        of(map, state, name, 1..=1, move |state, args| {
            let text = text_at(args, 0)?;
            let prefix = plain(&text).trim_start_matches('/').to_owned();
            let query = Query::Keys(prefix.clone());
            let Some(answer) = state.ask(&query) else {
                return Ok(values::list([]));
            };
            let pairs: Vec<Value> = pairs(&answer, &prefix, below).collect();
            if pairs.is_empty() && needs_some {
                state.wait_for(&query);
            }
            Ok(values::list(pairs))
        });
    }
}

/// The keys of an answer by what follows the prefix; those in folders too with `below`.
fn pairs<'a>(
    answer: &'a serde_json::Value,
    prefix: &'a str,
    below: bool,
) -> impl Iterator<Item = Value> + 'a {
    let entries = answer.as_array().into_iter().flatten();
    entries.filter_map(move |entry| {
        let path = entry["Key"].as_str()?;
        let key = path.strip_prefix(prefix)?.trim_start_matches('/');
        let is_wanted = !key.is_empty() && !key.ends_with('/') && (below || !key.contains('/'));
        is_wanted.then(|| {
            values::map([
                ("Path", from(path)),
                ("Key", from(key)),
                ("Value", values::of_json(&entry["Value"])),
            ])
        })
    })
}

fn services(map: &mut FuncMap, state: &Arc<State>) {
    of(map, state, "service", 1..=usize::MAX, |state, args| {
        let asked = text_at(args, 0)?;
        let (asked, filter) = asked.split_once('|').unwrap_or((&asked, ""));
        let (asked, datacenter) = located(asked);
        let (tag, name) = match asked.rsplit_once('.') {
            Some((tag, name)) => (Some(tag.to_owned()), name),
            None => (None, asked),
        };
        let mut health: Vec<String> = words(filter).collect();
        for at in 1..args.len() {
            health.extend(words(&text_at(args, at)?));
        }
        let known = ["passing", "warning", "critical", "any", "maintenance"];
        if let Some(other) = health.iter().find(|word| !known.contains(&word.as_str())) {
            let known = known.join(", ");
            return Err(failed(format!(
                "`{other}` is none of {known}; other filters are not supported"
            )));
        }
        if health.is_empty() {
            health.push("passing".into());
        }
        health.sort();
        health.dedup();
        let name = name.to_owned();
        Ok(state.ask_list(&Query::Service {
            name,
            tag,
            health,
            datacenter,
        }))
    });
    of(map, state, "services", 0..=1, |state, args| {
        let datacenter = only_place(args)?;
        Ok(state.ask_list(&Query::Services { datacenter }))
    });
    of(map, state, "nodes", 0..=1, |state, args| {
        let datacenter = only_place(args)?;
        Ok(state.ask_list(&Query::Nodes { datacenter }))
    });
    of(map, state, "datacenters", 0..=1, |state, _| {
        Ok(state.ask_list(&Query::Datacenters))
    });
    of(map, state, "node", 0..=1, |state, args| {
        let text = match args {
            [] => String::new(),
            _ => text_at(args, 0)?,
        };
        let (name, datacenter) = located(&text);
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        let answer = state.ask(&Query::Node { name, datacenter });
        let answer = answer.unwrap_or_default();
        Ok(values::of_json(&answer))
    });
    of(map, state, "nomadServices", 0..=1, |state, _| {
        Ok(state.ask_list(&Query::NativeServices))
    });
    of(map, state, "nomadService", 1..=3, |state, args| {
        let (choice, name) = match args.len() {
            1 => (None, text_at(args, 0)?),
            3 => {
                let (count, key) = (size_at(args, 0)?.min(CHOICE_MAX), text_at(args, 1)?);
                (Some(Choice { count, key }), text_at(args, 2)?)
            }
            _ => return Err(failed("takes a name, or a count, a key and a name")),
        };
        let (name, choice) = (plain(&name).to_owned(), choice);
        Ok(state.ask_list(&Query::NativeService { name, choice }))
    });
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(',').map(str::trim);
    words.filter(|word| !word.is_empty()).map(str::to_owned)
}

/// `path@namespace`; what follows a dot after it is the region.
fn place(text: &str) -> (String, Option<String>) {
    let (path, behind) = match text.split_once('@') {
        Some((path, behind)) => (path, Some(behind)),
        None => (text, None),
    };
    let namespace = behind.and_then(|behind| behind.split('.').next());
    let namespace = namespace.filter(|namespace| !namespace.is_empty());
    (
        path.trim_start_matches('/').to_owned(),
        namespace.map(str::to_owned),
    )
}

fn variables(map: &mut FuncMap, state: &Arc<State>) {
    of(map, state, "nomadVar", 1..=1, |state, args| {
        let (path, namespace) = place(&text_at(args, 0)?);
        let query = Query::Variable { path, namespace };
        let answer = state.ask(&query);
        let Some(items) = answer
            .as_ref()
            .and_then(|answer| answer["Items"].as_object())
        else {
            state.wait_for(&query);
            return Ok(values::map::<&str>([]));
        };
        let items = items
            .iter()
            .map(|(key, value)| (key, values::of_json(value)));
        let mut facts = answer.clone().unwrap_or_default();
        if let Some(facts) = facts.as_object_mut() {
            facts.remove("Items");
        }
        match values::map(items) {
            Value::Map(items) => Ok(state.object(items, Object::Variable(values::of_json(&facts)))),
            other => Ok(other),
        }
    });
    of(map, state, "nomadVarExists", 1..=1, |state, args| {
        let (path, namespace) = place(&text_at(args, 0)?);
        let answer = state.ask(&Query::Variable { path, namespace });
        yes_or_no(answer.is_some_and(|answer| !answer.is_null()))
    });
    for (name, needs_some) in [("nomadVarList", false), ("nomadVarListSafe", true)] {
        of(map, state, name, 0..=1, move |state, args| {
            let text = if args.is_empty() {
                String::new()
            } else {
                text_at(args, 0)?
            };
            let (prefix, namespace) = place(&text);
            let query = Query::Variables { prefix, namespace };
            let found = state.ask_list(&query);
            if needs_some && found.is_empty() == Some(true) {
                state.wait_for(&query);
            }
            Ok(found)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{located, place, plain};

    #[test]
    fn places_are_taken_apart() {
        assert_eq!(plain("web@dc1~_agent"), "web");
        assert_eq!(plain("a/b"), "a/b");
        let dc = |name: &str| Some(name.to_owned());
        for (text, expected) in [
            ("web@dc1~_agent", ("web", dc("dc1"))),
            ("v1.web@dc-2?ns=default", ("v1.web", dc("dc-2"))),
            ("@dc1", ("", dc("dc1"))),
            ("web~_agent", ("web", None)),
            ("web@", ("web", None)),
            ("web~a@dc1", ("web", None)),
        ] {
            assert_eq!(located(text), expected, "{text}");
        }
        assert_eq!(place("a/b"), ("a/b".into(), None));
        assert_eq!(
            place("a/b@prod.global"),
            ("a/b".into(), Some("prod".into()))
        );
        assert_eq!(place("/a@"), ("a".into(), None));
    }
}
