//! Properties of the catalog over random command sequences on a few names.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh::model::{
    Behavior, Check, CheckId, Node, Service, ServiceKey, Session, SplitKey, Status, Timestamp,
};
use mesh::state::{
    CheckResult, Command, CreateSession, DeleteKey, DeregisterService, DestroySession,
    DrainService, KeyCondition, KeyOperation, KeyVerb, Loading, Operation, PutKey, RegisterService,
    RemoveNode, RunTransaction, SavedRow, SetRouteOverrides, SetSplit, Snapshot, Stamp, State,
    UpdateChecks, UpsertNode,
};
use mesh::view::{Instance, Table, View};
use mesh::wire::{CatalogNode, CatalogService, HealthCheck, HealthServiceEntry};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const SERVICES: [&str; 2] = ["web", "db"];
const INSTANCES: [&str; 3] = ["i1", "i2", "i3"];
const CHECKS: [&str; 4] = ["serfHealth", "c1", "c2", "c3"];
const KEYS: [&str; 4] = ["a", "a/1", "a/2", "b"];
const PREFIXES: [&str; 4] = ["", "a", "a/", "b"];
const SESSIONS: [&str; 3] = ["s1", "s2", "s3"];
/// When the entry at an index is written: so much later than its predecessor that marks of deleted
/// keys are forgotten within a sequence.
fn time(index: u64) -> Timestamp {
    Timestamp::from_nanos(i64::try_from(index).unwrap() * 100 * 1_000_000_000)
}

fn name(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(names).prop_map(str::to_owned)
}

fn status() -> impl Strategy<Value = Status> {
    select(vec![Status::Passing, Status::Warning, Status::Critical])
}

fn checks() -> impl Strategy<Value = Vec<Check>> {
    vec(
        (name(&CHECKS), status()).prop_map(|(id, status)| Check {
            id: id.into(),
            status,
            ..Check::default()
        }),
        0..3,
    )
}

fn command() -> impl Strategy<Value = Command> {
    let upsert = (name(&["A", "B", "C"]), name(&NODES), 0..2_u8, checks()).prop_map(
        |(id, name, address, checks)| {
            let address = format!("192.0.2.{address}");
            let node = Node {
                id: id.into(),
                name: name.into(),
                address,
                ..Node::default()
            };
            Command::UpsertNode(UpsertNode { node, checks })
        },
    );
    let register = (
        name(&NODES),
        name(&INSTANCES),
        name(&SERVICES),
        0..2_u16,
        checks(),
    )
        .prop_map(|(node, id, name, port, checks)| {
            let service = Service {
                node: node.into(),
                id: id.into(),
                name: name.into(),
                port,
                tags: vec!["t".to_owned()],
                ..Service::default()
            };
            Command::RegisterService(Box::new(RegisterService { service, checks }))
        });
    let results = vec(
        (name(&NODES), name(&CHECKS), status()).prop_map(|(node, check_id, status)| CheckResult {
            node: node.into(),
            check_id: check_id.into(),
            status,
            output: String::new(),
        }),
        0..4,
    )
    .prop_map(|results| Command::UpdateChecks(UpdateChecks { results }));
    let overrides =
        ("[ab]{0,1}", proptest::option::of(0..30_u64)).prop_map(|(text, expected_index)| {
            Command::SetRouteOverrides(SetRouteOverrides {
                text,
                expected_index,
            })
        });
    let splits = (
        name(&SERVICES),
        vec(name(&["t", "u"]), 0..3),
        proptest::option::of(0..3_u32),
    )
        .prop_map(|(service, tags, share_millionths)| {
            let key = SplitKey {
                route: "/".to_owned(),
                service: service.into(),
                tags,
            };
            Command::SetSplit(SetSplit {
                key,
                share_millionths,
            })
        });
    let instance = || (name(&NODES), name(&INSTANCES));
    prop_oneof![
        6 => store_command(),
        4 => upsert,
        8 => register,
        4 => results,
        1 => overrides,
        1 => splits,
        1 => name(&NODES).prop_map(|name| Command::RemoveNode(RemoveNode { name: name.into() })),
        2 => instance().prop_map(|(node, id)| {
            Command::DeregisterService(DeregisterService { node: node.into(), id: id.into() })
        }),
        2 => instance().prop_map(|(node, id)| Command::DrainService(DrainService { node: node.into(), id: id.into() })),
    ]
}

