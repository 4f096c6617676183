//! Stores results of checks.

use serde::{Deserialize, Serialize};

use crate::model::{Check, CheckId, CheckKey, NodeName, Status, bound_output};
use crate::state::transaction::Transaction;
use crate::state::{CHECK_RESULTS_PER_COMMAND_MAX, Noun, Rejected};

use super::require_count;

/// Stores results of checks, in the order given.
///
/// A result that equals the stored one changes nothing. A result for a check that does not exist is
/// ignored and listed in [`crate::state::Applied::unknown_checks`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateChecks {
    /// The results, at most [`CHECK_RESULTS_PER_COMMAND_MAX`].
    pub results: Vec<CheckResult>,
}

/// The outcome of one run of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckResult {
    /// Name of the node.
    pub node: NodeName,
    /// Id of the check.
    pub check_id: CheckId,
    /// New status.
    pub status: Status,
    /// New output; cut to [`crate::model::OUTPUT_BYTES_MAX`].
    pub output: String,
}

impl UpdateChecks {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        require_count(
            Noun::CheckResult,
            self.results.len(),
            CHECK_RESULTS_PER_COMMAND_MAX,
        )?;
        for CheckResult {
            node,
            check_id,
            status,
            output,
        } in self.results
        {
            let key = CheckKey { node, id: check_id };
            let Some(row) = transaction.tables.checks.row(&key) else {
                transaction.applied.unknown_checks.push(key);
                continue;
            };
            let check = Check {
                status,
                output: bound_output(output),
                ..(**row).clone()
            };
            transaction.put_check(check);
        }
        Ok(())
    }
}
