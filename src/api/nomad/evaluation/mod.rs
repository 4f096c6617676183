//! Evaluations.

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use jobs::{
    model::{EvalId, EvalKind, Evaluation},
    state::Table,
    wire,
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

use super::{
    alloc::{self, Owner, stub},
    query::Query,
};
use crate::{Api, error::Error, nomad::row_id::RowId, read::page::Page};
use server::{Snapshot, log::watch::Topic};

/// The endpoints of evaluations.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/evaluations", get(list).delete(delete))
        .route("/v1/evaluations/count", get(count))
        .route("/v1/evaluation/{id}", get(read))
        .route("/v1/evaluation/{id}/allocations", get(allocations))
}

/// Most evaluations that are followed from one to its relatives.
const RELATED_MAX: usize = 64;

fn rows<'a>(snapshot: &'a Snapshot, query: &'a Query) -> Result<Page<&'a Arc<Evaluation>>, Error> {
    let (job, status) = (query.get("job"), query.get("status"));
    if query.filter.is_some() && (job.is_some() || status.is_some()) {
        return Err(Error::bad_request(
            "filter cannot be combined with job or status",
        ));
    }
    let rows = snapshot.jobs.evals(&query.prefix).filter(|eval| {
        query.wants(&eval.namespace)
            && job.is_none_or(|job| eval.job_id == job)
            && status.is_none_or(|status| eval.status.as_str() == status)
    });
    query.page(rows, |eval: &&Arc<Evaluation>| (eval.create_index, eval.id))
}

/// `GET /v1/evaluations`
async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| snapshot.jobs.table_index(Table::Evals);
    let view = |snapshot: &Snapshot| Ok(rows(snapshot, &query)?.map(Arc::clone));
    api.read_page(&query, [Topic::Jobs(Table::Evals)], index_of, view)
        .await
}

/// `DELETE /v1/evaluations`
async fn delete() -> Error {
    Error::absent("deleting evaluations by hand")
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Count {
    count: usize,
    index: u64,
    last_contact: u64,
    known_leader: bool,
}

/// `GET /v1/evaluations/count`
async fn count(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| snapshot.jobs.table_index(Table::Evals);
    let known_leader = api.knows_leader();
    let view = |snapshot: &Snapshot| {
        Ok(Count {
            count: rows(snapshot, &query)?.rows.len(),
            index: index_of(snapshot).max(1),
            last_contact: 0,
            known_leader,
        })
    };
    api.read(&query, [Topic::Jobs(Table::Evals)], index_of, view)
        .await
}

/// `GET /v1/evaluation/:id`
async fn read(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<EvalKind>>,
    query: Query,
) -> Result<Response, Error> {
    let with_related = query.flag("related")?;
    let find = |snapshot: &Snapshot| {
        let eval = snapshot.jobs.eval(id)?;
        Some((eval.modify_index, eval.clone()))
    };
    let show = |snapshot: &Snapshot, row: Arc<Evaluation>| {
        let related_evals = if with_related {
            related(snapshot, &row)
        } else {
            Vec::new()
        };
        wire::Evaluation { row, related_evals }
    };
    let of = (Topic::Eval(id), Table::Evals);
    api.read_row(&query, of, find, show, "eval not found").await
}

/// Everything that can be reached from an evaluation by its next, previous and blocked ones.
fn related(snapshot: &Snapshot, start: &Evaluation) -> Vec<wire::EvaluationStub> {
    let mut found: BTreeMap<EvalId, &Arc<Evaluation>> = BTreeMap::new();
    let mut open = neighbors(start);
    while let Some(id) = open.pop() {
        if id == start.id || found.len() >= RELATED_MAX || found.contains_key(&id) {
            continue;
        }
        if let Some(eval) = snapshot.jobs.eval(id) {
            open.extend(neighbors(eval));
            found.insert(id, eval);
        }
    }
    found
        .values()
        .map(|eval| wire::EvaluationStub::new(eval))
        .collect()
}

fn neighbors(eval: &Evaluation) -> Vec<EvalId> {
    [eval.next_eval, eval.previous_eval, eval.blocked_eval]
        .into_iter()
        .flatten()
        .collect()
}

/// `GET /v1/evaluation/:id/allocations`
async fn allocations(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<EvalKind>>,
    query: Query,
) -> Result<Response, Error> {
    let show = |alloc: &_| stub(alloc, wire::StubOptions::default());
    alloc::of(&api, &query, Owner::Eval(id), show).await
}
