//! Services and checks that files of the machine define.

use std::collections::BTreeSet;

use mesh::local::Definition;
use mesh::model::{Check, CheckDefinition, CheckId};
use serde_json::Value;

use super::definition::{PostedCheck, PostedService, Scripts};
use super::metadata;
use crate::consul::decode;

/// Why a script of a file is refused.
const NO_SCRIPTS: &str = "it runs a program, which is off: set `enable_local_script_checks` in the block `catalog` of the agent's configuration";

/// What files define.
#[derive(Debug, Default)]
pub struct Definitions {
    /// The services with their checks.
    pub services: Vec<Definition>,
    /// Checks of the node, and further ones of these services.
    pub checks: Vec<(Check, CheckDefinition)>,
}

impl Definitions {
    /// Reads what files define; each comes with its name. `takes_scripts` says whether checks may
    /// run programs.
    ///
    /// # Errors
    /// All that is wrong, a sentence each.
    pub fn read(files: Vec<(String, Value)>, takes_scripts: bool) -> Result<Self, Vec<String>> {
        let mut reader = Reader {
            scripts: if takes_scripts {
                Scripts::Taken
            } else {
                Scripts::Refused(NO_SCRIPTS)
            },
            found: Self::default(),
            problems: Vec::new(),
        };
        for (file, tree) in files {
            reader.file(&file, tree);
        }
        reader.check_ids();
        if reader.problems.is_empty() {
            Ok(reader.found)
        } else {
            Err(reader.problems)
        }
    }
}

/// What is said of a setting that only checks in the catalog have.
const NO_DEFINITION: &str = "`definition` is no setting that is read here";

struct Reader {
    scripts: Scripts,
    found: Definitions,
    problems: Vec<String>,
}

impl Reader {
    fn file(&mut self, file: &str, tree: Value) {
        let Value::Object(map) = tree else {
            let problem = format!("{file}: a file must define services or checks");
            self.problems.push(problem);
            return;
        };
        for (key, value) in map {
            match key.to_ascii_lowercase().as_str() {
                "service" | "services" => {
                    for (at, value) in items(value).into_iter().enumerate() {
                        let place = format!("{file}: {}", place("service", at, &value));
                        let read = self.service(value);
                        self.note(&place, read, |found, service| found.services.push(service));
                    }
                }
                "check" | "checks" => {
                    for (at, value) in items(value).into_iter().enumerate() {
                        let place = format!("{file}: {}", place("check", at, &value));
                        let read = self.check(value);
                        self.note(&place, read, |found, check| found.checks.push(check));
                    }
                }
                _ => self.problems.push(format!(
                    "{file}: `{key}` is neither of `service`, `services`, `check` and `checks`"
                )),
            }
        }
    }

    fn note<T>(
        &mut self,
        place: &str,
        read: Result<T, String>,
        add: impl FnOnce(&mut Definitions, T),
    ) {
        match read {
            Ok(read) => add(&mut self.found, read),
            Err(reason) => self.problems.push(format!("{place}: {reason}")),
        }
    }

    fn service(&self, value: Value) -> Result<Definition, String> {
        let posted: PostedService =
            decode::decode_strictly(value).map_err(|error| error.to_string())?;
        if posted.name.is_empty() {
            return Err("`name` is missing".to_owned());
        }
        if posted.has_definition() {
            return Err(NO_DEFINITION.to_owned());
        }
        if posted.is_at_no_address() {
            return Err("`address` must be one that the service can be reached at".to_owned());
        }
        let refused = |error: crate::error::Error| error.message().to_owned();
        let service = posted.service().map_err(refused)?;
        metadata::check_service(&service.meta).map_err(refused)?;
        let checks = posted.named_checks(self.scripts).map_err(refused)?;
        Ok((service, checks))
    }

    fn check(&self, value: Value) -> Result<(Check, CheckDefinition), String> {
        let posted: PostedCheck =
            decode::decode_strictly(value).map_err(|error| error.to_string())?;
        if posted.name().is_empty() {
            return Err("`name` is missing".to_owned());
        }
        if posted.has_definition() {
            return Err(NO_DEFINITION.to_owned());
        }
        let read = posted.check(self.scripts);
        let (mut check, definition) = read.map_err(|error| error.message().to_owned())?;
        if check.id.is_empty() {
            check.id = CheckId::from(&check.name);
        }
        Ok((check, definition))
    }

