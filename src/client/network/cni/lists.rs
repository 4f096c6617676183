//! Lists of plugins as the operator writes them, a file for each network.
//!
//! Source: `cni_config_dir` of the client block; the configuration format of the Container Network
//! Interface, 0.3.0 to 1.0.0.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files that are read.
const FILES_MAX: usize = 256;
/// Plugins of one list.
const PLUGINS_MAX: usize = 32;

/// The plugins that make one network, in their order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct List {
    /// Name of the network.
    pub(super) name: String,
    /// Version of the interface that all of them speak.
    pub(super) version: String,
    /// The configuration of each, with its `type`.
    pub(super) plugins: Vec<Map<String, Value>>,
    /// They cannot be asked whether the network is as they made it.
    pub(super) disable_check: bool,
}

impl List {
    /// Reads the text of a file; one that does not hold a list holds one plugin.
    pub(super) fn parse(bytes: &[u8], is_list: bool) -> Result<Self, String> {
        let mut whole: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let text = |key: &str| whole.get(key).and_then(Value::as_str).map(str::to_owned);
        let name = text("name").unwrap_or_default();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(is_name) {
            return Err(format!("`name` is {name:?}, which is no name of a network"));
        }
        let version = text("cniVersion").unwrap_or_else(|| "0.1.0".into());
        let disable_check = match whole.get("disableCheck") {
            Some(Value::String(text)) => text == "true",
            Some(value) => value == true,
            None => false,
        };
        let plugins = if is_list {
            let Some(Value::Array(plugins)) = whole.remove("plugins") else {
                return Err("`plugins` is missing".into());
            };
            let plugins = plugins.into_iter().map(|plugin| match plugin {
                Value::Object(plugin) => Ok(plugin),
                _ => Err("a plugin is no object"),
            });
            plugins.collect::<Result<Vec<_>, _>>()?
        } else {
            vec![whole]
        };
        if plugins.is_empty() || plugins.len() > PLUGINS_MAX {
            return Err(format!("it must name 1 to {PLUGINS_MAX} plugins"));
        }
        for plugin in &plugins {
            let kind = plugin.get("type").and_then(Value::as_str);
            if !kind.is_some_and(is_program) {
                return Err("the `type` of a plugin must be the name of its program".into());
            }
        }
        Ok(Self {
            name,
            version,
            plugins,
            disable_check,
        })
    }
}

/// True for a name without a path.
fn is_program(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != "." && name != ".."
}

/// All networks of a directory by name, the first file of each name in the order of files, and what
/// is wrong with the others.
pub(super) fn read(dir: &Path) -> (BTreeMap<String, List>, Vec<(PathBuf, String)>) {
    let (mut lists, mut wrong) = (BTreeMap::new(), Vec::new());
    let mut files: Vec<PathBuf> = match fs::read_dir(dir) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                wrong.push((dir.to_owned(), error.to_string()));
            }
            return (lists, wrong);
        }
    };
    let kind = |path: &Path| {
        let kind = path.extension()?.to_str()?.to_owned();
        ["conflist", "conf", "json"]
            .contains(&&*kind)
            .then_some(kind)
    };
    files.retain(|path| kind(path).is_some());
    files.sort();
    for path in files.into_iter().take(FILES_MAX) {
        let is_list = kind(&path).is_some_and(|kind| kind == "conflist");
        match content(&path).and_then(|bytes| List::parse(&bytes, is_list)) {
            Ok(list) if lists.contains_key(&list.name) => {
                wrong.push((path, format!("another file defines `{}`", list.name)));
            }
            Ok(list) => {
                lists.insert(list.name.clone(), list);
            }
            Err(reason) => wrong.push((path, reason)),
        }
    }
    (lists, wrong)
}

fn content(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_of_a_name_counts_and_the_rest_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "10-a.conflist",
                r#"{"name": "a", "cniVersion": "1.0.0", "plugins": [{"type": "x"}, {"type": "y"}]}"#,
            ),
            ("20-a.conf", r#"{"name": "a", "type": "other"}"#),
            (
                "30-b.json",
                r#"{"name": "b", "cniVersion": "0.4.0", "type": "z", "disableCheck": "true"}"#,
            ),
            ("40-c.txt", "{"),
            ("50-d.conflist", r#"{"name": "d", "plugins": []}"#),
            ("60-e.conf", r#"{"name": "e", "type": "../../bin/sh"}"#),
            ("70-f.conf", r#"{"name": "f/g", "type": "x"}"#),
            ("80-g.conf", "{"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let (lists, wrong) = read(dir.path());
        let names: Vec<&str> = lists.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "b"]);
        let kinds: Vec<_> = lists["a"].plugins.iter().map(|one| &one["type"]).collect();
        assert_eq!(kinds, ["x", "y"]);
        assert_eq!(lists["b"].version, "0.4.0");
        assert!(lists["b"].disable_check && !lists["a"].disable_check);
        let wrong: Vec<&str> = wrong
            .iter()
            .filter_map(|(path, _)| path.file_name()?.to_str())
            .collect();
        let expected = [
            "20-a.conf",
            "50-d.conflist",
            "60-e.conf",
            "70-f.conf",
            "80-g.conf",
        ];
        assert_eq!(wrong, expected);
        let (none, wrong) = read(&dir.path().join("missing"));
        assert!(none.is_empty() && wrong.is_empty());
    }
}
