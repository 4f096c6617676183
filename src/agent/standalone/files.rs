//! Routes that stand in the settings or in a file.

use super::found::Found;
use config::PageSource;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// Between two looks at files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The largest file, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The text of routes, and the page for requests without a route.
type Text = (String, String);

/// Routes that stand in the settings.
///
/// # Errors
/// If the page cannot be read.
pub(super) fn fixed(routes: &str, page: &PageSource) -> Result<Text, String> {
    Ok((routes.to_owned(), page_of(page)?))
}

/// The page for requests without a route.
///
/// # Errors
/// If it cannot be read.
pub(super) fn page_of(page: &PageSource) -> Result<String, String> {
    match page {
        PageSource::Text(text) => Ok(text.clone()),
        PageSource::File(path) => read(path),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("{}: it is larger than 1 MiB", path.display()));
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// Files that are looked at again and again.
#[derive(Debug)]
pub(super) struct Watched {
    routes: PathBuf,
    page: PageSource,
    last: Text,
}

impl Watched {
    /// Reads them once.
    ///
    /// # Errors
    /// If that cannot be done.
    pub(super) fn open(routes: &Path, page: &PageSource) -> Result<Self, String> {
        Ok(Self {
            last: (read(routes)?, page_of(page)?),
            routes: routes.to_path_buf(),
            page: page.clone(),
        })
    }

    /// Tells what stands in them, at once and whenever it changes, for ever. What cannot be read
    /// stays as it was.
    pub(super) async fn follow(mut self, found: watch::Sender<Found>) {
        found.send_modify(|found| found.set_text(self.last.clone()));
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = String::new();
        loop {
            ticks.tick().await;
            let (routes, page) = (self.routes.clone(), self.page.clone());
            let looked = tokio::task::spawn_blocking(move || Ok((read(&routes)?, page_of(&page)?)));
            match super::join(looked).await {
                Ok(now) => {
                    said.clear();
                    if now != self.last {
                        found.send_modify(|found| found.set_text(now.clone()));
                        self.last = now;
                    }
                }
                Err(reason) if reason != said => {
                    tracing::warn!(reason, "routes stay as they are");
                    said = reason;
                }
                Err(_) => {}
            }
        }
    }
}
