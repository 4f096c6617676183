//! Logs and views that other versions wrote must load.

use mesh::model::{Status, Timestamp};
use mesh::state::{Command, Stamp, State};
use mesh::view::{Instance, View};

/// Commands with fields missing, as an older version wrote them, and unknown, as a newer one does.
const LOG: [&str; 14] = [
    r#"{"upsert_node":{"node":{"id":"A","name":"n1","address":"192.0.2.1"}}}"#,
    r#"{"upsert_node":{"node":{"id":"B","name":"n2","zone":"z"},"checks":[{"id":"serfHealth"}],"why":1}}"#,
    r#"{"register_service":{"service":{"id":"web1","node":"n1","name":"web","origin":{"alloc_id":"a"}},"checks":[{"id":"c1"}]}}"#,
    r#"{"update_checks":{"results":[{"node":"n1","check_id":"c1","status":"passing"}]}}"#,
    r#"{"set_route_overrides":{"text":"route add web /"}}"#,
    r#"{"set_split":{"key":{"route":"/","service":"web","tags":["canary"]},"share_millionths":50000}}"#,
    r#"{"drain_service":{"node":"n1","id":"none"}}"#,
    r#"{"deregister_service":{"node":"n1","id":"none","force":true}}"#,
    r#"{"create_session":{"session":{"id":"S","node":"n1","scope":"x"}}}"#,
    r#"{"put_key":{"key":"a","value":[49],"condition":{"acquire":"S"},"why":1}}"#,
    r#"{"run_transaction":{"operations":[{"key":{"verb":"get-or-empty","key":"b"}}]}}"#,
    r#"{"delete_key":{"key":"none"}}"#,
    r#"{"destroy_session":{"id":"none"}}"#,
    r#"{"remove_node":{"name":"n2"}}"#,
];

#[test]
fn commands_of_other_versions_load() {
    let mut state = State::default();
    for (index, text) in (1..).zip(LOG) {
        let command: Command = serde_json::from_str(text).unwrap();
        state
            .apply(
                Stamp {
                    index,
                    now: Timestamp::default(),
                },
                command,
            )
            .unwrap();
    }
    let snapshot = state.snapshot();
    let web = snapshot.instances("web").remove(0);
    assert_eq!(
        (web.status, web.service.weights.passing),
        (Status::Passing, 1)
    );
    assert_eq!(web.service.origin.as_ref().unwrap().alloc_id, "a");
    assert_eq!(snapshot.route_overrides().text, "route add web /");
    assert_eq!(snapshot.splits().next().unwrap().share_millionths, 50_000);
    let key = snapshot.key("a").unwrap();
    assert_eq!((key.session.as_deref(), key.lock_index), (Some("S"), 1));
    assert_eq!(snapshot.index(), 14);
}

#[test]
fn views_of_other_versions_load() {
    let view: View = serde_json::from_str(
        r#"{"nodes":[{"id":"A","name":"n1"}],"services":[{"id":"web1","node":"n1","name":"web"}],
            "last_index":7,"service_indexes":[["web",{"instances":6}]],"intentions":[]}"#,
    )
    .unwrap();
    assert_eq!(view.all_instances().filter(Instance::is_usable).count(), 1);
    assert_eq!((view.index(), view.service_index("web")), (7, 6));
}
