//! Job files to jobs: examples, published files, golden results, and invariants.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a step that fails is a test that fails"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests read the files that they compare with, and bound their time"
)]
#![expect(
    clippy::print_stdout,
    clippy::string_slice,
    reason = "cases that fail are shown; texts are cut where characters begin"
)]

mod absent;
mod bounds;
mod calls;
mod diff;
mod files;
mod fuzz;
mod golden;
mod implied;
mod invariants;
mod layout;
mod resolve;
mod round_trip;
mod rules;
mod sidecar;

use jobs::model;
use jobs::spec::{Defaults, Surroundings, Variables, canonicalize_and_validate, parse};
use std::path::{Path, PathBuf};

/// The files below a folder of the package, by name.
fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut all: Vec<PathBuf> = std::fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    assert!(!all.is_empty(), "no files in {}", root.display());
    all.into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect()
}

/// The canonical job of a text that must be fine.
fn job(text: &str, name: &str) -> model::Job {
    let parsed = match parse(text, name, &Variables::default(), &Surroundings::default()) {
        Ok(parsed) => parsed,
        Err(problems) => panic!("{name}: {}", lines(&problems)),
    };
    let validation = canonicalize_and_validate(parsed, &Defaults::default());
    match validation.job {
        Some(job) => job,
        None => panic!("{name}: {:#?}", validation.errors),
    }
}

fn lines<T: ToString>(items: &[T]) -> String {
    items.iter().map(|item| item.to_string() + "\n").collect()
}

/// Compares with the file beside, or writes it when `UPDATE_GOLDEN` is set.
fn golden(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        expected,
        actual,
        "{} differs; UPDATE_GOLDEN=1 rewrites it",
        path.display()
    );
}

/// Compares part by part, so that it is seen what differs, or writes all of it when asked to.
fn compare(path: &Path, recorded: &[&str], written: &[String], between: &str) {
    assert!(recorded.len() > 200, "{} parts", recorded.len());
    if std::env::var_os("UPDATE_GOLDEN").is_none() {
        for (written, recorded) in written.iter().zip(recorded) {
            assert_eq!(written, recorded, "UPDATE_GOLDEN=1 rewrites it");
        }
    }
    golden(path, &(written.join(between) + "\n"));
}