fn key_condition() -> impl Strategy<Value = KeyCondition> {
    prop_oneof![
        Just(KeyCondition::Always),
        (0..30_u64).prop_map(KeyCondition::Unchanged),
        name(&SESSIONS).prop_map(|id| KeyCondition::Acquire(id.into())),
        name(&SESSIONS).prop_map(|id| KeyCondition::Release(id.into())),
    ]
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    const VERBS: [KeyVerb; 13] = [
        KeyVerb::Set,
        KeyVerb::Cas,
        KeyVerb::Lock,
        KeyVerb::Unlock,
        KeyVerb::Get,
        KeyVerb::GetOrEmpty,
        KeyVerb::GetTree,
        KeyVerb::CheckIndex,
        KeyVerb::CheckSession,
        KeyVerb::CheckNotExists,
        KeyVerb::Delete,
        KeyVerb::DeleteCas,
        KeyVerb::DeleteTree,
    ];
    let operation = (
        select(VERBS.to_vec()),
        name(&KEYS),
        vec(0..2_u8, 0..2),
        0..30_u64,
        name(&SESSIONS),
    )
        .prop_map(|(verb, key, value, index, session)| {
            Operation::Key(KeyOperation {
                verb,
                key,
                value,
                flags: 0,
                index,
                session: Some(session.into()),
            })
        });
    vec(operation, 0..3)
}

/// Commands on keys and sessions.
fn store_command() -> impl Strategy<Value = Command> {
    let put = (name(&KEYS), vec(0..2_u8, 0..2), 0..2_u64, key_condition()).prop_map(
        |(key, value, flags, condition)| {
            Command::PutKey(PutKey {
                key,
                value,
                flags,
                condition,
            })
        },
    );
    let delete = (
        name(&PREFIXES),
        any::<bool>(),
        proptest::option::of(0..30_u64),
    )
        .prop_map(|(key, is_prefix, expected_index)| {
            Command::DeleteKey(DeleteKey {
                key,
                is_prefix,
                expected_index,
            })
        });
    let create = (
        name(&SESSIONS),
        name(&NODES),
        select(vec![Behavior::Release, Behavior::Delete]),
        0..2_u64,
        vec(name(&CHECKS), 0..2),
    )
        .prop_map(|(id, node, behavior, delay, node_checks)| {
            let session = Session {
                id: id.into(),
                node: node.into(),
                behavior,
                lock_delay: Duration::from_secs(delay * 1000),
                node_checks: node_checks.into_iter().map(CheckId::from).collect(),
                ..Session::default()
            };
            Command::CreateSession(CreateSession { session })
        });
    prop_oneof![
        6 => put,
        2 => delete,
        4 => create,
        1 => name(&SESSIONS).prop_map(|id| Command::DestroySession(DestroySession { id: id.into() })),
        2 => operations()
            .prop_map(|operations| Command::RunTransaction(RunTransaction { operations })),
    ]
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    vec(command(), 1..40)
}

/// Applies the commands at indexes 1, 2, 3 … and calls `check` around each.
fn replay(
    commands: Vec<Command>,
    mut check: impl FnMut(u64, &Command, &Snapshot, &Snapshot),
) -> State {
    let mut state = State::default();
    for (index, command) in (1..).zip(commands) {
        let before = state.snapshot();
        let stamp = Stamp {
            index,
            now: time(index),
        };
        let outcome = state.apply(stamp, command.clone());
        let after = state.snapshot();
        if outcome.is_err() || outcome.is_ok_and(|applied| applied.is_unchanged()) {
            assert_eq!(before, after, "{command:?} said that it changed nothing");
        }
        check(index, &command, &before, &after);
    }
    state
}

