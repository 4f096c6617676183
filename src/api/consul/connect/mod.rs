//! The mesh: who may talk to whom, and where the requests of a service go.

mod authorize;
mod chain;
mod intention;

use axum::Router;

use super::{Catalog, only, read};

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .merge(authorize::router())
        .merge(chain::router())
        .merge(intention::router())
}
