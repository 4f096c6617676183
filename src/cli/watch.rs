//! `watch`: looks at something of the catalog, and hands what it is now to a program each time it
//! changes.

use super::{
    catalog_options::CatalogOptions,
    child,
    context::Context,
    http::{segment, segments},
};
use crate::arguments::switches;
use anyhow::{Context as _, bail};
use serde_json::{Value, ser::PrettyFormatter};
use std::{process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt as _, time::sleep};

/// Pause after a failure; it grows with the square of their number.
const RETRY: Duration = Duration::from_secs(5);
/// Longest pause.
const RETRY_MAX: Duration = Duration::from_secs(180);

/// Arguments of `watch`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(mut_args(switches(&["passingonly", "shell"])))]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// key, keyprefix, services, nodes, service, checks or event
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Key to watch, for `key`
    #[arg(long)]
    key: Option<String>,
    /// Start of the keys to watch, for `keyprefix`
    #[arg(long)]
    prefix: Option<String>,
    /// Service to watch, for `service` and `checks`
    #[arg(long)]
    service: Option<String>,
    /// Tag that instances must have, for `service`; may be repeated
    #[arg(long)]
    tag: Vec<String>,
    /// Whether every check must pass, for `service`
    #[arg(long)]
    passingonly: Option<String>,
    /// State of the checks, for `checks`
    #[arg(long)]
    state: Option<String>,
    /// Name of the event, for `event`
    #[arg(long)]
    name: Option<String>,
    /// Only rows that satisfy the expression
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Run the program in a shell
    #[arg(long, default_value_t = true)]
    shell: bool,
    /// Program that gets each result on standard input; without one the first is printed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// What is looked at, and what of an answer is the result.
#[derive(Debug, PartialEq, Eq)]
struct View {
    path: String,
    query: Vec<(String, String)>,
    result: Part,
}

/// What of an answer is the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// All of it.
    Whole,
    /// The first of a list.
    First,
    /// The events behind the one that was seen last.
    NewEvents,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let view = view(arguments)?;
    let http = arguments.options.http(cx)?;
    let agent = http.get_value("/v1/agent/self", &[]).await;
    agent.context("Error querying Consul agent")?;
    let query = view.query.iter();
    let query: Vec<(&str, &str)> = query.map(|(key, value)| (&**key, &**value)).collect();
    let query = arguments.options.read(&query);
    let (mut index, mut last, mut failures) = (0, None, 0_u32);
    loop {
        let answer = match http.look(&view.path, &query, index).await {
            Ok(answer) => answer,
            Err(error) => {
                failures = failures.saturating_add(1);
                let pause = RETRY.saturating_mul(failures.saturating_mul(failures));
                let pause = pause.min(RETRY_MAX);
                let seconds = pause.as_secs();
                cx.complain(&format!("Watch errored: {error}, retry in {seconds}s"));
                sleep(pause).await;
                continue;
            }
        };
        failures = 0;
        // An index that goes back is a restored state: everything is looked at anew.
        let before = std::mem::replace(&mut index, answer.index);
        if index < before {
            index = 0;
        }
        let result = part(view.result, answer.body, before);
        if last.as_ref() == Some(&result) || (before == index && last.is_some()) {
            continue;
        }
        if arguments.command.is_empty() {
            cx.print(&indented(&result)?)?;
            return Ok(0);
        }
        handle(arguments, &result, index)
            .await
            .context("Error executing handler")?;
        last = Some(result);
    }
}

/// What the arguments ask for.
fn view(arguments: &Arguments) -> anyhow::Result<View> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let Some(kind) = given(&arguments.kind) else {
        bail!("Watch type must be specified");
    };
    let mut query: Vec<(String, String)> = Vec::new();
    let mut add = |key: &str, value: &str| query.push((key.to_owned(), value.to_owned()));
    let (path, result) = match kind.as_str() {
        "key" => {
            let Some(key) = given(&arguments.key) else {
                bail!("Must specify a single key to watch");
            };
            (format!("/v1/kv/{}", segments(&key)), Part::First)
        }
        "keyprefix" => {
            let Some(prefix) = given(&arguments.prefix) else {
                bail!("Must specify a single prefix to watch");
            };
            add("recurse", "");
            (format!("/v1/kv/{}", segments(&prefix)), Part::Whole)
        }
        "services" => ("/v1/catalog/services".to_owned(), Part::Whole),
        "nodes" => ("/v1/catalog/nodes".to_owned(), Part::Whole),
        "service" => {
            let Some(service) = given(&arguments.service) else {
                bail!("Must specify a single service to watch");
            };
            arguments.tag.iter().for_each(|tag| add("tag", tag));
            match arguments.passingonly.as_deref() {
                None | Some("false") => {}
                Some("true") => add("passing", "1"),
                Some(other) => bail!("Failed to parse passingonly value {other:?}"),
            }
            (
                format!("/v1/health/service/{}", segment(&service)),
                Part::Whole,
            )
        }
        "checks" => match (given(&arguments.service), given(&arguments.state)) {
            (Some(_), Some(_)) => bail!("Cannot specify service and state"),
            (Some(service), None) => (
                format!("/v1/health/checks/{}", segment(&service)),
                Part::Whole,
            ),
            (None, state) => {
                let state = state.unwrap_or_else(|| "any".to_owned());
                (format!("/v1/health/state/{}", segment(&state)), Part::Whole)
            }
        },
        "event" => {
            if let Some(name) = given(&arguments.name) {
                add("name", &name);
            }
            ("/v1/event/list".to_owned(), Part::NewEvents)
        }
        "connect_roots" | "connect_leaf" | "agent_service" => {
            bail!("Type {kind} is not supported in the CLI tool")
        }
        other => bail!("Unsupported watch type: {other}"),
    };
    if let Some(filter) = given(&arguments.filter) {
        add("filter", &filter);
    }
    Ok(View {
        path,
        query,
        result,
    })
}

