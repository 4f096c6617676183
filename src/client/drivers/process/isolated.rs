//! What an isolated task sees: its own directory as the root, in it some directories of the host,
//! read-only, and what belongs to its allocation.

use super::enter::Rights;
use crate::{
    cores,
    drivers::{Exec, Isolation as Sees, OwnNetwork, Start, Unrunnable, capabilities, options},
};
use config::Isolated;
use jobs::model::{DriverInfo, TaskConfig};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use sys::{
    isolation::{self, Bind, Isolation, Propagation},
    limits::Limits,
};

/// What of the host every task sees unless the operator says otherwise.
const USUAL_ROOT: [&str; 8] = [
    "/bin",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/run/resolvconf",
    "/sbin",
    "/usr",
];
/// Where programs are looked for when the task's environment does not say.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Who runs tasks that name nobody.
pub(crate) const USUAL_USER: &str = "nobody";
/// Processes and threads of a task.
const PIDS_MAX: u64 = 32_768;
/// What a task has although its user is not root: ports below 1024.
const USUAL_AMBIENT: &str = "net_bind_service";
const MIB: u64 = 1024 * 1024;

/// How tasks of one driver are isolated.
#[derive(Clone, Debug)]
pub(in crate::drivers) struct Root {
    settings: Isolated,
    /// Path on the host to path inside.
    dirs: BTreeMap<PathBuf, PathBuf>,
    /// What is missing on this machine.
    lack: Option<&'static str>,
}

impl Root {
    /// By the operator's settings.
    pub(in crate::drivers) fn new(
        settings: Isolated,
        chroot_env: Option<&BTreeMap<String, String>>,
    ) -> Self {
        let dirs = match chroot_env {
            Some(env) => env
                .iter()
                .map(|(host, inside)| (host.into(), Path::new("/").join(inside)))
                .collect(),
            None => USUAL_ROOT
                .iter()
                .map(|dir| (dir.into(), dir.into()))
                .collect(),
        };
        Self {
            settings,
            dirs,
            lack: isolation::lack(),
        }
    }

