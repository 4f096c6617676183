//! The life of allocations.
//!
//! [`runner`] carries one allocation from its setup to its end and is the only place here with effects on tasks.
//! What it does is decided beside it, by functions and machines that neither wait nor look at a clock:
//! [`lifecycle`] (which task starts or ends now), [`stop_order`], [`health`], [`check_restarts`], [`status`],
//! [`addressed`]. What an allocation holds alone is in [`claims`], its check loops in [`checked`], its setup
//! in [`hooks`]. The runner, the runners of its tasks and the API look at one [`shared`] record, which is
//! kept on disk.

mod addressed;
mod check_restarts;
mod checked;
pub(super) mod claims;
mod data_planes;
mod health;
mod hooks;
mod lifecycle;
pub(super) mod message;
pub(super) mod runner;
pub(super) mod shared;
mod status;
mod stop_order;
