use super::set;
use jobs::model::Node;
use std::fs;

/// Most groups that are looked for.
const GROUPS_MAX: usize = 1024;

/// Groups of cores that share their memory.
pub(super) fn add(node: &mut Node) {
    let mut count = 0;
    while count < GROUPS_MAX {
        let path = format!("/sys/devices/system/node/node{count}/cpulist");
        let Ok(cores) = fs::read_to_string(path) else {
            break;
        };
        set(node, &format!("numa.node{count}.cores"), cores.trim());
        count += 1;
    }
    if count > 0 {
        set(node, "numa.node.count", count.to_string());
    }
}