/// Every view with the index that its readers wait on, as printed answers.
fn views(snapshot: &Snapshot) -> BTreeMap<String, (u64, String)> {
    let mut views = BTreeMap::new();
    let mut put = |name: String, index: u64, body: String| views.insert(name, (index, body));
    let text = |value: serde_json::Value| value.to_string();
    let nodes: Vec<CatalogNode> = snapshot.nodes().map(|node| node.as_ref().into()).collect();
    put(
        "nodes".into(),
        snapshot.table_index(Table::Nodes),
        text(serde_json::json!(nodes)),
    );
    let tags = serde_json::json!(snapshot.service_tags());
    put(
        "services".into(),
        snapshot.table_index(Table::Services),
        text(tags),
    );
    let splits: Vec<_> = snapshot.splits().collect();
    let overrides = serde_json::json!([snapshot.route_overrides(), splits]);
    put(
        "overrides".into(),
        snapshot.table_index(Table::RouteOverrides),
        text(overrides),
    );
    let shown = |checks: Vec<&std::sync::Arc<Check>>| {
        let checks: Vec<_> = checks
            .into_iter()
            .map(|check| HealthCheck::of(snapshot, check))
            .collect();
        serde_json::json!(checks).to_string()
    };
    let every_check = shown(snapshot.checks(None).collect());
    put(
        "checks".into(),
        snapshot.table_index(Table::Checks),
        every_check,
    );
    for name in SERVICES {
        let checks = shown(snapshot.checks_of_service(name).collect());
        put(
            format!("checks {name}"),
            snapshot.health_index(name),
            checks,
        );
        let instances = snapshot.instances(name);
        let health: Vec<HealthServiceEntry> = instances.iter().map(Into::into).collect();
        put(
            format!("health {name}"),
            snapshot.health_index(name),
            text(serde_json::json!(health)),
        );
        let catalog: Vec<CatalogService> = instances.iter().map(Into::into).collect();
        let catalog = text(serde_json::json!(catalog));
        put(
            format!("catalog {name}"),
            snapshot.service_index(name),
            catalog,
        );
    }
    for node in NODES {
        let services: Vec<_> = snapshot.services_of_node(node).collect();
        let checks: Vec<HealthCheck> = snapshot
            .checks_of_node(node)
            .map(|check| HealthCheck::of(snapshot, check))
            .collect();
        let row = snapshot.node(node);
        let body = text(serde_json::json!([row, services, checks]));
        put(format!("node {node}"), snapshot.node_index(node), body);
    }
    for key in KEYS {
        let body = format!("{:?}", snapshot.key(key));
        put(format!("key {key}"), snapshot.key_index(key), body);
    }
    for prefix in PREFIXES {
        let rows: Vec<_> = snapshot.keys_below(prefix).collect();
        let body = format!("{rows:?}");
        put(
            format!("keys {prefix}"),
            snapshot.prefix_index(prefix),
            body,
        );
    }
    let sessions: Vec<_> = snapshot.sessions().collect();
    let body = format!("{sessions:?}");
    put("sessions".into(), snapshot.sessions_index(), body);
    views
}

/// The rows as a snapshot file holds them.
fn written(snapshot: &Snapshot) -> Vec<Vec<u8>> {
    let rows = snapshot.saved_rows();
    rows.map(|row| rmp_serde::to_vec_named(&row).unwrap())
        .collect()
}

