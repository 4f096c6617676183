//! Asks metrics stores and hooks about canaries, each again every few seconds and never twice at
//! once. One that is slow or dead delays nobody: each is asked by a task of its own, of which there
//! is a bounded number. What is asked, and what follows from an answer, is decided elsewhere.

use jobs::{
    control::rollout::{ASK_INTERVAL, Answers, Measurement, Payload, Question, Reply, What},
    model::{DeploymentId, GroupName, Span, Timestamp},
};
use reqwest::{Client, Response, Url, redirect::Policy};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::task::JoinSet;

/// Longest wait for a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// After so long an answer is lost, so that it is asked again.
const LOST_AFTER: Span = Span::from_secs(30);
/// So many are asked at once; others wait for their turn.
const TASKS_MAX: usize = 64;
/// The most bytes of an answer of a metrics store.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The most bytes of an answer that are repeated.
const SAID_BYTES_MAX: usize = 256;

/// One metric or hook of a group's canaries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    deployment_id: DeploymentId,
    group: GroupName,
    is_hook: bool,
    name: String,
}

impl Key {
    fn of(question: &Question) -> Self {
        Self {
            deployment_id: question.deployment_id,
            group: question.group.clone(),
            is_hook: matches!(question.what, What::Hook { .. }),
            name: question.name.clone(),
        }
    }
}

/// When something was asked last.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Timestamp,
    /// It did not answer yet.
    is_open: bool,
}

/// What was asked, and when it is time again.
#[derive(Debug, Default)]
struct Schedule(BTreeMap<Key, Asked>);

impl Schedule {
    /// The questions to ask now, at most so many; what waited longest comes first. Forgets what is
    /// asked no more.
    fn due(&mut self, now: Timestamp, questions: Vec<Question>, most: usize) -> Vec<Question> {
        let keys: BTreeSet<Key> = questions.iter().map(Key::of).collect();
        self.0
            .retain(|key, asked| asked.is_open && !asked.is_lost(now) || keys.contains(key));
        let last = |key: &Key| self.0.get(key).copied();
        let mut due: Vec<(Timestamp, Key, Question)> = questions
            .into_iter()
            .map(|question| (Key::of(&question), question))
            .filter(|(key, _)| last(key).is_none_or(|asked| asked.is_due(now)))
            .map(|(key, question)| {
                let at = last(&key).map_or_else(Timestamp::default, |asked| asked.at);
                (at, key, question)
            })
            .collect();
        due.sort_by_key(|(at, ..)| *at);
        due.truncate(most);
        due.into_iter()
            .map(|(_, key, question)| {
                let asked = Asked {
                    at: now,
                    is_open: true,
                };
                self.0.insert(key, asked);
                question
            })
            .collect()
    }

    /// An answer came.
    fn answered(&mut self, key: &Key) {
        if let Some(asked) = self.0.get_mut(key) {
            asked.is_open = false;
        }
    }
}

impl Asked {
    fn is_due(self, now: Timestamp) -> bool {
        let passed = now - self.at;
        passed >= ASK_INTERVAL && !self.is_open || self.is_lost(now)
    }

    fn is_lost(self, now: Timestamp) -> bool {
        now - self.at >= LOST_AFTER
    }
}

/// What came of a question.
#[derive(Debug)]
enum Heard {
    /// The value of a metric, or why there is none.
    Metric(Result<f64, String>),
    /// The status of a hook with what it said, or why it did not answer.
    Hook(Result<(u16, String), String>),
}

/// Asks, and keeps answers until they are taken.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    client: Option<Client>,
    schedule: Schedule,
    running: JoinSet<(Key, Timestamp, Heard)>,
}

impl Measures {
    /// What was answered since it was asked last; never waits.
    pub(crate) fn take(&mut self) -> BTreeMap<(DeploymentId, GroupName), Answers> {
        let mut answers: BTreeMap<_, Answers> = BTreeMap::new();
        while let Some(ended) = self.running.try_join_next() {
            let Ok((key, at, heard)) = ended else {
                continue;
            };
            self.schedule.answered(&key);
            let own = answers.entry((key.deployment_id, key.group)).or_default();
            add(own, key.name, at, heard);
        }
        answers
    }

