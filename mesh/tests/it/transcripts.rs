//! Files of steps with what each of them is expected to give.

use std::path::Path;

/// Runs each file of a folder of `tests`; it must give itself. `REWRITE_EXPECTED=1` writes what it
/// gives instead.
#[expect(
    clippy::disallowed_methods,
    reason = "the runner reads and rewrites scenario files"
)]
pub(crate) fn check(folder: &str, run: impl Fn(&str) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    let rewrites = std::env::var("REWRITE_EXPECTED").is_ok();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let transcript = run(&text);
        if rewrites {
            std::fs::write(&path, transcript).unwrap();
        } else {
            assert_eq!(transcript, text, "{}", path.display());
        }
    }
}
