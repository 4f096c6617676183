use super::set;
use crate::client::Config;
use jobs::model::Node;

/// The version of the jobs API that this program is compatible with; constraints in job files ask
/// for it.
const COMPATIBLE_VERSION: &str = "2.0.0";

/// Versions of this program.
pub(super) fn add(node: &mut Node, config: &Config) {
    set(node, "nomad.version", COMPATIBLE_VERSION);
    set(node, "nomad.revision", config.version.clone());
    set(node, "nomad.advertise.address", config.http_addr.clone());
    set(node, "nomad.service_discovery", "true");
    set(node, "trivet.version", config.version.clone());
}
