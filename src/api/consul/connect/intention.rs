//! Intentions: who may talk to whom.
//!
//! They are kept as `service-intentions` entries, one per destination. Those written one by one
//! through the older forms of this API have an id and times; an entry that was edited as a whole
//! has none, and the older forms leave it alone.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jobs::spec::list_errors;
use mesh::intention::{self, Intention, Legacy, Verdict};
use mesh::model::ConfigKey;
use mesh::state::Snapshot;
use mesh::view::{Table, View};
use mesh::wire::IntentionEntry;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Catalog, only, read};
use crate::body::Raw;
use crate::consul::query::{Query, answer_from_server, json as answer_json};
use crate::consul::{config, decode, refusals};
use crate::error::Error;
use server::log::watch::Topic;

/// How often a write is tried again when somebody else changed the entry meanwhile.
const TRIES_MAX: usize = 32;
/// Fields that only intentions have that were written one by one.
const LEGACY: [&str; 4] = [
    "LegacyID",
    "LegacyMeta",
    "LegacyCreateTime",
    "LegacyUpdateTime",
];

pub(super) fn router() -> Router<Catalog> {
    let all = only(get(list).post(create), "OPTIONS,GET,POST");
    let rest = "OPTIONS,GET,PUT,DELETE";
    Router::new()
        .route("/v1/connect/intentions", all)
        .route(
            "/v1/connect/intentions/exact",
            only(get(exact).put(put_exact).delete(delete_exact), rest),
        )
        .route("/v1/connect/intentions/match", read(matching))
        .route("/v1/connect/intentions/check", read(check))
        .route(
            "/v1/connect/intentions/{id}",
            only(get(by_id).put(put_by_id).delete(delete_by_id), rest),
        )
}

/// An intention as it is posted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Posted {
    #[serde(rename = "ID")]
    id: String,
    description: String,
    source_name: String,
    source_type: String,
    destination_name: String,
    action: String,
    permissions: Option<Vec<Value>>,
    meta: Map<String, Value>,
}

impl Posted {
    /// Everything that is wrong with it, in the words that clients know.
    fn check(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        for (field, name) in [
            ("SourceName", &self.source_name),
            ("DestinationName", &self.destination_name),
        ] {
            if name.is_empty() {
                problems.push(format!("{field} must be set"));
            } else if name != intention::ANY && name.contains('*') {
                problems.push(format!(
                    "{field}: wildcard character '*' cannot be used with partial values"
                ));
            }
        }
        if !matches!(self.source_type.as_str(), "" | "consul") {
            problems.push("SourceType must be set to 'consul'".to_owned());
        }
        if !matches!(self.action.as_str(), "allow" | "deny") {
            problems.push("Action must be set to 'allow' or 'deny'".to_owned());
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::internal(list_errors(&problems)))
    }

    /// The source as its entry has it.
    fn source(&self, legacy: Option<&Legacy>) -> Value {
        let mut source = Map::new();
        source.insert("Name".to_owned(), self.source_name.clone().into());
        if !self.action.is_empty() {
            source.insert("Action".to_owned(), self.action.clone().into());
        }
        if let Some(permissions) = &self.permissions {
            source.insert("Permissions".to_owned(), permissions.clone().into());
        }
        source.insert("Type".to_owned(), "consul".into());
        if !self.description.is_empty() {
            source.insert("Description".to_owned(), self.description.clone().into());
        }
        if let Some(legacy) = legacy {
            source.insert("LegacyID".to_owned(), legacy.id.clone().into());
            if !legacy.meta.is_empty() {
                source.insert("LegacyMeta".to_owned(), legacy.meta.clone().into());
            }
            source.insert("LegacyCreateTime".to_owned(), legacy.created.clone().into());
            source.insert("LegacyUpdateTime".to_owned(), legacy.updated.clone().into());
        }
        Value::Object(source)
    }
}

fn shown(row: &Intention) -> IntentionEntry {
    let mut entry = IntentionEntry::from(row);
    if row.legacy.is_some() {
        let text = format!(
            "{}\n{}\n{}\n{}\n{}\n{}",
            entry.id,
            entry.description,
            entry.source_name,
            entry.destination_name,
            entry.action,
            json!(entry.meta)
        );
        entry.hash = STANDARD.encode(Sha256::digest(text));
    }
    entry
}

/// A name without its namespace, of which there is one.
fn plain<'a>(role: &str, name: &'a str) -> Result<&'a str, Error> {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        [name] | ["default", name] | ["default", "default", name] => Ok(name),
        [_, _] | [_, _, _] => Err(Error::bad_request(format!(
            "{role} {name:?} is invalid: Namespaces are a Consul Enterprise feature"
        ))),
        _ => Err(Error::internal(format!(
            "{role} {name:?} is invalid: input can contain at most two '/'"
        ))),
    }
}

fn required<'a>(query: &'a Query, name: &'a str) -> Result<&'a str, Error> {
    let value = query.parameters.value(name);
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Error::internal(format!("required query parameter '{name}' not set")))
}

