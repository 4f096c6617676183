//! Services and checks that are registered with this agent, and what is said of them.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use mesh::model::{Check, CheckDefinition, CheckId, Status};
use serde::Deserialize;

use super::definition::{PostedCheck, PostedService};
use super::{NODE_MAINTENANCE, SERVICE_MAINTENANCE, metadata};
use crate::body::Raw;
use crate::consul::decode::body;
use crate::consul::query::Query;
use crate::consul::{Catalog, write};
use crate::error::Error;
use client::{RegisterError, Registered};

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/agent/service/register", write(register_service))
        .route(
            "/v1/agent/service/deregister/{*id}",
            write(deregister_service),
        )
        .route(
            "/v1/agent/service/maintenance/{*id}",
            write(service_maintenance),
        )
        .route("/v1/agent/maintenance", write(node_maintenance))
        .route("/v1/agent/check/register", write(register_check))
        .route("/v1/agent/check/deregister/{*id}", write(deregister_check))
        .route("/v1/agent/check/pass/{*id}", write(pass))
        .route("/v1/agent/check/warn/{*id}", write(warn))
        .route("/v1/agent/check/fail/{*id}", write(fail))
        .route("/v1/agent/check/update/{*id}", write(update))
}

fn registered(catalog: &Catalog) -> Result<&Registered, Error> {
    catalog.registered().ok_or_else(|| {
        Error::new(
            StatusCode::NOT_IMPLEMENTED,
            "this agent runs nothing; register with one that has a client part",
        )
    })
}

fn refused(error: RegisterError) -> Error {
    match error {
        RegisterError::Local(mesh::local::Error::UnknownService { id }) => {
            Error::not_found(format!("ServiceID {id:?} does not exist"))
        }
        RegisterError::Local(error) => Error::internal(error.to_string()),
        RegisterError::Full => Error::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        RegisterError::File(_) => Error::internal(error.to_string()),
    }
}

async fn register_service(
    State(catalog): State<Catalog>,
    query: Query,
    raw: Raw,
) -> Result<(), Error> {
    let mut posted: PostedService = body(&raw)?;
    if posted.name.is_empty() {
        return Err(Error::bad_request("Missing service name"));
    }
    let registered = registered(&catalog)?;
    let sidecar = posted.take_sidecar(registered)?;
    let sidecar = match sidecar {
        Some(sidecar) => Some((sidecar.service()?, sidecar.named_checks(catalog.scripts())?)),
        None => None,
    };
    let service = posted.service()?;
    if posted.is_at_no_address() {
        return Err(Error::bad_request("Invalid service address"));
    }
    metadata::check_service(&service.meta)?;
    let checks = posted.named_checks(catalog.scripts())?;
    let replaces = query
        .parameters
        .switch("replace-existing-checks", |_| {
            Error::bad_request("Invalid value for replace-existing-checks")
        })?
        .unwrap_or(false);
    registered
        .register_service(service, checks, replaces)
        .await
        .map_err(refused)?;
    if let Some((service, checks)) = sidecar {
        registered
            .register_service(service, checks, replaces)
            .await
            .map_err(refused)?;
    }
    Ok(())
}

/// An unknown id is no error: clients deregister when they end, whatever happened before.
async fn deregister_service(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    _query: Query,
) -> Result<(), Error> {
    let registered = registered(&catalog)?;
    let removed = registered.deregister_service(&id).await;
    if !removed.map_err(refused)? {
        return Err(unknown_service(&id));
    }
    let sidecar = PostedService::sidecar_id(&id);
    let removed = registered.deregister_service(&sidecar).await;
    removed.map(|_| ()).map_err(refused)
}

async fn register_check(
    State(catalog): State<Catalog>,
    _query: Query,
    raw: Raw,
) -> Result<(), Error> {
    let posted: PostedCheck = body(&raw)?;
    if posted.name().is_empty() {
        return Err(Error::bad_request("Missing check name"));
    }
    let (mut check, definition) = posted.check(catalog.scripts())?;
    if check.id.is_empty() {
        check.id = CheckId::from(&check.name);
    }
    registered(&catalog)?
        .register_check(check, definition)
        .await
        .map_err(refused)
}

