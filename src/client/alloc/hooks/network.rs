use crate::{claims, own_network, shared::Shared};

/// Makes sure that no program outside of this agent holds a port of an allocation that shall run,
/// and makes the network that the group has for itself.
pub(super) async fn run(shared: &Shared) -> Result<(), String> {
    let alloc = shared.alloc();
    if alloc.server_terminal() {
        return Ok(());
    }
    let node = shared.cx.node.borrow().clone();
    if let Some((label, place)) = claims::taken(claims::places(&alloc, &node)) {
        let port = if place.ip().is_unspecified() {
            place.port().to_string()
        } else {
            place.to_string()
        };
        return Err(format!(
            "pre-run hook \"network\" failed: port {port} (`{label}`) is already in use by another program of \
             this machine"
        ));
    }
    own_network::ensure(shared).await
}
