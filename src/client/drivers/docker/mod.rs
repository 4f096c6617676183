//! Tasks in containers, by a daemon that speaks Docker's API: Docker itself, or Podman.
//!
//! [`task`] turns a task into a request, [`images`] gets what it runs, [`run`] looks after it,
//! [`output`] copies what it writes, [`execute`] runs commands in it. What the machine needs: the
//! daemon's socket. What is left behind: nothing of a task that ended, unless the operator keeps
//! ended containers; images that were pulled go some minutes after their last use.
//!
//! A container carries the ids of its allocation, task, run and node as labels: that is how it is
//! found again. It goes on without the agent, and without the daemon where that is set up so.

mod auth;
mod daemon;
mod execute;
mod hold;
mod images;
mod output;
mod run;
mod task;
#[cfg(test)]
mod tests;

use super::{
    Driver, Exec, Execution, Found, Holder, Isolation, LogFiles, Owner, Run, Start, StartError,
    options::Options,
};
use bollard::{
    models::{ContainerCreateBody, ContainerInspectResponse},
    query_parameters::{
        CreateContainerOptionsBuilder, ImportImageOptionsBuilder, ListContainersOptionsBuilder,
        StartContainerOptions,
    },
};
use config::{Containers, Plugins};
use daemon::{Daemon, Failure};
use execute::DockerExec;
use futures_util::{StreamExt, future::BoxFuture};
use images::{Images, Pace, Used, Wanted};
use jobs::model::{AllocId, DriverInfo, TaskConfig};
use parking_lot::Mutex;
use run::DockerRun;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use sys::{clock, directory::Directory, faults, threads::Threads};
use tokio::time::{Instant, sleep};

/// Time between two looks at the daemon.
const FINGERPRINT_PERIOD: Duration = Duration::from_secs(30);
/// How long an agent that comes back waits for a daemon that may have containers of its tasks.
const RETURN_WAIT: Duration = Duration::from_secs(30);
const RETURN_PAUSE: Duration = Duration::from_millis(500);
/// How often a container of the same name is removed to make place, unless the task says.
const NAME_ATTEMPTS: i64 = 5;
/// Threads that write the output of all containers.
const OUTPUT_THREADS: usize = 4;
/// Containers that are looked at in one sweep.
const SWEEP_MAX: usize = 10_000;

/// Whose daemon it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavor {
    /// Docker's.
    Docker,
    /// Podman's.
    Podman,
}

/// The driver of containers.
#[derive(Debug)]
pub(super) struct Docker {
    flavor: Flavor,
    settings: Containers,
    daemon: Arc<Daemon>,
    images: Arc<Images>,
    /// Where it is kept how far outputs were copied.
    run_dir: PathBuf,
    threads: Threads,
    /// Images that starts which were prepared hold until they begin, by run.
    prepared: Mutex<BTreeMap<Owner, Used>>,
    /// The last sweep.
    swept: Mutex<Option<Instant>>,
}

impl Docker {
    /// By the operator's settings. Asks nothing yet.
    pub(super) fn open(flavor: Flavor, plugins: &Plugins, run_dir: &Path) -> Self {
        let settings = match flavor {
            Flavor::Docker => plugins.docker.clone(),
            Flavor::Podman => plugins.podman.clone(),
        };
        let endpoint = settings.endpoint.clone();
        let endpoint = endpoint.unwrap_or_else(|| usual_endpoint(flavor));
        let pace = Pace {
            first_word: Duration::from_secs(10),
            next_word: Duration::from_secs(30),
            stall: settings.pull_activity_timeout,
            removal: settings.gc_image_delay,
        };
        Self::at(flavor, endpoint, settings, pace, run_dir)
    }

    fn at(
        flavor: Flavor,
        endpoint: String,
        settings: Containers,
        pace: Pace,
        run_dir: &Path,
    ) -> Self {
        let name = flavor.name();
        let daemon = Arc::new(Daemon::new(name, endpoint));
        let pulled = run_dir.join(format!("{name}-images"));
        let pulled = settings.gc_image.then_some(pulled);
        Self {
            flavor,
            images: Arc::new(Images::new(Arc::clone(&daemon), pace, pulled)),
            settings,
            daemon,
            run_dir: run_dir.to_owned(),
            threads: Threads::new("files-output", OUTPUT_THREADS),
            prepared: Mutex::default(),
            swept: Mutex::default(),
        }
    }

