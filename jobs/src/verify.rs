//! Does a plan still fit a newer snapshot?

use crate::{
    model::{Plan, PlanResult},
    state::State,
};

/// The part of `plan` that fits `snapshot`; `refresh_index` is set when something had to be left out.
pub fn verify(snapshot: &State, plan: &Plan) -> PlanResult {
    todo!()
}
