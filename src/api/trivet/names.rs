//! What the name service answers.

use axum::{extract::State, response::Response};

use crate::{Api, error::Error, nomad::query::Query};

/// `GET /v1/trivet/dns?name=…&type=…`: the answer that this agent's name service gives now; the
/// type is `SRV` where none is named.
pub(super) async fn ask(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let names = api.facts().names.as_ref();
    let names = names.ok_or_else(|| Error::not_found("this agent answers no DNS"))?;
    let name = query.get("name").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Error::bad_request("name is missing: give one to ask for"))?;
    let record_type = query.get("type").unwrap_or("SRV");
    let answer = names.ask(name, record_type).map_err(Error::bad_request)?;
    query.json(&answer)
}