/// Source and destination that a request is about.
fn pair(query: &Query) -> Result<(&str, &str), Error> {
    let source = plain("source", required(query, "source")?)?;
    let destination = plain("destination", required(query, "destination")?)?;
    Ok((source, destination))
}

fn id_of(text: &str) -> Result<&str, Error> {
    if text.len() == refusals::ID_CHARACTERS {
        return Ok(text);
    }
    Err(Error::bad_request(
        "failed config entry lookup: index error: UUID must be 36 characters",
    ))
}

async fn answer(
    catalog: &Catalog,
    query: &Query,
    show: impl FnOnce(&View) -> Result<Response, Error>,
) -> Result<Response, Error> {
    let topics = [Topic::Mesh(Table::ConfigEntries)];
    let index = |snapshot: &Snapshot| snapshot.table_index(Table::ConfigEntries);
    answer_from_server(catalog, query, topics, index, |snapshot| {
        show(snapshot.view())
    })
    .await
}

async fn list(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let wanted = query.wanted::<IntentionEntry>()?;
    answer(&catalog, &query, |view| {
        let rows = intention::all(view);
        answer_json(&query, &wanted.of(rows.iter().map(shown)))
    })
    .await
}

async fn by_id(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let id = id_of(&id)?;
    answer(&catalog, &query, |view| {
        let found = with_id(view, id);
        let found = found.ok_or_else(|| Error::not_found("Intention not found"))?;
        answer_json(&query, &shown(&found))
    })
    .await
}

fn with_id(view: &View, id: &str) -> Option<Intention> {
    let has_id = |row: &Intention| row.legacy.as_ref().is_some_and(|legacy| legacy.id == id);
    intention::all(view).into_iter().find(has_id)
}

async fn exact(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let (source, destination) = pair(&query)?;
    answer(&catalog, &query, |view| {
        let mut rows = intention::all(view).into_iter();
        let found = rows.find(|row| row.source == source && row.destination == destination);
        let found = found.ok_or_else(|| Error::not_found("Intention not found"))?;
        answer_json(&query, &shown(&found))
    })
    .await
}

async fn matching(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let find = match required(&query, "by")? {
        "source" => intention::from_source,
        "destination" => intention::to_destination,
        _ => {
            return Err(Error::internal(
                "'by' parameter must be one of 'source' or 'destination'",
            ));
        }
    };
    required(&query, "name")?;
    let names: Result<Vec<(&str, &str)>, Error> = query
        .parameters
        .all("name")
        .map(|name| Ok((name, plain("name", name)?)))
        .collect();
    let names = names?;
    answer(&catalog, &query, |view| {
        let rows = names.into_iter().map(|(asked, name)| {
            let found: Vec<IntentionEntry> = find(view, name).iter().map(shown).collect();
            (asked, (!found.is_empty()).then_some(found))
        });
        answer_json(&query, &rows.collect::<BTreeMap<_, _>>())
    })
    .await
}

async fn check(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let (source, destination) = pair(&query)?;
    let kind = query.parameters.value("source-type").unwrap_or_default();
    if !matches!(kind, "" | "consul") {
        return Err(Error::internal(format!("unsupported SourceType: {kind:?}")));
    }
    answer(&catalog, &query, |view| {
        let found = intention::decisive(view, source, destination);
        let is_allowed = found.is_none_or(|row| row.verdict == Verdict::Allow);
        answer_json(&query, &json!({ "Allowed": is_allowed }))
    })
    .await
}

/// Changes the entry of a destination until nobody else changed it meanwhile. `change` gets its
/// sources and says what it answers.
async fn edit<T>(
    catalog: &Catalog,
    destination: &str,
    mut change: impl FnMut(&mut Vec<Value>) -> Result<T, Error>,
) -> Result<T, Error> {
    let key = ConfigKey {
        kind: intention::KIND.to_owned(),
        name: destination.to_owned(),
    };
    for _ in 0..TRIES_MAX {
        catalog.server().read_barrier().await?;
        let snapshot = catalog.server().snapshot();
        let row = snapshot.mesh.config_entry(&key);
        let mut entry: Map<String, Value> = row
            .and_then(|row| serde_json::from_str(&row.body).ok())
            .unwrap_or_default();
        let mut sources = match entry.remove("Sources") {
            Some(Value::Array(sources)) => sources,
            _ => Vec::new(),
        };
        let answer = change(&mut sources)?;
        let is_empty = sources.is_empty();
        entry.insert("Kind".to_owned(), key.kind.clone().into());
        entry.insert("Name".to_owned(), key.name.clone().into());
        entry.insert("Sources".to_owned(), sources.into());
        let is_written = match row.map(|row| row.modify_index) {
            None if is_empty => true,
            Some(version) if is_empty => {
                config::remove(catalog, key.clone(), Some(version)).await?
            }
            version => {
                let entry = config::canonical(intention::KIND, entry)?;
                let expected = Some(version.unwrap_or(0));
                config::store(catalog, intention::KIND, entry, expected).await?
            }
        };
        if is_written {
            return Ok(answer);
        }
    }
    Err(Error::busy(
        "the intentions of the destination change too fast",
    ))
}

