use super::set;
use jobs::model::Node;

/// Name of the host.
pub(super) fn add(node: &mut Node) {
    if let Ok(name) = nix::unistd::gethostname() {
        set(node, "unique.hostname", name.to_string_lossy());
    }
}
