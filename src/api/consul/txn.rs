//! Several operations, carried out entirely or not at all.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mesh::model::{Check, Node, NodeId, NodeName, Service, SessionId};
use mesh::state::{
    CheckOperation, Command, KeyOperation, KeyVerb, NodeOperation, OPERATIONS_MAX, Operation,
    OperationFailure, OperationResult, Rejected, RowVerb, RunTransaction, ServiceOperation,
};
use mesh::wire::{CatalogNode, CatalogServiceEntry, HealthCheck, KvPair};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::agent::{PostedCheck, PostedService};
use super::decode;
use super::query::{NO_DATACENTER, Query, answer_from_server, json};
use super::refusals::{self, Limit, TXN_BYTES_MAX};
use super::register::{lacks_datacenter, meant, renames_agent, runs_agent};
use super::{Catalog, write};
use crate::body::Raw;
use crate::error::Error;

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
    node: Option<PostedRow>,
    #[serde(rename = "Service")]
    service: Option<PostedRow>,
    #[serde(rename = "Check")]
    check: Option<PostedRow>,
    #[serde(rename = "Session")]
    session: Option<Value>,
}

/// An operation on a node, an instance or a check as it is posted. A node's own field is an object,
/// that of the other two the name of their node.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PostedRow {
    verb: String,
    node: Value,
    service: Value,
    check: Value,
}

/// A node as it is posted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PostedNode {
    #[serde(rename = "ID")]
    id: NodeId,
    node: NodeName,
    datacenter: String,
    address: String,
    tagged_addresses: BTreeMap<String, String>,
    meta: BTreeMap<String, String>,
    modify_index: u64,
}

/// Where a transaction was asked for.
struct Asked<'a> {
    catalog: &'a Catalog,
    /// The datacenter of nodes that name none.
    datacenter: String,
}

/// What a posted check says besides what it checks.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct OfNode {
    node: NodeName,
    modify_index: u64,
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
    session: SessionId,
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