    /// Asks what is due of some questions; the others are asked no more.
    pub(crate) fn ask(&mut self, now: Timestamp, questions: Vec<Question>) {
        let free = TASKS_MAX.saturating_sub(self.running.len());
        let due = self.schedule.due(now, questions, free);
        if due.is_empty() {
            return;
        }
        let client = self.client.take().or_else(client);
        for question in due {
            let key = Key::of(&question);
            match client.clone() {
                Some(client) => {
                    self.running
                        .spawn(async move { (key, now, ask(&client, question.what).await) });
                }
                None => self.schedule.answered(&key),
            }
        }
        self.client = client;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.running = JoinSet::new();
        self.schedule = Schedule::default();
    }
}

fn client() -> Option<Client> {
    // The client panics without one.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .timeout(ANSWER_TIMEOUT)
        .redirect(Policy::none())
        .build();
    client
        .inspect_err(|error| tracing::error!(%error, "metrics and hooks cannot be asked"))
        .ok()
}

fn add(answers: &mut Answers, name: String, at: Timestamp, heard: Heard) {
    match heard {
        Heard::Metric(value) => {
            let (value, problem) = match value {
                Ok(value) => (Some(value), String::new()),
                Err(problem) => (None, problem),
            };
            answers.measured.push(Measurement {
                name,
                at,
                value,
                problem,
            });
        }
        Heard::Hook(answer) => {
            let (status, said) = match answer {
                Ok((status, said)) => (Some(status), said),
                Err(problem) => (None, problem),
            };
            answers.replies.push(Reply {
                name,
                at,
                status,
                said,
            });
        }
    }
}

async fn ask(client: &Client, what: What) -> Heard {
    match what {
        What::Metric { address, query } => Heard::Metric(measure(client, &address, &query).await),
        What::Hook { url, payload } => Heard::Hook(call(client, &url, &payload).await),
    }
}

/// The value of a metric.
async fn measure(client: &Client, address: &str, query: &str) -> Result<f64, String> {
    let url = query_url(address, query)?;
    let place = place(&url);
    let answer = client.get(url).send().await;
    let answer = answer.map_err(|error| silence(&error, &place))?;
    let status = answer.status();
    if !status.is_success() {
        let body = beginning(answer, &place).await?;
        return Err(refusal(&place, status.as_u16(), &body));
    }
    value(&whole(answer, &place).await?)
}

/// Where a query is asked.
fn query_url(address: &str, query: &str) -> Result<Url, String> {
    let text = format!("{}/api/v1/query", address.trim_end_matches('/'));
    let mut url = Url::parse(&text).map_err(|_| "its address is no URL".to_owned())?;
    url.query_pairs_mut().append_pair("query", query);
    Ok(url)
}

/// The status that a hook answers; of a refusal how it begins.
async fn call(client: &Client, url: &str, payload: &Payload) -> Result<(u16, String), String> {
    let url = Url::parse(url).map_err(|_| "its address is no URL".to_owned())?;
    let place = place(&url);
    let answer = client.post(url).json(payload).send().await;
    let answer = answer.map_err(|error| silence(&error, &place))?;
    let status = answer.status();
    if status.is_success() {
        return Ok((status.as_u16(), String::new()));
    }
    // Its status is an answer, whether or not the rest comes.
    let body = beginning(answer, &place).await.unwrap_or_default();
    Ok((status.as_u16(), clean(&body)))
}

/// Host and port of a URL: what it is called in sentences, for the rest may hold a secret.
fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Why there is no answer.
fn silence(error: &reqwest::Error, place: &str) -> String {
    if error.is_timeout() {
        format!(
            "{place} gave no answer within {} s",
            ANSWER_TIMEOUT.as_secs()
        )
    } else if error.is_connect() {
        format!("{place} cannot be reached")
    } else {
        format!("the connection to {place} broke")
    }
}

fn refusal(place: &str, status: u16, body: &[u8]) -> String {
    let said = clean(body);
    if said.is_empty() {
        format!("{place} answered {status}")
    } else {
        format!("{place} answered {status}: {said}")
    }
}

