//! What an agent asks the servers about its own node before it stops: as any client of the jobs
//! API does, so that it gets to the leader, wherever that is, and from any version to any.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use jobs::{
    model::{DrainStatus, Index, LastDrain, NodeId},
    wire,
};
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};
use tower::ServiceExt as _;

/// Longest answer that is read, bytes: a node with all that it is.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What is noted with the drain.
const MESSAGE: (&str, &str) = ("message", "shutting down");

/// The node of this agent, as the servers know it; cheap to clone.
#[derive(Clone, Debug)]
pub struct OwnNode {
    router: Router,
    id: NodeId,
}

/// How far the drain of a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Something has yet to leave, or was there at this index.
    UnderWay(Index),
    /// Everything that had to leave is gone.
    Complete,
    /// Somebody ended it before.
    Canceled,
}

/// Why there is no answer that says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unasked {
    /// Nobody answers now; asking again can help.
    #[error("{0}")]
    Unanswered(String),
    /// The servers do not do it.
    #[error("{0}")]
    Refused(String),
}

/// What of a node says how far its drain is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Shown {
    drain: bool,
    last_drain: Option<LastDrain>,
}

impl OwnNode {
    /// The node with this id, asked for through the router of this agent's jobs API.
    pub fn new(router: Router, id: NodeId) -> Self {
        Self { router, id }
    }

    /// Has the servers empty the node; answers with the index of that.
    ///
    /// # Errors
    /// [`Unasked`].
    pub async fn drain(&self, spec: wire::DrainSpec) -> Result<Index, Unasked> {
        let (key, value) = MESSAGE;
        let request = wire::NodeDrainRequest {
            drain_spec: Some(spec),
            mark_eligible: false,
            meta: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
            ..wire::NodeDrainRequest::default()
        };
        let body = serde_json::to_vec(&request).map_err(unanswered)?;
        let path = format!("/v1/node/{}/drain", self.id);
        let (_, body) = self.ask(Request::put(path).body(body.into())).await?;
        let written: wire::NodeUpdateResponse =
            serde_json::from_slice(&body).map_err(unanswered)?;
        Ok(written.index)
    }

    /// How far the drain is, once something changed after an index; none if nothing did for `wait`.
    ///
    /// # Errors
    /// [`Unasked`]; a node that the servers forgot is refused.
    pub async fn drained(&self, after: Index, wait: Duration) -> Result<Drained, Unasked> {
        let path = format!(
            "/v1/node/{}?index={after}&wait={}ms",
            self.id,
            wait.as_millis()
        );
        let (headers, body) = self.ask(Request::get(path).body(Body::empty())).await?;
        let shown: Shown = serde_json::from_slice(&body).map_err(unanswered)?;
        let last = shown.last_drain.unwrap_or_default();
        Ok(match last.status {
            _ if shown.drain => Drained::UnderWay(index(&headers).unwrap_or(after)),
            DrainStatus::Complete => Drained::Complete,
            DrainStatus::Draining | DrainStatus::Canceled => Drained::Canceled,
        })
    }

    async fn ask(
        &self,
        request: http::Result<Request<Body>>,
    ) -> Result<(HeaderMap, Vec<u8>), Unasked> {
        let answered = self.router.clone().oneshot(request.map_err(unanswered)?);
        let Ok(response) = answered.await;
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(unanswered)?;
        if parts.status == StatusCode::OK {
            return Ok((parts.headers, body.into()));
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        let is_final =
            parts.status.is_client_error() && parts.status != StatusCode::TOO_MANY_REQUESTS;
        Err(if is_final {
            Unasked::Refused(text)
        } else {
            Unasked::Unanswered(text)
        })
    }
}

fn unanswered(error: impl std::fmt::Display) -> Unasked {
    Unasked::Unanswered(error.to_string())
}

fn index(headers: &HeaderMap) -> Option<Index> {
    headers.get("x-nomad-index")?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{extract::Path, response::IntoResponse, routing::get};
    use jobs::model::Span;

    const ID: &str = "034e334b-5902-486f-9f2e-1c4f04b23761";

    /// Servers that answer so.
    fn answering(status: u16, index: &'static str, body: &'static str) -> OwnNode {
        let answer = move |Path(id): Path<String>| async move {
            assert_eq!(id, ID);
            let status = StatusCode::from_u16(status).unwrap();
            (status, [("x-nomad-index", index)], body).into_response()
        };
        let router = Router::new()
            .route("/v1/node/{id}", get(answer))
            .route("/v1/node/{id}/drain", axum::routing::put(answer));
        OwnNode::new(router, NodeId::parse(ID).unwrap())
    }

    #[tokio::test]
    async fn what_the_servers_say_of_the_drain_is_told() {
        let complete = r#"{"Drain":false,"LastDrain":{"Status":"complete"}}"#;
        let canceled = r#"{"Drain":false,"LastDrain":{"Status":"canceled"}}"#;
        let under_way = r#"{"Drain":true,"LastDrain":{"Status":"draining"}}"#;
        let refused = |text: &str| Err(Unasked::Refused(text.into()));
        let silent = |text: &str| Err(Unasked::Unanswered(text.into()));
        for (status, index, body, expected) in [
            (200, "9", complete, Ok(Drained::Complete)),
            (200, "9", canceled, Ok(Drained::Canceled)),
            (200, "9", under_way, Ok(Drained::UnderWay(9))),
            (200, "none", under_way, Ok(Drained::UnderWay(7))),
            (404, "9", "node not found", refused("node not found")),
            (429, "9", "too much", silent("too much")),
            (500, "9", "No cluster leader", silent("No cluster leader")),
        ] {
            let node = answering(status, index, body);
            assert_eq!(node.drained(7, Duration::from_secs(1)).await, expected);
        }
        let spec = wire::DrainSpec {
            deadline: Span::HOUR,
            ignore_system_jobs: true,
        };
        let asked = answering(200, "9", r#"{"Index":12}"#).drain(spec).await;
        assert_eq!(asked, Ok(12));
        let asked = answering(404, "9", "node not found").drain(spec).await;
        assert_eq!(asked, Err(Unasked::Refused("node not found".into())));
        let asked = answering(200, "9", "{").drain(spec).await;
        assert!(matches!(asked, Err(Unasked::Unanswered(_))), "{asked:?}");
    }
}
