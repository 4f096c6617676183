use super::*;
use jobs::model::Span;
use rpc::members::Member;

const TERM: u64 = 4;
const LAST: Index = 1000;

fn voter(id: u64) -> Voter {
    Voter {
        id,
        is_leader: id == 1,
        votes: true,
        matched: Some(LAST),
        matched_term: TERM,
        silent_for: Some(Duration::from_millis(20)),
        ..Voter::default()
    }
}

fn known(id: u64, status: Status) -> KnownServer {
    KnownServer {
        member: Member {
            id,
            ..Member::default()
        },
        status,
        silent_for: Some(Duration::ZERO),
    }
}

/// A leader with the id 1, and one other server.
fn pair(server: Voter, status: Status) -> Seen {
    Seen {
        known: vec![known(1, Status::Alive), known(server.id, status)],
        servers: vec![voter(1), server],
        own: 1,
        leads: true,
        term: TERM,
        last_index: LAST,
        ..Seen::default()
    }
}

#[test]
fn a_healthy_server_answers_in_time_with_nearly_all_of_the_log() {
    for (server, status, expected) in [
        (voter(2), Status::Alive, true),
        (voter(2), Status::Failed, false),
        (voter(2), Status::Left, false),
        (
            Voter {
                unanswered_for: Duration::from_millis(200),
                ..voter(2)
            },
            Status::Alive,
            true,
        ),
        (
            Voter {
                unanswered_for: Duration::from_millis(201),
                ..voter(2)
            },
            Status::Alive,
            false,
        ),
        (
            Voter {
                matched: Some(LAST - 250),
                ..voter(2)
            },
            Status::Alive,
            true,
        ),
        (
            Voter {
                matched: Some(LAST - 251),
                ..voter(2)
            },
            Status::Alive,
            false,
        ),
        (
            Voter {
                matched_term: TERM - 1,
                ..voter(2)
            },
            Status::Alive,
            false,
        ),
        (
            Voter {
                matched: None,
                matched_term: 0,
                ..voter(2)
            },
            Status::Alive,
            false,
        ),
    ] {
        let text = format!("{server:?} {status:?}");
        let health = pair(server, status).health(
            &Tracker::default(),
            Instant::now(),
            Timestamp::from_secs(1),
        );
        assert!(health.servers[0].is_healthy, "the leader is");
        assert_eq!(health.servers[1].is_healthy, expected, "{text}");
        assert_eq!(health.is_healthy(), expected, "{text}");
    }
    // One that does not lead knows who is there, and not who has how much of the log.
    let other = Voter {
        matched: None,
        silent_for: None,
        ..voter(2)
    };
    let follower = Seen {
        leads: false,
        own: 3,
        ..pair(other, Status::Alive)
    };
    let health = follower.health(&Tracker::default(), Instant::now(), Timestamp::default());
    assert!(health.is_healthy());
}

#[test]
fn a_server_is_stable_since_it_was_as_it_is_without_a_break() {
    let begun = Instant::now();
    let mut tracker = Tracker::default();
    let mut at = |seconds: u32, is_there: bool| {
        let status = match is_there {
            true => Status::Alive,
            false => Status::Failed,
        };
        let seen = pair(voter(2), status);
        let now = begun + seconds * Duration::from_secs(1);
        let shown = Timestamp::from_secs(i64::from(seconds));
        tracker.note(now, shown, &seen);
        let health = seen.health(&tracker, now, shown);
        let server = health.servers[1].clone();
        assert_eq!(server.is_healthy, is_there);
        (server.stable_since, server.stable_for.as_secs())
    };
    let since = |seconds: i64, stable: u64| (Timestamp::from_secs(seconds), stable);
    assert_eq!(at(2, true), since(2, 0));
    assert_eq!(at(8, true), since(2, 6));
    assert_eq!(at(10, false), since(10, 0));
    assert_eq!(at(12, false), since(10, 2));
    assert_eq!(at(14, true), since(14, 0));
    assert_eq!(at(20, true), since(14, 6));
    // This server stood still, and cannot tell.
    assert_eq!(at(60, true), since(60, 0));
}

/// A server that has been so, or silent, for as many seconds.
fn one(id: u64, votes: bool, status: Status, seconds: u64) -> ServerHealth {
    let time = Duration::from_secs(seconds);
    ServerHealth {
        server: Voter { votes, ..voter(id) },
        status,
        version: String::new(),
        last_contact: time,
        is_healthy: status == Status::Alive,
        stable_since: Timestamp::default(),
        stable_for: time,
        silent_for: match status {
            Status::Alive => Duration::ZERO,
            Status::Failed | Status::Left => time,
        },
    }
}

/// A group of voters, the first of which leads, with `dead` of them dead.
fn group(voters: u64, dead: u64) -> Vec<ServerHealth> {
    let servers = (1..=voters).map(|id| match id > voters - dead {
        true => one(id, true, Status::Failed, 15),
        false => one(id, true, Status::Alive, 60),
    });
    servers.collect()
}

