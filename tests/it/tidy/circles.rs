//! Circles of folders: a folder that uses another one must not be used by it, at any depth.

use super::source::Segments;
use std::collections::{BTreeMap, BTreeSet};

/// Which child of which folder uses which other child: folder to child to the children that it
/// uses.
pub(super) type Arrows = BTreeMap<Segments, BTreeMap<String, BTreeSet<String>>>;

/// Adds the arrow from module `from` to module `to` at the folder that holds both. What stands in
/// the folder's own file is neither child.
pub(super) fn add(arrows: &mut Arrows, from: &[String], to: &[String]) {
    let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    let (Some(from_child), Some(to_child)) = (from.get(shared), to.get(shared)) else {
        return;
    };
    let folder = from.iter().take(shared).cloned().collect();
    arrows
        .entry(folder)
        .or_default()
        .entry(from_child.clone())
        .or_default()
        .insert(to_child.clone());
}

/// Children of one folder that use each other in a circle, each circle once, in order of names.
pub(super) fn circles(arrows: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<Vec<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = arrows
        .keys()
        .map(|child| (child, reachable(child, arrows)))
        .collect();
    let mut found = BTreeSet::new();
    for (child, others) in &reached {
        let circle: Vec<String> = others
            .iter()
            .filter(|other| reached.get(*other).is_some_and(|back| back.contains(child)))
            .map(|other| (*other).clone())
            .collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found
}

fn reachable<'a>(
    from: &'a String,
    arrows: &'a BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<&'a String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(child) = open.pop() {
        for next in arrows.get(child).into_iter().flatten() {
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::{Arrows, add, circles};

    fn path(text: &str) -> Vec<String> {
        text.split("::").map(str::to_owned).collect()
    }

    fn circles_of(pairs: &[(&str, &str)], folder: &[&str]) -> Vec<Vec<String>> {
        let mut arrows = Arrows::new();
        for (from, to) in pairs {
            add(&mut arrows, &path(from), &path(to));
        }
        let folder: Vec<String> = folder.iter().map(|&name| name.to_owned()).collect();
        let arrows = arrows.get(&folder).cloned().unwrap_or_default();
        circles(&arrows).into_iter().collect()
    }

    #[test]
    fn a_planted_circle_is_found_at_the_folder_that_holds_it() {
        let pairs = [
            ("server::log::raft", "server::state"),
            ("server::state::rows", "server::scheduling::queue"),
            ("server::scheduling", "server::log"),
            ("api", "server::log"),
        ];
        assert_eq!(
            circles_of(&pairs, &["server"]),
            [["log", "scheduling", "state"]]
        );
        assert!(circles_of(&pairs, &[]).is_empty());
    }

    #[test]
    fn one_way_is_no_circle_and_a_folder_s_own_file_is_no_child() {
        let pairs = [
            ("cli::job", "cli::render"),
            ("cli::job", "cli"),
            ("cli", "cli::job"),
        ];
        assert!(circles_of(&pairs, &["cli"]).is_empty());
    }
}
