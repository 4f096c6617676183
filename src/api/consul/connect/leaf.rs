//! Certificates of services: one per service and agent until it is renewed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::ca::time;
use super::{Catalog, read};
use crate::consul::query::{Query, add_index_headers, json as answer_json};
use crate::error::Error;
use server::Leaf;
use server::log::watch::Topic;

/// Most services of which an agent keeps a certificate; the one that was made first goes.
const LEAVES_MAX: usize = 4096;
/// Longest name of a service in an identity, bytes.
const NAME_BYTES_MAX: usize = 512;

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/agent/connect/ca/leaf/", read(missing))
        .route("/v1/agent/connect/ca/leaf/{*service}", read(leaf))
}

/// The certificates that this agent gave out.
#[derive(Debug, Default)]
pub(in crate::consul) struct Leaves {
    issued: Mutex<Issued>,
}

#[derive(Debug, Default)]
struct Issued {
    by_service: BTreeMap<String, Arc<Entry>>,
    last_index: u64,
}

#[derive(Debug)]
struct Entry {
    leaf: Leaf,
    index: u64,
    made: Instant,
    renew: Instant,
}

/// A certificate, and whether it was there already.
struct Found {
    entry: Arc<Entry>,
    is_new: bool,
}

/// Where in its life a certificate is renewed: somewhere between 60 and 90 of 100.
fn renewal(lifetime: Duration, seed: u64) -> Duration {
    let [share, ..] = seed.to_be_bytes();
    lifetime * 3 / 5 + lifetime * 3 / 10 * u32::from(share) / 256
}

impl Issued {
    fn keep(&mut self, leaf: Leaf, index: u64) -> Arc<Entry> {
        self.last_index = index.max(self.last_index + 1);
        let now = Instant::now();
        let lifetime = leaf.valid_before.since(leaf.valid_after);
        let entry = Arc::new(Entry {
            index: self.last_index,
            made: now,
            renew: now + renewal(lifetime, sys::random::seed()),
            leaf,
        });
        let name = entry.leaf.service.clone();
        self.by_service.insert(name, Arc::clone(&entry));
        if self.by_service.len() > LEAVES_MAX {
            let mut oldest = self.by_service.iter();
            let oldest = oldest.by_ref().min_by_key(|(_, entry)| entry.index);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.by_service.remove(&name);
            }
        }
        entry
    }
}

async fn missing() -> Error {
    Error::bad_request("Missing service name")
}

/// The certificate of a service, a new one when there is none that is good for a while.
async fn current(catalog: &Catalog, service: &str) -> Result<Found, Error> {
    let server = catalog.server();
    let row = server.authority().await?;
    let active = row.active().map_or("", |root| root.id.as_str());
    // Held while it is signed, so that all who ask at once get the same one.
    let mut issued = catalog.leaves().issued.lock().await;
    if let Some(entry) = issued.by_service.get(service)
        && entry.leaf.root == active
        && entry.renew > Instant::now()
    {
        return Ok(Found {
            entry: Arc::clone(entry),
            is_new: false,
        });
    }
    let leaf = server
        .sign_leaf(service, &catalog.agent().datacenter)
        .await?;
    let index = server.snapshot().index;
    Ok(Found {
        entry: issued.keep(leaf, index),
        is_new: true,
    })
}

async fn leaf(
    State(catalog): State<Catalog>,
    Path(service): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    if service.len() > NAME_BYTES_MAX {
        return Err(Error::bad_request("the service name is too long"));
    }
    let end = Instant::now() + query.wait_with_jitter(&catalog);
    loop {
        // Subscribed first, so that no new root is missed.
        let changed = catalog.server().subscribe([Topic::Authority]);
        let found = current(&catalog, &service).await?;
        let is_news = query.index() == 0 || found.entry.index > query.index();
        if is_news || Instant::now() >= end || query.is_stopping() {
            return reply(&catalog, &query, &found);
        }
        let Some(changed) = changed else {
            return reply(&catalog, &query, &found);
        };
        tokio::select! {
            () = changed.changed() => {}
            () = sleep_until(found.entry.renew.min(end)) => {}
            () = query.stopped() => {}
        }
    }
}

fn reply(catalog: &Catalog, query: &Query, found: &Found) -> Result<Response, Error> {
    let Entry {
        leaf, index, made, ..
    } = &*found.entry;
    let shown = json!({
        "SerialNumber": leaf.serial,
        "CertPEM": leaf.certificate,
        "PrivateKeyPEM": leaf.key,
        "Service": leaf.service,
        "ServiceURI": leaf.uri,
        "ValidAfter": time(leaf.valid_after),
        "ValidBefore": time(leaf.valid_before),
        "CreateIndex": index,
        "ModifyIndex": index,
    });
    let mut response = answer_json(query, &shown)?;
    let headers = response.headers_mut();
    add_index_headers(headers, catalog, query, *index);
    if found.is_new {
        headers.insert("x-cache", HeaderValue::from_static("MISS"));
    } else {
        headers.insert("x-cache", HeaderValue::from_static("HIT"));
        headers.insert(header::AGE, HeaderValue::from(made.elapsed().as_secs()));
    }
    // It has a private key: nobody on the way may keep it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_well_before_its_end() {
        let lifetime = Duration::from_hours(100);
        for seed in [0, u64::MAX, 1 << 60, 1 << 63] {
            let at = renewal(lifetime, seed).as_secs();
            assert!((60 * 3600..=90 * 3600).contains(&at), "{at}");
        }
    }
}
