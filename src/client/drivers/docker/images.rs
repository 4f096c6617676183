//! Images: pulled once for all tasks that wait for one, and removed when nothing uses them.

use super::daemon::{Daemon, Failure};
use crate::drivers::News;
use bollard::{
    auth::DockerCredentials,
    models::CreateImageInfo,
    query_parameters::{CreateImageOptionsBuilder, RemoveImageOptions},
};
use futures_util::StreamExt;
use jobs::model::Span;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};
use sys::clock;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

/// Layers of an image that are counted.
const LAYERS_MAX: usize = 1024;
/// Ids of pulled images that are remembered.
const PULLED_MAX: usize = 4096;
const MIB: f64 = 1024.0 * 1024.0;

/// How patient pulls are, and how talkative.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Until the first word about progress.
    pub(super) first_word: Duration,
    /// Between two words.
    pub(super) next_word: Duration,
    /// Without progress until it is given up.
    pub(super) stall: Duration,
    /// From the last use of an image to its removal.
    pub(super) removal: Duration,
}

/// Why there is no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Failed to pull `{image}`: {reason}")]
pub(super) struct PullError {
    image: String,
    reason: String,
    /// Trying again gives the same.
    pub(super) is_final: bool,
}

/// What is wanted of an image.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// With its tag or digest.
    pub(super) image: &'a str,
    /// Pull it although it is there.
    pub(super) pulls_always: bool,
    /// For its registry.
    pub(super) credentials: Option<DockerCredentials>,
    /// How long the pull may take.
    pub(super) limit: Duration,
}

#[derive(Clone, Debug)]
enum Progress {
    Going(String),
    Done(Result<(), PullError>),
}

/// A pull that several may wait for; given up with the last of them.
#[derive(Debug)]
struct Pull {
    progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The images of a daemon.
#[derive(Debug)]
pub(super) struct Images {
    daemon: Arc<Daemon>,
    pace: Pace,
    /// By image and by whose credentials.
    pulls: Mutex<BTreeMap<(String, String), Weak<Pull>>>,
    uses: Mutex<Uses>,
    /// Where the ids of images that were pulled stand; none to keep every image.
    pulled_file: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Uses {
    /// Id to the number of runs that have it, and a number that changes with each use.
    counts: BTreeMap<String, (usize, u64)>,
    /// Ids of those that this agent, or an earlier one, has pulled.
    pulled: BTreeSet<String>,
}

/// An image in use until this is dropped.
#[derive(Debug)]
pub(super) struct Used {
    images: Arc<Images>,
    /// Its id.
    pub(super) id: String,
}

impl Drop for Used {
    fn drop(&mut self) {
        let mut uses = self.images.uses.lock();
        let Some((count, generation)) = uses.counts.get_mut(&self.id) else {
            return;
        };
        *count = count.saturating_sub(1);
        *generation += 1;
        let (is_free, generation) = (*count == 0, *generation);
        let is_ours = uses.pulled.contains(&self.id);
        drop(uses);
        if is_free && is_ours {
            self.images.remove_later(self.id.clone(), generation);
        }
    }
}

impl Images {
    /// Of a daemon. Images that were pulled are removed when `pulled_file` says where that is kept.
    pub(super) fn new(daemon: Arc<Daemon>, pace: Pace, pulled_file: Option<PathBuf>) -> Self {
        let kept = pulled_file
            .as_ref()
            .and_then(|file| fs::read_to_string(file).ok());
        let pulled = kept.iter().flat_map(|text| text.lines());
        let pulled = pulled.take(PULLED_MAX).map(str::to_owned).collect();
        Self {
            daemon,
            pace,
            pulls: Mutex::default(),
            uses: Mutex::new(Uses {
                pulled,
                ..Uses::default()
            }),
            pulled_file,
        }
    }

    /// Makes sure that the image is there, and tells about a pull by `news`. Safe to cancel.
    pub(super) async fn obtain(
        self: &Arc<Self>,
        wanted: Wanted<'_>,
        news: &News,
    ) -> Result<Used, PullError> {
        let image = wanted.image.to_owned();
        let failed = |failure: Failure| PullError {
            image: image.clone(),
            is_final: is_final(&failure),
            reason: failure.to_string(),
        };
        if !wanted.pulls_always
            && let Some(id) = self.find(&image).await.map_err(&failed)?
        {
            return Ok(self.used(id));
        }
        let before = self.find(&image).await.map_err(&failed)?;
        self.pull(wanted, news).await?;
        let found = self.find(&image).await.map_err(&failed)?;
        let id = found.ok_or_else(|| PullError {
            image: image.clone(),
            reason: "the daemon pulled it and does not have it".into(),
            is_final: false,
        })?;
        if before.as_ref() != Some(&id) {
            self.note_pulled(&id);
        }
        Ok(self.used(id))
    }

