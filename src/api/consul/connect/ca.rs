//! The certificate authority: its roots and its configuration.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use mesh::model::{Authority, Root, Timestamp};
use mesh::state::Snapshot;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Catalog, only, read};
use crate::body::Raw;
use crate::consul::decode::body;
use crate::consul::query::{Query, answer_from_server, json as answer_json};
use crate::error::Error;
use server::log::watch::Topic;

pub(super) fn router() -> Router<Catalog> {
    let config = only(get(config).put(set_config), "OPTIONS,GET,PUT");
    Router::new()
        .route("/v1/connect/ca/roots", read(roots))
        .route("/v1/agent/connect/ca/roots", read(cached_roots))
        .route("/v1/connect/ca/configuration", config)
}

/// An instant as certificates have it: whole seconds.
pub(super) fn time(at: Timestamp) -> String {
    let seconds = at.as_nanos() / 1_000_000_000;
    let instant = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    instant.to_string()
}

fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

/// A root as the API answers it: everything but its key.
fn shown(root: &Root, cluster_id: &str) -> Value {
    let intermediates = (!root.intermediates.is_empty()).then_some(&root.intermediates);
    json!({
        "ID": root.id,
        "Name": "Consul CA Primary Cert",
        "SerialNumber": root.serial,
        "SigningKeyID": hex(&root.key_id),
        "ExternalTrustDomain": cluster_id,
        "NotBefore": time(root.not_before),
        "NotAfter": time(root.not_after),
        "RootCert": root.certificate,
        "IntermediateCerts": intermediates,
        "Active": root.is_active,
        "PrivateKeyType": root.key_type,
        "PrivateKeyBits": root.key_bits,
        "CreateIndex": root.create_index,
        "ModifyIndex": root.modify_index,
    })
}

fn all(row: &Authority) -> Value {
    let roots = row.roots.iter().map(|root| shown(root, &row.cluster_id));
    json!({
        "ActiveRootID": row.active().map_or("", |root| root.id.as_str()),
        "TrustDomain": row.trust_domain(),
        "Roots": roots.collect::<Vec<_>>(),
    })
}

fn missing() -> Error {
    Error::internal("CA is uninitialized and unable to sign certificates yet")
}

async fn roots(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    catalog.server().authority().await?;
    let wants_pem = query
        .parameters
        .switch("pem", |_| {
            Error::bad_request("The 'pem' query parameter must be a boolean value")
        })?
        .unwrap_or(false);
    let show = |snapshot: &Snapshot| {
        let row = snapshot.authority().ok_or_else(missing)?;
        if !wants_pem {
            return answer_json(&query, &all(row));
        }
        let text: String = row
            .roots
            .iter()
            .map(|root| root.certificate.as_str())
            .collect();
        let kind = HeaderValue::from_static("application/pem-certificate-chain");
        Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
    };
    let index = |snapshot: &Snapshot| snapshot.authority().map_or(0, |row| row.modify_index);
    answer_from_server(&catalog, &query, [Topic::Authority], index, show).await
}

async fn cached_roots(catalog: State<Catalog>, query: Query) -> Result<Response, Error> {
    let mut response = roots(catalog, query).await?;
    let headers = response.headers_mut();
    headers.insert("x-cache", HeaderValue::from_static("HIT"));
    headers.insert(header::AGE, HeaderValue::from_static("0"));
    Ok(response)
}

async fn config(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let row = catalog.server().authority().await?;
    let config = json!({
        "Provider": "consul",
        "Config": server::shown_config(&row),
        "State": null,
        "ForceWithoutCrossSigning": false,
        "CreateIndex": row.config_create_index,
        "ModifyIndex": row.config_modify_index,
    });
    answer_json(&query, &config)
}

/// A configuration as it is posted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Posted {
    provider: String,
    config: Map<String, Value>,
}

async fn set_config(State(catalog): State<Catalog>, _query: Query, raw: Raw) -> Result<(), Error> {
    let posted: Posted = body(&raw)?;
    let server = catalog.server();
    server
        .set_authority_config(&posted.provider, posted.config)
        .await?;
    Ok(())
}
