//! Runs `tests/state/*.txt`: each step is a line, `----`, the expected transcript and an empty
//! line.
//!
//! A step that starts with a number is a command at that log index, with `@` and a number at that
//! second; `show` prints a view, `read` a transaction that changes nothing. Set `REWRITE_EXPECTED`
//! to rewrite the expectations.

use crate::transcripts;
use std::fmt::Write;
use std::time::Duration;

use mesh::model::{
    Check, CheckId, KvEntry, Node, Origin, PreparedQuery, QueryTemplate, Service, ServiceId,
    ServiceKey, Session, SessionId, Status, Timestamp, Weights,
};
use mesh::state::{
    Applied, CheckOperation, CheckResult, Command, CreateSession, DeleteKey, DeletePreparedQuery,
    DeregisterService, DestroySession, DrainService, KeyCondition, KeyOperation, KeyVerb,
    NodeOperation, Operation, OperationResult, PutKey, PutPreparedQuery, RegisterService, Rejected,
    RemoveNode, RowVerb, RunTransaction, ServiceOperation, SetRouteOverrides, Snapshot, Stamp,
    State, UpdateChecks, UpsertNode,
};
use mesh::view::{Instance, Table};

#[test]
fn scenarios_give_the_expected_transcripts() {
    transcripts::check("state", run);
}

/// Replays the steps of a scenario and writes it again with what they gave.
fn run(text: &str) -> String {
    let mut state = State::default();
    let mut transcript = String::new();
    let mut in_expectation = false;
    for line in text.lines() {
        if in_expectation {
            in_expectation = !line.is_empty();
            continue;
        }
        writeln!(transcript, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') || line == "----" {
            continue;
        }
        let answer = step(&mut state, line);
        writeln!(transcript, "----\n{}\n", answer.trim_end()).unwrap();
        in_expectation = true;
    }
    let kept = transcript.trim_end().len();
    transcript.truncate(kept);
    transcript.push('\n');
    transcript
}

fn step(state: &mut State, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    if words[0] == "show" {
        return show(&state.snapshot(), &words[1..]);
    }
    if words[0] == "read" {
        let operations = words[1..].iter().map(|word| operation(word)).collect();
        return match state.snapshot().read_transaction(operations) {
            Ok(results) => results.iter().map(result_row).collect::<String>(),
            Err(rejected) => describe_rejected(&rejected),
        };
    }
    let (index, second) = words[0].split_once('@').unwrap_or((words[0], "0"));
    let at = Stamp {
        index: index.parse().unwrap(),
        now: Timestamp::from_nanos(second.parse::<i64>().unwrap() * 1_000_000_000),
    };
    let command = command(&words[1..]);
    let before = state.snapshot();
    match state.apply(at, command) {
        Ok(applied) => describe(&applied),
        Err(rejected) => {
            assert_eq!(
                before,
                state.snapshot(),
                "a rejected command changes nothing"
            );
            describe_rejected(&rejected)
        }
    }
}

fn describe(applied: &Applied) -> String {
    let mut text = if applied.is_unchanged() {
        "unchanged".to_owned()
    } else if applied.tables.is_empty() {
        String::new()
    } else {
        let join = |names: Vec<String>| names.join(",");
        format!(
            "tables={} services={} nodes={}",
            join(
                applied
                    .tables
                    .iter()
                    .map(|table| format!("{table:?}"))
                    .collect()
            ),
            join(applied.services.iter().map(ToString::to_string).collect()),
            join(applied.nodes.iter().map(ToString::to_string).collect()),
        )
    };
    for key in &applied.unknown_checks {
        write!(text, " unknown-check={}/{}", key.node, key.id).unwrap();
    }
    let keys: Vec<&str> = applied.keys.iter().map(String::as_str).collect();
    let sessions: Vec<&str> = applied.sessions.iter().map(SessionId::as_str).collect();
    for (name, changed) in [("keys", keys), ("sessions", sessions)] {
        if !changed.is_empty() {
            write!(text, " {name}={}", changed.join(",")).unwrap();
        }
    }
    for result in &applied.results {
        write!(text, "\n{}", result_row(result).trim_end()).unwrap();
    }
    text.trim_start().to_owned()
}