    /// The id of an image that the daemon has.
    pub(super) async fn find(&self, image: &str) -> Result<Option<String>, Failure> {
        let api = self.daemon.api().await?;
        match api.inspect_image(image).await {
            Ok(found) => Ok(found.id),
            Err(error) => match self.daemon.failure(error) {
                Failure::Missing(_) => Ok(None),
                failure => Err(failure),
            },
        }
    }

    /// Counts a use of an image.
    pub(super) fn used(self: &Arc<Self>, id: String) -> Used {
        let mut uses = self.uses.lock();
        let (count, generation) = uses.counts.entry(id.clone()).or_default();
        *count += 1;
        *generation += 1;
        drop(uses);
        Used {
            images: Arc::clone(self),
            id,
        }
    }

    /// Removes images that an earlier agent pulled and that nothing uses.
    pub(super) fn sweep(self: &Arc<Self>) {
        let uses = self.uses.lock();
        let idle: Vec<String> = uses
            .pulled
            .iter()
            .filter(|id| !uses.counts.contains_key(*id))
            .cloned()
            .collect();
        drop(uses);
        for id in idle {
            drop(self.used(id));
        }
    }

    fn remove_later(self: &Arc<Self>, id: String, generation: u64) {
        if self.pulled_file.is_none() {
            return;
        }
        let (images, wait) = (Arc::downgrade(self), self.pace.removal);
        tokio::spawn(async move {
            sleep(wait).await;
            let Some(images) = images.upgrade() else {
                return;
            };
            let is_idle = images.uses.lock().counts.get(&id) == Some(&(0, generation));
            if !is_idle {
                return;
            }
            let Ok(api) = images.daemon.api().await else {
                return;
            };
            let removed = api
                .remove_image(&id, None::<RemoveImageOptions>, None)
                .await;
            match removed.map_err(|error| images.daemon.failure(error)) {
                Ok(_) | Err(Failure::Missing(_)) => images.forget(&id),
                // Another container has it, or another name: it is not ours alone.
                Err(Failure::Conflict(_)) => images.forget(&id),
                Err(error) => tracing::warn!(image = id, %error, "an image cannot be removed"),
            }
        });
    }

    fn note_pulled(&self, id: &str) {
        let mut uses = self.uses.lock();
        if uses.pulled.len() < PULLED_MAX && uses.pulled.insert(id.to_owned()) {
            self.keep(&uses.pulled);
        }
    }

    fn forget(&self, id: &str) {
        let mut uses = self.uses.lock();
        uses.counts.remove(id);
        if uses.pulled.remove(id) {
            self.keep(&uses.pulled);
        }
    }

    fn keep(&self, pulled: &BTreeSet<String>) {
        let Some(file) = &self.pulled_file else {
            return;
        };
        let text: String = pulled.iter().map(|id| format!("{id}\n")).collect();
        let durability = sys::files::Durability::Process;
        if let Err(error) = sys::files::write_atomic(file, text.as_bytes(), durability) {
            tracing::warn!(file = %file.display(), %error, "which images were pulled cannot be kept");
        }
    }

    async fn pull(self: &Arc<Self>, wanted: Wanted<'_>, news: &News) -> Result<(), PullError> {
        news.tell("Downloading image".into());
        let image = wanted.image.to_owned();
        let pull = self.shared_pull(wanted);
        let mut progress = pull.progress.clone();
        let mut word_at = Instant::now() + self.pace.first_word;
        loop {
            if let Progress::Done(done) = &*progress.borrow_and_update() {
                return done.clone();
            }
            tokio::select! {
                changed = progress.changed() => if changed.is_err() {
                    return Err(PullError {
                        image,
                        reason: "the pull was given up".into(),
                        is_final: false,
                    });
                },
                () = sleep_until(word_at) => {
                    if let Progress::Going(text) = &*progress.borrow() {
                        news.tell(format!("Docker image pull progress: {text}"));
                    }
                    word_at = Instant::now() + self.pace.next_word;
                }
            }
        }
    }

