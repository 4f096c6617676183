//! What lints cannot check: arrows between packages and modules, circles of folders, one home per
//! heavy library, the maps in README and ARCHITECTURE.

mod circles;
mod source;

use circles::Arrows;
use source::Segments;
use std::{
    collections::{BTreeMap, BTreeSet},
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

/// A top module and the top modules that it may use.
type Arrow<'a> = (&'a str, &'a [&'a str]);

/// The modules of the sources below `src`, tests left out, and the paths that each names.
fn modules(src: &str) -> Vec<(Segments, BTreeSet<Segments>)> {
    rust_files(src)
        .into_iter()
        .filter(|file| !file.ends_with("tests.rs"))
        .map(|file| match room_of(&file) {
            Some(room) => in_room(&room, &file),
            None => {
                let module = source::module_of(&file, Path::new(src));
                let references = source::references(&module, &read(&file));
                (module, with_rooms(references, "Cargo.toml"))
            }
        })
        .collect()
}

/// Rooms of the root that are packages of their own.
fn rooms() -> impl Iterator<Item = &'static str> {
    let packages = |name: &&str| {
        Path::new(ROOT)
            .join("src")
            .join(name)
            .join("Cargo.toml")
            .exists()
    };
    ROOT_ARROWS.iter().map(|(name, _)| *name).filter(packages)
}

/// The room that is a package of its own and holds `file`.
fn room_of(file: &Path) -> Option<String> {
    rooms()
        .find(|room| file.starts_with(Path::new("src").join(room)))
        .map(str::to_owned)
}

/// A module of a room that is a package of its own, as if it were a module of the root.
fn in_room(room: &str, file: &Path) -> (Segments, BTreeSet<Segments>) {
    let inside = source::module_of(file, &Path::new("src").join(room));
    let inner: BTreeSet<Segments> = source::references(&inside, &read(file))
        .into_iter()
        .map(|mut path| {
            if path[0] == "crate" {
                path.insert(1, room.to_owned());
            }
            path
        })
        .collect();
    let module = std::iter::once(room.to_owned()).chain(inside).collect();
    (module, with_rooms(inner, &format!("src/{room}/Cargo.toml")))
}

/// `references` with those to rooms that the `manifest` names as paths below the root.
fn with_rooms(references: BTreeSet<Segments>, manifest: &str) -> BTreeSet<Segments> {
    let manifest = read(manifest);
    let named: BTreeSet<&str> = rooms()
        .filter(|room| {
            let line = format!("{room}.workspace = true");
            manifest.lines().any(|at| at == line)
        })
        .collect();
    references
        .into_iter()
        .map(|mut path| {
            if named.contains(path[0].as_str()) {
                path.insert(0, "crate".to_owned());
            }
            path
        })
        .collect()
}

