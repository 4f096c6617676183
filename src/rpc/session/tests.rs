//! An agent's end of the stream against a server that is played.

use super::*;
use crate::{
    message::{Assignment, Held, ToClient, ToServer},
    transport::{Listener, ServerLink},
};
use jobs::model::{AllocId, Allocation, Job};
use mesh::{model::Node, view::Change};
use tokio::time::timeout;

/// Longer than anything here may take on a busy machine.
const LONG: Duration = Duration::from_secs(30);

struct Fixture {
    listener: Listener,
    handle: Handle,
    allocs: mpsc::Receiver<AllocDelta>,
    running: tokio::task::JoinHandle<()>,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Fixture {
    async fn new() -> Self {
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(address).await.unwrap();
        let (session, handle, allocs) = Session::new(listener.local_addr(), Hello::default());
        let running = tokio::spawn(session.run(std::future::pending()));
        Self {
            listener,
            handle,
            allocs,
            running,
        }
    }

    /// The next stream after its welcome, with what the agent said of itself.
    async fn accept(&mut self) -> (Peer, Hello) {
        let link = timeout(LONG, self.listener.accept()).await.unwrap();
        let mut peer = Peer(link.unwrap());
        let ToServer::Hello(hello) = peer.next().await else {
            panic!("expected hello");
        };
        peer.say(ToClient::Welcome {
            lease_ms: 60_000,
            history: 1,
            rules: RulesVersion::default(),
            takes_traffic: true,
            servers: Vec::new(),
        })
        .await;
        (peer, *hello)
    }
}

struct Peer(ServerLink);

impl Peer {
    async fn say(&self, message: ToClient) {
        self.0.outgoing.send(message.into()).await.unwrap();
    }

    async fn next(&mut self) -> ToServer {
        let message = timeout(LONG, self.0.incoming.recv()).await;
        message.expect("nothing came").expect("the stream is open")
    }

    async fn next_report(&mut self) -> u64 {
        match self.next().await {
            ToServer::Report { number, .. } => number,
            other => panic!("expected a report: {other:?}"),
        }
    }
}

fn at(term: u64, index: Index) -> Position {
    Position { term, index }
}

fn confirmation(index: Index, busy: &[&str]) -> Confirmation {
    Confirmation {
        at: at(1, index),
        busy: busy.iter().map(|&id| id.to_owned()).collect(),
    }
}

fn named(name: &str) -> Change {
    Change::PutNode(Arc::new(Node {
        id: name.into(),
        name: name.into(),
        ..Node::default()
    }))
}

fn delta(index: Index, changes: Vec<Change>, confirm: bool) -> ToClient {
    ToClient::CatalogDelta {
        at: at(1, index),
        entries: vec![crate::message::CatalogEntry { index, changes }],
        confirm,
    }
}

/// The id of the allocation of that number.
fn id(number: u64) -> AllocId {
    AllocId::named(&number.to_string())
}

fn ids(numbers: &[u64]) -> Vec<AllocId> {
    numbers.iter().map(|&number| id(number)).collect()
}

fn assignment(number: u64, modify_index: Index) -> Assignment {
    Assignment {
        alloc: Allocation {
            id: id(number),
            modify_index,
            ..Allocation::default()
        },
        job: Arc::new(Job::default()),
    }
}

#[tokio::test]
async fn a_report_survives_a_broken_stream() {
    let mut fixture = Fixture::new().await;
    let handle = fixture.handle.clone();
    let report = tokio::spawn(async move { handle.report(Report::Checks(Vec::new())).await });
    let (mut first, hello) = fixture.accept().await;
    assert_eq!(hello.stream, 0);
    let number = first.next_report().await;
    drop(first);
    let (mut second, hello) = fixture.accept().await;
    assert_eq!(hello.stream, 1, "streams of one process are counted");
    assert_eq!(second.next_report().await, number, "it comes again");
    second.say(ToClient::Committed { number, index: 9 }).await;
    assert_eq!(report.await.unwrap().unwrap(), 9);
}

#[tokio::test]
async fn a_report_that_is_refused_for_now_comes_again_on_the_same_stream() {
    let mut fixture = Fixture::new().await;
    let handle = fixture.handle.clone();
    let report = tokio::spawn(async move { handle.report(Report::Checks(Vec::new())).await });
    let (mut peer, _) = fixture.accept().await;
    let number = peer.next_report().await;
    peer.say(ToClient::Refused {
        number,
        reason: "no cluster leader".into(),
        retry: true,
    })
    .await;
    assert_eq!(peer.next_report().await, number);
    peer.say(ToClient::Refused {
        number,
        reason: "never".into(),
        retry: false,
    })
    .await;
    let error = report.await.unwrap().unwrap_err();
    assert!(error.to_string().ends_with("never"), "{error}");
}

#[tokio::test]
async fn a_rejected_registration_says_why() {
    let address = "127.0.0.1:0".parse().unwrap();
    let mut listener = Listener::bind(address).await.unwrap();
    let (mut session, _handle, _allocs) = Session::new(listener.local_addr(), Hello::default());
    let rejecting = tokio::spawn(async move {
        let mut link = listener.accept().await.unwrap();
        link.incoming.recv().await.unwrap();
        let reason = "the node's secret is another".to_owned();
        let rejected = ToClient::Rejected { reason };
        link.outgoing.send(rejected.into()).await.unwrap();
        listener
    });
    let server = session.servers.current();
    let error = session.stream(&server).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "agent registration rejected: the node's secret is another"
    );
    rejecting.await.unwrap();
}

