//! Several operations, carried out entirely or not at all.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mesh::state::{
    Command, KeyOperation, KeyVerb, OPERATIONS_MAX, Operation, OperationFailure, OperationResult,
    Rejected, RunTransaction,
};
use mesh::wire::KvPair;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decode;
use super::query::{Query, answer_from_server, json};
use super::refusals::{self, Limit, TXN_BYTES_MAX};
use super::{Catalog, write};
use crate::api::body::Raw;
use crate::api::error::Error;
use crate::server;

pub(super) fn router() -> Router<Catalog> {
    Router::new().route("/v1/txn", write(run))
}

/// One operation as it is posted: one of the fields is set.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Posted {
    #[serde(rename = "KV")]
    key: Option<PostedKey>,
    #[serde(rename = "Node")]
    node: Option<Value>,
    #[serde(rename = "Service")]
    service: Option<Value>,
    #[serde(rename = "Check")]
    check: Option<Value>,
    #[serde(rename = "Session")]
    session: Option<Value>,
}

/// An operation on a key as it is posted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PostedKey {
    verb: String,
    key: String,
    value: String,
    flags: u64,
    index: u64,
    session: String,
}

/// The answer; all but the first two only for operations that read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    results: Option<Vec<Row>>,
    errors: Option<Vec<Failed>>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    read: Option<ReadMeta>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReadMeta {
    index: u64,
    last_contact: u64,
    known_leader: bool,
    consistency_level: &'static str,
}

#[derive(Debug, Serialize)]
struct Row {
    #[serde(rename = "KV")]
    key: KvPair,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    op_index: usize,
    what: String,
}

impl From<OperationFailure> for Failed {
    fn from(failed: OperationFailure) -> Self {
        Self {
            op_index: failed.ordinal,
            what: failed.failure.to_string(),
        }
    }
}

async fn run(State(catalog): State<Catalog>, query: Query, body: Raw) -> Result<Response, Error> {
    if body.len() > TXN_BYTES_MAX {
        return Err(refusals::too_large(body.len() as u64, Limit::Txn));
    }
    let posted: Vec<Posted> = decode::parse(&body).map_err(not_parsed)?;
    if posted.len() > OPERATIONS_MAX {
        let message = format!(
            "Transaction contains too many operations ({} > {OPERATIONS_MAX})",
            posted.len()
        );
        return Err(Error::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    let operations = match operations(posted)? {
        Ok(operations) => operations,
        Err(failed) => return refused(&query, failed),
    };
    if operations.iter().all(Operation::is_read) {
        return read(&catalog, &query, operations).await;
    }
    let command = Command::RunTransaction(RunTransaction { operations });
    let (_, outcome) = catalog.server().propose(command).await?;
    match outcome {
        Ok(effect) => json(&query, &done(effect.results)),
        Err(server::Rejected::Mesh(Rejected::Operations { failures })) => {
            refused(&query, failures.into_iter().map(Failed::from).collect())
        }
        Err(rejected) => Err(refusals::of(rejected)),
    }
}

/// Operations that change nothing are answered from the state, without an entry in the log.
async fn read(
    catalog: &Catalog,
    query: &Query,
    operations: Vec<Operation>,
) -> Result<Response, Error> {
    let view = |snapshot: &mesh::state::Snapshot| match snapshot.read_transaction(operations) {
        Ok(results) => {
            let read = ReadMeta {
                index: 0,
                last_contact: 0,
                known_leader: true,
                consistency_level: "",
            };
            let answer = Answer {
                read: Some(read),
                ..done(results)
            };
            json(query, &answer)
        }
        Err(Rejected::Operations { failures }) => {
            refused(query, failures.into_iter().map(Failed::from).collect())
        }
        Err(rejected) => Err(refusals::of(rejected.into())),
    };
    let mut response = answer_from_server(catalog, query, [], |_| 1, view).await?;
    response.headers_mut().remove("x-consul-index");
    Ok(response)
}

fn done(results: Vec<OperationResult>) -> Answer {
    let rows = results.into_iter().map(|OperationResult::Key(entry)| Row {
        key: entry.as_ref().into(),
    });
    Answer {
        results: Some(rows.collect()),
        errors: None,
        read: None,
    }
}

fn refused(query: &Query, failed: Vec<Failed>) -> Result<Response, Error> {
    let answer = Answer {
        results: None,
        errors: Some(failed),
        read: None,
    };
    Ok((StatusCode::CONFLICT, json(query, &answer)?).into_response())
}

fn not_parsed(reason: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Failed to parse body: {reason}"))
}

/// The operations, or what is wrong with each that cannot be one.
fn operations(posted: Vec<Posted>) -> Result<Result<Vec<Operation>, Vec<Failed>>, Error> {
    let mut operations = Vec::with_capacity(posted.len());
    let mut failed = Vec::new();
    for (op_index, posted) in posted.into_iter().enumerate() {
        let Some(key) = posted.key else {
            let others = [posted.node, posted.service, posted.check, posted.session];
            if others.iter().any(Option::is_some) {
                return Err(Error::new(
                    StatusCode::NOT_IMPLEMENTED,
                    "transactions of nodes, services, checks and sessions are not built yet; those of keys are",
                ));
            }
            let what = "unknown operation type".to_owned();
            failed.push(Failed { op_index, what });
            continue;
        };
        let value = STANDARD.decode(&key.value).map_err(not_parsed)?;
        let Some(verb) = verb(&key.verb) else {
            let what = format!("unknown KV verb {:?}", key.verb);
            failed.push(Failed { op_index, what });
            continue;
        };
        operations.push(Operation::Key(KeyOperation {
            verb,
            key: key.key,
            value,
            flags: key.flags,
            index: key.index,
            session: key.session,
        }));
    }
    Ok(if failed.is_empty() {
        Ok(operations)
    } else {
        Err(failed)
    })
}

fn verb(word: &str) -> Option<KeyVerb> {
    serde_json::from_value(Value::from(word)).ok()
}