fn read(rows: &[Vec<u8>]) -> State {
    let mut loading = Loading::default();
    for row in rows {
        loading.add(rmp_serde::from_slice::<SavedRow>(row).unwrap());
    }
    loading.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn equal_commands_give_equal_states(commands in commands()) {
        let one = replay(commands.clone(), |_, _, _, _| {}).snapshot();
        let other = replay(commands, |_, _, _, _| {}).snapshot();
        prop_assert_eq!(written(&one), written(&other));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn a_restored_snapshot_equals_the_written_one(commands in commands()) {
        let snapshot = replay(commands, |_, _, _, _| {}).snapshot();
        prop_assert_eq!(read(&written(&snapshot)).snapshot(), snapshot);
    }

    #[test]
    fn a_restored_replica_goes_on_like_the_others(commands in commands(), at in 0..40_usize) {
        let full = replay(commands.clone(), |_, _, _, _| {}).snapshot();
        let mut replica = State::default();
        for (ordinal, command) in commands.into_iter().enumerate() {
            if ordinal == at {
                replica = read(&written(&replica.snapshot()));
            }
            let packed = rmp_serde::to_vec_named(&command).unwrap();
            let command: Command = rmp_serde::from_slice(&packed).unwrap();
            let index = u64::try_from(ordinal).unwrap() + 1;
            let _ = replica.apply(Stamp { index, now: time(index) }, command);
        }
        prop_assert_eq!(replica.snapshot(), full);
    }

    #[test]
    fn a_view_that_carries_out_the_changes_is_the_same_view(commands in commands()) {
        let mut state = State::default();
        let mut view = View::default();
        for (index, command) in (1..).zip(commands) {
            let at = Stamp { index, now: Timestamp::from_nanos(i64::try_from(index).unwrap()) };
            let Ok(applied) = state.apply(at, command) else { continue };
            for change in applied.changes {
                let packed = rmp_serde::to_vec_named(&change).unwrap();
                view.apply(index, rmp_serde::from_slice(&packed).unwrap());
            }
            prop_assert_eq!(&view, state.current().view());
        }
    }

    #[test]
    fn a_changed_view_moves_its_index_and_no_index_goes_back(commands in commands()) {
        replay(commands, |index, command, before, after| {
            let old = views(before);
            for (name, (now, body)) in views(after) {
                let (was, old_body) = &old[&name];
                assert!(now >= *was, "{name} went back from {was} to {now} by {command:?}");
                if *old_body != body {
                    assert_eq!(now, index, "{name} changed without its index by {command:?}");
                }
            }
        });
    }

    #[test]
    fn repeating_a_registration_changes_nothing(commands in commands()) {
        let state = replay(commands.clone(), |_, _, _, _| {});
        for command in commands {
            let is_registration =
                matches!(command, Command::UpsertNode(_) | Command::RegisterService(_));
            let has_double_checks = matches!(&command, Command::UpsertNode(upsert)
                if upsert.checks.len() > 1 && upsert.checks[0].id == upsert.checks[1].id);
            if !is_registration || has_double_checks {
                continue;
            }
            let mut state = State::restore(state.snapshot());
            let first = state.apply(Stamp { index: 100, now: Timestamp::default() }, command.clone());
            let once = state.snapshot();
            let second = state.apply(Stamp { index: 101, now: Timestamp::default() }, command.clone());
            prop_assert_eq!(first.is_ok(), second.is_ok(), "{:?}", command);
            prop_assert_eq!(once, state.snapshot(), "{:?}", command);
        }
    }

    #[test]
    fn a_draining_instance_is_in_no_view(commands in commands()) {
        replay(commands, |_, _, _, after| {
            let draining: Vec<ServiceKey> =
                after.all_services().filter(|row| row.draining).map(|row| row.key()).collect();
            let is_draining = |key: &ServiceKey| draining.contains(key);
            for instance in after.all_instances() {
                assert!(!is_draining(&instance.service.key()));
            }
            for name in SERVICES {
                assert!(after.instances(name).iter().all(|row| !is_draining(&row.service.key())));
            }
            let node_checks = NODES.iter().flat_map(|node| after.checks_of_node(node));
            for check in after.checks(None).chain(node_checks) {
                assert!(check.owner().is_none_or(|key| !is_draining(&key)));
            }
        });
    }

    #[test]
    fn draining_ends_only_with_the_row(commands in commands()) {
        replay(commands, |_, command, before, after| {
            for row in before.all_services().filter(|row| row.draining) {
                let still = after.all_services().any(|now| now.id == row.id && now.draining);
                let removes = matches!(
                    command,
                    Command::DeregisterService(_) | Command::RemoveNode(_) | Command::UpsertNode(_)
                );
                assert!(still || removes, "{command:?} ended draining of {row:?}");
            }
        });
    }

    #[test]
    fn locks_are_held_by_sessions_that_live(commands in commands()) {
        replay(commands, |_, command, _, after| {
            for row in after.keys_below("") {
                let lives = row.session.as_ref().is_none_or(|id| after.session(id).is_some());
                assert!(lives, "{row:?} after {command:?}");
            }
            for session in after.sessions() {
                assert!(after.node(&session.node).is_some(), "{session:?} after {command:?}");
                for key in session.checks() {
                    let check = after.check(&key).expect("a check of a session");
                    assert!(check.status != Status::Critical, "{session:?} after {command:?}");
                }
            }
        });
    }

    #[test]
    fn keys_and_sessions_are_in_no_change_of_the_view(commands in commands()) {
        let mut state = State::default();
        for (index, command) in (1..).zip(commands) {
            let at = Stamp { index, now: time(index) };
            let before = state.current().view().clone();
            let Ok(applied) = state.apply(at, command) else { continue };
            if applied.tables.is_empty() {
                prop_assert!(applied.changes.is_empty());
                prop_assert_eq!(&before, state.current().view());
            }
        }
    }

    #[test]
    fn usable_is_what_is_passing(commands in commands()) {
        let snapshot = replay(commands, |_, _, _, _| {}).snapshot();
        let by_name: Vec<_> = snapshot
            .service_tags()
            .into_keys()
            .flat_map(|name| snapshot.passing_instances(&name))
            .collect();
        let usable: Vec<_> = snapshot.all_instances().filter(Instance::is_usable).collect();
        prop_assert_eq!(usable, by_name);
    }
}
