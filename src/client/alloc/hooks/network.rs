use crate::claims;
use jobs::model::Allocation;

/// Makes sure that no program outside of this agent holds a port of an allocation that shall run.
pub(super) fn run(alloc: &Allocation) -> Result<(), String> {
    if alloc.server_terminal() {
        return Ok(());
    }
    match claims::taken(alloc.allocated_resources.ports()) {
        Some((label, port)) => Err(format!(
            "pre-run hook \"network\" failed: port {port} (`{label}`) is already in use by another program of \
             this machine"
        )),
        None => Ok(()),
    }
}