async fn deregister_check(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    _query: Query,
) -> Result<(), Error> {
    let registered = registered(&catalog)?;
    if !registered.has_check(&id) {
        return Err(unknown_check(&id));
    }
    let removed = registered.deregister_check(&id).await;
    removed.map_err(refused)
}

fn unknown_service(id: &str) -> Error {
    Error::not_found(format!(
        "Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name."
    ))
}

fn unknown_check(id: &str) -> Error {
    Error::not_found(format!(
        "Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name."
    ))
}

async fn pass(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    query: Query,
) -> Result<(), Error> {
    heard(&catalog, &id, Status::Passing, note(&query)).await
}

async fn warn(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    query: Query,
) -> Result<(), Error> {
    heard(&catalog, &id, Status::Warning, note(&query)).await
}

async fn fail(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    query: Query,
) -> Result<(), Error> {
    heard(&catalog, &id, Status::Critical, note(&query)).await
}

fn note(query: &Query) -> String {
    query
        .parameters
        .value("note")
        .unwrap_or_default()
        .to_owned()
}

/// What is said of a check.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Said {
    status: String,
    output: String,
}

async fn update(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    _query: Query,
    raw: Raw,
) -> Result<(), Error> {
    let said: Said = body(&raw)?;
    let status = said
        .status
        .parse()
        .map_err(|_| Error::bad_request(format!("Invalid check status: '{}'", said.status)))?;
    heard(&catalog, &id, status, said.output).await
}

async fn heard(catalog: &Catalog, id: &str, status: Status, output: String) -> Result<(), Error> {
    let registered = registered(catalog)?;
    if !registered.has_check(id) {
        return Err(unknown_check(id));
    }
    let heard = registered.heard(id, status, output).await;
    heard.map_err(|_| Error::internal(format!("CheckID {id:?} does not have associated TTL")))
}

async fn service_maintenance(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    query: Query,
) -> Result<(), Error> {
    let registered = registered(&catalog)?;
    if !registered.has_service(&id) {
        return Err(unknown_service(&id));
    }
    let check = Check {
        id: format!("{SERVICE_MAINTENANCE}{id}").into(),
        name: "Service Maintenance Mode".to_owned(),
        notes: reason(&query, "service"),
        service_id: Some(id.into()),
        ..maintenance()
    };
    maintain(registered, &query, check).await
}

async fn node_maintenance(State(catalog): State<Catalog>, query: Query) -> Result<(), Error> {
    let check = Check {
        id: NODE_MAINTENANCE.into(),
        name: "Node Maintenance Mode".to_owned(),
        notes: reason(&query, "node"),
        ..maintenance()
    };
    maintain(registered(&catalog)?, &query, check).await
}

fn maintenance() -> Check {
    Check {
        kind: "maintenance".to_owned(),
        status: Status::Critical,
        ..Check::default()
    }
}

fn reason(query: &Query, noun: &str) -> String {
    let given = query.parameters.get("reason").map(str::to_owned);
    given.unwrap_or_else(|| {
        format!(
            "Maintenance mode is enabled for this {noun}, but no reason was provided. This is a default message."
        )
    })
}

async fn maintain(registered: &Registered, query: &Query, check: Check) -> Result<(), Error> {
    let invalid = |value: &str| Error::bad_request(format!("Invalid value for enable: {value:?}"));
    let given = query.parameters.get("enable");
    let enable = given.map(|_| query.parameters.switch("enable", invalid));
    match enable.transpose()?.flatten() {
        None => Err(Error::bad_request("Missing value for enable")),
        Some(true) => registered
            .register_check(check, CheckDefinition::default())
            .await
            .map_err(refused),
        Some(false) => registered
            .deregister_check(&check.id)
            .await
            .map_err(refused),
    }
}
