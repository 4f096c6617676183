//! An agent's own services and checks, and the catalog that follows them.

use std::time::Duration;

use mesh::local::{Difference, Local, Touched};
use mesh::model::{
    Check, CheckDefinition, CheckKey, Node, NodeName, Probe, Service, ServiceId, Status, Timestamp,
};
use mesh::state::{Command, Deregister, Register, Stamp, State};

fn at(second: i64) -> Timestamp {
    Timestamp::from_nanos(second * 1_000_000_000)
}

/// An agent on node `n1`, and the catalog.
struct World {
    local: Local,
    catalog: State,
    index: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            local: Local::default(),
            catalog: State::default(),
            index: 0,
        };
        world.apply(Register {
            node: Node {
                name: "n1".into(),
                address: "192.0.2.1".to_owned(),
                ..Node::default()
            },
            checks: vec![Check::serf_health("n1", true)],
            ..Register::default()
        });
        world
    }

    fn apply(&mut self, register: Register) {
        self.command(Command::Register(Box::new(register)));
    }

    fn command(&mut self, command: Command) {
        self.index += 1;
        let stamp = Stamp {
            index: self.index,
            now: at(0),
        };
        self.catalog
            .apply(stamp, command)
            .expect("a command that fits");
    }

    fn carry_out(&mut self, differences: Vec<Difference>) {
        for difference in differences {
            let node = "n1".to_owned();
            let deregister = |service_id, check_id| {
                Command::Deregister(Deregister {
                    node: node.clone().into(),
                    service_id,
                    check_id,
                })
            };
            match difference {
                Difference::Register { service, checks } => self.apply(Register {
                    node: Node {
                        name: node.into(),
                        ..Node::default()
                    },
                    keep_node: true,
                    service: service.map(|service| *service),
                    checks,
                }),
                Difference::DeregisterService { id } => {
                    self.command(deregister(Some(id), None));
                }
                Difference::DeregisterCheck { id } => self.command(deregister(None, Some(id))),
            }
        }
    }

    fn push(&mut self, touched: &Touched) {
        let pushed = self.local.pushed(touched);
        self.carry_out(pushed);
        assert_eq!(self.differences(), []);
    }

    fn differences(&self) -> Vec<Difference> {
        self.local.differences("n1", self.catalog.current().view())
    }

    fn status(&self, id: &str) -> (Status, String) {
        let key = CheckKey {
            node: "n1".into(),
            id: id.into(),
        };
        let row = self.catalog.current().check(&key).expect("a check");
        (row.status, row.output.clone())
    }
}

fn web() -> Service {
    Service {
        id: "web1".into(),
        name: "web".into(),
        port: 80,
        ..Service::default()
    }
}

fn ttl(id: &str, deregister_after: u64) -> (Check, CheckDefinition) {
    let check = Check {
        id: id.into(),
        kind: "ttl".to_owned(),
        ..Check::default()
    };
    let definition = CheckDefinition {
        probe: Probe::Ttl {
            ttl: Duration::from_secs(10),
        },
        deregister_after: Duration::from_secs(deregister_after),
        ..CheckDefinition::default()
    };
    (check, definition)
}

fn aliased(node: &str, service: &str) -> CheckDefinition {
    CheckDefinition {
        probe: Probe::Alias {
            node: NodeName::from(node).or_none(),
            service: ServiceId::from(service).or_none(),
        },
        ..CheckDefinition::default()
    }
}

fn check(id: &str, service: &str, status: Status, output: &str) -> Check {
    Check {
        id: id.into(),
        service_id: (!service.is_empty()).then(|| service.into()),
        status,
        output: output.to_owned(),
        ..Check::default()
    }
}

