//! Routing scenarios as text: see `route/README.txt` for the form.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails there"
)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use proxy::route::{
    self, Choice, Command, Definition, Instance, Matching, PathMatcher, Problem, RequestPath,
    Route, Scheme, Table,
};

#[test]
fn scenarios_give_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/route");
    let mut failures = String::new();
    let mut checks = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "README.txt" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut scenario = Scenario::default();
        for (number, line) in (1..).zip(text.lines()) {
            match scenario.line(line) {
                Outcome::Nothing => {}
                Outcome::Same => checks += 1,
                Outcome::Differs { expected, found } => {
                    writeln!(
                        failures,
                        "{name}:{number}: {line}\n  expected {expected}\n  found    {found}"
                    )
                    .unwrap();
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(checks > 100, "only {checks} checks ran");
}

enum Outcome {
    Nothing,
    Same,
    Differs { expected: String, found: String },
}

#[derive(Default)]
struct Scenario {
    definitions: Vec<Definition>,
    problems: Vec<Problem>,
    lines: usize,
    matching: Matching,
    table: Option<Table>,
    previous: Option<Table>,
}

impl Scenario {
    fn line(&mut self, line: &str) -> Outcome {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Outcome::Nothing;
        }
        if let Some((question, expected)) = line.split_once(" -> ") {
            let found = self.answer(question.trim());
            let expected = expected.trim().to_owned();
            return if found == expected {
                Outcome::Same
            } else {
                Outcome::Differs { expected, found }
            };
        }
        match line.split_once(' ').unwrap_or((line, "")) {
            ("---", _) => *self = Scenario::default(),
            ("rebuild", _) => {
                self.previous = self.table.take();
                self.definitions.clear();
                self.problems.clear();
                self.lines = 0;
            }
            ("matcher", name) => {
                self.matching.paths = match name {
                    "prefix" => PathMatcher::Prefix,
                    "iprefix" => PathMatcher::PrefixFolded,
                    "glob" => PathMatcher::Glob,
                    _ => panic!("matcher {name}"),
                };
            }
            ("globs", switch) => self.matching.has_host_globs = switch == "on",
            ("instance", rest) => self.instance(rest),
            ("define", text) => self.define(text),
            _ => self.define(line),
        }
        Outcome::Nothing
    }

    fn define(&mut self, line: &str) {
        // Keep counting lines over the definitions of a table, as one text would.
        let text = "\n".repeat(self.lines) + line;
        self.lines += 1;
        let (definitions, problems) = route::parse::parse(&text);
        self.definitions.extend(definitions);
        self.problems.extend(problems);
    }

    /// `ID SERVICE ADDRESS PORT | tag | tag`
    fn instance(&mut self, text: &str) {
        let mut parts = text.split(" | ");
        let head: Vec<&str> = parts.next().unwrap().split_whitespace().collect();
        let tags: Vec<String> = parts.map(str::to_owned).collect();
        let [id, service, address, port] = head[..] else {
            panic!("instance {text}")
        };
        let service = &service.replace('+', " ");
        let instance = Instance {
            id,
            service,
            address,
            port: port.parse().unwrap(),
            tags: &tags,
            datacenter: "dc1",
            version: "",
            turns: 1,
            is_judged: false,
        };
        let (definitions, problems) = route::tags::definitions(&instance);
        self.definitions.extend(definitions);
        self.problems.extend(problems);
    }

    fn table(&mut self) -> &Table {
        if self.table.is_none() {
            let (table, problems) = Table::build_with(
                self.matching,
                self.definitions.clone(),
                self.previous.as_ref(),
            );
            self.problems.extend(problems);
            self.table = Some(table);
        }
        self.table.as_ref().unwrap()
    }

    fn answer(&mut self, question: &str) -> String {
        let words: Vec<&str> = question.split_whitespace().collect();
        match words[..] {
            ["problems"] => {
                self.table();
                let problems: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
                if problems.is_empty() {
                    "none".to_owned()
                } else {
                    problems.join(" ; ")
                }
            }
            ["turns", host, path, count] => {
                self.turns(host, path, count.parse().unwrap()).join(" ")
            }
            ["counts", host, path, count] => {
                let mut counts: BTreeMap<String, usize> = BTreeMap::new();
                for service in self.turns(host, path, count.parse().unwrap()) {
                    *counts.entry(service).or_default() += 1;
                }
                counts
                    .iter()
                    .map(|(service, count)| format!("{service}={count}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            ["text"] => self.table().text().trim_end().replace('\n', " ; "),
            ["json"] => serde_json::to_string(&self.table().rows()).unwrap(),
            ["add"] => match &self.definitions.last().unwrap().command {
                Command::Add(add) => {
                    format!("{} {} {}", add.service, add.source, add.destination.url)
                }
                other => format!("{other:?}"),
            },
            ["port", port] => {
                let port = port.parse().unwrap();
                chosen(self.table().lookup_port(port))
            }
            ["address", address] => {
                let address = address.parse().unwrap();
                chosen(self.table().lookup_address(address))
            }
            ["sni", name] => chosen(self.table().lookup_name(name, false)),
            ["anysni", name] => chosen(self.table().lookup_name(name, true)),
            ["ports"] => format!("{:?}", self.table().tcp_ports()),
            ["tls", host, target] => self.route(host, target, true, None),
            ["behind-tls", host, target] => self.route(host, target, false, Some(Scheme::Https)),
            [host, target] => self.route(host, target, false, None),
            _ => panic!("unknown question {question}"),
        }
    }

    /// `SERVICE`, `SERVICE TARGET` if another one is sent on, `STATUS LOCATION`, or `none`
    fn route(
        &mut self,
        host: &str,
        target: &str,
        is_tls: bool,
        forwarded_scheme: Option<Scheme>,
    ) -> String {
        let (raw, query) = target.split_once('?').unwrap_or((target, ""));
        let path = RequestPath::new(raw);
        let request = route::Request {
            host: if host == "-" { "" } else { host },
            path: &path,
            query,
            is_tls,
            forwarded_scheme,
        };
        let Some(route) = self.table().lookup_request(&request) else {
            return "none".to_owned();
        };
        let Some(target) = route.pick(Choice::RoundRobin) else {
            return "empty".to_owned();
        };
        if let Some((status, location)) = target.redirect(&request) {
            return format!("{status} {location}");
        }
        let label = target.service();
        match target.forwarded(&path, (raw, query), None) {
            Some(sent) => format!("{label} {sent}"),
            None => label.to_owned(),
        }
    }

    fn turns(&mut self, host: &str, path: &str, count: usize) -> Vec<String> {
        let host = if host == "-" { "" } else { host };
        let route = self.table().lookup(host, &RequestPath::new(path)).unwrap();
        (0..count)
            .map(|_| route.pick(Choice::RoundRobin).unwrap().service().to_owned())
            .collect()
    }
}

/// The service whose turn it is on a route.
fn chosen(route: Option<&Route>) -> String {
    route.map_or_else(
        || "none".to_owned(),
        |route| {
            let target = route.pick(Choice::RoundRobin).unwrap();
            target.service().to_owned()
        },
    )
}