/// The result of an answer; `seen` is the index of the last one.
fn part(part: Part, body: Value, seen: u64) -> Value {
    let list = match (part, body) {
        (Part::Whole, body) => return body,
        (_, Value::Array(list)) => list,
        (_, other) => return other,
    };
    if part == Part::First {
        return list.into_iter().next().unwrap_or(Value::Null);
    }
    let index = |event: &Value| event["ID"].as_str().and_then(folded);
    let behind = list.iter().rposition(|event| index(event) == Some(seen));
    let new = list.into_iter().skip(behind.map_or(0, |at| at + 1));
    Value::Array(new.collect())
}

/// The index of an event: both halves of its id.
fn folded(id: &str) -> Option<u64> {
    let (high, low) = uuid::Uuid::parse_str(id).ok()?.as_u64_pair();
    Some(high ^ low)
}

/// JSON as people read it.
fn indented(value: &Value) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut text, formatter);
    serde::Serialize::serialize(value, &mut writer)?;
    Ok(String::from_utf8(text)?)
}

/// Hands a result to the program and waits for its end.
async fn handle(arguments: &Arguments, result: &Value, index: u64) -> anyhow::Result<()> {
    let mut program = child::program(arguments.shell, &arguments.command);
    program
        .stdin(Stdio::piped())
        .env("CONSUL_INDEX", index.to_string());
    let mut started = child::start(program, &arguments.command)?;
    if let Some(mut input) = started.stdin.take() {
        // It may not want to know.
        let _unread = input.write_all(format!("{result}\n").as_bytes()).await;
    }
    let status = started.wait().await?;
    if !status.success() {
        bail!(
            "{}",
            status.to_string().replace("exit status:", "exit status")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_type_looks_at_its_endpoint() {
        let some = |text: &str| Some(text.to_owned());
        let base = Arguments {
            key: some("a b/c"),
            prefix: some("p/"),
            service: some("web"),
            tag: vec!["x".to_owned(), "y".to_owned()],
            passingonly: some("true"),
            name: some("deploy"),
            ..Arguments::default()
        };
        let looked = |kind: &str| {
            let kind = some(kind);
            let view = view(&Arguments {
                kind,
                ..base.clone()
            });
            view.map_or_else(
                |error| error.to_string(),
                |view| {
                    let query = view.query.iter();
                    let query = query.map(|(key, value)| format!(" {key}={value}"));
                    view.path + &query.collect::<String>()
                },
            )
        };
        for (kind, expected) in [
            ("key", "/v1/kv/a%20b/c"),
            ("keyprefix", "/v1/kv/p/ recurse="),
            ("services", "/v1/catalog/services"),
            ("nodes", "/v1/catalog/nodes"),
            ("service", "/v1/health/service/web tag=x tag=y passing=1"),
            ("checks", "/v1/health/checks/web"),
            ("event", "/v1/event/list name=deploy"),
            (
                "connect_leaf",
                "Type connect_leaf is not supported in the CLI tool",
            ),
            ("bogus", "Unsupported watch type: bogus"),
            ("", "Watch type must be specified"),
        ] {
            assert_eq!(looked(kind), expected, "{kind}");
        }
    }

    #[test]
    fn results_are_keys_lists_and_new_events() {
        assert_eq!(
            part(Part::First, json!([{"Key": "a"}]), 0),
            json!({"Key": "a"})
        );
        assert_eq!(part(Part::First, Value::Null, 0), Value::Null);
        let id = "00000000-0000-0001-0000-000000000003";
        let events = json!([{"ID": id}, {"ID": "00000000-0000-0001-0000-000000000004"}]);
        assert_eq!(part(Part::NewEvents, events.clone(), 0), events);
        let seen = folded(id).unwrap();
        assert_eq!(
            part(Part::NewEvents, events.clone(), seen),
            json!([events[1]])
        );
        assert_eq!(indented(&json!({"a": 1})).unwrap(), "{\n    \"a\": 1\n}");
    }
}
