//! Random changes of what operators, services and clients write, for as long as one likes: a short
//! while each in the usual tests, and longer with `.ci/fuzz SECONDS`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails there, and a long one says how much it tried"
)]

use std::time::{Duration, SystemTime};

use proxy::route::{
    Choice, Instance, Matching, PathMatcher, Request, RequestPath, Rewrite, Scheme, Table, parse,
    tags,
};
use tokio::time::Instant;

/// Longest text that is tried, bytes.
const LONGEST: usize = 4000;

/// Words that mean something, which random changes would seldom hit upon.
const WORDS: [&str; 40] = [
    "route add ",
    "route del ",
    "route weight ",
    " weight ",
    " tags ",
    " opts ",
    "\"",
    "\n",
    " ",
    "http://",
    "https://",
    "tcp://",
    "grpc://",
    "10.0.0.1:80",
    "[::1]:80",
    ":5432",
    "/",
    "//",
    "/../",
    "%2e%2e",
    "%2F",
    "%",
    "?",
    "*",
    "**",
    "[",
    "]",
    "[!a-z]",
    "{",
    "}",
    "{a,b}",
    "\\",
    "$path",
    "$host",
    "$DC",
    "redirect=301",
    "strip=/a",
    "allow=ip:10.0.0.0/8",
    "é",
    "1e308",
];

struct Fuzzer {
    state: u64,
    corpus: Vec<String>,
}

impl Fuzzer {
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound.max(1) as u64).unwrap()
    }

    fn case(&mut self) -> String {
        let at = self.below(self.corpus.len());
        let mut text: Vec<char> = self.corpus[at].chars().collect();
        for _ in 0..=self.below(5) {
            let (one, two) = (self.below(text.len() + 1), self.below(text.len() + 1));
            let (start, end) = (one.min(two), one.max(two).min(one.min(two) + 40));
            let word = WORDS[self.below(WORDS.len())];
            match self.below(5) {
                0 => drop(text.drain(start..end)),
                1 => {
                    let copy: Vec<char> = text[start..end].to_vec();
                    text.splice(start..start, copy);
                }
                2 => drop(text.splice(start..end, word.chars())),
                3 => {
                    let many = word.repeat(1 + self.below(30));
                    text.splice(start..start, many.chars());
                }
                _ => drop(text.splice(start..start, word.chars())),
            }
        }
        text.truncate(LONGEST);
        text.into_iter().collect()
    }
}

/// Tries cases made of a corpus until the time is over.
fn fuzz(name: &str, corpus: &[&str], check: impl Fn(&str)) {
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds: Option<f64> = seconds.and_then(|text| text.parse().ok());
    // The usual tests try the same cases each time, as many as the machine is quick.
    let seed = seconds.map_or(1, |_| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        u64::from(now.unwrap().subsec_nanos())
    });
    let corpus = corpus.iter().map(|text| (*text).to_owned()).collect();
    let mut fuzzer = Fuzzer {
        state: seed,
        corpus,
    };
    let end = Instant::now() + Duration::from_secs_f64(seconds.unwrap_or(0.3));
    let mut tried = 0_u64;
    while Instant::now() < end {
        let case = fuzzer.case();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&case)));
        assert!(result.is_ok(), "{name}: this case failed:\n{case:?}");
        tried += 1;
    }
    println!("{name}: {tried} cases");
}

const LANGUAGE: [&str; 4] = [
    "route add a b.io/x http://10.0.0.1:80/ weight 0.5 tags \"x,y\" opts \"strip=/p host=dst\"\nroute del a b.io/x",
    "# text\nroute add a *.b.io:80/ https://$host$path opts \"redirect=301\"\nroute weight b.io/ weight 0x1p-2 tags \"x\"",
    "route add a :5432 tcp://[::1]:5432 opts \"pxyproto=v2 allow=ip:10.0.0.0/8,ip:::1\"",
    "route add a {x,y}[!a-c]?.io/a*b/ grpc://10.0.0.1 opts \"auth=t grpcservername=x\"\nroute weight a b.io/ weight 1",
];

const MATCHINGS: [PathMatcher; 3] = [
    PathMatcher::Prefix,
    PathMatcher::PrefixFolded,
    PathMatcher::Glob,
];

/// What the table says of itself can be read back.
#[test]
fn fuzz_route_language() {
    fuzz("route_language", &LANGUAGE, |text| {
        for paths in MATCHINGS {
            let matching = Matching {
                paths,
                has_host_globs: true,
            };
            let (definitions, problems) = parse::parse(text);
            problems
                .iter()
                .for_each(|problem| drop(problem.to_string()));
            let (table, _) = Table::build_with(matching, definitions, None);
            let shown = table.text();
            let (again, problems) = parse::parse(&shown);
            assert_eq!(problems, []);
            let (again, _) = Table::build_with(matching, again, None);
            // Weights are shown with four decimals: what differs by less is one.
            assert!(again.rows().len() <= shown.lines().count());
        }
    });
}

#[test]
fn fuzz_tags() {
    let corpus = [
        "urlprefix-b.io/x strip=/x weight=0.5",
        "urlprefix-:5432 proto=tcp pxyproto=true",
        "urlprefix-$DC.b.io/${DC}/x redirect=301,https://$host$path?a=b",
    ];
    fuzz("tags", &corpus, |text| {
        let tags = [text.to_owned(), "v1".to_owned()];
        let instance = Instance {
            id: "i",
            service: "web",
            address: "10.0.0.1",
            port: 80,
            tags: &tags,
            datacenter: "dc1",
            version: "",
            turns: 1,
            is_judged: false,
        };
        let (definitions, problems) = tags::definitions(&instance);
        assert!(definitions.len() + problems.len() <= 1);
        Table::build(definitions, None);
    });
}

/// The text is routes, and in its last line the host and the target of a request.
#[test]
fn fuzz_matching() {
    let corpus = LANGUAGE.map(|text| format!("{text}\nA.b.io.:80/x/%2e%2e/y//z?a=b"));
    let corpus: Vec<&str> = corpus.iter().map(String::as_str).collect();
    fuzz("matching", &corpus, |text| {
        let (routes, asked) = text.rsplit_once('\n').unwrap_or(("", text));
        let at = asked.find('/').unwrap_or(asked.len());
        let (host, target) = asked.split_at(at);
        let (raw, query) = target.split_once('?').unwrap_or((target, ""));
        let path = RequestPath::new(raw);
        for (paths, is_tls) in MATCHINGS.into_iter().zip([false, true, false]) {
            let matching = Matching {
                paths,
                has_host_globs: true,
            };
            let (table, _) = Table::build_with(matching, parse::parse(routes).0, None);
            let request = Request {
                host,
                path: &path,
                query,
                is_tls,
                forwarded_scheme: Some(Scheme::Https),
            };
            if let Some(route) = table.lookup_request(&request) {
                let target = route.pick(Choice::RoundRobin).unwrap();
                let rewrite = Rewrite {
                    prefix: route.path().to_owned(),
                    ignores_case: is_tls,
                    replacement: "/new/".to_owned(),
                };
                target.forwarded(&path, (raw, query), None);
                target.forwarded(&path, (raw, query), Some(&rewrite));
                target.redirect(&request);
            }
            table.lookup_name(host, true);
            table.tcp_ports();
        }
    });
}
