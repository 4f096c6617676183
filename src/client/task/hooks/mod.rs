//! What happens before a task starts, in order: its definition is checked, its network is made sure
//! of, its directory is built,
//! what its launch was given is written, its files are fetched and rendered, its volumes are found,
//! and its driver fetches what it needs; then it is clear what to start.
//!
//! Each step is safe to repeat; fetching is remembered and done once per allocation.

mod artifacts;
mod directory;
mod identities;
mod payload;
mod templates;
mod validate;
mod volumes;

use super::{api_socket::ApiSocket, events};
use crate::{
    artifacts::ArtifactError,
    drivers::{Driver, Limits, LogFiles, Names, News, Owner, Start, StartError},
    own_network,
    shared::Shared,
    templates::{TemplateError, Templates},
};
use jobs::model::{AllocatedPort, Allocation, Node, Task};
use std::{io, sync::Arc};

const MB: u64 = 1024 * 1024;

/// What a task holds from its setup to its end, over its restarts.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Followed from the setup on; none when the task has none.
    pub(super) templates: Option<Templates>,
    /// None when nobody tells the task who it is.
    api: Option<ApiSocket>,
}

/// Everything that a start needs.
#[derive(Debug)]
pub(super) struct Prepared {
    /// What starts it.
    pub(super) driver: Arc<dyn Driver>,
    /// The run is filled in by the runner.
    pub(super) start: Start,
}

/// Why a task cannot be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    /// The definition asks for something impossible.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// The directory could not be built.
    #[error("failed to build task directory: {0}")]
    Directory(#[from] io::Error),
    /// A file could not be fetched.
    #[error("{0}")]
    Artifact(#[from] ArtifactError),
    /// A file could not be rendered.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// The group has no network.
    #[error("{0}")]
    Network(String),
    /// What the driver needs could not be fetched.
    #[error("{0}")]
    Driver(#[from] StartError),
}

impl SetupError {
    /// The type of its event, and the key of its fact.
    pub(super) fn published(&self) -> (&'static str, &'static str) {
        match self {
            Self::Invalid(_) => ("Failed Validation", "validation_error"),
            Self::Directory(_) | Self::Network(_) => ("Setup Failure", "setup_error"),
            Self::Artifact(_) => ("Failed Artifact Download", "download_error"),
            Self::Template(_) => ("Template", "message"),
            Self::Driver(_) => ("Driver Failure", "driver_error"),
        }
    }

    /// True when trying again gives the same.
    pub(super) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Invalid(_)
                | Self::Template(_)
                | Self::Driver(StartError::Refused { is_final: true, .. })
        )
    }
}

/// Takes up what a task holds that an earlier agent has started.
pub(super) async fn resume(shared: &Arc<Shared>, task: &str, held: &mut Held) {
    if held.templates.is_none() {
        held.templates = templates::resume(shared, task);
    }
    let alloc = shared.alloc();
    let Some(task) = alloc.group().and_then(|group| group.task(task)) else {
        return;
    };
    if let Err(error) = listen(shared, task, &mut held.api).await {
        let text = format!("the task does not reach the agent's API any more: {error}");
        shared.event(
            &task.name,
            events::with_detail("Setup Failure", text, "setup_error"),
        );
    }
}

/// Opens the socket of a task that can show who it is, unless it is open.
async fn listen(
    shared: &Shared,
    task: &Task,
    api: &mut Option<ApiSocket>,
) -> Result<(), SetupError> {
    if api.is_none() && identities::are_given(task) {
        let reader = directory::reader(shared, task)?;
        *api = Some(ApiSocket::open(shared, &task.name, reader).await?);
    }
    Ok(())
}

