//! All services of the catalog in short.

use axum::{extract::State, response::Response};
use mesh::{
    model::{ServiceName, Status},
    view::Table,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use crate::{Api, error::Error, nomad::query::Query};
use server::{Snapshot, log::watch::Topic};

/// A service in a list; its instances are counted by the worst of their checks.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    name: String,
    instances: usize,
    passing: usize,
    warning: usize,
    critical: usize,
    tags: BTreeSet<String>,
}

/// `GET /v1/trivet/services`
pub(super) async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    const TABLES: [Table; 3] = [Table::Nodes, Table::Services, Table::Checks];
    let index_of = |snapshot: &Snapshot| {
        let of = |table| snapshot.mesh.table_index(table);
        TABLES.into_iter().map(of).max().unwrap_or_default()
    };
    let view = |snapshot: &Snapshot| Ok(rows(snapshot, &query.prefix));
    api.read(&query, TABLES.map(Topic::Mesh), index_of, view)
        .await
}

fn rows(snapshot: &Snapshot, prefix: &str) -> Vec<Row> {
    let mut rows: BTreeMap<ServiceName, Row> = BTreeMap::new();
    let instances = snapshot.mesh.all_instances();
    for instance in instances.filter(|own| own.service.name.starts_with(prefix)) {
        let row = rows.entry(instance.service.name.clone()).or_default();
        row.instances += 1;
        match instance.status {
            Status::Passing => row.passing += 1,
            Status::Warning => row.warning += 1,
            Status::Critical => row.critical += 1,
        }
        row.tags.extend(instance.service.tags.iter().cloned());
    }
    rows.into_iter()
        .map(|(name, row)| Row {
            name: name.to_string(),
            ..row
        })
        .collect()
}