#[tokio::test]
async fn an_agent_follows_the_rules_of_the_servers_as_far_as_it_knows_them() {
    let address = "127.0.0.1:0".parse().unwrap();
    let mut listener = Listener::bind(address).await.unwrap();
    let hello = Hello {
        rules: RulesVersion(3),
        ..Hello::default()
    };
    let (mut session, handle, _allocs) = Session::new(listener.local_addr(), hello);
    assert_eq!(*handle.rules().borrow(), RulesVersion(3));
    let welcoming = tokio::spawn(async move {
        for rules in [RulesVersion(2), RulesVersion(4)] {
            let mut link = listener.accept().await.unwrap();
            link.incoming.recv().await.unwrap();
            let welcome = ToClient::Welcome {
                lease_ms: 60_000,
                history: 1,
                rules,
                takes_traffic: false,
                servers: Vec::new(),
            };
            link.outgoing.send(welcome.into()).await.unwrap();
        }
    });
    let server = session.servers.current();
    let ended = timeout(LONG, session.stream(&server))
        .await
        .unwrap()
        .unwrap_err();
    assert!(matches!(ended, StreamError::Ended), "{ended}");
    assert_eq!(*handle.rules().borrow(), RulesVersion(2));
    let error = timeout(LONG, session.stream(&server))
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a version of trivet that knows 4"),
        "{error}"
    );
    assert_eq!(*handle.rules().borrow(), RulesVersion(2));
    welcoming.await.unwrap();
}

#[tokio::test]
async fn only_what_somebody_waits_for_is_confirmed() {
    let mut fixture = Fixture::new().await;
    let (mut peer, _) = fixture.accept().await;
    let mut catalog = fixture.handle.catalog();
    let mut follow = async |index| {
        let reached = |replica: &Arc<Replica>| replica.at.is_some_and(|at| at.index >= index);
        timeout(LONG, catalog.wait_for(reached))
            .await
            .unwrap()
            .unwrap();
    };
    peer.say(delta(5, vec![named("one")], false)).await;
    follow(5).await;
    fixture.handle.confirm(confirmation(5, &[]));
    peer.say(delta(6, vec![named("two")], true)).await;
    follow(6).await;
    // Its table shows entry 6 now, and one that left is busy; then it is not.
    fixture.handle.confirm(confirmation(6, &["hung"]));
    let ToServer::Confirmed(first) = peer.next().await else {
        panic!("expected a confirmation");
    };
    assert_eq!(first, confirmation(6, &["hung"]));
    fixture.handle.confirm(confirmation(6, &[]));
    let ToServer::Confirmed(second) = peer.next().await else {
        panic!("expected a confirmation");
    };
    assert_eq!(second, confirmation(6, &[]));
    // An older one changes nothing.
    fixture.handle.confirm(confirmation(5, &["x"]));
    let ToServer::Confirmed(third) = peer.next().await else {
        panic!("expected a confirmation");
    };
    assert_eq!(third, confirmation(6, &["x"]));
}