fn result_row(result: &OperationResult) -> String {
    match result {
        OperationResult::Key(row) => format!("{}\n", kv_entry(row)),
        OperationResult::Node(row) => format!(
            "node {} at {} created={} modified={}\n",
            row.name, row.address, row.create_index, row.modify_index
        ),
        OperationResult::Service(row) => format!(
            "service {} on {} called {} created={} modified={}\n",
            row.id, row.node, row.name, row.create_index, row.modify_index
        ),
        OperationResult::Check(row, tags) => format!(
            "check {} on {} of {:?} {} tags={} created={} modified={}\n",
            row.id,
            row.node,
            row.service_name.as_deref().unwrap_or_default(),
            row.status,
            tags.join(","),
            row.create_index,
            row.modify_index
        ),
    }
}

fn describe_rejected(rejected: &Rejected) -> String {
    let mut text = format!("rejected: {rejected}");
    if let Rejected::Operations { failures } = rejected {
        for failed in failures {
            write!(text, "\n{}: {}", failed.ordinal, failed.failure).unwrap();
        }
    }
    text
}

fn kv_entry(row: &KvEntry) -> String {
    format!(
        "{}={} flags={} lock={}{} created={} modified={}",
        row.key,
        String::from_utf8_lossy(&row.value),
        row.flags,
        row.lock_index,
        row.session
            .as_ref()
            .map_or_else(String::new, |session| format!(" session={session}")),
        row.create_index,
        row.modify_index
    )
}

/// Reads `verb:key`, with `=value`, `@index` and `/session` behind it, in this order.
fn operation(word: &str) -> Operation {
    let (verb, rest) = word.split_once(':').unwrap();
    let (rest, session) = rest.split_once('!').unwrap_or((rest, ""));
    let (rest, index) = rest.split_once('@').unwrap_or((rest, "0"));
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    if let Some((noun, verb)) = verb.split_once('/') {
        return row_operation(noun, verb, key, value, index.parse().unwrap());
    }
    let verb: KeyVerb = serde_json::from_value(serde_json::json!(verb)).unwrap();
    Operation::Key(KeyOperation {
        verb,
        key: key.to_owned(),
        value: value.as_bytes().to_owned(),
        index: index.parse().unwrap(),
        session: SessionId::from(session).or_none(),
        ..KeyOperation::default()
    })
}

/// A node's value is its address, an instance's its service, a check's its status and, behind a
/// comma, its instance.
fn row_operation(noun: &str, verb: &str, key: &str, value: &str, index: u64) -> Operation {
    let verb: RowVerb = serde_json::from_value(serde_json::json!(verb)).unwrap();
    let (node, id) = key.split_once('/').unwrap_or((key, ""));
    let (node, id, value) = (node.to_owned(), id.to_owned(), value.to_owned());
    match noun {
        "node" | "kept-node" => Operation::Node(Box::new(NodeOperation {
            verb,
            node: Node {
                name: node.into(),
                address: value,
                modify_index: index,
                ..Node::default()
            },
            keep: noun == "kept-node",
        })),
        "service" => Operation::Service(Box::new(ServiceOperation {
            verb,
            service: Service {
                node: node.into(),
                id: id.into(),
                name: value.into(),
                tags: vec!["t".to_owned()],
                modify_index: index,
                ..Service::default()
            },
        })),
        "check" => {
            let (status, of) = value.split_once(',').unwrap_or((&value, ""));
            Operation::Check(Box::new(CheckOperation {
                verb,
                check: Check {
                    node: node.into(),
                    id: id.into(),
                    status: status.parse().unwrap_or_default(),
                    service_id: ServiceId::from(of).or_none(),
                    modify_index: index,
                    ..Check::default()
                },
            }))
        }
        other => panic!("unknown noun {other}"),
    }
}

fn put_key(words: &[&str]) -> Command {
    let condition = if let Some(index) = option(words, "cas") {
        KeyCondition::Unchanged(index.parse().unwrap())
    } else if let Some(session) = option(words, "acquire") {
        KeyCondition::Acquire(session.into())
    } else if let Some(session) = option(words, "release") {
        KeyCondition::Release(session.into())
    } else {
        KeyCondition::Always
    };
    Command::PutKey(PutKey {
        key: words.get(1).copied().unwrap_or_default().to_owned(),
        value: option(words, "value")
            .unwrap_or_default()
            .as_bytes()
            .to_owned(),
        flags: option(words, "flags").map_or(0, |flags| flags.parse().unwrap()),
        condition,
    })
}

