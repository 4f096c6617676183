//! The mesh: who may talk to whom, where the requests of a service go, and whose certificates are
//! whose.

mod authorize;
mod ca;
mod chain;
mod intention;
mod leaf;

use axum::Router;

pub(super) use leaf::Leaves;

use super::{Catalog, only, read};

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .merge(authorize::router())
        .merge(ca::router())
        .merge(chain::router())
        .merge(intention::router())
        .merge(leaf::router())
}
