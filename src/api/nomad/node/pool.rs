//! Node pools: the two that are always there, and those that nodes name.

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use jobs::{
    model::{Job, Node},
    state::Table,
    wire,
};
use std::{collections::BTreeSet, sync::Arc};

use crate::{Api, error::Error, nomad::query::Query};
use server::{Snapshot, log::watch::Topic};

/// The pool that every node is in.
const ALL: &str = "all";
/// The pool of nodes and jobs that name none.
const DEFAULT: &str = "default";

/// The endpoints of node pools. They are made by the nodes that name them, and not changed.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/node/pools", get(list).put(absent).post(absent))
        .route("/v1/node/pool/{name}", get(read).put(absent).delete(absent))
        .route("/v1/node/pool/{name}/nodes", get(nodes))
        .route("/v1/node/pool/{name}/jobs", get(jobs))
}

async fn absent() -> Error {
    Error::absent("changing node pools")
}

fn pool(name: &str) -> wire::NodePool {
    wire::NodePool {
        name: name.to_owned(),
        description: match name {
            ALL => "Node pool with all nodes in the cluster.",
            DEFAULT => "Default node pool.",
            _ => "",
        }
        .to_owned(),
        create_index: 1,
        modify_index: 1,
        ..wire::NodePool::default()
    }
}

fn pool_of(name: &str) -> &str {
    if name.is_empty() { DEFAULT } else { name }
}

fn holds(pool: &str, name: &str) -> bool {
    pool == ALL || pool_of(name) == pool
}

/// The names of all pools, in order.
fn names(snapshot: &Snapshot) -> BTreeSet<String> {
    let of_nodes = snapshot.jobs.nodes("");
    let of_nodes = of_nodes.map(|node| pool_of(&node.node_pool).to_owned());
    let built_in = [ALL, DEFAULT].map(str::to_owned);
    built_in.into_iter().chain(of_nodes).collect()
}

fn known(snapshot: &Snapshot, name: &str) -> Result<(), Error> {
    if names(snapshot).contains(name) {
        Ok(())
    } else {
        Err(Error::not_found("node pool not found"))
    }
}

fn index(snapshot: &Snapshot) -> u64 {
    snapshot.jobs.table_index(Table::Nodes).max(1)
}

/// `GET /v1/node/pools`
async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let view = |snapshot: &Snapshot| {
        let names = names(snapshot).into_iter();
        let wanted = names.filter(|name| name.starts_with(query.prefix.as_str()));
        Ok(wanted.map(|name| pool(&name)).collect::<Vec<_>>())
    };
    api.read(&query, [Topic::Jobs(Table::Nodes)], index, view)
        .await
}

/// `GET /v1/node/pool/:name`
async fn read(
    State(api): State<Api>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let view = |snapshot: &Snapshot| known(snapshot, &name).map(|()| pool(&name));
    api.read(&query, [Topic::Jobs(Table::Nodes)], index, view)
        .await
}

/// `GET /v1/node/pool/:name/nodes`
async fn nodes(
    State(api): State<Api>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let options = super::options(&query)?;
    let view = |snapshot: &Snapshot| {
        known(snapshot, &name)?;
        let rows = snapshot.jobs.nodes(&query.prefix);
        let rows = rows.filter(|node| holds(&name, &node.node_pool));
        let page = query.page(rows, |node: &&Arc<Node>| node.id)?;
        Ok(page.map(|node| super::stub(node, options)))
    };
    api.read_page(&query, [Topic::Jobs(Table::Nodes)], index, view)
        .await
}

/// `GET /v1/node/pool/:name/jobs`
async fn jobs(
    State(api): State<Api>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let with_meta = query.flag("meta")?;
    let topics = [
        Topic::Jobs(Table::Nodes),
        Topic::Jobs(Table::Jobs),
        Topic::Jobs(Table::Summaries),
    ];
    let index_of =
        |snapshot: &Snapshot| index(snapshot).max(super::super::job::list_index(snapshot));
    let view = |snapshot: &Snapshot| {
        known(snapshot, &name)?;
        let rows = snapshot
            .jobs
            .jobs(query.namespace.as_deref(), &query.prefix);
        let rows = rows.filter(|job| holds(&name, &job.node_pool));
        let page = query.page(rows, |job: &&Arc<Job>| {
            (job.namespace.clone(), job.id.clone())
        })?;
        Ok(page.map(|job| super::super::job::stub(snapshot, job, with_meta)))
    };
    api.read_page(&query, topics, index_of, view).await
}
