//! Configuration entries: what operators say about how services speak to each other.
//!
//! They are checked here, stored in the log and held by every agent. An entry that makes a chain of
//! which the parts do not fit together is refused ([`mesh::chain`]), and so is the removal of one
//! that others need.

mod kinds;
mod rollout;
mod rows;
mod shape;
mod validate;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::Response;
use axum::routing::get;
use mesh::chain::{self, Entries};
use mesh::intention;
use mesh::model::{ConfigEntry, ConfigKey};
use mesh::state::{Command, DeleteConfigEntry, PutConfigEntry, Rejected, Snapshot};
use mesh::view::{Table, View};
use serde_json::{Map, Value, json};

use super::query::{Query, answer_from_server, json as answer_json};
use super::{Catalog, only, refusals, write};
use crate::body::Raw;
use crate::error::Error;
use rows::ServiceDefaults;
use server::log::watch::Topic;

/// Kinds whose entries make the chain of a service.
const CHAIN: [&str; 5] = [
    "service-defaults",
    "proxy-defaults",
    "service-router",
    "service-splitter",
    "service-resolver",
];

/// The one kind whose lists can be filtered.
const FILTERED: &str = "service-defaults";

/// What wakes readers.
const TOPICS: [Topic; 1] = [Topic::Mesh(Table::ConfigEntries)];
/// The same for those who read what rollouts say, too.
const ROLLOUT_TOPICS: [Topic; 2] = [
    Topic::Mesh(Table::ConfigEntries),
    Topic::Mesh(Table::Services),
];

pub(super) fn router() -> Router<Catalog> {
    let both = "OPTIONS,GET,DELETE";
    Router::new()
        .route("/v1/config", write(put))
        .route("/v1/config/{kind}", only(get(list).delete(no_name), both))
        .route(
            "/v1/config/{kind}/{*name}",
            only(get(one).delete(delete), both),
        )
}

/// The entries, with one of them as it would be.
struct Prospect<'a> {
    datacenter: &'a str,
    view: &'a View,
    key: &'a ConfigKey,
    entry: Option<&'a Value>,
}

impl Entries for Prospect<'_> {
    fn entry(&self, kind: &str, name: &str) -> Option<Value> {
        if self.key.kind == kind && self.key.name == name {
            return self.entry.cloned();
        }
        self.view.entry(kind, name)
    }
}

impl Prospect<'_> {
    /// Checks every service whose chain the entry may change.
    fn check(&self) -> Result<(), Error> {
        if !CHAIN.contains(&self.key.kind.as_str()) {
            return self.check_requests();
        }
        let rows = self.view.config_entries();
        let with_chain = rows.filter(|row| CHAIN.contains(&row.key.kind.as_str()));
        let mut services: Vec<&str> = with_chain.map(|row| row.key.name.as_str()).collect();
        services.push(&self.key.name);
        services.sort_unstable();
        services.dedup();
        for service in services {
            let request = chain::Request {
                service,
                datacenter: self.datacenter,
                ..chain::Request::default()
            };
            chain::compile(self, &request).map_err(|error| Error::internal(error.to_string()))?;
        }
        Ok(())
    }

    /// Who decides by request needs a protocol that has requests.
    fn check_requests(&self) -> Result<(), Error> {
        let Some(entry) = self.entry.filter(|_| self.key.kind == intention::KIND) else {
            return Ok(());
        };
        let sources = entry["Sources"].as_array().map_or(&[][..], Vec::as_slice);
        let by_request = |source: &Value| {
            let permissions = source["Permissions"].as_array();
            permissions.is_some_and(|permissions| !permissions.is_empty())
        };
        let service = &self.key.name;
        let protocol = chain::protocol(self, service);
        if service == intention::ANY
            || chain::HTTP_LIKE.contains(&protocol.as_str())
            || !sources.iter().any(by_request)
        {
            return Ok(());
        }
        Err(Error::internal(format!(
            "service {service:?} has protocol {protocol:?}, which is incompatible with L7 intentions permissions"
        )))
    }
}