    /// Ids are unique, and checks are of services that are defined too.
    fn check_ids(&mut self) {
        let (mut services, mut checks) = (BTreeSet::new(), BTreeSet::new());
        let mut problems = Vec::new();
        for (service, own) in &self.found.services {
            if !services.insert(service.id.as_str()) {
                problems.push(format!("service `{}` is defined twice", service.id));
            }
            for (check, _) in own {
                if !checks.insert(check.id.as_str()) {
                    problems.push(format!("check `{}` is defined twice", check.id));
                }
            }
        }
        for (check, _) in &self.found.checks {
            if !checks.insert(check.id.as_str()) {
                problems.push(format!("check `{}` is defined twice", check.id));
            }
            if let Some(service) = check.service_id.as_deref()
                && !services.contains(service)
            {
                problems.push(format!(
                    "check `{}` is of service `{service}`, which no file defines",
                    check.id
                ));
            }
        }
        self.problems.extend(problems);
    }
}

/// The definitions of a key: one, or several.
fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        one => vec![one],
    }
}

/// Names a definition, by its name if it has one.
fn place(noun: &str, at: usize, value: &Value) -> String {
    let named = ["name", "Name", "id", "ID"]
        .iter()
        .find_map(|key| value[*key].as_str());
    match named {
        Some(name) => format!("{noun} `{name}`"),
        None => format!("{noun} {}", at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh::model::Probe;
    use serde_json::json;

    fn read(tree: Value) -> Result<Definitions, Vec<String>> {
        Definitions::read(vec![("a.hcl".to_owned(), tree)], true)
    }

    #[test]
    fn the_published_spellings_are_read() {
        let tree = json!({
            "service": {
                "id": "redis1", "name": "redis", "port": 6379, "tags": ["primary"], "meta": {"m": "4"},
                "enable_tag_override": false, "token": "x",
                "tagged_addresses": {"lan": {"address": "192.0.2.55", "port": 6379}},
                "weights": {"passing": 5, "warning": 1},
                "checks": [
                    {"id": "chk1", "name": "ping", "args": ["check.sh"], "interval": "5s", "timeout": "2s"},
                    {"http": "https://192.0.2.1/", "tls_skip_verify": true, "interval": "10s", "deregister_critical_service_after": "90m"},
                ],
            },
            "checks": [
                {"id": "mem", "name": "memory", "script_args": ["/bin/mem"], "interval": "10s"},
                {"name": "engine", "docker_container_id": "f97", "shell": "/bin/sh", "args": ["x"], "interval": "10s"},
                {"name": "unit", "os_service": "ssh", "interval": "10s", "service_id": "redis1"},
                {"name": "beat", "ttl": "30s", "notes": "n", "status": "passing"},
            ],
        });
        let found = read(tree).unwrap();
        let (service, checks) = &found.services[0];
        assert_eq!(
            (service.id.as_str(), service.weights.passing),
            ("redis1", 5)
        );
        let ids: Vec<&str> = checks.iter().map(|(check, _)| check.id.as_str()).collect();
        assert_eq!(ids, ["chk1", "service:redis1:2"]);
        let kinds: Vec<&str> = found
            .checks
            .iter()
            .map(|(check, _)| check.kind.as_str())
            .collect();
        assert_eq!(kinds, ["script", "docker", "os_service", "ttl"]);
        let script = Probe::Script {
            args: vec!["/bin/mem".to_owned()],
        };
        assert_eq!(found.checks[0].1.probe, script);
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_place() {
        let tree = json!({
            "datacenter": "dc1",
            "services": [
                {"port": 1},
                {"name": "a", "prot": 1},
                {"name": "b", "check": {"http": "http://x/"}},
                {"name": "c", "address": "0.0.0.0"},
                {"name": "d"}, {"name": "d"},
            ],
            "check": {"name": "e", "ttl": "5s", "service_id": "none"},
        });
        let problems = read(tree).unwrap_err();
        assert_eq!(
            problems,
            [
                "a.hcl: `datacenter` is neither of `service`, `services`, `check` and `checks`",
                "a.hcl: service 1: `name` is missing",
                "a.hcl: service `a`: `prot` is no setting that is read here",
                "a.hcl: service `b`: Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks",
                "a.hcl: service `c`: `address` must be one that the service can be reached at",
                "service `d` is defined twice",
                "check `e` is of service `none`, which no file defines",
            ]
        );
        let script = json!({"check": {"name": "s", "args": ["x"], "interval": "1s"}});
        let of_catalog = json!({"check": {"name": "f", "ttl": "5s", "definition": {}}});
        let refused_too = read(of_catalog).unwrap_err();
        assert!(refused_too[0].ends_with(NO_DEFINITION), "{refused_too:?}");
        let refused = Definitions::read(vec![("b.json".to_owned(), script)], false).unwrap_err();
        assert!(
            refused[0].contains("enable_local_script_checks"),
            "{refused:?}"
        );
    }
}
