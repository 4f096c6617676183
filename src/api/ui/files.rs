//! The files of the web UI.

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};
use std::{fmt::Write as _, io::Write as _, sync::OnceLock};

/// Bytes of the hash that tells versions of a file apart.
const TAG_BYTES: usize = 12;

/// A file that stands in the program.
#[derive(Debug)]
pub(super) struct File {
    name: &'static str,
    /// What is in it.
    pub(super) bytes: &'static [u8],
    tag: OnceLock<String>,
    compressed: OnceLock<Vec<u8>>,
}

macro_rules! files {
    ($($name:literal,)*) => {
        [$(File {
            name: $name,
            bytes: include_bytes!(concat!("../../../ui/", $name)),
            tag: OnceLock::new(),
            compressed: OnceLock::new(),
        },)*]
    };
}

/// Every file of the folder, by name.
static FILES: [File; FILES_COUNT] = files![
    "app.js",
    "core/dialog.js",
    "core/dom.js",
    "core/follow.js",
    "core/format.js",
    "core/http.js",
    "core/keys.js",
    "core/logs.js",
    "core/router.js",
    "core/search.js",
    "core/store.js",
    "core/stream.js",
    "core/traffic.js",
    "icon.svg",
    "index.html",
    "pages/allocation.js",
    "pages/allocation/files.js",
    "pages/allocation/overview.js",
    "pages/allocation/terminal.js",
    "pages/allocation/usage.js",
    "pages/evaluations.js",
    "pages/events.js",
    "pages/home.js",
    "pages/job.js",
    "pages/job/actions.js",
    "pages/job/allocations.js",
    "pages/job/definition.js",
    "pages/job/deployments.js",
    "pages/job/evaluations.js",
    "pages/job/judge.js",
    "pages/job/overview.js",
    "pages/job/panel.js",
    "pages/job/versions.js",
    "pages/jobs.js",
    "pages/kv.js",
    "pages/logs.js",
    "pages/node.js",
    "pages/node/drain.js",
    "pages/routes.js",
    "pages/run.js",
    "pages/servers.js",
    "pages/service.js",
    "pages/services.js",
    "pages/topology.js",
    "pages/variables.js",
    "parts/allocations.js",
    "parts/ansi.js",
    "parts/bars.js",
    "parts/command.js",
    "parts/diff.js",
    "parts/editor.js",
    "parts/evaluation.js",
    "parts/evaluations.js",
    "parts/frame.js",
    "parts/highlight.js",
    "parts/logs.js",
    "parts/logview.js",
    "parts/problems.js",
    "parts/requests.js",
    "parts/rollout.js",
    "parts/screen.js",
    "parts/table.js",
    "style.css",
];
const FILES_COUNT: usize = 63;

/// The file at this path.
pub(super) fn file(path: &str) -> Option<&'static File> {
    let at = FILES.binary_search_by(|file| file.name.cmp(path)).ok()?;
    FILES.get(at)
}

