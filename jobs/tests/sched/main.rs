//! Runs the command scripts beside this file against the state, the scheduler and the controllers,
//! and compares what they print with what the scripts say.
//!
//! A script is made of blocks: lines beginning with `> ` are commands, the lines below are what
//! they print. Lines beginning with `#` are notes. Set `REWRITE_SCRIPTS` to write what is printed
//! into the scripts.

#[cfg(test)]
#[path = "properties.rs"]
mod properties;
#[cfg(test)]
#[path = "world.rs"]
mod world;

use std::{fmt::Write, fs, path::Path};
use world::World;

#[test]
#[expect(clippy::disallowed_methods, reason = "the scripts are files")]
fn scripts_print_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sched");
    let rewrite =
        option_env!("REWRITE_SCRIPTS").is_some() || std::env::var("REWRITE_SCRIPTS").is_ok();
    let mut failures = String::new();
    let mut scripts: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of scripts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for path in scripts {
        let said = fs::read_to_string(&path).expect("a script");
        let printed = run(&said);
        if printed == said {
            continue;
        }
        if rewrite {
            fs::write(&path, &printed).expect("a writable script");
        } else {
            let _ = writeln!(
                failures,
                "--- {}\n{}",
                path.display(),
                difference(&said, &printed)
            );
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// The script with what its commands print now.
fn run(script: &str) -> String {
    let mut world = World::new(1);
    let mut output = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            let _ = writeln!(output, "{line}");
            output.push_str(&world.command(command));
        } else if line.starts_with('#') || line.is_empty() {
            let _ = writeln!(output, "{line}");
        }
    }
    output
}

fn difference(said: &str, printed: &str) -> String {
    let mut text = String::new();
    let (said, printed): (Vec<_>, Vec<_>) = (said.lines().collect(), printed.lines().collect());
    for at in 0..said.len().max(printed.len()) {
        let (a, b) = (said.get(at), printed.get(at));
        if a != b {
            let _ = writeln!(
                text,
                "line {}: said    {:?}\n         printed {:?}",
                at + 1,
                a,
                b
            );
        }
    }
    text
}
