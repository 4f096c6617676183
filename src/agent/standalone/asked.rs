//! Routes that a server is asked for again and again: a list of commands, as JSON.

use super::{files::page_of, found::Found};
use config::AskedSource;
use reqwest::Client;
use serde::Deserialize;
use std::collections::BTreeMap;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// The largest answer, bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A command of routes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Command {
    cmd: String,
    service: String,
    src: String,
    dst: String,
    weight: f64,
    tags: Vec<String>,
    opts: BTreeMap<String, String>,
}

impl Command {
    /// The line of the route language that means the same. What cannot stand there makes a line
    /// that is none, which is told like any other.
    fn line(&self) -> String {
        let weight = format!("weight {}", self.weight);
        let tags = format!("tags \"{}\"", self.tags.join(","));
        let opts = self
            .opts
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        let opts = format!("opts \"{}\"", opts.collect::<Vec<_>>().join(" "));
        let has_tags = !self.tags.is_empty();
        let part = |text: &str, is_there: bool| Some(text.to_owned()).filter(|_| is_there);
        let is_added = self.cmd == "route add";
        let is_weighed = self.cmd == "route weight";
        let parts = [
            part(&self.cmd, true),
            part(&self.service, !self.service.is_empty()),
            part(&self.src, !self.src.is_empty()),
            part(&self.dst, !self.dst.is_empty() && !is_weighed),
            part(&weight, is_weighed || is_added && self.weight != 0.0),
            part(&tags, has_tags),
            part(&opts, is_added && !self.opts.is_empty()),
        ];
        let line = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        line.replace(char::is_control, "\u{fffd}")
    }
}

/// A server that is asked.
#[derive(Debug)]
pub(super) struct Asked {
    settings: AskedSource,
    client: Client,
    page: String,
}

impl Asked {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// If there is no page, or no client.
    pub(super) fn open(settings: &AskedSource) -> Result<Self, String> {
        let client = Client::builder()
            .no_proxy()
            .timeout(settings.timeout)
            .tls_danger_accept_invalid_certs(settings.is_unverified)
            .build();
        Ok(Self {
            client: client.map_err(|error| error.to_string())?,
            page: page_of(&settings.page)?,
            settings: settings.clone(),
        })
    }

    /// Tells what it answers whenever that changes, for ever. While it answers nothing that can be
    /// read, its last word counts.
    pub(super) async fn follow(self, found: watch::Sender<Found>) {
        let mut turns = interval(self.settings.interval);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut said) = (None, String::new());
        loop {
            turns.tick().await;
            match self.ask().await {
                Ok(text) => {
                    said.clear();
                    if last.as_ref() != Some(&text) {
                        let both = (text.clone(), self.page.clone());
                        found.send_modify(|found| found.set_text(both));
                        last = Some(text);
                    }
                }
                Err(reason) if reason != said => {
                    let url = &self.settings.url;
                    tracing::warn!(url, reason, "routes stay as they are");
                    said = reason;
                }
                Err(_) => {}
            }
        }
    }

    async fn ask(&self) -> Result<String, String> {
        let told =
            |error: reqwest::Error| format!("{:#}", anyhow::Error::from(error.without_url()));
        let sent = self.client.get(&self.settings.url).send().await;
        let mut answer = sent.map_err(told)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(format!("it answers with {}", answer.status()));
        }
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(told)? {
            body.extend_from_slice(&part);
            if body.len() > ANSWER_BYTES_MAX {
                return Err("its answer is larger than 16 MiB".to_owned());
            }
        }
        lines(&body)
    }
}

/// The commands of an answer, a line each.
fn lines(body: &[u8]) -> Result<String, String> {
    let commands: Option<Vec<Command>> =
        serde_json::from_slice(body).map_err(|error| format!("its answer: {error}"))?;
    let commands = commands.unwrap_or_default();
    let lines: Vec<String> = commands.iter().map(Command::line).collect();
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::lines;
    use serde_json::json;

    #[test]
    fn commands_are_lines_of_the_route_language() {
        let body = json!([
            {"cmd": "route add", "service": "web", "src": "a.io/x", "dst": "http://10.0.0.1:80/",
             "weight": 0.5, "tags": ["a", "b"], "opts": {"strip": "/x", "proto": "http"}},
            {"cmd": "route add", "service": "web", "src": "/", "dst": "http://10.0.0.1:80/", "weight": 0},
            {"cmd": "route weight", "service": "web", "src": "/", "weight": 0.2, "tags": ["a"]},
            {"cmd": "route del", "service": "web", "src": "/", "dst": "http://10.0.0.1:80/"},
            {"cmd": "route del", "tags": ["a"]},
            {"cmd": "route add", "service": "x\nroute del web", "more": 1},
        ]);
        let expected = "route add web a.io/x http://10.0.0.1:80/ weight 0.5 tags \"a,b\" opts \"proto=http strip=/x\"\n\
             route add web / http://10.0.0.1:80/\n\
             route weight web / weight 0.2 tags \"a\"\n\
             route del web / http://10.0.0.1:80/\n\
             route del tags \"a\"\n\
             route add x\u{fffd}route del web";
        assert_eq!(lines(body.to_string().as_bytes()).as_deref(), Ok(expected));
        assert_eq!(lines(b"null").as_deref(), Ok(""));
        for body in ["", "{}", "[{\"weight\": \"x\"}]"] {
            assert!(lines(body.as_bytes()).is_err(), "{body}");
        }
    }
}
