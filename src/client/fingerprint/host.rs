use super::set;
use jobs::model::{Node, NodeId};
use sha2::{Digest as _, Sha512};

/// Files with an id of the machine, the best first: of its board, of its installation, of its
/// start.
const ID_FILES: [&str; 3] = [
    "/sys/class/dmi/id/product_uuid",
    "/etc/machine-id",
    "/proc/sys/kernel/random/boot_id",
];

/// Name and id of the host.
pub(super) fn add(node: &mut Node) {
    if let Ok(name) = nix::unistd::gethostname() {
        set(node, "unique.hostname", name.to_string_lossy());
    }
    let texts = ID_FILES
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok());
    if let Some(id) = texts.filter_map(|text| uuid(&text)).next() {
        set(node, "unique.host_id", id);
    }
}

/// An id for a node that is made of the machine's own, which nobody learns from it; none where the
/// machine has none that stays.
pub(in crate::fingerprint) fn node_id() -> Option<NodeId> {
    let [board, installation, _] = ID_FILES;
    let texts = [board, installation].into_iter();
    let mut ids = texts.filter_map(|path| uuid(&std::fs::read_to_string(path).ok()?));
    hashed(&ids.next()?)
}

fn hashed(id: &str) -> Option<NodeId> {
    let digest = Sha512::digest(id.as_bytes());
    let bytes = digest.get(..16)?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    NodeId::parse(&uuid(&digits)?)
}

/// An id with the dashes of a UUID, which some files leave out; none for what is no id.
fn uuid(text: &str) -> Option<String> {
    let digits: String = text
        .trim()
        .chars()
        .filter(|letter| *letter != '-')
        .collect();
    let is_hex = digits.chars().all(|letter| letter.is_ascii_hexdigit());
    if digits.len() != 32 || !is_hex {
        return None;
    }
    let digits = digits.to_lowercase();
    let part = |from: usize, to: usize| digits.get(from..to);
    let parts = [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ];
    let parts: Option<Vec<&str>> = parts.into_iter().collect();
    Some(parts?.join("-"))
}

#[cfg(test)]
mod tests {
    use super::{hashed, uuid};

    #[test]
    fn the_id_of_a_node_is_that_of_the_machine_and_does_not_say_it() {
        let machine = "3d1219c7-c4c5-404a-aa1f-6d2a48adfda4";
        let id = hashed(machine).expect("an id");
        assert_eq!(hashed(machine), Some(id));
        assert_ne!(id.to_string(), machine);
        assert_ne!(hashed("3d1219c7-c4c5-404a-aa1f-6d2a48adfda5"), Some(id));
    }

    #[test]
    fn ids_get_the_dashes_of_a_uuid() {
        let id = Some("3d1219c7-c4c5-404a-aa1f-6d2a48adfda4".to_owned());
        assert_eq!(uuid("3d1219c7c4c5404aaa1f6d2a48adfda4\n"), id);
        assert_eq!(uuid("3D1219C7-C4C5-404A-AA1F-6D2A48ADFDA4"), id);
        assert_eq!(uuid("uninitialized\n"), None);
        assert_eq!(uuid(""), None);
    }
}