    /// The pull that is under way, or a new one.
    fn shared_pull(self: &Arc<Self>, wanted: Wanted<'_>) -> Arc<Pull> {
        let whose = wanted
            .credentials
            .as_ref()
            .and_then(|found| found.username.clone());
        let key = (wanted.image.to_owned(), whose.unwrap_or_default());
        let mut pulls = self.pulls.lock();
        pulls.retain(|_, pull| pull.strong_count() > 0);
        if let Some(pull) = pulls.get(&key).and_then(Weak::upgrade) {
            return pull;
        }
        let (sender, progress) = watch::channel(Progress::Going("no layer yet".into()));
        let going = Going {
            daemon: Arc::clone(&self.daemon),
            image: key.0.clone(),
            credentials: wanted.credentials,
            stall: self.pace.stall,
            limit: wanted.limit,
        };
        let task = tokio::spawn(async move {
            let done = going.run(&sender).await;
            sender.send_replace(Progress::Done(done));
        });
        let pull = Arc::new(Pull { progress, task });
        pulls.insert(key, Arc::downgrade(&pull));
        pull
    }
}

/// A pull while it is under way.
struct Going {
    daemon: Arc<Daemon>,
    image: String,
    credentials: Option<DockerCredentials>,
    stall: Duration,
    limit: Duration,
}

impl Going {
    async fn run(self, progress: &watch::Sender<Progress>) -> Result<(), PullError> {
        let fail = |reason: String, is_final| PullError {
            image: self.image.clone(),
            reason,
            is_final,
        };
        let api = self.daemon.following().await;
        let api = api.map_err(|failure| fail(failure.to_string(), false))?;
        let options = CreateImageOptionsBuilder::default()
            .from_image(&self.image)
            .build();
        let mut stream =
            std::pin::pin!(api.create_image(Some(options), None, self.credentials.clone()));
        let give_up = Instant::now() + self.limit;
        let mut layers = Layers::new();
        loop {
            let quiet_until = Instant::now() + self.stall;
            let next = tokio::select! {
                next = stream.next() => next,
                () = sleep_until(quiet_until.min(give_up)) => {
                    let reason = if give_up <= quiet_until {
                        format!("it took longer than {}", Span::from(self.limit))
                    } else {
                        format!("no progress for {}", Span::from(self.stall))
                    };
                    return Err(fail(reason, false));
                }
            };
            match next {
                None => return Ok(()),
                Some(Ok(info)) => {
                    layers.take(info);
                    progress.send_replace(Progress::Going(layers.text()));
                }
                Some(Err(error)) => {
                    let failure = self.daemon.failure(error);
                    let is_final = is_final(&failure);
                    return Err(fail(failure.to_string(), is_final));
                }
            }
        }
    }
}

/// True when the registry said that there is no such image, or that it is not for us.
fn is_final(failure: &Failure) -> bool {
    const WORDS: [&str; 6] = [
        "not found",
        "pull access denied",
        "manifest unknown",
        "unauthorized",
        "denied: ",
        "invalid reference format",
    ];
    match failure {
        Failure::Missing(_) | Failure::Wrong(_) => true,
        Failure::Failed(text) | Failure::Conflict(text) => {
            let text = text.to_lowercase();
            WORDS.iter().any(|word| text.contains(word))
        }
        Failure::Unreachable { .. } | Failure::Hangs { .. } => false,
    }
}

/// How far the layers of an image are.
struct Layers {
    begun: clock::Monotonic,
    /// Bytes so far, bytes in all, and whether it is done, by layer.
    by_id: BTreeMap<String, (i64, i64, bool)>,
}

impl Layers {
    fn new() -> Self {
        Self {
            begun: clock::monotonic(),
            by_id: BTreeMap::new(),
        }
    }

    fn take(&mut self, info: CreateImageInfo) {
        let (Some(id), Some(status)) = (info.id, info.status) else {
            return;
        };
        // The first line has the tag in the place of a layer.
        if status.starts_with("Pulling from") || self.by_id.len() >= LAYERS_MAX {
            return;
        }
        let layer = self.by_id.entry(id).or_default();
        if let Some(detail) = info.progress_detail {
            layer.0 = detail.current.unwrap_or(layer.0);
            layer.1 = detail.total.unwrap_or(layer.1);
        }
        layer.2 |= status == "Pull complete" || status == "Already exists";
    }

    fn text(&self) -> String {
        let done = self.by_id.values().filter(|layer| layer.2).count();
        let sum = |part: fn(&(i64, i64, bool)) -> i64| self.by_id.values().map(part).sum::<i64>();
        #[expect(
            clippy::cast_precision_loss,
            reason = "one digit behind the point is shown"
        )]
        let mib = |bytes: i64| bytes as f64 / MIB;
        let seconds = (clock::monotonic() - self.begun).as_secs();
        format!(
            "Pulled {done}/{} layers ({:.1}MiB/{:.1}MiB) in {seconds}s",
            self.by_id.len(),
            mib(sum(|layer| layer.0)),
            mib(sum(|layer| layer.1))
        )
    }
}