/// What an alias says, by node and service, when these are the checks of two nodes. The agent's own
/// node has `web1` with a check that lives on what is said of it, and beside that an instance
/// `task` of somebody else.
#[test]
fn an_alias_says_the_worst_of_a_service_and_its_node() {
    use Status::{Critical, Passing, Warning};
    let mut world = World::new();
    let ttl = ttl("c1", 0);
    world.local.register_service(at(0), web(), vec![ttl], false);
    let task = Service {
        id: "task".into(),
        name: "task".into(),
        ..Service::default()
    };
    let of_task = vec![check("t1", "task", Warning, "slow")];
    let two = Service {
        id: "two".into(),
        name: "two".into(),
        ..Service::default()
    };
    let of_two = vec![
        check("w", "two", Warning, "so so"),
        check("n", "", Passing, "fine"),
    ];
    for (name, service, checks) in [("n1", task, of_task), ("n2", two, of_two)] {
        world.apply(Register {
            node: Node {
                name: name.into(),
                address: "192.0.2.2".to_owned(),
                ..Node::default()
            },
            service: Some(service),
            checks,
            ..Register::default()
        });
    }
    let aliases = [
        ("own", "", "web1"),
        ("own-node", "", ""),
        ("beside", "", "task"),
        ("missing", "", "none"),
        ("other", "n2", "two"),
        ("other-node", "n2", ""),
        ("other-missing", "n2", "web1"),
        ("nowhere", "n3", ""),
    ];
    for (id, node, service) in aliases {
        let alias = check(id, "", Critical, "");
        let registered = world
            .local
            .register_check(at(0), alias, aliased(node, service));
        registered.expect("a check that fits");
    }
    let says = |world: &mut World, expected: &[(&str, Status, &str)]| {
        let view = world.catalog.current().view().clone();
        world.local.follow(at(2), "n1", &view);
        assert!(world.local.follow(at(2), "n1", &view).is_empty());
        for (id, status, output) in expected {
            let mut checks = world.local.checks();
            let local = checks
                .find(|local| local.check.id == **id)
                .expect("a check");
            assert_eq!(
                (local.check.status, local.check.output.as_str()),
                (*status, *output),
                "{id}"
            );
        }
    };
    let all_well = "All checks passing.";
    let nowhere = "Service none could not be found on node n1";
    let not_there = "Service web1 could not be found on node n2";
    let so_so = "Aliased check \"w\" failing: so so";
    world
        .local
        .on_heard(at(1), "c1", Passing, String::new())
        .expect("a ttl");
    assert!(world.local.has_distant_aliases());
    says(
        &mut world,
        &[
            ("own", Passing, all_well),
            ("own-node", Passing, "No checks found."),
            ("beside", Warning, "Aliased check \"t1\" failing: slow"),
            ("missing", Critical, nowhere),
            ("other", Warning, so_so),
            ("other-node", Passing, all_well),
            ("other-missing", Critical, not_there),
            ("nowhere", Passing, "No checks found."),
        ],
    );
    // A check of a node counts for its services too.
    world.apply(Register {
        node: Node {
            name: "n2".into(),
            ..Node::default()
        },
        keep_node: true,
        checks: vec![check("n", "", Critical, "dead")],
        ..Register::default()
    });
    let of_node = check("of-node", "", Warning, "full");
    world
        .local
        .register_check(at(2), of_node, CheckDefinition::default())
        .expect("a check");
    let dead = "Aliased check \"n\" failing: dead";
    let full = "Aliased check \"of-node\" failing: full";
    says(
        &mut world,
        &[
            ("own", Warning, full),
            ("own-node", Warning, full),
            ("other", Critical, dead),
            ("other-node", Critical, dead),
        ],
    );
}

#[test]
fn what_files_define_is_taken_over_and_goes_with_them() {
    let service = |id: &str| Service {
        id: id.into(),
        name: id.into(),
        ..Service::default()
    };
    let check = |id: &str| {
        let check = Check {
            id: id.into(),
            ..Check::default()
        };
        (check, CheckDefinition::default())
    };
    let now = Timestamp::default();
    let mut local = Local::default();
    local.register_service(now, service("api"), vec![check("of-api")], false);
    let both = vec![(service("a"), vec![check("of-a")]), (service("b"), vec![])];
    let touched = local.load(now, both, vec![check("of-node")]).unwrap();
    assert_eq!(touched.services.len(), 2);
    local.on_result(now, "of-node", Status::Passing, "well".to_owned());
    let one = vec![(service("b"), vec![])];
    let touched = local.load(now, one, vec![check("of-node")]).unwrap();
    assert!(touched.services.contains("a"), "{touched:?}");
    let ids: Vec<&str> = local.services().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["api", "b"]);
    let kept = local
        .checks()
        .find(|local| local.check.id == "of-node")
        .unwrap();
    assert_eq!(kept.check.status, Status::Passing);
    let stranger = Check {
        service_id: Some("none".into()),
        ..check("stranger").0
    };
    let refused = local.load(now, vec![], vec![(stranger, CheckDefinition::default())]);
    assert!(refused.is_err());
}