/// Carries out every step for `task`, which holds what of it lasts.
pub(super) async fn prestart(
    shared: &Arc<Shared>,
    task: &str,
    held: &mut Held,
) -> Result<Prepared, SetupError> {
    let alloc = shared.alloc();
    let Some(task) = alloc.group().and_then(|group| group.task(task)) else {
        return Err(SetupError::Invalid(vec![format!(
            "the job has no task `{task}` any more"
        )]));
    };
    let node = Arc::clone(&shared.cx.node.borrow());
    let mut environment = shared.environment(&alloc, task, &node);
    // The configuration may name variables that only a template or an identity adds.
    if !templates::add_variables(task) {
        validate::run(shared, task, &environment)?;
    }
    let network = own_network::ensure(shared).await;
    network.map_err(SetupError::Network)?;
    directory::run(shared, task).await?;
    listen(shared, task, &mut held.api).await?;
    payload::run(shared, &alloc, task).await?;
    artifacts::run(shared, task, &environment).await?;
    templates::run(shared, task, &mut environment, &mut held.templates).await?;
    let definition = validate::run(shared, task, &environment)?;
    let mounts = volumes::run(shared, &alloc, task, definition.driver.isolation())?;
    let start = Start {
        owner: Owner {
            alloc_id: alloc.id,
            task: task.name.clone(),
        },
        dir: shared.dir.task(&task.name),
        alloc_dir: shared.dir.shared(),
        env: environment.variables().clone(),
        config: definition.config,
        user: task.user.clone(),
        logs: log_files(shared, task),
        limits: limits(shared, &alloc, task, &node),
        ports: alloc.allocated_resources.shared.ports.to_vec(),
        own_ports: own_ports(&alloc, task),
        mounts,
        network: shared.network(),
        names: names(&alloc, &node),
        news: news(shared, task),
        run_id: String::new(),
    };
    definition.driver.prepare(&start).await?;
    Ok(Prepared {
        driver: definition.driver,
        start,
    })
}

/// Where the output of a task goes; none to drop it.
pub(super) fn log_files(shared: &Shared, task: &Task) -> Option<LogFiles> {
    (!task.log_config.disabled).then(|| LogFiles {
        dir: shared.dir.logs(),
        task: task.name.clone(),
        files_max: task.log_config.max_files,
        file_bytes_max: u64::from(task.log_config.max_file_size_mb) * MB,
    })
}

fn limits(shared: &Shared, alloc: &Allocation, task: &Task, node: &Node) -> Limits {
    let given = alloc.allocated_resources.tasks.get(&task.name);
    let given = given.cloned().unwrap_or_default();
    Limits {
        cpu_mhz: given.cpu.cpu_shares,
        node_mhz: node.node_resources.cpu.cpu_shares,
        node_cores: node.node_resources.cpu.total_cpu_cores,
        memory_mib: given.memory.memory_mb,
        memory_max_mib: given.memory.memory_max_mb,
        cores: shared.record().cores.remove(&task.name).unwrap_or_default(),
    }
}

/// Ports in the old position, below the task.
fn own_ports(alloc: &Allocation, task: &Task) -> Vec<AllocatedPort> {
    let given = alloc.allocated_resources.tasks.get(&task.name);
    let networks = given.into_iter().flat_map(|given| &given.networks);
    networks
        .flat_map(|network| {
            let ports = network.reserved_ports.iter().chain(&network.dynamic_ports);
            ports.map(|port| AllocatedPort {
                label: port.label.clone(),
                value: port.value,
                to: port.to,
                host_ip: network.ip.clone(),
            })
        })
        .collect()
}

fn names(alloc: &Allocation, node: &Node) -> Names {
    Names {
        job: alloc.job.name.to_string(),
        job_id: alloc.job_id.to_string(),
        group: alloc.task_group.to_string(),
        namespace: alloc.namespace.to_string(),
        node: node.name.to_string(),
        node_id: node.id.to_string(),
    }
}

/// What the driver tells becomes an event of the task.
fn news(shared: &Arc<Shared>, task: &Task) -> News {
    let (shared, name) = (Arc::downgrade(shared), task.name.clone());
    News::new(move |text| {
        if let Some(shared) = shared.upgrade() {
            let event = events::with_detail("Driver", text, "driver_message");
            shared.event(&name, event);
        }
    })
}
