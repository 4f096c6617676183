use super::set;
use crate::Config;
use jobs::{
    model::{DriverInfo, Node},
    wire::API_VERSION,
};
use sys::clock;

/// Versions of this program: job files ask for that of the jobs API with their constraints, its own
/// stands beside it.
pub(super) fn add(node: &mut Node, config: &Config) {
    set(node, "nomad.version", API_VERSION);
    set(node, "unique.advertise.address", config.http_addr.clone());
    set(node, "nomad.service_discovery", "true");
    set(node, "trivet.version", config.version.clone());
    // Clients of the jobs API know it as one of the usual drivers. It is not built here, so that no
    // machine has it.
    let absent = DriverInfo {
        update_time: clock::now(),
        ..DriverInfo::default()
    };
    node.drivers.insert("qemu".into(), absent);
}