async fn create(State(catalog): State<Catalog>, query: Query, raw: Raw) -> Result<Response, Error> {
    let posted: Posted = decode::parse(&raw)
        .map_err(|error| Error::internal(format!("Failed to decode request body: {error}")))?;
    if !posted.id.is_empty() {
        return Err(Error::internal(
            "ID must be empty when creating a new intention",
        ));
    }
    posted.check()?;
    let legacy = Legacy {
        id: sys::random::uuid(),
        meta: posted.meta.clone(),
        created: now(),
        updated: now(),
    };
    let source = posted.source(Some(&legacy));
    edit(&catalog, &posted.destination_name, |sources| {
        require_legacy(sources, &posted.destination_name)?;
        sources.push(source.clone());
        Ok(())
    })
    .await?;
    answer_json(&query, &json!({ "ID": legacy.id }))
}

/// Entries that were edited as a whole are left to those who edit them so.
fn require_legacy(sources: &[Value], destination: &str) -> Result<(), Error> {
    if sources.iter().all(|source| source["LegacyID"].is_string()) {
        return Ok(());
    }
    Err(Error::internal(format!(
        "Cannot use legacy intention API to edit intentions with a destination of {destination:?} after editing them \
         via a service-intentions config entry"
    )))
}

fn now() -> String {
    let nanos = i128::from(sys::clock::now().as_nanos());
    let now = jiff::Timestamp::from_nanosecond(nanos).unwrap_or_default();
    now.to_string()
}

/// The intention that a request by id is about.
fn known(catalog: &Catalog, verb: &str, id: &str) -> Result<(Intention, Legacy), Error> {
    id_of(id).map_err(|_| {
        Error::internal(
            "Intention lookup failed: failed config entry lookup: index error: UUID must be 36 characters",
        )
    })?;
    let snapshot = catalog.server().snapshot();
    let found = with_id(snapshot.mesh.view(), id);
    let found = found.and_then(|row| Some((row.clone(), row.legacy?)));
    found.ok_or_else(|| Error::internal(format!("Cannot {verb} non-existent intention: '{id}'")))
}

async fn put_by_id(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    query: Query,
    raw: Raw,
) -> Result<Response, Error> {
    let posted: Posted = decode::parse(&raw)
        .map_err(|error| Error::bad_request(format!("Request decode failed: {error}")))?;
    let (row, legacy) = known(&catalog, "modify", &id)?;
    posted.check()?;
    if posted.destination_name != row.destination {
        return Err(Error::internal(
            "Cannot modify Destination partition/namespace/name for an intention once it exists.",
        ));
    }
    let legacy = Legacy {
        meta: posted.meta.clone(),
        updated: now(),
        ..legacy
    };
    let source = posted.source(Some(&legacy));
    edit(&catalog, &row.destination, |sources| {
        let stored = sources.iter_mut().find(|source| source["LegacyID"] == id);
        let stored = stored.ok_or_else(|| {
            Error::internal(format!("Cannot modify non-existent intention: '{id}'"))
        })?;
        *stored = source.clone();
        Ok(())
    })
    .await?;
    answer_json(&query, &json!({ "ID": id }))
}

async fn delete_by_id(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let (row, _) = known(&catalog, "delete", &id)?;
    edit(&catalog, &row.destination, |sources| {
        sources.retain(|source| source["LegacyID"] != id);
        Ok(())
    })
    .await?;
    answer_json(&query, &true)
}

async fn put_exact(
    State(catalog): State<Catalog>,
    query: Query,
    raw: Raw,
) -> Result<Response, Error> {
    let (source, destination) = pair(&query)?;
    let mut posted: Posted = decode::body(&raw)?;
    if !posted.meta.is_empty() {
        return Err(Error::internal("Meta must not be specified"));
    }
    source.clone_into(&mut posted.source_name);
    let new = posted.source(None);
    edit(&catalog, destination, |sources| {
        forget_legacy(sources);
        match sources.iter_mut().find(|known| known["Name"] == source) {
            Some(known) => *known = new.clone(),
            None => sources.push(new.clone()),
        }
        Ok(())
    })
    .await?;
    answer_json(&query, &true)
}

async fn delete_exact(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let (source, destination) = pair(&query)?;
    edit(&catalog, destination, |sources| {
        sources.retain(|known| known["Name"] != source);
        Ok(())
    })
    .await?;
    answer_json(&query, &true)
}

/// Takes away what only intentions have that were written one by one.
fn forget_legacy(sources: &mut [Value]) {
    for source in sources.iter_mut().filter_map(Value::as_object_mut) {
        for field in LEGACY {
            source.remove(field);
        }
    }
}