    async fn look(&self) -> Result<BTreeMap<String, String>, Failure> {
        let api = self.daemon.greet().await?;
        let failed = |error| self.daemon.failure(error);
        let version = api.version().await.map_err(failed)?;
        let info = api.info().await.map_err(failed)?;
        let name = self.flavor.name();
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        let mut set = |key: &str, value: String| found.insert(format!("driver.{name}{key}"), value);
        set("", "1".into());
        set(".version", version.version.unwrap_or_default());
        set(".os_type", info.os_type.unwrap_or_else(|| "linux".into()));
        let mut runtimes: Vec<String> = info.runtimes.unwrap_or_default().into_keys().collect();
        runtimes.sort();
        set(".runtimes", runtimes.join(","));
        if self.settings.allow_privileged {
            set(".privileged.enabled", "1".into());
        }
        if self.settings.volumes {
            set(".volumes.enabled", "1".into());
        }
        if let Some(cgroups) = info.cgroup_version {
            set(".cgroupVersion", cgroups.to_string());
        }
        let bridge = api.inspect_network(
            "bridge",
            None::<bollard::query_parameters::InspectNetworkOptions>,
        );
        if let Ok(bridge) = bridge.await {
            let ranges = bridge.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
            let gateway = ranges.into_iter().find_map(|range| range.gateway);
            if let Some(gateway) = gateway.filter(|gateway| !gateway.is_empty()) {
                set(".bridge_ip", gateway);
            }
        }
        Ok(found)
    }

    /// The image that a task names, as the daemon knows it.
    fn image(&self, config: &TaskConfig) -> String {
        let named = Options::Task(config).text("image").unwrap_or_default();
        let named = ["https://", "http://", "docker://"]
            .iter()
            .find_map(|scheme| named.strip_prefix(scheme))
            .unwrap_or(&named);
        let last = named.rsplit('/').next().unwrap_or_default();
        if last.contains([':', '@']) || named.starts_with("sha256:") {
            named.to_owned()
        } else {
            format!("{named}:latest")
        }
    }

    /// Makes sure that the image of a task is there.
    async fn obtain(&self, start: &Start) -> Result<Used, StartError> {
        let image = self.image(&start.config);
        let options = Options::Task(&start.config);
        if let Some(file) = options.text("load") {
            self.load(start, &file).await?;
            let found = self.images.find(&image).await.map_err(refused)?;
            let id = found.ok_or_else(|| StartError::Refused {
                reason: format!("the archive `{file}` does not hold the image `{image}`"),
                is_final: true,
            })?;
            return Ok(self.images.used(id));
        }
        let sources = auth::Sources {
            config: self.settings.auth_config.clone(),
            helper: self.settings.auth_helper.clone(),
        };
        let credentials = match auth::credentials(&start.config, &sources, &image).await {
            Ok(credentials) => credentials,
            Err(_) if options.flag("auth_soft_fail") == Some(true) => None,
            Err(reason) => {
                return Err(StartError::Refused {
                    reason: format!("Failed to find docker auth for image `{image}`: {reason}"),
                    is_final: false,
                });
            }
        };
        let is_latest = image.ends_with(":latest") && self.flavor == Flavor::Docker;
        let wanted = Wanted {
            image: &image,
            pulls_always: options.flag("force_pull").unwrap_or(is_latest),
            credentials,
            limit: task::pull_timeout(&start.config, &self.settings),
        };
        let obtained = self.images.obtain(wanted, &start.news).await;
        obtained.map_err(|error| StartError::Refused {
            is_final: error.is_final,
            reason: error.to_string(),
        })
    }

    /// Loads an archive out of the task's directory.
    async fn load(&self, start: &Start, file: &str) -> Result<(), StartError> {
        let failed = |reason: String| StartError::Refused {
            reason: format!("failed to load the image archive `{file}`: {reason}"),
            is_final: true,
        };
        let (dir, path) = (start.dir.clone(), PathBuf::from(file));
        let open = move || {
            let dir = Directory::open(&dir)?;
            dir.find(&path, sys::directory::Links::Refused)?.open_file()
        };
        let archive = self.threads.run(open).await;
        let archive = archive.map_err(|error| failed(error.to_string()))?;
        let bytes = tokio_util::io::ReaderStream::new(tokio::fs::File::from_std(archive));
        let api = self.daemon.following().await.map_err(refused)?;
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let mut loaded = std::pin::pin!(api.import_image_stream(options, bytes, None));
        while let Some(said) = loaded.next().await {
            said.map_err(|error| failed(self.daemon.failure(error).to_string()))?;
        }
        Ok(())
    }

