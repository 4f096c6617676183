//! Stopping and purging jobs.

use axum::response::Response;
use jobs::{model::JobKey, wire};

use super::register::priority;
use crate::{Api, error::Error, nomad::query::Query};

/// `DELETE /v1/job/:id`
pub(super) async fn deregister(api: &Api, query: &Query, key: JobKey) -> Result<Response, Error> {
    let purge = query.flag("purge")?;
    let eval_priority = query.number("eval_priority", "eval_priority is no number")?;
    if query.flag("no_shutdown_delay")? {
        return Err(Error::absent("stopping a job without its shutdown delay"));
    }
    let priority = priority(eval_priority.unwrap_or(0))?;
    let written = api.server().deregister_job(&key, purge, priority).await?;
    let has_eval = written.eval_id.is_some();
    let response = wire::JobDeregisterResponse {
        eval_id: written.eval_id,
        eval_create_index: if has_eval { written.index } else { 0 },
        job_modify_index: written.job_modify_index.unwrap_or(written.index),
        index: written.index,
        last_contact: 0,
        known_leader: api.knows_leader(),
    };
    query.written(written.index, &response)
}
