//! The life of allocations.
//!
//! [`runner`] carries one allocation from its setup to its end and is the only place here with
//! effects on tasks. What it does is decided beside it, by functions and machines that neither wait
//! nor look at a clock: [`lifecycle`] (which task starts or ends now), [`stop_order`], [`health`],
//! [`check_restarts`], [`status`], [`addressed`]. Its check loops are in [`checked`], its setup in
//! [`hooks`]. The runner, the runners of its tasks and the API look at one `client::shared` record,
//! which is kept on disk; what an allocation holds alone is in `client::claims`.

mod addressed;
mod check_restarts;
mod checked;
mod data_planes;
mod health;
mod hooks;
mod lifecycle;
pub(super) mod message;
pub(super) mod runner;
mod status;
mod stop_order;

pub use message::Tasks;