/// What of `allowed` a module's references break, as sentences. `allowed` has every top module of
/// the package with those that it may use, `open` those that every one may use.
fn broken_arrows(
    modules: &[(Segments, BTreeSet<Segments>)],
    allowed: &[Arrow<'_>],
    open: &[&str],
) -> Vec<String> {
    let may: BTreeMap<&str, &[&str]> = allowed.iter().copied().collect();
    let mut broken = Vec::new();
    for (module, references) in modules {
        // The root of the package holds the list of the modules.
        let Some(own) = module.first() else { continue };
        let Some(may) = may.get(own.as_str()) else {
            broken.push(format!("no arrows are written down for `{own}`"));
            continue;
        };
        for path in references {
            let [root, used, ..] = path.as_slice() else {
                continue;
            };
            let used = used.as_str();
            let is_module = ["crate", "trivet"].contains(&root.as_str())
                && allowed.iter().any(|(name, _)| *name == used);
            if is_module && used != own && !may.contains(&used) && !open.contains(&used) {
                broken.push(format!(
                    "`{}` must not use `{}`",
                    module.join("::"),
                    path.join("::")
                ));
            }
        }
    }
    broken
}

/// Which top modules of the root may use which others.
const ROOT_ARROWS: &[Arrow<'_>] = &[
    ("cli", &[]),
    ("agent", &["api", "server", "client", "rpc", "echo", "cli"]),
    ("api", &["server", "client"]),
    ("server", &["rpc", "registration"]),
    ("client", &["rpc", "registration", "templates"]),
    ("registration", &[]),
    ("templates", &[]),
    ("rpc", &[]),
    ("config", &[]),
    ("telemetry", &[]),
    ("sys", &[]),
    ("allocator", &[]),
    ("echo", &[]),
    ("commands", &["agent", "cli", "client", "echo"]),
];
/// The modules of the root that all others may use.
const ROOT_OPEN: &[&str] = &["config", "tls", "telemetry", "sys"];

#[test]
fn root_modules_use_only_what_they_may() {
    let broken = broken_arrows(&modules("src"), ROOT_ARROWS, ROOT_OPEN);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_planted_arrow_is_found_inside_a_group() {
    let text = "use sys::{clock, files};\nuse rpc::session::{self, Handle};\n\
                use server::{Handle as Server};";
    let module: Segments = vec!["client".into(), "service".into()];
    let references = with_rooms(source::references(&module, text), "Cargo.toml");
    let planted = [(module, references)];
    assert_eq!(
        broken_arrows(&planted, ROOT_ARROWS, ROOT_OPEN),
        ["`client::service` must not use `crate::server::Handle`"]
    );
}

#[test]
fn modules_of_the_libraries_use_only_what_they_may() {
    let libraries: [(&str, &[Arrow<'_>]); 4] = [
        (
            "jobs",
            &[
                ("ids", &["model"]),
                ("model", &[]),
                ("wire", &["model"]),
                ("spec", &["model", "wire"]),
                ("environment", &["model"]),
                ("state", &["model"]),
                ("verify", &["model", "state"]),
                ("scheduler", &["ids", "model", "state"]),
                ("control", &["ids", "model", "scheduler", "state"]),
            ],
        ),
        (
            "mesh",
            &[
                ("chain", &["model", "view"]),
                ("elsewhere", &["external", "model", "view"]),
                ("external", &["model", "view"]),
                ("filter", &[]),
                ("model", &[]),
                ("gateway", &["intention", "model", "view"]),
                ("gossip", &[]),
                ("health", &["model"]),
                ("intention", &["model", "view"]),
                ("view", &["model"]),
                ("state", &["model", "view"]),
                ("lifetimes", &["model", "state"]),
                ("local", &["model", "view"]),
                ("prepared", &["model", "view"]),
                ("split", &["chain", "filter", "model", "view", "wire"]),
                (
                    "wire",
                    &["chain", "filter", "gateway", "intention", "model", "view"],
                ),
            ],
        ),
        (
            "dns",
            &[
                ("error", &[]),
                ("config", &[]),
                ("name", &[]),
                ("pick", &[]),
                ("recurse", &[]),
                ("tcp", &[]),
                ("view", &["error", "name"]),
                ("answer", &["config", "name", "pick", "view"]),
                (
                    "server",
                    &["answer", "config", "error", "recurse", "tcp", "view"],
                ),
            ],
        ),
        (
            "proxy",
            &[
                ("route", &[]),
                ("auth", &[]),
                ("certs", &[]),
                ("log", &[]),
                ("config", &["auth", "certs", "log", "route"]),
                ("headers", &["route"]),
                ("listen", &[]),
                ("tcp", &["route"]),
                (
                    "http",
                    &[
                        "auth", "certs", "config", "headers", "listen", "log", "route", "tcp",
                    ],
                ),
            ],
        ),
    ];
    let mut all = Vec::new();
    for (library, allowed) in libraries {
        let broken = broken_arrows(&modules(&format!("{library}/src")), allowed, &[]);
        all.extend(
            broken
                .into_iter()
                .map(|broken| format!("{library}: {broken}")),
        );
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn folders_use_each_other_in_no_circle() {
    let mut found = Vec::new();
    for package in ["src", "jobs/src", "mesh/src", "dns/src", "proxy/src"] {
        let modules = modules(package);
        let known: BTreeSet<&Segments> = modules.iter().map(|(module, _)| module).collect();
        let mut arrows = Arrows::new();
        for (module, references) in &modules {
            for path in references.iter().filter(|path| path[0] == "crate") {
                let longest = (1..=path.len()).rev().map(|end| path[1..end].to_vec());
                let to = longest.into_iter().find(|to| known.contains(to));
                circles::add(&mut arrows, module, &to.unwrap_or_default());
            }
        }
        for (folder, children) in &arrows {
            let path: Vec<&str> = std::iter::once(package)
                .chain(folder.iter().map(String::as_str))
                .collect();
            let path = path.join("/");
            for circle in circles::circles(children) {
                found.push(format!("{path}: {}", circle.join(", ")));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
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
    for (module, references) in modules("src") {
        let may = allowed
            .iter()
            .find(|(name, _)| module.first().is_some_and(|own| own == name));
        let Some((_, may)) = may else { continue };
        for path in references {
            let is_fine = !LIBRARIES.contains(&path[0].as_str()) || may.contains(&path[0].as_str());
            assert!(
                is_fine,
                "`{}` must not use `{}`",
                module.join("::"),
                path.join("::")
            );
        }
    }
}

#[test]
fn each_heavy_library_has_one_home() {
    let homes: [(&str, &[&str]); 9] = [
        ("openraft", &["src/server/log/raft"]),
        ("pingora", &["proxy/src/http", "proxy/src/http.rs"]),
        ("hickory_server", &["dns/src/server.rs"]),
        ("hcl_edit", &["jobs/src/spec", "src/config"]),
        ("axum", &["src/api"]),
        ("clap", &["src/cli"]),
        ("gotmpl", &["src/templates"]),
        ("bollard", &["src/client/drivers/docker"]),
        ("instant_acme", &["proxy/src/certs/acme.rs"]),
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

/// Columns of a comment, its indentation and mark included.
const COMMENT_COLUMNS_MAX: usize = 100;

/// Lines of `text` that hold a comment wider than allowed. A row of a table and an address cannot
/// be broken.
fn wide_comments(text: &str) -> Vec<usize> {
    let lines = text.lines().enumerate();
    let wide = lines.filter(|(_, line)| {
        let comment = line.trim_start();
        let breaks = !comment.contains("://") && !comment.contains(" | ");
        comment.starts_with("//") && breaks && line.chars().count() > COMMENT_COLUMNS_MAX
    });
    wide.map(|(at, _)| at + 1).collect()
}

#[test]
fn comments_fit_their_columns() {
    let folders = ["src", "tests", "benches"].into_iter();
    let files = folders.chain(LIBRARIES).flat_map(rust_files);
    let wide: Vec<String> = files
        .flat_map(|file| {
            let lines = wide_comments(&read(&file));
            lines
                .into_iter()
                .map(move |line| format!("{}:{line}", file.display()))
        })
        .collect();
    assert!(
        wide.is_empty(),
        "comments are wider than {COMMENT_COLUMNS_MAX} columns: {wide:?}"
    );
}

#[test]
fn a_planted_wide_comment_is_found() {
    let fits = "x".repeat(COMMENT_COLUMNS_MAX - 3);
    let text = format!("// {fits}\n    // {fits}\nlet s = \"{fits}{fits}\";\n/// {fits}\n");
    assert_eq!(wide_comments(&text), [2, 4]);
}

/// Lines of `text` on which a comment begins a block that looks like a program of its own.
fn programs_in_comments(text: &str) -> Vec<usize> {
    let mut open = false;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let comment = line
            .strip_prefix("//!")
            .or_else(|| line.strip_prefix("///"));
        let Some(fence) = comment.and_then(|text| text.trim().strip_prefix("```")) else {
            continue;
        };
        if !open && fence != "text" {
            found.push(number + 1);
        }
        open = !open;
    }
    found
}

/// Nothing would run them: examples stand in tests.
#[test]
fn comments_hold_no_programs() {
    for file in LIBRARIES
        .iter()
        .flat_map(|dir| rust_files(dir))
        .chain(rust_files("src"))
    {
        let found = programs_in_comments(&read(&file));
        assert!(found.is_empty(), "{}: {found:?}", file.display());
    }
}

#[test]
fn a_planted_program_in_a_comment_is_found() {
    let text = "/// ```text\n/// a\n/// ```\n//! ```\n//! f();\n//! ```\n";
    assert_eq!(programs_in_comments(text), [4]);
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
                "src/", "jobs/", "mesh/", "dns/", "proxy/", "tests/", "docs/", "benches/", "ui/",
                ".ci/",
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