fn create_session(words: &[&str]) -> Command {
    let seconds = |name| option(words, name).map_or(0, |text| text.parse::<u64>().unwrap());
    Command::CreateSession(CreateSession {
        session: Session {
            id: words[1].into(),
            node: option(words, "node").unwrap_or_default().into(),
            behavior: option(words, "behavior")
                .unwrap_or_default()
                .parse()
                .unwrap(),
            lock_delay: Duration::from_secs(seconds("delay")),
            node_checks: list(option(words, "checks"))
                .into_iter()
                .map(CheckId::from)
                .collect(),
            ..Session::default()
        },
    })
}

fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words
        .iter()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn checks(words: &[&str]) -> Vec<Check> {
    words
        .iter()
        .filter_map(|word| word.strip_prefix("check="))
        .map(|text| {
            let (id, status) = text.split_once(':').unwrap_or((text, "critical"));
            Check {
                id: id.into(),
                status: status.parse().unwrap(),
                ..Check::default()
            }
        })
        .collect()
}

fn list(text: Option<&str>) -> Vec<String> {
    text.into_iter()
        .flat_map(|text| text.split(','))
        .map(str::to_owned)
        .collect()
}

fn command(words: &[&str]) -> Command {
    let name = |at: usize| {
        words
            .get(at)
            .map_or_else(String::new, |word| (*word).to_owned())
    };
    match words[0] {
        "node" => Command::UpsertNode(UpsertNode {
            node: Node {
                name: name(1).into(),
                id: option(words, "id").unwrap_or(words[1]).into(),
                address: option(words, "address").unwrap_or_default().to_owned(),
                ..Node::default()
            },
            checks: checks(words),
        }),
        "remove-node" => Command::RemoveNode(RemoveNode {
            name: name(1).into(),
        }),
        "register" => Command::RegisterService(Box::new(RegisterService {
            service: Service {
                node: name(1).into(),
                id: name(2).into(),
                name: option(words, "name").unwrap_or_default().into(),
                port: option(words, "port").map_or(0, |port| port.parse().unwrap()),
                tags: list(option(words, "tags")),
                weights: Weights::default(),
                origin: option(words, "version").map(|version| Origin {
                    job_version: version.parse().unwrap(),
                    canary: words.contains(&"canary"),
                    ..Origin::default()
                }),
                ..Service::default()
            },
            checks: checks(words),
        })),
        "deregister" => Command::DeregisterService(DeregisterService {
            node: name(1).into(),
            id: name(2).into(),
        }),
        "drain" => Command::DrainService(DrainService {
            node: name(1).into(),
            id: name(2).into(),
        }),
        "results" => Command::UpdateChecks(UpdateChecks {
            results: words[1..].iter().map(|word| result(word)).collect(),
        }),
        "overrides" => Command::SetRouteOverrides(SetRouteOverrides {
            text: option(words, "text").unwrap_or_default().to_owned(),
            expected_index: option(words, "expected").map(|index| index.parse().unwrap()),
        }),
        "put" => put_key(words),
        "delete" | "delete-tree" => Command::DeleteKey(DeleteKey {
            key: name(1),
            is_prefix: words[0] == "delete-tree",
            expected_index: option(words, "cas").map(|index| index.parse().unwrap()),
        }),
        "session" => create_session(words),
        "query" => Command::PutPreparedQuery(Box::new(PutPreparedQuery {
            query: PreparedQuery {
                id: name(1).into(),
                name: option(words, "name").unwrap_or_default().to_owned(),
                template: QueryTemplate {
                    kind: option(words, "template").unwrap_or_default().to_owned(),
                    ..QueryTemplate::default()
                },
                ..PreparedQuery::default()
            },
            session: option(words, "session").map(Into::into),
            is_update: words.contains(&"update"),
        })),
        "delete-query" => Command::DeletePreparedQuery(DeletePreparedQuery { id: name(1).into() }),
        "destroy" => Command::DestroySession(DestroySession { id: name(1).into() }),
        "txn" => Command::RunTransaction(RunTransaction {
            operations: words[1..].iter().map(|word| operation(word)).collect(),
        }),
        other => panic!("unknown step {other}"),
    }
}

/// Reads `node/check=status:output`.
fn result(word: &str) -> CheckResult {
    let (key, value) = word.split_once('=').unwrap();
    let (node, check_id) = key.split_once('/').unwrap();
    let (status, output) = value.split_once(':').unwrap_or((value, ""));
    CheckResult {
        node: node.into(),
        check_id: check_id.into(),
        status: status.parse().unwrap(),
        output: output.to_owned(),
    }
}