#[tokio::test]
async fn a_question_for_drained_instances_survives_a_broken_stream() {
    let mut fixture = Fixture::new().await;
    let handle = fixture.handle.clone();
    let waiting = tokio::spawn(async move { handle.drained(6, &["web".to_owned()]).await });
    let (mut first, _) = fixture.accept().await;
    let ToServer::Await { number, .. } = first.next().await else {
        panic!("expected a question");
    };
    drop(first);
    let (mut second, _) = fixture.accept().await;
    let ToServer::Await {
        number: again,
        index: 6,
        instances,
    } = second.next().await
    else {
        panic!("expected the question");
    };
    assert_eq!((again, instances), (number, vec!["web".to_owned()]));
    second.say(ToClient::Drained { number }).await;
    timeout(LONG, waiting).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn what_the_agent_holds_is_not_replaced_by_what_is_older() {
    let mut fixture = Fixture::new().await;
    let (peer, hello) = fixture.accept().await;
    assert_eq!(hello.held, Held::default());
    let mut catalog = fixture.handle.catalog();
    peer.say(delta(5, vec![named("one")], false)).await;
    peer.say(ToClient::Catalog {
        at: at(1, 4),
        view: Box::default(),
    })
    .await;
    // Another server's first change overlaps with what is known.
    peer.say(delta(5, vec![Change::RemoveNode("one".into())], false))
        .await;
    peer.say(delta(7, vec![named("two")], false)).await;
    let reached = |replica: &Arc<Replica>| replica.at == Some(at(1, 7));
    let replica = timeout(LONG, catalog.wait_for(reached)).await.unwrap();
    let replica = Arc::clone(&replica.unwrap());
    assert_eq!(replica.catalog.nodes().count(), 2);

    let listed = |term, index, numbers: &[u64]| ToClient::Allocs {
        at: at(term, index),
        known: Some(ids(numbers)),
        assignments: numbers
            .iter()
            .map(|&number| assignment(number, index))
            .collect(),
        removed: Vec::new(),
    };
    peer.say(listed(2, 8, &[1, 2])).await;
    let first = timeout(LONG, fixture.allocs.recv()).await.unwrap().unwrap();
    assert_eq!(first.assignments.len(), 2);
    // A server that lags does not know of them yet.
    peer.say(listed(2, 7, &[])).await;
    peer.say(listed(1, 9, &[])).await;
    peer.say(listed(3, 8, &[2])).await;
    let second = timeout(LONG, fixture.allocs.recv()).await.unwrap().unwrap();
    assert_eq!(second.known, Some(BTreeSet::from([id(2)])));

    drop(peer);
    let (_peer, hello) = fixture.accept().await;
    let held = Held {
        history: 1,
        catalog: 7,
        allocs: 8,
    };
    assert_eq!(hello.held, held, "the next stream goes on from there");
}

#[tokio::test]
async fn a_slow_client_part_gets_everything_in_few_pieces() {
    let mut fixture = Fixture::new().await;
    let (mut peer, _) = fixture.accept().await;
    let count: u64 = 2000;
    for index in 1..=count {
        peer.say(ToClient::Allocs {
            at: at(1, index),
            known: None,
            assignments: vec![assignment(index % 1000 + 1, index)],
            removed: Vec::new(),
        })
        .await;
    }
    // The stream is still the first one, and everything was read from it.
    let handle = fixture.handle.clone();
    let waiting = tokio::spawn(async move { handle.drained(1, &[]).await });
    let ToServer::Await { number, .. } = peer.next().await else {
        panic!("expected the question");
    };
    peer.say(ToClient::Drained { number }).await;
    timeout(LONG, waiting).await.unwrap().unwrap().unwrap();
    let mut seen = BTreeMap::new();
    let mut pieces = 0;
    while seen.values().filter(|index| **index > 1000).count() < 1000 {
        let delta = timeout(LONG, fixture.allocs.recv()).await.unwrap().unwrap();
        pieces += 1;
        for (id, assignment) in delta.assignments {
            seen.insert(id, assignment.alloc.modify_index);
        }
    }
    assert!(pieces <= ALLOC_DELTAS_MAX + 2, "{pieces} pieces");
}

#[test]
fn merged_changes_say_what_they_said_one_after_the_other() {
    let delta = |known: Option<&[u64]>, assigned: &[u64], removed: &[u64]| AllocDelta {
        known: known.map(|known| ids(known).into_iter().collect()),
        assignments: assigned
            .iter()
            .map(|&number| (id(number), assignment(number, 1)))
            .collect(),
        removed: ids(removed).into_iter().collect(),
    };
    let text = |delta: &AllocDelta| {
        let assigned: Vec<&AllocId> = delta.assignments.keys().collect();
        format!("{:?} {assigned:?} {:?}", delta.known, delta.removed)
    };
    for (first, second, merged) in [
        (
            delta(None, &[1], &[2]),
            delta(None, &[2], &[1]),
            delta(None, &[2], &[1]),
        ),
        (
            delta(None, &[1, 2], &[3]),
            delta(Some(&[2]), &[], &[]),
            delta(Some(&[2]), &[2], &[]),
        ),
        (
            delta(Some(&[1, 2]), &[2], &[]),
            delta(None, &[3], &[1]),
            delta(Some(&[2, 3]), &[2, 3], &[1]),
        ),
    ] {
        let mut both = first;
        both.merge(second);
        assert_eq!(text(&both), text(&merged));
    }
}

#[tokio::test]
async fn intervals_of_counts_are_told_in_time_or_not_at_all() {
    let counted = |number| Traffic {
        number,
        millis: 1000,
        ..Traffic::default()
    };
    let mut fixture = Fixture::new().await;
    let mut interval = fixture.handle.traffic_interval();
    assert_eq!(*interval.borrow_and_update(), traffic::INTERVAL);
    // Nobody is there; much more than may wait.
    for number in 1..=100 {
        fixture.handle.count(counted(number));
    }
    let (mut peer, _) = fixture.accept().await;
    for (asked, expected) in [
        (250, Duration::from_millis(250)),
        (1, traffic::INTERVAL_MIN),
        (1 << 40, traffic::INTERVAL),
    ] {
        peer.say(ToClient::Count { interval_ms: asked }).await;
        timeout(LONG, interval.wait_for(|now| *now == expected))
            .await
            .expect("it is asked for")
            .unwrap();
    }
    for number in [101, 102] {
        fixture.handle.count(counted(number));
        let ToServer::Traffic(told) = peer.next().await else {
            panic!("expected counts");
        };
        assert_eq!(
            told,
            counted(number),
            "what was before the stream is not told"
        );
    }
    // Another server begins with whole seconds.
    peer.say(ToClient::Count { interval_ms: 250 }).await;
    timeout(LONG, interval.wait_for(|now| *now != traffic::INTERVAL))
        .await
        .expect("it is asked for")
        .unwrap();
    drop(peer);
    let (_peer, _) = fixture.accept().await;
    timeout(LONG, interval.wait_for(|now| *now == traffic::INTERVAL))
        .await
        .expect("it is forgotten")
        .unwrap();
}

#[test]
fn a_pause_is_at_least_half_of_what_it_says() {
    let pause = Duration::from_secs(2);
    let mut pauses = BTreeSet::new();
    for _ in 0..100 {
        let jittered = jittered(pause);
        assert!(jittered >= pause / 2 && jittered <= pause);
        pauses.insert(jittered);
    }
    assert!(pauses.len() > 50, "they are spread");
}