#[test]
fn what_is_pushed_leaves_no_difference() {
    let mut world = World::new();
    let touched = world
        .local
        .register_service(at(0), web(), vec![ttl("c1", 0)], false);
    world.push(&touched);
    let (check, definition) = ttl("node-check", 0);
    let touched = world
        .local
        .register_check(at(0), check, definition)
        .unwrap();
    world.push(&touched);
    let touched = world
        .local
        .on_heard(at(1), "c1", Status::Passing, "ok".into());
    world.push(&touched.unwrap());
    assert_eq!(world.status("c1"), (Status::Passing, "ok".to_owned()));
    // What stands is kept when the service is registered again, and the other check stays.
    let again = world
        .local
        .register_service(at(2), web(), vec![ttl("c1", 0)], false);
    world.push(&again);
    assert_eq!(world.status("c1"), (Status::Passing, "ok".to_owned()));
    let replaced = world
        .local
        .register_service(at(2), web(), vec![ttl("c2", 0)], true);
    world.push(&replaced);
    let gone = world.local.deregister_service(at(3), "web1").unwrap();
    world.push(&gone);
    let gone = world.local.deregister_check(at(3), "node-check").unwrap();
    world.push(&gone);
    assert_eq!(world.local.deregister_service(at(3), "web1"), None);
    let left: Vec<_> = world.catalog.current().checks_of_node("n1").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn heartbeats_that_say_nothing_new_are_not_pushed() {
    let mut world = World::new();
    world
        .local
        .register_service(at(0), web(), vec![ttl("c1", 0)], false);
    let mut heard = |second, output: &str| {
        let heard = world
            .local
            .on_heard(at(second), "c1", Status::Passing, output.into());
        !heard.unwrap().is_empty()
    };
    assert!(heard(1, "a"));
    assert!(!heard(2, "a"));
    assert!(!heard(3, "b"), "outputs alone are pushed seldom");
    assert!(heard(301, "c"));
    assert!(
        world
            .local
            .on_heard(at(0), "none", Status::Passing, String::new())
            .is_err()
    );
}

#[test]
fn a_check_that_nobody_speaks_for_expires_and_takes_its_service_along() {
    let mut world = World::new();
    world
        .local
        .register_service(at(0), web(), vec![ttl("c1", 5)], false);
    let alias = Check {
        id: "alias".into(),
        ..Check::default()
    };
    world
        .local
        .register_check(at(0), alias, aliased("", "web1"))
        .unwrap();
    let heard = world
        .local
        .on_heard(at(1), "c1", Status::Passing, "ok".into());
    assert_eq!(heard.unwrap().checks.len(), 2, "the alias follows");
    assert_eq!(world.local.next_tick(), Some(at(11)));
    assert!(world.local.on_tick(at(10)).is_empty());
    let expired = world.local.on_tick(at(11));
    assert_eq!(expired.checks.len(), 2);
    let check = world.local.checks_of("web1").next().unwrap();
    assert_eq!(
        check.check.output,
        "TTL expired (last output before timeout follows): ok"
    );
    // Not before a minute, whatever was asked.
    assert_eq!(world.local.next_tick(), Some(at(71)));
    let reaped = world.local.on_tick(at(71));
    assert!(reaped.services.contains("web1"));
    assert_eq!(world.local.services().count(), 0);
}

#[test]
fn foreign_changes_of_the_catalog_are_found() {
    let mut world = World::new();
    let touched = world
        .local
        .register_service(at(0), web(), vec![ttl("c1", 0)], false);
    world.push(&touched);
    world.apply(Register {
        node: Node {
            name: "n1".into(),
            ..Node::default()
        },
        keep_node: true,
        service: Some(Service {
            id: "foreign".into(),
            name: "foreign".into(),
            ..Service::default()
        }),
        checks: vec![Check {
            id: "c1".into(),
            service_id: Some("web1".into()),
            status: Status::Passing,
            kind: "ttl".to_owned(),
            ..Check::default()
        }],
    });
    assert_eq!(world.differences().len(), 2);
    let found = world.differences();
    world.carry_out(found);
    assert_eq!(world.differences(), []);
    let mut restarted = Local::default();
    std::mem::swap(&mut restarted, &mut world.local);
    restarted.adopt(at(9), "n1", world.catalog.current().view());
    world.local = restarted;
    assert_eq!(world.differences(), []);
}