    /// What is missing on this machine, as a sentence.
    pub(super) fn lack(&self) -> Option<&'static str> {
        self.lack
    }

    /// What the driver says of itself.
    pub(super) fn info(&self, name: &str) -> DriverInfo {
        match self.lack {
            None => DriverInfo {
                attributes: [(format!("driver.{name}"), "true".to_owned())].into(),
                detected: true,
                healthy: true,
                health_description: "Healthy".into(),
                ..DriverInfo::default()
            },
            Some(lack) => DriverInfo {
                health_description: lack.into(),
                ..DriverInfo::default()
            },
        }
    }

    pub(super) fn sees(&self) -> Sees {
        match self.lack {
            None => Sees::Chroot,
            Some(_) => Sees::None,
        }
    }

    /// Problems of options that all isolated tasks have.
    pub(super) fn problems(&self, config: &TaskConfig) -> Vec<String> {
        let mut problems = Vec::new();
        for key in ["pid_mode", "ipc_mode"] {
            let mode = options::text(config, key);
            if !matches!(mode.as_str(), "" | "private" | "host") {
                problems.push(format!(
                    "{key} must be \"private\" or \"host\", got {mode:?}"
                ));
            }
        }
        problems.extend(self.capabilities(config).err());
        problems
    }

    fn capabilities(&self, config: &TaskConfig) -> Result<(u64, u64), String> {
        let may = capabilities::allowed(self.settings.allow_caps.as_deref());
        let add = options::list(config, "cap_add");
        let drop = options::list(config, "cap_drop");
        let has = capabilities::of_task(&may, &add, &drop)?;
        let added: BTreeSet<String> = add.iter().map(|name| capabilities::normal(name)).collect();
        let is_ambient =
            |name: &String| name == USUAL_AMBIENT || added.contains(name) || added.contains("all");
        let bits = |wanted: &dyn Fn(&String) -> bool| {
            let names = (0_u32..).zip(capabilities::NAMES);
            let names =
                names.filter(|(_, name)| has.contains(*name) && wanted(&(*name).to_owned()));
            names.fold(0, |bits, (number, _)| bits | 1 << number)
        };
        Ok((bits(&|_| true), bits(&is_ambient)))
    }

    /// Who runs the task.
    pub(super) fn user(start: &Start) -> String {
        let user = match start.user.as_str() {
            "" => USUAL_USER,
            named => named,
        };
        user.to_owned()
    }

    /// The rights of a command inside of a task; none where tasks are not isolated.
    pub(super) fn rights(&self, exec: &Exec) -> Option<Rights> {
        if self.lack.is_some() {
            return None;
        }
        let (bounding, ambient) = self.capabilities(&exec.config).unwrap_or_default();
        let user = match exec.user.as_str() {
            "" => USUAL_USER,
            named => named,
        };
        Some(Rights {
            user: user.to_owned(),
            bounding,
            ambient,
        })
    }

    /// What the task sees and may do. Its configuration has no problems.
    pub(super) fn isolation(&self, start: &Start) -> Isolation {
        let private = |key: &str, shares: bool| match options::text(&start.config, key).as_str() {
            "host" => false,
            "private" => true,
            _ => !shares,
        };
        let (bounding, ambient) = self.capabilities(&start.config).unwrap_or_default();
        let network = start.network.as_ref();
        Isolation {
            root: start.dir.clone(),
            mounts: self.mounts(start),
            private_pid: private("pid_mode", self.settings.shares_pid),
            private_ipc: private("ipc_mode", self.settings.shares_ipc),
            hostname: network
                .map(|network| network.hostname.clone())
                .unwrap_or_default(),
            bounding,
            ambient,
        }
    }

    fn mounts(&self, start: &Start) -> Vec<Bind> {
        let of_host = self.dirs.iter().filter(|(host, _)| host.exists());
        let mut mounts: Vec<Bind> = of_host
            .map(|(host, inside)| Bind {
                source: host.clone(),
                target: inside.clone(),
                read_only: true,
                propagation: Propagation::Private,
            })
            .collect();
        mounts.push(Bind {
            source: start.alloc_dir.clone(),
            target: "/alloc".into(),
            ..Bind::default()
        });
        // The agent's own files of the task are none of the task's business.
        mounts.push(Bind {
            source: start.alloc_dir.join("logs"),
            target: "/alloc/logs".into(),
            read_only: true,
            ..Bind::default()
        });
        mounts.extend(start.mounts.iter().map(|mount| Bind {
            source: mount.source.clone(),
            target: mount.target.clone(),
            read_only: mount.read_only,
            propagation: match mount.propagation.as_str() {
                "host-to-task" => Propagation::HostToTask,
                "bidirectional" => Propagation::Bidirectional,
                _ => Propagation::Private,
            },
        }));
        let files = start
            .network
            .iter()
            .flat_map(|network: &OwnNetwork| &network.files);
        mounts.extend(files.filter_map(|(host, inside)| {
            Some(Bind {
                source: host.clone(),
                target: self.place(inside)?,
                read_only: true,
                ..Bind::default()
            })
        }));
        mounts.sort_by_key(|mount| mount.target.components().count());
        mounts
    }

    /// Where a file lies that takes the place of one of the host: where a link of the host leads,
    /// which leads there inside as well. None when its directory is the host's and has no such
    /// file: nothing can be made there.
    fn place(&self, inside: &Path) -> Option<PathBuf> {
        let is_of_host =
            |(host, seen): (&PathBuf, &PathBuf)| host == seen && inside.starts_with(host);
        if self.dirs.iter().any(is_of_host) {
            fs::canonicalize(inside).ok()
        } else {
            Some(inside.to_owned())
        }
    }

    /// The path inside of a program that the task names: a path, or a name that is looked for in
    /// the task's directory and then in the `PATH` of the task.
    pub(super) fn find(&self, start: &Start, command: &str) -> Result<PathBuf, Unrunnable> {
        let not_found = || Unrunnable::NotFound {
            command: command.to_owned(),
        };
        if command.is_empty() {
            return Err(not_found());
        }
        for inside in [
            Path::new("/local").join(command),
            Path::new("/").join(command),
        ] {
            let Some(host) = self.on_host(start, &inside) else {
                continue;
            };
            let Ok(found) = fs::metadata(&host) else {
                continue;
            };
            if found.is_dir() {
                return Err(Unrunnable::Directory { path: inside });
            }
            if host.starts_with(&start.dir) {
                super::lookup::make_executable(&host);
            }
            return Ok(inside);
        }
        if command.contains('/') {
            return Err(not_found());
        }
        let path = start.env.get("PATH").map_or(USUAL_PATH, String::as_str);
        path.split(':')
            .chain(USUAL_PATH.split(':'))
            .map(|dir| Path::new(dir).join(command))
            .find(|inside| {
                self.on_host(start, inside).is_some_and(|host| {
                    fs::metadata(host).is_ok_and(|found| {
                        found.is_file() && found.permissions().mode() & 0o111 != 0
                    })
                })
            })
            .ok_or_else(not_found)
    }

    /// Where on the host a path inside is; none when links lead out of what the task sees.
    fn on_host(&self, start: &Start, inside: &Path) -> Option<PathBuf> {
        let mut mounts = self.mounts(start);
        // The deepest mount above the path holds it.
        mounts.reverse();
        let mount = mounts
            .iter()
            .find(|mount| inside.starts_with(&mount.target));
        Some(match mount {
            Some(mount) => mount.source.join(inside.strip_prefix(&mount.target).ok()?),
            None => start.dir.join(inside.strip_prefix("/").ok()?),
        })
    }
}

/// The limits of an isolated task.
pub(super) fn limits(start: &Start) -> Limits {
    let asked = &start.limits;
    let bytes = |mib: i64| u64::try_from(mib).unwrap_or(0).saturating_mul(MIB);
    let most = asked.memory_max_mib.max(asked.memory_mib);
    Limits {
        cpu_shares: u64::try_from(asked.cpu_mhz).unwrap_or(0).max(2),
        memory_max_bytes: bytes(most),
        memory_low_bytes: if most > asked.memory_mib {
            bytes(asked.memory_mib)
        } else {
            0
        },
        pids_max: PIDS_MAX,
        cpus: cores::list(&asked.cores),
    }
}
