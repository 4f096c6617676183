//! May the owner of a certificate connect to a service?

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::post;
use mesh::intention::{self, Intention, Verdict};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::{Catalog, only};
use crate::body::Raw;
use crate::consul::decode::body;
use crate::consul::query::{Query, json};
use crate::error::Error;

pub(super) fn router() -> Router<Catalog> {
    let path = "/v1/agent/connect/authorize";
    Router::new().route(path, only(post(authorize), "OPTIONS,POST"))
}

/// A question as it is posted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Posted {
    target: String,
    #[serde(rename = "ClientCertURI")]
    client_cert_uri: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    authorized: bool,
    reason: String,
}

async fn authorize(
    State(catalog): State<Catalog>,
    query: Query,
    raw: Raw,
) -> Result<Response, Error> {
    let posted: Posted = body(&raw)?;
    if posted.target.is_empty() {
        return Err(Error::bad_request("Target service must be specified"));
    }
    let source = service_of(&posted.client_cert_uri)?;
    let view = catalog.snapshot();
    let found = intention::decisive(&view, &source, &posted.target);
    let mut response = json(&query, &answer(found.as_ref()))?;
    let headers = response.headers_mut();
    headers.insert("x-cache", HeaderValue::from_static("HIT"));
    headers.insert(header::AGE, HeaderValue::from_static("0"));
    Ok(response)
}

fn answer(found: Option<&Intention>) -> Answer {
    let Some(found) = found else {
        return Answer {
            authorized: true,
            reason: "Default behavior configured by ACLs".to_owned(),
        };
    };
    let (layer, decided) = match &found.verdict {
        Verdict::Allow => ("L4", "Action: ALLOW".to_owned()),
        Verdict::Deny => ("L4", "Action: DENY".to_owned()),
        Verdict::ByRequest(permissions) => ("L7", format!("Permissions: {}", permissions.len())),
    };
    Answer {
        authorized: found.verdict == Verdict::Allow,
        reason: format!(
            "Matched {layer} intention: default/{} => default/{} (Precedence: {}, {decided})",
            found.source, found.destination, found.precedence
        ),
    }
}

/// The service that the URI of a certificate names.
fn service_of(uri: &str) -> Result<String, Error> {
    let invalid = || Error::bad_request("ClientCertURI not a valid Connect identifier");
    let path = uri.strip_prefix("spiffe://").ok_or_else(invalid)?;
    let mut parts = path.split('/');
    let domain = parts.next().unwrap_or_default();
    let parts: Vec<&str> = parts.collect();
    let parts = match parts.as_slice() {
        ["ap", _, rest @ ..] => rest,
        all => all,
    };
    match parts {
        ["ns", _, "dc", _, "svc", name] if !domain.is_empty() && !name.is_empty() => {
            let name = percent_decode_str(name).decode_utf8();
            name.map(String::from).map_err(|_| invalid())
        }
        ["agent" | "gateway", ..] => Err(Error::bad_request(
            "ClientCertURI not a valid Service identifier",
        )),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_identities_of_services_are_taken() {
        for (uri, expected) in [
            ("spiffe://td/ns/default/dc/dc1/svc/web", Some("web")),
            ("spiffe://td/ap/x/ns/default/dc/dc1/svc/a%2Fb", Some("a/b")),
            ("spiffe://td/agent/client/dc/dc1/id/n", None),
            ("spiffe:///ns/default/dc/dc1/svc/web", None),
            ("spiffe://td/ns/default/dc/dc1/svc/", None),
            ("spiffe://td/ns/default/dc/dc1/svc/%ff", None),
            ("https://td/ns/default/dc/dc1/svc/web", None),
            ("", None),
        ] {
            assert_eq!(service_of(uri).ok().as_deref(), expected, "{uri}");
        }
    }
}
