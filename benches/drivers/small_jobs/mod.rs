//! Small jobs: one-task batch jobs through the durable log to their end, as processes and on
//! simulated agents.

mod processes;
mod simulated;

use std::path::PathBuf;

/// What is measured.
#[derive(Clone, Debug)]
struct Options {
    /// Rounds, one right after the other.
    rounds: usize,
    /// Jobs in a round.
    jobs: usize,
    /// Connections that submit.
    connections: usize,
    /// Where the data directory is made; each in turn.
    dirs: Vec<PathBuf>,
}

impl Options {
    /// From words such as `rounds=10`.
    fn read(words: &[String]) -> Self {
        let value = |name: &str| {
            words
                .iter()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        let number =
            |name, otherwise| value(name).map_or(otherwise, |text| text.parse().expect("a number"));
        let dirs = value("dirs").map_or_else(
            || vec![PathBuf::from("/dev/shm"), std::env::temp_dir()],
            |text| text.split(',').map(PathBuf::from).collect(),
        );
        Self {
            rounds: number("rounds", 10),
            jobs: number("jobs", 1_000),
            connections: number("connections", 16),
            dirs,
        }
    }
}

/// Words: `rounds=`, `jobs=`, `connections=`, `dirs=PATH,PATH`.
pub(crate) async fn run(words: &[String]) {
    let options = Options::read(words);
    for dir in &options.dirs {
        processes::run(&options, dir).await;
    }
    simulated::run(options.jobs, options.connections).await;
}