/// The whole body of an answer.
async fn whole(answer: Response, place: &str) -> Result<Vec<u8>, String> {
    let body = read(answer, place, ANSWER_BYTES_MAX).await?;
    if body.len() > ANSWER_BYTES_MAX {
        return Err(format!(
            "{place} answered more than {ANSWER_BYTES_MAX} bytes"
        ));
    }
    Ok(body)
}

/// How the body of an answer begins.
async fn beginning(answer: Response, place: &str) -> Result<Vec<u8>, String> {
    read(answer, place, SAID_BYTES_MAX).await
}

/// Reads a body until it ends, or has more bytes than that.
async fn read(mut answer: Response, place: &str, most: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let piece = answer.chunk().await;
        let piece = piece.map_err(|error| silence(&error, place))?;
        let Some(piece) = piece else {
            return Ok(body);
        };
        // A piece is as long as a buffer of the connection at most.
        body.extend_from_slice(&piece);
        if body.len() > most {
            return Ok(body);
        }
    }
}

/// The beginning of a text in one line.
fn clean(body: &[u8]) -> String {
    let begins = body.get(..SAID_BYTES_MAX).unwrap_or(body);
    let text = String::from_utf8_lossy(begins);
    let mut out = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    while out.len() > SAID_BYTES_MAX {
        out.pop();
    }
    out
}

/// An answer of a metrics store.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType", default)]
    kind: String,
    #[serde(default)]
    result: serde_json::Value,
}

/// The one value that an answer holds.
fn value(body: &[u8]) -> Result<f64, String> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| "the answer is not one of Prometheus".to_owned())?;
    let data = answer
        .data
        .ok_or_else(|| "the answer has no data".to_owned())?;
    match data.kind.as_str() {
        "scalar" => number(&data.result),
        "vector" => {
            let series = data.result.as_array().map_or(&[][..], Vec::as_slice);
            match series {
                [] => Err("the query finds nothing".into()),
                [only] => number(only.get("value").unwrap_or(&serde_json::Value::Null)),
                all => Err(format!(
                    "the query finds {} series; let it make one of them, such as with sum()",
                    all.len()
                )),
            }
        }
        kind => Err(format!(
            "the query gives a {}; let it give one number",
            clean(kind.as_bytes())
        )),
    }
}

