//! Evaluations as a table.

use super::columns;
use crate::view::View;
use jobs::model::{EvalStatus, Evaluation};

/// Whether something could not be placed, in words.
pub(crate) fn placement_failures(eval: &Evaluation) -> String {
    if eval.status == EvalStatus::Blocked {
        return "N/A - In Progress".to_owned();
    }
    (!eval.failed_tg_allocs.is_empty()).to_string()
}

/// A table of evaluations.
pub(crate) fn list(evals: &[Evaluation], view: &View) -> String {
    let rows = evals.iter().map(|eval| {
        [
            view.id(eval.id),
            eval.priority.to_string(),
            eval.triggered_by.as_str().to_owned(),
            eval.job_id.to_string(),
            eval.namespace.to_string(),
            view.id(eval.node_id),
            eval.status.as_str().to_owned(),
            placement_failures(eval),
        ]
    });
    columns::table(
        [
            "ID",
            "Priority",
            "Triggered By",
            "Job ID",
            "Namespace",
            "Node ID",
            "Status",
            "Placement Failures",
        ],
        rows.collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_evaluation_is_not_decided() {
        let eval = Evaluation {
            status: EvalStatus::Blocked,
            ..Evaluation::default()
        };
        assert_eq!(placement_failures(&eval), "N/A - In Progress");
    }
}
