//! What lints cannot check: arrows between packages and modules, one home per heavy library, the maps
//! in README and ARCHITECTURE.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const LIBRARIES: [&str; 4] = ["jobs", "mesh", "dns", "proxy"];

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below `dir`, relative to the root.
fn rust_files(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(ROOT).join(dir)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(ROOT).expect("below the root").to_owned());
            }
        }
    }
    assert!(!found.is_empty(), "no Rust files below {dir}");
    found
}

/// Lines of code: comments left out.
fn code(path: &Path) -> String {
    read(path)
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// `code` without what stands between quotes on one line.
fn without_texts(code: &str) -> String {
    let lines = code
        .lines()
        .map(|line| line.split('"').step_by(2).collect::<String>());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn no_library_depends_on_another() {
    for library in LIBRARIES {
        let manifest = read(format!("{library}/Cargo.toml"));
        for other in LIBRARIES.iter().filter(|&&other| other != library) {
            let named = manifest.lines().any(|line| {
                line.strip_prefix(other)
                    .is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
            });
            assert!(!named, "{library} depends on {other}");
        }
    }
}

#[test]
fn pure_libraries_name_no_runtime_http_or_randomness_source() {
    for library in ["jobs", "mesh"] {
        let manifest = read(format!("{library}/Cargo.toml"));
        let dependencies = manifest
            .split("[dependencies]")
            .nth(1)
            .expect("dependencies");
        let dependencies = dependencies
            .split("[dev-dependencies]")
            .next()
            .expect("a section");
        for banned in [
            "tokio",
            "hyper",
            "reqwest",
            "axum",
            "rand",
            "getrandom",
            "uuid",
            "futures-util",
        ] {
            let named = dependencies.lines().any(|line| {
                line.strip_prefix(banned)
                    .is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
            });
            assert!(!named, "{library} must not depend on {banned}");
        }
    }
}

#[test]
fn root_modules_use_only_what_they_may() {
    let open = ["config", "tls", "telemetry", "sys"];
    let allowed: BTreeMap<&str, &[&str]> = [
        ("cli", &[][..]),
        ("agent", &["api", "server", "client", "rpc", "echo", "cli"]),
        ("api", &["server", "client"]),
        ("server", &["rpc", "registration"]),
        ("client", &["rpc", "registration"]),
        ("registration", &[]),
        ("rpc", &[]),
        ("config", &[]),
        ("telemetry", &[]),
        ("sys", &[]),
        ("echo", &[]),
        ("commands", &["agent", "cli", "client", "echo"]),
    ]
    .into();
    for file in rust_files("src") {
        let mut parts = file
            .components()
            .skip(1)
            .map(|part| part.as_os_str().to_string_lossy());
        let module = parts
            .next()
            .expect("a module")
            .trim_end_matches(".rs")
            .to_owned();
        if module == "main" || module == "lib" || file.ends_with("tests.rs") {
            continue;
        }
        let may = allowed
            .get(module.as_str())
            .unwrap_or_else(|| panic!("no arrows for {module}"));
        for used in code(&file)
            .replace("trivet::", "crate::")
            .split("crate::")
            .skip(1)
        {
            let used: Vec<&str> = match used.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap_or("").split(',').collect(),
                None => vec![used],
            };
            for name in used {
                let end = name.trim().find(|c: char| !c.is_alphanumeric() && c != '_');
                let name = name
                    .trim()
                    .get(..end.unwrap_or_else(|| name.trim().len()))
                    .unwrap_or("");
                let known = allowed.contains_key(name);
                let fine = !known || name == module || may.contains(&name) || open.contains(&name);
                assert!(fine, "{}: {module} must not use {name}", file.display());
            }
        }
    }
}

#[test]
fn the_binary_s_parts_see_only_their_libraries() {
    let allowed: [(&str, &[&str]); 6] = [
        ("cli", &["jobs", "mesh"]),
        ("server", &["jobs", "mesh"]),
        ("client", &["jobs", "mesh"]),
        ("rpc", &["jobs", "mesh"]),
        ("registration", &["jobs", "mesh"]),
        ("api", &["jobs", "mesh", "proxy"]),
    ];
    for (module, may) in allowed {
        for file in rust_files(&format!("src/{module}")) {
            let text = code(&file);
            for library in LIBRARIES.iter().filter(|library| !may.contains(library)) {
                let named = text.match_indices(&format!("{library}::")).any(|(at, _)| {
                    let before = text.get(..at).and_then(|text| text.chars().next_back());
                    !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                });
                assert!(
                    !named,
                    "{}: {module} must not use {library}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn each_heavy_library_has_one_home() {
    let homes: [(&str, &[&str]); 7] = [
        ("openraft", &["src/server/log/raft"]),
        ("redb", &["src/server/log/raft"]),
        ("pingora", &["proxy/src/http", "proxy/src/http.rs"]),
        ("hickory_server", &["dns/src/server.rs"]),
        ("hcl_edit", &["jobs/src/spec", "src/config"]),
        ("axum", &["src/api"]),
        ("clap", &["src/cli"]),
    ];
    let dirs = ["src", "jobs/src", "mesh/src", "dns/src", "proxy/src"];
    for file in dirs.iter().flat_map(|dir| rust_files(dir)) {
        if file.ends_with("tests.rs") {
            continue;
        }
        let text = without_texts(&code(&file));
        for (library, homes) in homes {
            let at_home = homes.iter().any(|home| {
                file.starts_with(home)
                    || file == Path::new(home)
                    || file == Path::new(&format!("{home}.rs"))
            });
            let named =
                text.contains(&format!("{library}::")) || text.contains(&format!("use {library}"));
            assert!(
                at_home || !named,
                "{}: {library} belongs in {homes:?}",
                file.display()
            );
        }
    }
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    for file in LIBRARIES
        .iter()
        .flat_map(|dir| rust_files(dir))
        .chain(rust_files("src"))
    {
        let stem = file
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let banned = [
            "utils", "util", "helpers", "helper", "common", "misc", "manager", "impl",
        ];
        assert!(!banned.contains(&stem.as_str()), "{}", file.display());
    }
}

#[test]
fn nothing_unfinished_is_left() {
    let marks = [
        "to".to_owned() + "do!(",
        "unimpl".to_owned() + "emented!(",
        "db".to_owned() + "g!(",
        "FIX".to_owned() + "ME",
    ];
    for file in LIBRARIES
        .iter()
        .flat_map(|dir| rust_files(dir))
        .chain(rust_files("src"))
        .chain(rust_files("tests"))
    {
        let text = read(&file);
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{}: {mark}", file.display());
        }
    }
}

/// Paths in backquotes that look like files of this tree.
fn paths_in(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| {
            let looks = word.contains('/') && !word.contains(' ') && !word.contains("://");
            let starts = [
                "src/", "jobs/", "mesh/", "dns/", "proxy/", "tests/", "docs/", "benches/", ".ci/",
            ];
            looks && starts.iter().any(|start| word.starts_with(start))
        })
        .map(|word| word.trim_end_matches('/').to_owned())
        .collect()
}

#[test]
fn the_maps_show_the_tree_as_it_is() {
    for map in ["README.md", "docs/ARCHITECTURE.md"] {
        let paths = paths_in(&read(map));
        assert!(paths.len() >= 8, "{map} has a map of the code");
        for path in paths {
            assert!(
                Path::new(ROOT).join(&path).exists(),
                "{map} names `{path}`, which is not there"
            );
        }
    }
    let map = read("docs/ARCHITECTURE.md");
    for entry in fs::read_dir(Path::new(ROOT).join("src"))
        .expect("src")
        .flatten()
    {
        let name = entry
            .file_name()
            .to_string_lossy()
            .trim_end_matches(".rs")
            .to_owned();
        if name == "main" || name == "lib" {
            continue;
        }
        let shown =
            map.contains(&format!("`src/{name}/`")) || map.contains(&format!("`src/{name}.rs`"));
        assert!(shown, "docs/ARCHITECTURE.md does not name src/{name}");
    }
}
