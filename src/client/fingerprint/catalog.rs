use super::set;
use crate::Config;
use jobs::model::Node;

/// The version of the catalog API that the agent keeps; jobs with services in the catalog ask for
/// one that is new enough.
const CATALOG_API_VERSION: &str = "1.22.0";

/// The catalog that is a part of every agent, under the names of one beside it.
pub(super) fn add(node: &mut Node, config: &Config) {
    set(node, "consul.version", CATALOG_API_VERSION);
    set(node, "consul.sku", "oss");
    set(node, "consul.server", "true");
    set(node, "consul.datacenter", config.datacenter.clone());
    set(node, "unique.consul.name", config.name.clone());
}