fn show(snapshot: &Snapshot, words: &[&str]) -> String {
    let name = words.get(1).copied().unwrap_or_default();
    let lines: Vec<String> = match words[0] {
        "services" => snapshot
            .service_tags()
            .into_iter()
            .map(|(name, tags)| format!("{name} {tags:?}"))
            .collect(),
        "instances" => snapshot.instances(name).iter().map(instance).collect(),
        "passing" => snapshot
            .passing_instances(name)
            .iter()
            .map(instance)
            .collect(),
        "tagged" => {
            let tags = list(words.get(2).copied());
            snapshot
                .instances_tagged(name, &tags)
                .iter()
                .map(instance)
                .collect()
        }
        "usable" => snapshot
            .all_instances()
            .filter(Instance::is_usable)
            .map(|row| instance(&row))
            .collect(),
        "nodes" => snapshot
            .nodes()
            .map(|node| {
                format!(
                    "{} id={} address={} created={} modified={}",
                    node.name, node.id, node.address, node.create_index, node.modify_index
                )
            })
            .collect(),
        "checks" => {
            let status: Option<Status> = (name != "any").then(|| name.parse().unwrap());
            snapshot.checks(status).map(|row| check(row)).collect()
        }
        "checks-of" => snapshot
            .checks_of_service(name)
            .map(|row| check(row))
            .collect(),
        "checks-on" => snapshot
            .checks_of_node(name)
            .map(|row| check(row))
            .collect(),
        "on" => snapshot
            .services_of_node(name)
            .map(|row| service(row))
            .collect(),
        "row" => {
            let key = ServiceKey {
                node: name.into(),
                id: words[2].into(),
            };
            snapshot
                .service(&key)
                .map(|row| service(row))
                .into_iter()
                .collect()
        }
        "overrides" => {
            let row = snapshot.route_overrides();
            vec![format!(
                "{:?} created={} version={}",
                row.text, row.create_index, row.modify_index
            )]
        }
        "indexes" => indexes(snapshot, &words[1..]),
        "keys" => snapshot.keys_below(name).map(|row| kv_entry(row)).collect(),
        "sessions" => snapshot
            .sessions()
            .map(|row| format!("{} node={} created={}", row.id, row.node, row.create_index))
            .chain([format!("index={}", snapshot.sessions_index())])
            .collect(),
        "key-indexes" => words[1..]
            .iter()
            .map(|key| {
                let (one, below) = (snapshot.key_index(key), snapshot.prefix_index(key));
                format!("{key}: key={one} prefix={below}")
            })
            .collect(),
        other => panic!("unknown view {other}"),
    };
    if lines.is_empty() {
        "(none)".to_owned()
    } else {
        lines.join("\n")
    }
}

fn instance(instance: &Instance) -> String {
    let checks: Vec<String> = instance
        .checks
        .iter()
        .map(|check| format!("{}={}", check.id, check.status))
        .collect();
    format!(
        "{} [{}] {}",
        service(&instance.service),
        checks.join(" "),
        instance.status
    )
}

fn service(row: &Service) -> String {
    let origin = row.origin.as_ref().map_or_else(String::new, |origin| {
        format!(
            " v{}{}",
            origin.job_version,
            if origin.canary { " canary" } else { "" }
        )
    });
    format!(
        "{}/{} {}:{} {:?}{origin}{} created={} modified={}",
        row.node,
        row.id,
        row.name,
        row.port,
        row.tags,
        if row.draining { " draining" } else { "" },
        row.create_index,
        row.modify_index
    )
}

fn check(row: &Check) -> String {
    format!(
        "{}/{} service={}/{} {} {:?} created={} modified={}",
        row.node,
        row.id,
        row.service_name.as_deref().unwrap_or_default(),
        row.service_id.as_deref().unwrap_or_default(),
        row.status,
        row.output,
        row.create_index,
        row.modify_index
    )
}

/// Prints the table indexes, then for each word a service's or (with a leading `@`) a node's.
fn indexes(snapshot: &Snapshot, names: &[&str]) -> Vec<String> {
    let mut lines = vec![format!(
        "last={} nodes={} services={} checks={} overrides={}",
        snapshot.index(),
        snapshot.table_index(Table::Nodes),
        snapshot.table_index(Table::Services),
        snapshot.table_index(Table::Checks),
        snapshot.table_index(Table::RouteOverrides),
    )];
    for name in names {
        lines.push(match name.strip_prefix('@') {
            Some(node) => format!("node {node}: {}", snapshot.node_index(node)),
            None => format!(
                "service {name}: instances={} health={}",
                snapshot.service_index(name),
                snapshot.health_index(name)
            ),
        });
    }
    lines
}
