//! Output of an allocation or of a whole job over one stream, as it comes.
//!
//! A line of JSON for each piece, with where it comes from. Allocations that come later are
//! followed too. What a task wrote has no times, so that pieces stand in the order in which they
//! were read.

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures_util::stream;
use jobs::model::{AllocId, Allocation, JobKey};
use serde::Serialize;
use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::{
    Api,
    error::Error,
    listener::Stopping,
    nomad::{client::streams::range, query::Query},
};
use client::{Handle, LogStream, Range};
use server::log::watch::Topic;

/// Allocations whose output is read, the newest ones.
const ALLOCS_MAX: usize = 100;
/// Outputs that are followed at the same time.
const SOURCES_MAX: usize = 256;
/// Pieces that wait for the reader; then the files wait.
const PIECES_MAX: usize = 16;
/// How long the stream may be silent before it says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A piece of output, or a word about where there is none.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Piece {
    #[serde(rename = "AllocID")]
    alloc_id: String,
    /// Name of the allocation.
    name: String,
    task: String,
    /// `stdout` or `stderr`.
    #[serde(rename = "Type")]
    kind: &'static str,
    /// In base64; pieces end anywhere.
    data: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

/// Whose output is wanted.
#[derive(Clone, Debug)]
enum Of {
    Alloc(AllocId),
    Job(JobKey),
}

#[derive(Clone, Debug)]
struct Wish {
    of: Of,
    /// None for every task.
    task: Option<String>,
    kinds: Vec<&'static str>,
    range: Range,
}

fn wish(query: &Query) -> Result<Wish, Error> {
    let of = match (query.get("alloc"), query.get("job")) {
        (Some(id), None) => {
            let unknown = || Error::not_found(format!("Unknown allocation {id:?}"));
            Of::Alloc(AllocId::parse(id).ok_or_else(unknown)?)
        }
        (None, Some(id)) => Of::Job(JobKey::new(query.one_namespace()?, id)),
        _ => {
            let text = "either `alloc` or `job` must be given";
            return Err(Error::bad_request(text));
        }
    };
    let kinds = match query.get("type") {
        None | Some("both") => vec!["stdout", "stderr"],
        Some("stdout") => vec!["stdout"],
        Some("stderr") => vec!["stderr"],
        Some(_) => {
            let text = "type must be stdout, stderr or both";
            return Err(Error::bad_request(text));
        }
    };
    Ok(Wish {
        of,
        task: query.get("task").map(str::to_owned),
        kinds,
        range: range(query, false)?,
    })
}

