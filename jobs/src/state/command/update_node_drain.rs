//! Begins to empty a node, changes how, or ends it.

use super::UpdateNodeDrain;
use crate::{
    model::{DrainStatus, DrainStrategy, Eligibility, LastDrain, Node},
    state::{Rejected, Snapshot, change::Change, tables::push_event_of},
};
use std::collections::BTreeMap;

/// Who asks for drains while there are no tokens.
const NO_TOKENS: &str = "token:acls-disabled";
/// Where events of drains come from.
const SUBSYSTEM: &str = "Drain";

impl Snapshot {
    pub(in crate::state) fn update_node_drain(
        &mut self,
        change: &mut Change,
        command: UpdateNodeDrain,
    ) -> Result<(), Rejected> {
        let node = self.nodes.get(&command.node_id).ok_or(Rejected::NoNode)?;
        if command.completes.is_some() && node.drain_strategy != command.completes {
            // Another one began meanwhile, or none is under way.
            return Ok(());
        }
        let mut node = (**node).clone();
        let mut strategy = command.strategy;
        if let (Some(new), Some(old)) = (&mut strategy, &node.drain_strategy) {
            new.started_at = old.started_at;
        }
        let (message, details) = event(&node, &command);
        push_event_of(&mut node, SUBSYSTEM, message, details, change);
        note(&mut node, &command, change);
        node.drain_strategy = strategy;
        node.drain = strategy.is_some();
        if node.drain {
            node.scheduling_eligibility = Eligibility::Ineligible;
        } else if command.mark_eligible {
            node.scheduling_eligibility = Eligibility::Eligible;
        }
        self.put_node(change, node);
        self.upsert_evals(change, command.evals);
        Ok(())
    }
}

fn event(node: &Node, command: &UpdateNodeDrain) -> (&'static str, BTreeMap<String, String>) {
    let reached = |drain: &DrainStrategy| command.deadline_reached && drain.due().is_some();
    match (&command.completes, &node.drain_strategy, &command.strategy) {
        (Some(drain), _, _) if reached(drain) => {
            let detail = ("deadline_reached".to_owned(), "true".to_owned());
            ("Node drain complete", BTreeMap::from([detail]))
        }
        (Some(_), _, _) => ("Node drain complete", BTreeMap::new()),
        (None, Some(_), Some(_)) => ("Node drain strategy updated", BTreeMap::new()),
        (None, None, Some(_)) => ("Node drain strategy set", BTreeMap::new()),
        (None, _, None) => ("Node drain disabled", BTreeMap::new()),
    }
}

/// Keeps account of the latest drain.
fn note(node: &mut Node, command: &UpdateNodeDrain, change: &Change) {
    let begins = node.drain_strategy.is_none() && command.strategy.is_some();
    if !begins && (node.drain_strategy.is_none() || node.last_drain.is_none()) {
        return;
    }
    let now = change.at.now;
    let mut last = node
        .last_drain
        .take()
        .filter(|_| !begins)
        .unwrap_or_else(|| LastDrain {
            started_at: now,
            accessor_id: NO_TOKENS.into(),
            ..LastDrain::default()
        });
    last.updated_at = now;
    last.status = match (&command.strategy, &command.completes) {
        (Some(_), _) => DrainStatus::Draining,
        (None, Some(_)) => DrainStatus::Complete,
        (None, None) => DrainStatus::Canceled,
    };
    if !command.meta.is_empty() {
        last.meta = Some(command.meta.clone());
    }
    node.last_drain = Some(last);
}