    /// Makes a container, whose name another one may have.
    async fn create(
        &self,
        start: &Start,
        body: ContainerCreateBody,
    ) -> Result<Created, StartError> {
        let name = task::name(start);
        let attempts = Options::Task(&start.config).number("container_exists_attempts");
        let mut left = attempts
            .filter(|attempts| *attempts > 0)
            .unwrap_or(NAME_ATTEMPTS);
        loop {
            let api = self.daemon.api().await.map_err(refused)?;
            let options = CreateContainerOptionsBuilder::default().name(&name).build();
            let created = api.create_container(Some(options), body.clone()).await;
            let failure = match created.map_err(|error| self.daemon.failure(error)) {
                Ok(created) => return Ok(Created::New(created.id)),
                Err(failure) => failure,
            };
            if left <= 0 || !matches!(failure, Failure::Conflict(_)) {
                return Err(match failure {
                    // It may have been made.
                    failure if failure.is_silent() => StartError::Unknown {
                        reason: failure.to_string(),
                    },
                    Failure::Missing(text) | Failure::Wrong(text) => StartError::Refused {
                        reason: format!("Failed to create container: {text}"),
                        is_final: true,
                    },
                    failure => StartError::Refused {
                        reason: format!("Failed to create container: {failure}"),
                        is_final: false,
                    },
                });
            }
            left -= 1;
            match self.inspect(&name).await.map_err(refused)? {
                Some(found) if is_running(&found) && label(&found, task::RUN_LABEL).is_some() => {
                    return Ok(Created::Running(Box::new(found)));
                }
                _ => run::remove(&self.daemon, &name).await.map_err(refused)?,
            }
        }
    }

    async fn inspect(&self, id: &str) -> Result<Option<ContainerInspectResponse>, Failure> {
        let api = self.daemon.api().await?;
        match api.inspect_container(id, None).await {
            Ok(found) => Ok(Some(found)),
            Err(error) => match self.daemon.failure(error) {
                Failure::Missing(_) => Ok(None),
                failure => Err(failure),
            },
        }
    }

    /// Looks after a container that runs. `logs` is none when its output is not copied.
    fn attend(
        &self,
        found: &ContainerInspectResponse,
        logs: Option<LogFiles>,
        image: Option<Used>,
    ) -> DockerRun {
        let id = found.id.clone().unwrap_or_default();
        let copy = logs.filter(|_| !self.settings.disable_log_collection);
        let copy = copy.map(|files| output::Copy {
            daemon: Arc::clone(&self.daemon),
            mark: self.run_dir.join(format!("{id}.copied")),
            id: id.clone(),
            files,
            threads: self.threads.clone(),
        });
        let config = found.config.as_ref();
        let stop_signal = config.and_then(|config| config.stop_signal.clone());
        DockerRun {
            daemon: Arc::clone(&self.daemon),
            run_id: label(found, task::RUN_LABEL).unwrap_or_default(),
            stop_signal: stop_signal.unwrap_or_else(|| "SIGTERM".into()),
            removes: self.settings.gc_container,
            output: copy.map(|copy| tokio::spawn(copy.run())),
            kill_at: None,
            exit: None,
            image: image.or_else(|| Some(self.images.used(found.image.clone()?))),
            id,
        }
    }

    async fn begin(&self, start: &Start) -> Result<Box<dyn Run>, StartError> {
        let held = self.prepared.lock().remove(&start.owner);
        let image = match held {
            Some(image) => image,
            None => self.obtain(start).await?,
        };
        // By the id: what the name means may change meanwhile.
        let body = task::container(start, &image.id, &self.settings);
        let body = body.map_err(|reason| StartError::Refused {
            reason,
            is_final: true,
        })?;
        let id = match self.create(start, body).await? {
            Created::New(id) => id,
            Created::Running(found) => {
                return Ok(Box::new(self.attend(
                    &found,
                    start.logs.clone(),
                    Some(image),
                )));
            }
        };
        faults::point("docker.created");
        let api = self.daemon.api().await.map_err(refused)?;
        if let Err(error) = api
            .start_container(&id, None::<StartContainerOptions>)
            .await
        {
            let failure = self.daemon.failure(error);
            if failure.is_silent() {
                return Err(StartError::Unknown {
                    reason: failure.to_string(),
                });
            }
            run::remove(&self.daemon, &id).await.ok();
            let is_final = matches!(failure, Failure::Wrong(_) | Failure::Missing(_));
            return Err(StartError::Refused {
                reason: format!("Failed to start container {id:.12}: {failure}"),
                is_final,
            });
        }
        match self.inspect(&id).await {
            Ok(Some(found)) => Ok(Box::new(self.attend(
                &found,
                start.logs.clone(),
                Some(image),
            ))),
            Ok(None) => Err(StartError::Absent {
                reason: "the container was removed while it started".into(),
            }),
            Err(failure) => Err(StartError::Unknown {
                reason: failure.to_string(),
            }),
        }
    }