/// `GET /v1/trivet/logs` with `job` or `alloc`, and `task`, `type`, `origin`, `offset`, `follow`.
pub(super) async fn logs(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let wish = wish(&query)?;
    let snapshot = api.server().snapshot();
    match &wish.of {
        Of::Alloc(id) if snapshot.jobs.alloc(*id).is_none() => {
            return Err(Error::not_found("alloc not found"));
        }
        Of::Job(key) if snapshot.jobs.job(key).is_none() => {
            return Err(Error::not_found("job not found"));
        }
        Of::Alloc(_) | Of::Job(_) => {}
    }
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let gatherer = Gatherer {
        api,
        wish,
        sender,
        known: BTreeSet::new(),
        running: JoinSet::new(),
    };
    tokio::spawn(gatherer.run());
    let stopping = query.stopping();
    let lines = stream::unfold((pieces, stopping), |(mut pieces, stopping)| async move {
        let line = next(&mut pieces, &stopping).await?;
        Some((Ok::<_, Infallible>(line), (pieces, stopping)))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

async fn next(pieces: &mut mpsc::Receiver<Piece>, stopping: &Stopping) -> Option<Bytes> {
    let piece = tokio::select! {
        piece = timeout(HEARTBEAT, pieces.recv()) => piece,
        () = stopping.0.cancelled() => return None,
    };
    let mut line = match piece {
        Err(_) => b"{}".to_vec(),
        Ok(piece) => serde_json::to_vec(&piece?).ok()?,
    };
    line.push(b'\n');
    Some(line.into())
}

/// Finds outputs and hands on what is read of them, until nobody reads.
struct Gatherer {
    api: Api,
    wish: Wish,
    sender: mpsc::Sender<Piece>,
    /// Allocation, task and output that is read already or cannot be.
    known: BTreeSet<(AllocId, String, &'static str)>,
    running: JoinSet<()>,
}

impl Gatherer {
    async fn run(mut self) {
        let topic = match &self.wish.of {
            Of::Alloc(id) => Topic::Alloc(*id),
            Of::Job(key) => Topic::Job(key.clone()),
        };
        let subscription = self.api.server().subscribe([topic]);
        loop {
            self.look().await;
            if !self.wish.range.follow {
                while self.running.join_next().await.is_some() {}
                return;
            }
            let changed = async {
                match &subscription {
                    Some(subscription) => subscription.changed().await,
                    // Too many wait already: what is there now is all.
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed => while self.running.try_join_next().is_some() {},
                () = self.sender.closed() => return,
            }
        }
    }

    /// Begins with every output that is there by now; those that are over are read to their end
    /// first, the oldest first.
    async fn look(&mut self) {
        let mut allocs = self.allocs();
        allocs.sort_by_key(|alloc| (!alloc.client_terminal(), alloc.create_index, alloc.id));
        for alloc in allocs {
            let tasks: Vec<String> = alloc
                .task_states
                .iter()
                .filter(|(_, state)| state.started_at > jobs::model::Timestamp::default())
                .map(|(name, _)| name.to_string())
                .filter(|name| self.wish.task.as_ref().is_none_or(|wanted| wanted == name))
                .collect();
            for task in tasks {
                for kind in self.wish.kinds.clone() {
                    let is_new = self.known.insert((alloc.id, task.clone(), kind));
                    if is_new && self.sender.is_closed() {
                        return;
                    }
                    if is_new {
                        self.begin(&alloc, &task, kind).await;
                    }
                }
            }
        }
    }

    fn allocs(&self) -> Vec<Arc<Allocation>> {
        let snapshot = self.api.server().snapshot();
        let mut allocs: Vec<Arc<Allocation>> = match &self.wish.of {
            Of::Alloc(id) => snapshot.jobs.alloc(*id).cloned().into_iter().collect(),
            Of::Job(key) => snapshot.jobs.allocs_of_job(key).cloned().collect(),
        };
        allocs
            .sort_by_key(|alloc| std::cmp::Reverse((!alloc.client_terminal(), alloc.create_index)));
        allocs.truncate(ALLOCS_MAX);
        allocs
    }

    async fn begin(&mut self, alloc: &Allocation, task: &str, kind: &'static str) {
        if self.running.len() >= SOURCES_MAX {
            let text = format!("more than {SOURCES_MAX} outputs at once are not followed");
            return self.note(text).await;
        }
        let client = match self.client_of(alloc) {
            Ok(client) => client,
            Err(text) => return self.note(text).await,
        };
        let id = alloc.id.to_string();
        let is_over = alloc.client_terminal();
        let output = if kind == "stdout" {
            LogStream::Stdout
        } else {
            LogStream::Stderr
        };
        let range = Range {
            follow: self.wish.range.follow && !is_over,
            ..self.wish.range
        };
        let frames = client.logs(&id, task, output, range).await;
        let mut frames = match frames {
            Ok(frames) => frames,
            Err(client::Error::UnknownAlloc { .. }) => return,
            Err(client::Error::NotStarted { .. }) => {
                // Tried again when something changes.
                self.known.remove(&(alloc.id, task.to_owned(), kind));
                return;
            }
            Err(error) => return self.note(format!("{}: {error}", alloc.name)).await,
        };
        let (sender, name, task) = (self.sender.clone(), alloc.name.to_string(), task.to_owned());
        let pump = async move {
            while let Some(frame) = frames.recv().await {
                if frame.data.is_empty() {
                    continue;
                }
                let piece = Piece {
                    alloc_id: id.clone(),
                    name: name.clone(),
                    task: task.clone(),
                    kind,
                    data: BASE64.encode(&frame.data),
                    note: String::new(),
                };
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        };
        if is_over || !self.wish.range.follow {
            pump.await;
        } else {
            self.running.spawn(pump);
        }
    }

    fn client_of(&self, alloc: &Allocation) -> Result<Handle, String> {
        match self.api.client() {
            Some(client) if client.node().id == alloc.node_id => Ok(client.clone()),
            _ => Err(format!(
                "the output of {} is on the node {}, which this agent does not reach",
                alloc.name, alloc.node_name
            )),
        }
    }

    async fn note(&self, note: String) {
        let piece = Piece {
            note,
            ..Piece::default()
        };
        // A reader that has left needs no note.
        drop(self.sender.send(piece).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_output_is_wanted_must_be_said_once() {
        for (text, is_fine) in [
            ("", false),
            ("job=web", true),
            ("alloc=034e334b-5902-486f-9f2e-1c4f04b23761", true),
            ("alloc=web", false),
            ("job=web&alloc=034e334b-5902-486f-9f2e-1c4f04b23761", false),
            ("job=web&namespace=*", false),
            ("job=web&type=stdout", true),
            ("job=web&type=stdin", false),
            ("job=web&origin=end&offset=100", true),
            ("job=web&origin=middle", false),
        ] {
            let query = Query::of_text(text).unwrap();
            assert_eq!(wish(&query).is_ok(), is_fine, "{text}");
        }
    }
}
