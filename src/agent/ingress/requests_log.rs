//! The log of requests, written by a thread of its own.

use config::IngressLog;
use proxy::AccessLog;
use std::{
    fs::File,
    io::{BufWriter, Write},
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::sync::mpsc::Receiver;

/// How many lines are written together at most.
const LINES_MAX: usize = 1024;

/// How long lines gather that come after others.
const GATHER: Duration = Duration::from_millis(2);

/// Opens the log; lines are written as they come until the ingress ends.
pub(super) fn open(settings: &IngressLog) -> Result<Arc<AccessLog>, String> {
    let (log, lines) = AccessLog::new(&settings.format)?;
    let target: Box<dyn Write + Send> = match &settings.file {
        None => Box::new(std::io::stdout()),
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            let file =
                file.map_err(|error| format!("the log of requests `{}`: {error}", path.display()))?;
            Box::new(file)
        }
    };
    thread::Builder::new()
        .name("requests-log".into())
        .spawn(move || write(lines, BufWriter::new(target)))
        .map_err(|error| format!("the log of requests has no thread: {error}"))?;
    Ok(Arc::new(log))
}

/// Writes what comes: the first line at once, and those that come soon after it together. To be
/// woken for each of them, and to write each for itself, would cost more than the requests.
fn write(mut lines: Receiver<String>, mut target: impl Write) {
    let mut has_failed = false;
    let mut waiting = Vec::new();
    while lines.blocking_recv_many(&mut waiting, LINES_MAX) > 0 {
        let written = waiting
            .drain(..)
            .try_for_each(|line| target.write_all(line.as_bytes()));
        let written = written.and_then(|()| target.flush());
        if let Err(error) = &written
            && !has_failed
        {
            tracing::error!(%error, "the log of requests cannot be written");
        }
        has_failed = written.is_err();
        thread::sleep(GATHER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_until_there_are_no_more() {
        let (sender, lines) = tokio::sync::mpsc::channel(4);
        for line in ["one\n", "two\n", "three\n"] {
            sender.try_send(line.to_owned()).unwrap();
        }
        drop(sender);
        let mut written = Vec::new();
        write(lines, &mut written);
        assert_eq!(written, b"one\ntwo\nthree\n");
        let nowhere = IngressLog {
            format: "common".into(),
            file: Some("/nowhere/at/all".into()),
        };
        assert!(open(&nowhere).unwrap_err().contains("/nowhere/at/all"));
    }
}