impl File {
    /// Its kind, by its name.
    pub(super) fn content_type(&self) -> &'static str {
        match self.name.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "application/octet-stream",
        }
    }

    /// What tells this version of it from others, in quotes.
    pub(super) fn tag(&self) -> &str {
        self.tag.get_or_init(|| {
            let mut tag = "\"".to_owned();
            for byte in Sha256::digest(self.bytes).iter().take(TAG_BYTES) {
                // Writing to a text cannot fail.
                write!(tag, "{byte:02x}").ok();
            }
            tag.push('"');
            tag
        })
    }

    /// The same, compressed when it is asked for first.
    pub(super) fn compressed(&self) -> &[u8] {
        self.compressed.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            let written = encoder.write_all(self.bytes);
            written
                .and_then(|()| encoder.finish())
                .expect("writing to memory does not fail")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, path::Path};

    fn names(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                names(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_in_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ui");
        let mut found = Vec::new();
        names(&folder, "", &mut found);
        found.sort();
        let listed: Vec<&str> = FILES.iter().map(|file| file.name).collect();
        assert_eq!(listed, found);
    }

    #[test]
    fn all_of_it_is_small() {
        /// Bytes that the first look at the web UI may cost, compressed.
        const BYTES_MAX: usize = 150 * 1024;
        let bytes: usize = FILES.iter().map(|file| file.compressed().len()).sum();
        assert!(bytes <= BYTES_MAX, "{bytes} bytes");
    }

    /// The file that a line of a module names, if it does.
    fn named(module: &str, line: &str) -> Option<String> {
        let (_, rest) = line
            .split_once(" from '.")
            .or_else(|| line.split_once("import('."))?;
        let folder = module.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        let path = format!(".{}", rest.split('\'').next().unwrap());
        for part in path.split('/') {
            match part {
                "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        Some(parts.join("/"))
    }

    #[test]
    fn modules_name_files_that_are_there() {
        for own in FILES.iter().filter(|own| own.name.ends_with(".js")) {
            let text = std::str::from_utf8(own.bytes).unwrap();
            for path in text.lines().filter_map(|line| named(own.name, line)) {
                assert!(file(&path).is_some(), "{} names {path}", own.name);
            }
        }
    }

    /// Modules that name each other would be fetched one after the other.
    #[test]
    fn the_frame_names_every_module_that_the_first_one_needs() {
        let (mut needed, mut open) = (BTreeSet::new(), vec!["app.js".to_owned()]);
        while let Some(name) = open.pop() {
            let text = std::str::from_utf8(file(&name).unwrap().bytes).unwrap();
            let lines = text.lines().filter(|line| line.starts_with("import "));
            for path in lines.filter_map(|line| named(&name, line)) {
                if needed.insert(path.clone()) {
                    open.push(path);
                }
            }
        }
        let frame = std::str::from_utf8(file("index.html").unwrap().bytes).unwrap();
        let links = frame
            .split("<link rel=\"modulepreload\" href=\"/ui/")
            .skip(1);
        let named: BTreeSet<String> = links
            .map(|rest| rest.split('"').next().unwrap().to_owned())
            .collect();
        assert_eq!(named, needed);
    }

    /// What is done after a question can be done in a terminal too, and the question says how.
    #[test]
    fn every_question_before_a_change_shows_its_command_line() {
        let mut count = 0;
        for file in FILES.iter().filter(|file| file.name.ends_with(".js")) {
            let text = std::str::from_utf8(file.bytes).unwrap();
            for asked in text.split("dialog({").skip(1) {
                if asked.contains("action: {") {
                    count += 1;
                    let shows = asked.contains("command: (");
                    assert!(shows, "{} asks without a command: {asked}", file.name);
                }
            }
        }
        assert!(count > 20, "{count} questions");
    }

    /// Only the clock that makes “3s ago” go on comes again and again, and the sign of life of a
    /// terminal.
    #[test]
    fn nothing_is_asked_at_intervals() {
        const CLOCK: &str = "app.js";
        const TERMINAL: &str = "pages/allocation/terminal.js";
        for file in &FILES {
            let text = std::str::from_utf8(file.bytes).unwrap();
            let intervals = text.matches("setInterval(").count();
            let expected = usize::from([CLOCK, TERMINAL].contains(&file.name));
            assert_eq!(intervals, expected, "{}", file.name);
        }
    }

    /// Nothing that is shown may become markup, and nothing may be fetched from elsewhere.
    #[test]
    fn no_file_makes_markup_of_texts_or_names_another_origin() {
        for file in &FILES {
            let text = std::str::from_utf8(file.bytes).unwrap();
            for banned in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "DOMParser",
                "createContextualFragment",
                "eval(",
                "new Function",
                "setInterval('",
                "@import",
                "url(",
            ] {
                assert!(!text.contains(banned), "{} has {banned}", file.name);
            }
            let foreign = text.match_indices("://").filter(|(at, _)| {
                let before = text.get(..*at).unwrap_or_default();
                let rest = text.get(at + 3..).unwrap_or_default();
                before.ends_with("http")
                    && !rest.starts_with("${")
                    && !rest.starts_with("www.w3.org/")
            });
            assert_eq!(foreign.count(), 0, "{} names another origin", file.name);
        }
    }
}