    async fn seek(
        &self,
        owner: &Owner,
        handle: Option<&str>,
        logs: Option<&LogFiles>,
    ) -> Result<Found, Failure> {
        let name = format!("{}-{}", owner.task, owner.alloc_id);
        let Some(found) = self.inspect(&name).await? else {
            return Ok(Found::Gone);
        };
        let run_id = label(&found, task::RUN_LABEL);
        let state = found.state.clone().unwrap_or_default();
        let has_run = state
            .started_at
            .as_deref()
            .is_some_and(|at| !at.starts_with("0001-"));
        match run_id {
            Some(_) if state.running == Some(true) => Ok(Found::Running(Box::new(self.attend(
                &found,
                logs.cloned(),
                None,
            )))),
            Some(run_id) if has_run && handle.is_some() => {
                let mut run = self.attend(&found, logs.cloned(), None);
                run.exit = Some(run::exit(&run_id, &state));
                // What it wrote while nobody listened.
                Ok(Found::Ended(run.ended().await))
            }
            _ => {
                run::remove(&self.daemon, &name).await?;
                Ok(Found::Gone)
            }
        }
    }
}

enum Created {
    New(String),
    /// The task runs already.
    Running(Box<ContainerInspectResponse>),
}

impl Flavor {
    fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

fn usual_endpoint(flavor: Flavor) -> String {
    match flavor {
        Flavor::Docker => std::env::var("DOCKER_HOST")
            .ok()
            .filter(|host| host.starts_with("unix://") || host.starts_with("tcp://"))
            .unwrap_or_else(|| "unix:///var/run/docker.sock".into()),
        Flavor::Podman => {
            let uid = nix::unistd::geteuid();
            if uid.is_root() {
                "unix:///run/podman/podman.sock".into()
            } else {
                format!("unix:///run/user/{uid}/podman/podman.sock")
            }
        }
    }
}

fn label(found: &ContainerInspectResponse, name: &str) -> Option<String> {
    let labels = found.config.as_ref()?.labels.as_ref()?;
    labels.get(name).cloned()
}

fn is_running(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().and_then(|state| state.running) == Some(true)
}

/// A start that came to nothing because of the daemon; it is tried again.
fn refused(failure: Failure) -> StartError {
    StartError::Refused {
        reason: failure.to_string(),
        is_final: false,
    }
}

impl Driver for Docker {
    fn name(&self) -> &'static str {
        self.flavor.name()
    }

