//! Instances of services that jobs keep to themselves: those with `provider = "nomad"`.

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::{delete, get},
};
use mesh::{model::Service, view::Table};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use super::query::Query;
use crate::{Api, error::Error};
use server::{Snapshot, log::watch::Topic};

/// The endpoints of services.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/services", get(list))
        .route("/v1/service/{name}", get(read))
        .route("/v1/service/{name}/{id}", delete(refuse_deletion))
}

/// The services of a namespace.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Names {
    namespace: String,
    services: Vec<Name>,
}

/// A service and the tags of all its instances.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Name {
    service_name: String,
    tags: BTreeSet<String>,
}

/// An instance.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Registration {
    #[serde(rename = "ID")]
    id: String,
    service_name: String,
    namespace: String,
    #[serde(rename = "NodeID")]
    node_id: String,
    datacenter: String,
    #[serde(rename = "JobID")]
    job_id: String,
    #[serde(rename = "AllocID")]
    alloc_id: String,
    tags: Vec<String>,
    address: String,
    port: u16,
    create_index: u64,
    modify_index: u64,
}

/// `GET /v1/services`
async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let view = |snapshot: &Snapshot| {
        let mut spaces: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        let rows = registrations(snapshot)
            .filter(|row| query.wants(&row.namespace))
            .filter(|row| row.service_name.starts_with(&query.prefix));
        for row in rows {
            let names = spaces.entry(row.namespace).or_default();
            names.entry(row.service_name).or_default().extend(row.tags);
        }
        let names = |(namespace, services): (String, BTreeMap<String, BTreeSet<String>>)| Names {
            namespace,
            services: services
                .into_iter()
                .map(|(service_name, tags)| Name { service_name, tags })
                .collect(),
        };
        Ok(spaces.into_iter().map(names).collect::<Vec<_>>())
    };
    let topics = [Topic::Mesh(Table::Services)];
    api.read(&query, topics, services_index, view).await
}

/// `GET /v1/service/:name`
async fn read(
    State(api): State<Api>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    if query.get("choose").is_some() {
        return Err(Error::absent("choosing among the instances of a service"));
    }
    let view = |snapshot: &Snapshot| {
        let rows = registrations(snapshot)
            .filter(|row| query.wants(&row.namespace) && row.service_name == name);
        query.page(rows, |row| (row.namespace.as_str().into(), row.id.clone()))
    };
    let topics = [Topic::Mesh(Table::Services)];
    api.read_page(&query, topics, services_index, view).await
}

/// `DELETE /v1/service/:name/:id`: an instance is there as long as its allocation, so there is none
/// left over that one would have to take away.
async fn refuse_deletion(
    State(api): State<Api>,
    Path((name, id)): Path<(String, String)>,
    query: Query,
) -> Error {
    let snapshot = api.server().snapshot();
    let mut rows = registrations(&snapshot).filter(|row| query.wants(&row.namespace));
    match rows.find(|row| row.service_name == name && row.id == id) {
        Some(row) => Error::bad_request(format!(
            "the registration goes with its allocation {}: stop that instead",
            row.alloc_id
        )),
        None => Error::not_found("service registration not found"),
    }
}

fn services_index(snapshot: &Snapshot) -> u64 {
    snapshot.mesh.table_index(Table::Services)
}

/// Every instance whose job asks for this provider, by node and id; leaving ones are left out.
fn registrations(snapshot: &Snapshot) -> impl Iterator<Item = Registration> {
    let rows = snapshot.mesh.all_services().filter(|row| !row.draining);
    rows.filter_map(|row| registration(snapshot, row))
}

/// An instance as this dialect shows it; none if its job does not ask for this provider, or its
/// allocation is gone.
pub(super) fn registration(snapshot: &Snapshot, row: &Service) -> Option<Registration> {
    let origin = row.origin.as_ref().filter(|origin| origin.private)?;
    let alloc = snapshot.jobs.alloc(origin.alloc_id.parse().ok()?)?;
    let node = snapshot.jobs.node(alloc.node_id)?;
    Some(Registration {
        id: row.id.to_string(),
        service_name: row.name.to_string(),
        namespace: origin.namespace.to_string(),
        node_id: alloc.node_id.to_string(),
        datacenter: node.datacenter.clone(),
        job_id: origin.job_id.to_string(),
        alloc_id: origin.alloc_id.to_string(),
        tags: row.tags.clone(),
        address: row.address.clone(),
        port: row.port,
        create_index: row.create_index,
        modify_index: row.modify_index,
    })
}