#[test]
fn dead_servers_are_taken_out_as_long_as_a_majority_is_left() {
    let with = |cleanup_dead_servers, min_quorum| AutopilotConfig {
        cleanup_dead_servers,
        min_quorum,
        ..AutopilotConfig::default()
    };
    let on = with(true, 0);
    let beside = |servers: Vec<ServerHealth>, other: ServerHealth| {
        servers.into_iter().chain([other]).collect::<Vec<_>>()
    };
    let learner = one(9, false, Status::Failed, 15);
    for (config, servers, expected) in [
        (on, group(1, 0), None),
        (on, group(2, 1), None),
        (on, group(3, 0), None),
        (on, group(3, 1), Some(3)),
        (on, group(3, 2), None),
        (on, group(4, 1), Some(4)),
        (on, group(4, 2), None),
        (on, group(5, 2), Some(4)),
        (on, group(5, 3), None),
        // It is switched off, or fewer than wanted would be left.
        (with(false, 0), group(3, 1), None),
        (with(true, 2), group(3, 1), Some(3)),
        (with(true, 3), group(3, 1), None),
        (with(true, 3), group(5, 2), Some(4)),
        (with(true, 4), group(5, 2), Some(4)),
        (with(true, 5), group(5, 2), None),
        // Not for long enough; it said so itself, which does not need any rule.
        (
            on,
            beside(group(3, 0), one(4, true, Status::Failed, 14)),
            None,
        ),
        (
            on,
            beside(group(3, 0), one(4, true, Status::Left, 60)),
            None,
        ),
        // Who does not vote is not missed.
        (on, beside(group(3, 1), learner.clone()), Some(9)),
        (on, beside(group(3, 2), learner.clone()), Some(9)),
        (with(true, 3), beside(group(3, 0), learner.clone()), Some(9)),
        (on, beside(group(1, 0), learner), Some(9)),
        // The leader is never dead, whatever is said of it.
        (on, group(3, 3)[..1].to_vec(), None),
        (
            on,
            [
                vec![one(1, true, Status::Failed, 60)],
                group(3, 0)[1..].to_vec(),
            ]
            .concat(),
            None,
        ),
    ] {
        assert_eq!(dead(&config, &servers), expected, "{config:?} {servers:?}");
    }
}

#[test]
fn a_leader_that_is_new_waits_for_servers_that_are_silent_for_long() {
    let begun = Instant::now();
    let tracker = Tracker::default();
    let mut seen = pair(voter(2), Status::Failed);
    seen.known[1].silent_for = Some(Duration::from_secs(600));
    seen.servers[1].silent_for = None;
    seen.servers.push(voter(3));
    seen.known.push(known(3, Status::Alive));
    for (seconds, expected) in [(1, None), (14, None), (16, Some(2))] {
        let at = begun + Duration::from_secs(seconds);
        let health = seen.health(&tracker, at, Timestamp::default());
        let found = dead(&AutopilotConfig::default(), &health.servers);
        assert_eq!(found, expected, "after {seconds} s");
    }
    // Whoever answers entries is not dead.
    seen.servers[1].silent_for = Some(Duration::from_secs(1));
    let at = begun + Duration::from_secs(60);
    let health = seen.health(&tracker, at, Timestamp::default());
    assert_eq!(dead(&AutopilotConfig::default(), &health.servers), None);
}

#[test]
fn a_new_server_votes_once_it_was_healthy_for_long_enough() {
    let after = |seconds| AutopilotConfig {
        server_stabilization_time: Span::from_secs(seconds),
        ..AutopilotConfig::default()
    };
    for (config, server, expected) in [
        (after(10), one(4, false, Status::Alive, 9), None),
        (after(10), one(4, false, Status::Alive, 10), Some(4)),
        (after(0), one(4, false, Status::Alive, 0), Some(4)),
        (after(10), one(4, false, Status::Failed, 60), None),
        (after(10), one(4, true, Status::Alive, 60), None),
    ] {
        let text = format!("{server:?}");
        let servers = group(3, 0).into_iter().chain([server]).collect::<Vec<_>>();
        assert_eq!(stable(&config, &servers), expected, "{text}");
    }
}

#[test]
fn as_many_may_fail_as_the_healthy_are_more_than_a_quorum() {
    let healthy = |id| one(id, false, Status::Alive, 1);
    let sick = |id| one(id, false, Status::Failed, 1);
    for (voters, dead, others, expected) in [
        (1, 0, vec![], (0, 0)),
        (2, 0, vec![], (0, 0)),
        (3, 0, vec![], (1, 1)),
        (3, 1, vec![], (0, 0)),
        (5, 1, vec![], (1, 1)),
        (2, 0, vec![healthy(9)], (0, 1)),
        (2, 0, vec![sick(9)], (0, 0)),
        (4, 0, vec![healthy(9)], (1, 2)),
        (3, 2, vec![healthy(9)], (0, 0)),
    ] {
        let servers = group(voters, dead).into_iter().chain(others).collect();
        let health = GroupHealth { servers };
        assert_eq!(
            (health.tolerance(), health.optimistic_tolerance()),
            expected,
            "{health:?}"
        );
    }
}
