//! Ports and names of what is added to a group when its job is registered.

use crate::wire;
use sha2::{Digest as _, Sha256};

/// Adds a port to the first network of the group, unless it has one of that label.
pub(super) fn add_port(group: &mut wire::TaskGroup, label: String) {
    let Some(network) = group.networks.iter_mut().flatten().next() else {
        return;
    };
    let lists = [&network.dynamic_ports, &network.reserved_ports];
    if lists
        .into_iter()
        .flatten()
        .flatten()
        .any(|port| port.label == label)
    {
        return;
    }
    network
        .dynamic_ports
        .get_or_insert_default()
        .push(wire::Port {
            label,
            // The same number inside as outside.
            to: -1,
            ..wire::Port::default()
        });
}

/// Six digits that follow from names.
pub(super) fn ending(names: &[&str]) -> String {
    let digest = Sha256::digest(names.join("\0"));
    digest
        .iter()
        .take(3)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