/// The number of a sample: a time, and the number as text.
fn number(sample: &serde_json::Value) -> Result<f64, String> {
    let text = sample.get(1).and_then(serde_json::Value::as_str);
    let text = text.ok_or_else(|| "the answer holds no number".to_owned())?;
    let number: f64 = text
        .parse()
        .map_err(|_| "the answer holds no number".to_owned())?;
    if number.is_finite() {
        Ok(number)
    } else {
        Err(format!("it is {}", clean(text.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(deployment: &str, name: &str) -> Question {
        Question {
            deployment_id: DeploymentId::named(deployment),
            group: "web".into(),
            name: name.to_owned(),
            what: What::Metric {
                address: "http://prometheus:9090".into(),
                query: "up".into(),
            },
        }
    }

    fn names(questions: &[Question]) -> Vec<&str> {
        questions.iter().map(|own| own.name.as_str()).collect()
    }

    #[test]
    fn each_is_asked_every_few_seconds_and_never_twice_at_once() {
        let begins = Timestamp::from_secs(1_800_000_000);
        let at = |seconds: i64| begins + Span::from_secs(seconds);
        let both = || vec![metric("one", "a"), metric("one", "b")];
        let mut schedule = Schedule::default();
        assert_eq!(names(&schedule.due(at(0), both(), 9)), ["a", "b"]);
        schedule.answered(&Key::of(&metric("one", "a")));
        assert_eq!(names(&schedule.due(at(4), both(), 9)), [""; 0]);
        assert_eq!(names(&schedule.due(at(5), both(), 9)), ["a"]);
        // What does not even end is lost at some time.
        assert_eq!(names(&schedule.due(at(29), both(), 9)), [""; 0]);
        assert_eq!(names(&schedule.due(at(30), both(), 9)), ["b"]);
        // What is asked no more begins anew.
        schedule.answered(&Key::of(&metric("one", "b")));
        schedule.answered(&Key::of(&metric("one", "a")));
        assert_eq!(names(&schedule.due(at(31), Vec::new(), 9)), [""; 0]);
        assert!(schedule.0.is_empty());
        assert_eq!(names(&schedule.due(at(31), both(), 9)), ["a", "b"]);
    }

    #[test]
    fn who_waited_longest_is_asked_first_when_there_are_too_many() {
        let begins = Timestamp::from_secs(1_800_000_000);
        let all = || ["a", "b", "c"].map(|name| metric("one", name)).to_vec();
        let mut schedule = Schedule::default();
        let mut seen = Vec::new();
        for look in 0..3 {
            let now = begins + Span::from_secs(look * 10);
            let due = schedule.due(now, all(), 2);
            assert_eq!(due.len(), 2);
            for question in &due {
                schedule.answered(&Key::of(question));
                seen.push(question.name.clone());
            }
        }
        assert_eq!(seen, ["a", "b", "c", "a", "b", "a"]);
    }

    #[test]
    fn one_number_is_read_and_everything_else_is_said() {
        let vector = |result: &str| {
            format!(
                "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":{result}}}}}"
            )
        };
        let one = "{\"metric\":{\"job\":\"x\"},\"value\":[1435781451.781,\"0.25\"]}";
        for (body, expected) in [
            (
                "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\",\"result\":[1435781451.781,\"-3e2\"]}}".to_owned(),
                Ok(-300.0),
            ),
            (vector(&format!("[{one}]")), Ok(0.25)),
            (vector("[]"), Err("the query finds nothing")),
            (
                vector(&format!("[{one},{one}]")),
                Err("the query finds 2 series; let it make one of them, such as with sum()"),
            ),
            (vector(&format!("[{}]", one.replace("0.25", "NaN"))), Err("it is NaN")),
            (vector(&format!("[{}]", one.replace("0.25", "+Inf"))), Err("it is +Inf")),
            (vector(&format!("[{}]", one.replace("0.25", "x"))), Err("the answer holds no number")),
            (
                vector("[{\"metric\":{},\"histogram\":[1,{\"count\":\"1\"}]}]"),
                Err("the answer holds no number"),
            ),
            (
                "{\"data\":{\"resultType\":\"matrix\",\"result\":[]}}".to_owned(),
                Err("the query gives a matrix; let it give one number"),
            ),
            ("{\"status\":\"error\"}".to_owned(), Err("the answer has no data")),
            ("<html>".to_owned(), Err("the answer is not one of Prometheus")),
        ] {
            assert_eq!(value(body.as_bytes()), expected.map_err(str::to_owned), "{body}");
        }
    }

    #[test]
    fn secrets_stay_where_they_are_and_bodies_are_short() {
        let url = query_url("https://ada:secret@p.example:9090/x/", "a{b=\"c\"}+1").expect("a URL");
        assert_eq!(url.path(), "/x/api/v1/query");
        assert_eq!(url.query(), Some("query=a%7Bb%3D%22c%22%7D%2B1"));
        assert_eq!(place(&url), "p.example:9090");
        let long = "ä ".repeat(400);
        assert!(clean(long.as_bytes()).len() <= SAID_BYTES_MAX);
        assert_eq!(clean(b" not\n\x1b[1m  now\0"), "not [1m now");
        assert_eq!(refusal("p", 503, b" \n"), "p answered 503");
        assert_eq!(refusal("p", 503, b"busy"), "p answered 503: busy");
    }

    #[test]
    fn answers_reach_the_group_that_they_are_about() {
        let at = Timestamp::from_secs(1_800_000_000);
        let mut answers = Answers::default();
        for heard in [
            Heard::Metric(Ok(0.5)),
            Heard::Metric(Err("it is NaN".into())),
            Heard::Hook(Ok((503, "busy".into()))),
            Heard::Hook(Err("ci cannot be reached".into())),
        ] {
            add(&mut answers, "x".into(), at, heard);
        }
        let measured = answers.measured.iter();
        let measured: Vec<_> = measured
            .map(|own| (own.value, own.problem.as_str()))
            .collect();
        assert_eq!(measured, [(Some(0.5), ""), (None, "it is NaN")]);
        let replies = answers.replies.iter();
        let replies: Vec<_> = replies.map(|own| (own.status, own.said.as_str())).collect();
        assert_eq!(
            replies,
            [(Some(503), "busy"), (None, "ci cannot be reached")]
        );
    }
}
