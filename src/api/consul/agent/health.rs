//! How services of this agent are, told by the status code: for load balancers that ask one agent.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mesh::model::Status;
use mesh::wire::{AgentService, HealthCheck, go_duration};
use serde::Serialize;
use serde_json::{Value, json};

use super::{NODE_MAINTENANCE, SERVICE_MAINTENANCE, all_checks, all_services};
use crate::consul::Catalog;
use crate::consul::query::{Query, json as answer};
use crate::error::Error;

/// How an instance or a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Aggregated {
    Passing,
    Warning,
    Critical,
    Maintenance,
}

impl Aggregated {
    fn of(checks: &[HealthCheck]) -> Self {
        let of_check = |check: &HealthCheck| {
            let id = check.check_id.as_str();
            match check.status {
                _ if id == NODE_MAINTENANCE || id.starts_with(SERVICE_MAINTENANCE) => {
                    Self::Maintenance
                }
                Status::Passing => Self::Passing,
                Status::Warning => Self::Warning,
                Status::Critical => Self::Critical,
            }
        };
        checks.iter().map(of_check).max().unwrap_or(Self::Passing)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Maintenance => "maintenance",
        }
    }

    fn code(self) -> StatusCode {
        match self {
            Self::Passing => StatusCode::OK,
            Self::Warning => StatusCode::TOO_MANY_REQUESTS,
            Self::Critical | Self::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// An instance with its checks and what they say together.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    aggregated_status: &'static str,
    service: Option<AgentService>,
    checks: Option<Vec<Value>>,
}

pub(super) async fn by_id(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Error> {
    let service = all_services(&catalog).remove(id.as_str());
    let Some(service) = service else {
        let reason = format!("ServiceId {id} not found");
        let missing = Entry {
            aggregated_status: "critical",
            service: None,
            checks: None,
        };
        return reply(&headers, &query, StatusCode::NOT_FOUND, &reason, &missing);
    };
    let (status, entry) = entry(&catalog, service);
    reply(&headers, &query, status.code(), status.word(), &entry)
}

pub(super) async fn by_name(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Error> {
    let services = all_services(&catalog).into_values();
    let named = services.filter(|service| service.service == name);
    let (states, entries): (Vec<_>, Vec<_>) = named.map(|service| entry(&catalog, service)).unzip();
    match states.into_iter().max() {
        Some(worst) => reply(&headers, &query, worst.code(), worst.word(), &entries),
        None => {
            let reason = format!("ServiceName {name} Not Found");
            reply(&headers, &query, StatusCode::NOT_FOUND, &reason, &entries)
        }
    }
}

fn entry(catalog: &Catalog, service: AgentService) -> (Aggregated, Entry) {
    let checks: Vec<HealthCheck> = all_checks(catalog)
        .into_values()
        .filter(|check| check.service_id.is_empty() || check.service_id == service.id)
        .collect();
    let status = Aggregated::of(&checks);
    let entry = Entry {
        aggregated_status: status.word(),
        service: Some(service),
        checks: Some(checks.iter().map(spelled).collect()),
    };
    (status, entry)
}

/// A check whose definition spells out that nothing is set.
fn spelled(check: &HealthCheck) -> Value {
    let nothing = go_duration(Duration::ZERO);
    let definition = json!({
        "Interval": nothing,
        "Timeout": nothing,
        "DeregisterCriticalServiceAfter": nothing,
        "HTTP": "",
        "Header": null,
        "Method": "",
        "Body": "",
        "TLSServerName": "",
        "TLSSkipVerify": false,
        "TCP": "",
        "UDP": "",
        "GRPC": "",
        "OSService": "",
        "GRPCUseTLS": false,
    });
    let mut spelled = json!(check);
    if let Some(map) = spelled.as_object_mut() {
        map.insert("Definition".to_owned(), definition);
    }
    spelled
}

fn reply<T: Serialize>(
    headers: &HeaderMap,
    query: &Query,
    code: StatusCode,
    reason: &str,
    body: &T,
) -> Result<Response, Error> {
    let accepts_text = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes() == b"text/plain");
    let mut response = if accepts_text || query.parameters.value("format") == Some("text") {
        reason.to_owned().into_response()
    } else {
        answer(query, body)?
    };
    *response.status_mut() = code;
    if let Ok(reason) = HeaderValue::from_str(reason) {
        response.headers_mut().insert("x-consul-reason", reason);
    }
    Ok(response)
}