/// What an entry says, with its indexes.
fn shown(row: &ConfigEntry) -> Value {
    let mut entry: Value = serde_json::from_str(&row.body).unwrap_or_else(|_| json!({}));
    if let Some(map) = entry.as_object_mut() {
        map.insert("CreateIndex".to_owned(), row.create_index.into());
        map.insert("ModifyIndex".to_owned(), row.modify_index.into());
    }
    entry
}

fn version(query: &Query) -> Result<Option<u64>, Error> {
    let Some(text) = query.parameters.value("cas") else {
        return Ok(None);
    };
    let version = text.parse();
    version.map(Some).map_err(|_| {
        Error::internal(format!(
            "strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

async fn put(State(catalog): State<Catalog>, query: Query, body: Raw) -> Result<Response, Error> {
    let posted: Map<String, Value> =
        serde_json::from_slice(body.bytes()).map_err(|error| undecoded(&error.to_string()))?;
    let kind = posted.get("Kind").or_else(|| posted.get("kind"));
    let Some(kind) = kind.and_then(Value::as_str).map(str::to_owned) else {
        let reason = "Payload does not contain a kind/Kind key at the top level";
        return Err(undecoded(reason));
    };
    if !shape::is_known(&kind) {
        return Err(undecoded(&format!("invalid config entry kind: {kind}")));
    }
    let entry = canonical(&kind, posted)?;
    let is_written = store(&catalog, &kind, entry, version(&query)?).await?;
    answer_json(&query, &is_written)
}

/// An entry with its keys as the API answers them.
///
/// # Errors
/// 400 with everything that is wrong with how it is written.
pub(super) fn canonical(kind: &str, entry: Map<String, Value>) -> Result<Value, Error> {
    shape::canonical(kind, entry).map_err(|problems| {
        let lines = problems.iter().map(|problem| format!("\t* {problem}\n"));
        let noun = if problems.len() == 1 {
            "error"
        } else {
            "errors"
        };
        let lines: String = lines.collect();
        undecoded(&format!("{} {noun} occurred:\n{lines}\n", problems.len()))
    })
}

fn undecoded(reason: &str) -> Error {
    Error::bad_request(format!("Request decoding failed: {reason}"))
}

/// Checks an entry whose keys are as the API answers them, and writes it. False when it has another
/// version than `expected`, 0 standing for none yet.
///
/// # Errors
/// The first thing that is wrong with it, alone or beside the other entries.
pub(super) async fn store(
    catalog: &Catalog,
    kind: &str,
    entry: Value,
    expected: Option<u64>,
) -> Result<bool, Error> {
    let mut entry = validate::normalized(kind, entry).map_err(Error::internal)?;
    let name = match (kind, entry["Name"].as_str()) {
        ("mesh", _) => "mesh",
        (_, name) => name.unwrap_or_default(),
    };
    let key = ConfigKey {
        kind: kind.to_owned(),
        name: name.to_owned(),
    };
    if let Some(map) = entry.as_object_mut() {
        for own in ["Hash", "CreateIndex", "ModifyIndex"] {
            map.remove(own);
        }
    }
    let snapshot = catalog.server().snapshot();
    let expected = if kind == rollout::KIND {
        rollout::take_mark(&mut entry);
        rollout::expected(&snapshot, &key, expected)
    } else {
        expected
    };
    let prospect = Prospect {
        datacenter: &catalog.agent().datacenter,
        view: snapshot.mesh.view(),
        key: &key,
        entry: Some(&entry),
    };
    prospect.check()?;
    let body = serde_json::to_string(&entry).map_err(|error| Error::internal(error.to_string()))?;
    let command = Command::PutConfigEntry(PutConfigEntry {
        key,
        body,
        expected_index: expected,
    });
    written(catalog, command).await
}

/// Removes an entry; false when it has another version than `expected`.
///
/// # Errors
/// When other entries need it.
pub(super) async fn remove(
    catalog: &Catalog,
    key: ConfigKey,
    expected: Option<u64>,
) -> Result<bool, Error> {
    let snapshot = catalog.server().snapshot();
    let prospect = Prospect {
        datacenter: &catalog.agent().datacenter,
        view: snapshot.mesh.view(),
        key: &key,
        entry: None,
    };
    prospect.check()?;
    let command = Command::DeleteConfigEntry(DeleteConfigEntry {
        key,
        expected_index: expected,
    });
    written(catalog, command).await
}

/// Writes; false when the entry has another version.
async fn written(catalog: &Catalog, command: Command) -> Result<bool, Error> {
    let (_, outcome) = catalog.server().propose(command).await?;
    match outcome {
        Ok(_) => Ok(true),
        Err(server::Rejected::Mesh(Rejected::IndexMismatch { .. })) => Ok(false),
        Err(rejected) => Err(refusals::of(rejected)),
    }
}

/// Refuses a kind that nobody knows.
fn known(kind: &str) -> Result<(), Error> {
    if shape::is_known(kind) {
        Ok(())
    } else {
        Err(Error::internal(format!(
            "invalid config entry kind: {kind}"
        )))
    }
}

async fn list(
    State(catalog): State<Catalog>,
    Path(kind): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    known(&kind)?;
    let has_filter = query.parameters.get("filter").is_some();
    if has_filter && kind != FILTERED {
        let message = format!("filtering not supported for config entry kind={kind}");
        return Err(Error::internal(message));
    }
    let wanted = query.wanted::<ServiceDefaults>()?;
    let wants = |row: &ConfigEntry| {
        let read = || serde_json::from_str(&row.body).unwrap_or_default();
        !has_filter || wanted.has(&read() as &ServiceDefaults)
    };
    let show = |snapshot: &Snapshot| {
        let rows = snapshot.config_entries();
        let rows = rows.filter(|row| row.key.kind == kind && wants(row));
        let rows: Vec<Value> = rows.map(|row| shown(row)).collect();
        answer_json(&query, &rows)
    };
    answer_from_server(&catalog, &query, TOPICS, index, show).await
}

fn index(snapshot: &Snapshot) -> u64 {
    snapshot.table_index(Table::ConfigEntries)
}

async fn one(
    State(catalog): State<Catalog>,
    Path((kind, name)): Path<(String, String)>,
    query: Query,
) -> Result<Response, Error> {
    known(&kind)?;
    let key = ConfigKey { kind, name };
    let show = |snapshot: &Snapshot| {
        let own = snapshot.config_entry(&key).map(|row| shown(row));
        let entry = own.or_else(|| rollout::entry(&catalog.server().snapshot(), &key));
        let ConfigKey { kind, name } = &key;
        let none = || format!("Config entry not found for {kind:?} / {name:?}");
        answer_json(&query, &entry.ok_or_else(|| Error::not_found(none()))?)
    };
    if key.kind == rollout::KIND {
        let index =
            |snapshot: &Snapshot| index(snapshot).max(snapshot.table_index(Table::Services));
        return answer_from_server(&catalog, &query, ROLLOUT_TOPICS, index, show).await;
    }
    answer_from_server(&catalog, &query, TOPICS, index, show).await
}

async fn no_name(method: Method) -> Error {
    let verb = method.as_str().to_ascii_lowercase();
    Error::not_found(format!("Must provide both a kind and name to {verb}"))
}

async fn delete(
    State(catalog): State<Catalog>,
    Path((kind, name)): Path<(String, String)>,
    query: Query,
) -> Result<Response, Error> {
    known(&kind)?;
    let key = ConfigKey { kind, name };
    let expected = version(&query)?;
    let is_removed = remove(&catalog, key, expected).await?;
    match expected {
        Some(_) => answer_json(&query, &is_removed),
        None => answer_json(&query, &json!({})),
    }
}