    fn fingerprint(&self) -> BoxFuture<'_, DriverInfo> {
        Box::pin(async {
            match self.look().await {
                Ok(attributes) => DriverInfo {
                    attributes,
                    detected: true,
                    healthy: true,
                    health_description: "Healthy".into(),
                    ..DriverInfo::default()
                },
                Err(failure) => DriverInfo {
                    health_description: failure.to_string(),
                    ..DriverInfo::default()
                },
            }
        })
    }

    fn fingerprint_period(&self) -> Option<Duration> {
        Some(faults::patience(FINGERPRINT_PERIOD))
    }

    fn problems(&self, config: &TaskConfig) -> Vec<String> {
        task::problems(config, &self.settings)
    }

    fn takes_signals(&self) -> bool {
        true
    }

    fn isolation(&self) -> Isolation {
        Isolation::Image
    }

    fn prepare<'a>(&'a self, start: &'a Start) -> BoxFuture<'a, Result<(), StartError>> {
        Box::pin(async {
            let image = self.obtain(start).await?;
            self.prepared.lock().insert(start.owner.clone(), image);
            Ok(())
        })
    }

    fn start<'a>(&'a self, start: &'a Start) -> BoxFuture<'a, Result<Box<dyn Run>, StartError>> {
        Box::pin(self.begin(start))
    }

    fn find<'a>(
        &'a self,
        owner: &'a Owner,
        handle: Option<&'a str>,
        logs: Option<&'a LogFiles>,
    ) -> BoxFuture<'a, io::Result<Found>> {
        Box::pin(async move {
            let give_up = Instant::now() + faults::patience(RETURN_WAIT);
            loop {
                match self.seek(owner, handle, logs).await {
                    Ok(found) => return Ok(found),
                    // There may be a container, once the daemon is back.
                    Err(failure)
                        if failure.is_silent() && handle.is_some() && Instant::now() < give_up =>
                    {
                        sleep(RETURN_PAUSE).await;
                    }
                    Err(failure) => return Err(io::Error::other(failure)),
                }
            }
        })
    }

    fn forget(&self, owner: &Owner) {
        if !self.settings.gc_container {
            return;
        }
        let name = format!("{}-{}", owner.task, owner.alloc_id);
        let daemon = Arc::clone(&self.daemon);
        tokio::spawn(async move {
            if let Err(failure) = run::remove(&daemon, &name).await {
                tracing::warn!(container = name, %failure, "a container cannot be removed");
            }
        });
    }

    fn hold_network<'a>(
        &'a self,
        alloc_id: AllocId,
        node_id: &'a str,
        hostname: &'a str,
    ) -> BoxFuture<'a, Result<Option<Holder>, String>> {
        Box::pin(async move {
            let held = self.hold(alloc_id, node_id, hostname).await;
            held.map(Some).map_err(|failure| failure.to_string())
        })
    }

    fn release_network(&self, alloc_id: AllocId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(failure) = self.release(alloc_id).await {
                tracing::warn!(alloc = %alloc_id, %failure, "the container that holds a network cannot be removed");
            }
        })
    }

    fn exec(&self, exec: Exec) -> BoxFuture<'_, io::Result<Box<dyn Execution>>> {
        Box::pin(async {
            let started = DockerExec::start(Arc::clone(&self.daemon), exec).await?;
            Ok(Box::new(started) as Box<dyn Execution>)
        })
    }

    fn sweep<'a>(&'a self, node_id: &'a str, known: &'a BTreeSet<Owner>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let is_due = {
                let mut swept = self.swept.lock();
                let is_due = swept.is_none_or(|at| at.elapsed() >= self.settings.dangling_period);
                if is_due {
                    *swept = Some(Instant::now());
                }
                is_due
            };
            if !is_due || !self.settings.dangling {
                return;
            }
            if let Err(failure) = self.remove_dangling(node_id, known).await {
                tracing::debug!(driver = self.flavor.name(), %failure, "containers cannot be listed");
            }
            let mut prepared = self.prepared.lock();
            prepared.retain(|owner, _| known.contains(owner));
            drop(prepared);
            self.images.sweep();
        })
    }
}

impl Docker {
    /// Removes containers of this node that belong to no task.
    async fn remove_dangling(&self, node_id: &str, known: &BTreeSet<Owner>) -> Result<(), Failure> {
        let api = self.daemon.api().await?;
        let filter = vec![format!("{}={node_id}", task::NODE_LABEL)];
        let filters: HashMap<String, Vec<String>> = [("label".to_owned(), filter)].into();
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let listed = api.list_containers(Some(options)).await;
        let listed = listed.map_err(|error| self.daemon.failure(error))?;
        let now_s = clock::now().as_nanos() / 1_000_000_000;
        let grace_s = i64::try_from(self.settings.dangling_grace.as_secs()).unwrap_or(i64::MAX);
        for found in listed.into_iter().take(SWEEP_MAX) {
            let (Some(id), Some(labels)) = (found.id, found.labels) else {
                continue;
            };
            let holds = labels.contains_key(task::HOLDER_LABEL);
            let is_known = known.iter().any(|owner| {
                labels.get(task::ALLOC_LABEL) == Some(&owner.alloc_id.to_string())
                    && (holds
                        || labels.get(task::TASK_LABEL).map(String::as_str) == Some(&owner.task))
            });
            let is_young = found.created.is_some_and(|at| now_s - at < grace_s);
            if is_known || is_young {
                continue;
            }
            if self.settings.dangling_dry_run {
                tracing::info!(container = id, "a container belongs to no task");
                continue;
            }
            tracing::warn!(
                container = id,
                "removing a container that belongs to no task"
            );
            run::remove(&self.daemon, &id).await?;
        }
        Ok(())
    }
}