/// What an operation gave: one of the four.
#[derive(Debug, Serialize)]
enum Row {
    #[serde(rename = "KV")]
    Key(KvPair),
    Node(CatalogNode),
    Service(Value),
    Check(Value),
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

async fn run(
    State(catalog): State<Catalog>,
    query: Query,
    headers: HeaderMap,
    body: Raw,
) -> Result<Response, Error> {
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
    let asked = Asked {
        catalog: &catalog,
        datacenter: meant(&catalog, &query, &headers),
    };
    let operations = match operations(&asked, posted)? {
        Ok(operations) => operations,
        Err(failed) => return refused(&query, failed),
    };
    if operations.iter().all(Operation::is_read) {
        return read(&catalog, &query, operations).await;
    }
    let command = Command::RunTransaction(RunTransaction { operations });
    let (_, outcome) = catalog.server().propose(command).await?;
    match outcome {
        Ok(effect) => json(&query, &done(effect.results)?),
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
                ..done(results)?
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

fn done(results: Vec<OperationResult>) -> Result<Answer, Error> {
    let rows: Result<Vec<Row>, Error> = results.into_iter().map(row).collect();
    Ok(Answer {
        results: Some(rows?),
        errors: None,
        read: None,
    })
}

fn row(result: OperationResult) -> Result<Row, Error> {
    Ok(match result {
        OperationResult::Key(entry) => Row::Key(entry.as_ref().into()),
        OperationResult::Node(node) => Row::Node(node.as_ref().into()),
        OperationResult::Service(service) => {
            let entry = CatalogServiceEntry::from(service.as_ref());
            Row::Service(with_null(&entry, "Tags")?)
        }
        OperationResult::Check(check, tags) => {
            let entry = HealthCheck::new(&check, &tags);
            Row::Check(with_null(&entry, "ServiceTags")?)
        }
    })
}

/// A row as transactions show it: with null for a list that is empty.
fn with_null<T: Serialize>(row: &T, list: &str) -> Result<Value, Error> {
    let mut shown =
        serde_json::to_value(row).map_err(|error| Error::internal(error.to_string()))?;
    if let Some(field) = shown.get_mut(list)
        && field.as_array().is_some_and(Vec::is_empty)
    {
        *field = Value::Null;
    }
    Ok(shown)
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
fn operations(
    asked: &Asked<'_>,
    posted: Vec<Posted>,
) -> Result<Result<Vec<Operation>, Vec<Failed>>, Error> {
    let mut operations = Vec::with_capacity(posted.len());
    let mut failed = Vec::new();
    for (op_index, posted) in posted.into_iter().enumerate() {
        match operation(asked, posted)? {
            Ok(operation) => operations.push(operation),
            Err(what) => failed.push(Failed { op_index, what }),
        }
    }
    Ok(if failed.is_empty() {
        Ok(operations)
    } else {
        Err(failed)
    })
}

/// An operation, or what is wrong with it.
fn operation(asked: &Asked<'_>, posted: Posted) -> Result<Result<Operation, String>, Error> {
    if let Some(key) = posted.key {
        return key_operation(key);
    }
    if let Some(row) = posted.node {
        return node_operation(asked, row);
    }
    if let Some(row) = posted.service {
        return service_operation(row);
    }
    if let Some(row) = posted.check {
        return check_operation(row);
    }
    if posted.session.is_some() {
        return Err(not_parsed("json: unknown field \"Session\""));
    }
    Ok(Err("unknown operation type".to_owned()))
}

fn key_operation(posted: PostedKey) -> Result<Result<Operation, String>, Error> {
    let value = STANDARD.decode(&posted.value).map_err(not_parsed)?;
    let Some(verb) = verb::<KeyVerb>(&posted.verb) else {
        return Ok(Err(format!("unknown KV verb {:?}", posted.verb)));
    };
    Ok(Ok(Operation::Key(KeyOperation {
        verb,
        key: posted.key,
        value,
        flags: posted.flags,
        index: posted.index,
        session: posted.session.or_none(),
    })))
}

fn node_operation(asked: &Asked<'_>, row: PostedRow) -> Result<Result<Operation, String>, Error> {
    let catalog = asked.catalog;
    let node: PostedNode = object(row.node)?;
    let Some(verb) = verb(&row.verb) else {
        return Ok(Err(format!("unknown node operation: {}", row.verb)));
    };
    if node.node.is_empty() && (verb != RowVerb::Get || node.id.is_empty()) {
        return Ok(Err("Must provide node".to_owned()));
    }
    if !node.id.is_empty() && node.id.len() != refusals::ID_CHARACTERS {
        let wrong = "Bad node ID: uuid string is wrong length";
        return Ok(Err(wrong.to_owned()));
    }
    if verb != RowVerb::Get
        && let Some(problem) = renames_agent(catalog, &node.node, &node.id)
    {
        return Ok(Err(problem));
    }
    if lacks_datacenter(catalog, &node.datacenter, &node.node) {
        return Ok(Err(NO_DATACENTER.to_owned()));
    }
    let datacenter = match node.datacenter {
        posted if posted.is_empty() => asked.datacenter.clone(),
        posted => posted,
    };
    Ok(Ok(Operation::Node(Box::new(NodeOperation {
        verb,
        keep: runs_agent(catalog, &node.node),
        node: Node {
            id: node.id,
            name: node.node,
            address: node.address,
            datacenter,
            meta: node.meta,
            tagged_addresses: node.tagged_addresses,
            create_index: 0,
            modify_index: node.modify_index,
        },
    }))))
}

fn service_operation(row: PostedRow) -> Result<Result<Operation, String>, Error> {
    let node: NodeName = object(row.node)?;
    let version: OfNode = version(&row.service)?;
    let posted: PostedService = object(row.service)?;
    let Some(verb) = verb(&row.verb) else {
        return Ok(Err(format!("unknown service operation: {}", row.verb)));
    };
    if verb != RowVerb::Get {
        if posted.name.is_empty() && !posted.id.is_empty() {
            let wrong = "Must provide service name (Service.Service) when service ID is provided";
            return Ok(Err(wrong.to_owned()));
        }
        if posted.is_at_no_address() {
            return Ok(Err("Invalid service address".to_owned()));
        }
    }
    Ok(Ok(Operation::Service(Box::new(ServiceOperation {
        verb,
        service: Service {
            node,
            modify_index: version.modify_index,
            ..posted.catalog_service()?
        },
    }))))
}

fn check_operation(row: PostedRow) -> Result<Result<Operation, String>, Error> {
    let of: OfNode = version(&row.check)?;
    let posted: PostedCheck = object(row.check)?;
    let Some(verb) = verb(&row.verb) else {
        return Ok(Err(format!("unknown check operation: {}", row.verb)));
    };
    if of.node.is_empty() {
        return Ok(Err("Must provide node".to_owned()));
    }
    Ok(Ok(Operation::Check(Box::new(CheckOperation {
        verb,
        check: Check {
            node: of.node,
            modify_index: of.modify_index,
            ..posted.catalog_check()?
        },
    }))))
}

/// What a row says besides what it is; the object is looked at again as a whole.
fn version(value: &Value) -> Result<OfNode, Error> {
    object(value.clone())
}

/// What is null is as what was never given.
fn object<T: DeserializeOwned + Default>(value: Value) -> Result<T, Error> {
    if value.is_null() {
        return Ok(T::default());
    }
    decode::decode(value).map_err(not_parsed)
}

fn verb<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(Value::from(word)).ok()
}
