//! Settings of drivers: what stands in `plugin "<name>" { config { … } }`.

use super::{
    file::{Entry, Problem, SETTINGS, Value},
    names::duration,
    reader::Reader,
};
use std::{collections::BTreeMap, time::Duration};

/// What kind of value a setting takes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Texts,
    Flag,
    Number,
    Map,
    Block(Table),
}

/// The settings of a block by name.
type Table = &'static [(&'static str, Kind)];

const AUTH: Table = &[("config", Kind::Text), ("helper", Kind::Text)];
const LOGGING: Table = &[("type", Kind::Text), ("config", Kind::Map)];
const DANGLING: Table = &[
    ("enabled", Kind::Flag),
    ("dry_run", Kind::Flag),
    ("period", Kind::Text),
    ("creation_grace", Kind::Text),
];
const GC: Table = &[
    ("image", Kind::Flag),
    ("image_delay", Kind::Text),
    ("container", Kind::Flag),
    ("dangling_containers", Kind::Block(DANGLING)),
];
const VOLUMES: Table = &[("enabled", Kind::Flag), ("selinuxlabel", Kind::Text)];
const ALLOWED_MODES: Table = &[
    ("pid", Kind::Texts),
    ("ipc", Kind::Texts),
    ("userns", Kind::Texts),
    ("uts", Kind::Texts),
];
const DOCKER: Table = &[
    ("endpoint", Kind::Text),
    ("auth", Kind::Block(AUTH)),
    ("extra_labels", Kind::Texts),
    ("logging", Kind::Block(LOGGING)),
    ("gc", Kind::Block(GC)),
    ("volumes", Kind::Block(VOLUMES)),
    ("allow_privileged", Kind::Flag),
    ("allow_caps", Kind::Texts),
    ("allow_runtimes", Kind::Texts),
    ("allowed_modes", Kind::Block(ALLOWED_MODES)),
    ("pids_limit", Kind::Number),
    ("oom_score_adj", Kind::Number),
    ("image_pull_timeout", Kind::Text),
    ("pull_activity_timeout", Kind::Text),
    ("disable_log_collection", Kind::Flag),
];
const PODMAN: Table = &[
    ("socket_path", Kind::Text),
    ("auth", Kind::Block(AUTH)),
    ("extra_labels", Kind::Texts),
    ("gc", Kind::Block(&[("container", Kind::Flag)])),
    ("volumes", Kind::Block(VOLUMES)),
    ("disable_log_collection", Kind::Flag),
    ("image_pull_timeout", Kind::Text),
];
const ISOLATED: Table = &[
    ("default_pid_mode", Kind::Text),
    ("default_ipc_mode", Kind::Text),
    ("allow_caps", Kind::Texts),
];
/// Every plugin with its settings.
const PLUGINS: [(&str, Table); 5] = [
    ("raw_exec", &[("enabled", Kind::Flag)]),
    ("exec", ISOLATED),
    ("java", ISOLATED),
    ("docker", DOCKER),
    ("podman", PODMAN),
];
/// What exists elsewhere as a separate program and is a part of this one.
const BUILT_IN: [(&str, &str); 1] = [("nomad-driver-podman", "podman")];

/// What was written, by the whole name of the setting: `docker.gc.image_delay`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WrittenPlugins(BTreeMap<String, Setting>);

/// A value of one of the kinds.
#[derive(Clone, Debug, PartialEq)]
enum Setting {
    Text(String),
    Texts(Vec<String>),
    Flag(bool),
    Number(u64),
    Map(BTreeMap<String, String>),
}

/// Settings of every driver.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plugins {
    /// `raw_exec` may be used; none when nothing is written about it.
    pub raw_exec: Option<bool>,
    /// Of `exec`.
    pub exec: Isolated,
    /// Of `java`.
    pub java: Isolated,
    /// Of `docker`.
    pub docker: Containers,
    /// Of `podman`.
    pub podman: Containers,
}

/// Settings of a driver that isolates programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Isolated {
    /// Tasks share the processes of the host unless they say otherwise.
    pub shares_pid: bool,
    /// Tasks share the message queues of the host unless they say otherwise.
    pub shares_ipc: bool,
    /// Capabilities that a task may have, lowercase without `cap_`; none for the usual ones.
    pub allow_caps: Option<Vec<String>>,
}

/// Settings of a driver of containers.
#[derive(Clone, Debug, PartialEq)]
pub struct Containers {
    /// Where the daemon listens: `unix://` or `tcp://`; none for the usual place.
    pub endpoint: Option<String>,
    /// A file with credentials, such as `/root/.docker/config.json`.
    pub auth_config: Option<String>,
    /// A helper for credentials: `docker-credential-<helper>`.
    pub auth_helper: Option<String>,
    /// Patterns of further labels for containers: `job_name`, `task*` …
    pub extra_labels: Vec<String>,
    /// Logging driver for tasks that name none, with its options.
    pub logging: Option<(String, BTreeMap<String, String>)>,
    /// Remove images that were pulled here when nothing uses them.
    pub gc_image: bool,
    /// How long after their last use.
    pub gc_image_delay: Duration,
    /// Remove containers that have ended.
    pub gc_container: bool,
    /// Look for containers of this node that belong to no task.
    pub dangling: bool,
    /// Tell about them instead of removing them.
    pub dangling_dry_run: bool,
    /// Time between two looks.
    pub dangling_period: Duration,
    /// Containers younger than that are left alone.
    pub dangling_grace: Duration,
    /// Tasks may mount paths of the host.
    pub volumes: bool,
    /// Label for what they mount: `z` or `Z`; may be empty.
    pub selinux_label: String,
    /// Tasks may be privileged.
    pub allow_privileged: bool,
    /// Capabilities that a task may have, lowercase without `cap_`; none for the usual ones.
    pub allow_caps: Option<Vec<String>>,
    /// Runtimes that a task may name.
    pub allow_runtimes: Vec<String>,
    /// Modes that tasks may name by the namespace (`pid`, `ipc`, `userns`, `uts`); a namespace that
    /// is not in it is not restricted.
    pub allowed_modes: BTreeMap<String, Vec<String>>,
    /// Most processes of a task; 0 for no limit.
    pub pids_limit: u64,
    /// For tasks that say nothing.
    pub oom_score_adj: u64,
    /// How long a pull may take.
    pub image_pull_timeout: Duration,
    /// How long a pull may make no progress.
    pub pull_activity_timeout: Duration,
    /// Outputs are left to the daemon.
    pub disable_log_collection: bool,
}

impl Default for Containers {
    fn default() -> Self {
        Self {
            endpoint: None,
            auth_config: None,
            auth_helper: None,
            extra_labels: Vec::new(),
            logging: None,
            gc_image: true,
            gc_image_delay: Duration::from_secs(180),
            gc_container: true,
            dangling: true,
            dangling_dry_run: false,
            dangling_period: Duration::from_secs(300),
            dangling_grace: Duration::from_secs(300),
            volumes: false,
            selinux_label: String::new(),
            allow_privileged: false,
            allow_caps: None,
            allow_runtimes: vec!["runc".into(), "nvidia".into()],
            allowed_modes: BTreeMap::new(),
            pids_limit: 0,
            oom_score_adj: 0,
            image_pull_timeout: Duration::from_secs(300),
            pull_activity_timeout: Duration::from_secs(120),
            disable_log_collection: false,
        }
    }
}

impl WrittenPlugins {
    /// `self` with everything that `other` sets.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Takes a `plugin` block.
    pub(super) fn take(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        let place = entry.place;
        for (name, plugin) in reader.named(entry) {
            let built_in = BUILT_IN.iter().find(|(known, _)| *known == name);
            let own = built_in.map_or(name.as_str(), |(_, own)| *own);
            let Some((own, table)) = PLUGINS.iter().find(|(known, _)| *known == own) else {
                let known: Vec<&str> = PLUGINS.iter().map(|(name, _)| *name).collect();
                let message = format!(
                    "no plugin `{name}`: this version has settings for {} only",
                    known.join(", ")
                );
                reader.problem(place, message);
                continue;
            };
            for inner in reader.block(plugin) {
                if inner.key == "config" {
                    self.take_block(own, table, inner, reader);
                } else {
                    reader.unknown(&inner, "plugin", &["config"]);
                }
            }
        }
    }

    fn take_block(&mut self, name: &str, table: Table, entry: Entry, reader: &mut Reader<'_>) {
        for setting in reader.block(entry) {
            let Some((_, kind)) = table.iter().find(|(known, _)| *known == setting.key) else {
                let known: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
                reader.unknown(&setting, "plugin.config", &known);
                continue;
            };
            let whole = format!("{name}.{}", setting.key);
            let value = match kind {
                Kind::Block(table) => {
                    self.take_block(&whole, table, setting, reader);
                    continue;
                }
                Kind::Text => reader.text(&setting).map(Setting::Text),
                Kind::Texts => reader.texts(&setting).map(Setting::Texts),
                Kind::Flag => reader.flag(&setting).map(Setting::Flag),
                Kind::Number => reader.number(&setting).map(Setting::Number),
                Kind::Map => Some(Setting::Map(texts(setting, reader))),
            };
            if let Some(value) = value {
                self.0.insert(whole, value);
            }
        }
    }

    /// Fills in defaults. In dev mode containers may mount paths of the host and images stay.
    pub(super) fn resolve(&self, dev: bool, problems: &mut Vec<Problem>) -> Plugins {
        for (whole, allowed) in [
            ("docker.endpoint", &["unix://", "tcp://"][..]),
            ("podman.socket_path", &["unix:", "/"]),
        ] {
            if let Some(text) = self.text(whole)
                && !allowed.iter().any(|start| text.starts_with(start))
            {
                let message = format!(
                    "`{whole}` is `{text}`; it must begin with {}",
                    allowed.join(" or ")
                );
                problems.push(Problem::new(SETTINGS, message));
            }
        }
        let usual = Containers {
            volumes: dev,
            gc_image: !dev,
            ..Containers::default()
        };
        let podman = Containers {
            volumes: true,
            ..usual.clone()
        };
        Plugins {
            raw_exec: self.flag("raw_exec.enabled"),
            exec: self.isolated("exec", problems),
            java: self.isolated("java", problems),
            docker: self.containers("docker", usual, problems),
            podman: self.containers("podman", podman, problems),
        }
    }

    fn isolated(&self, name: &str, problems: &mut Vec<Problem>) -> Isolated {
        let mut shares = |key: &str| {
            let whole = format!("{name}.{key}");
            match self.text(&whole) {
                None | Some("private") => false,
                Some("host") => true,
                Some(other) => {
                    let message = format!("`{whole}` is `{other}`; it must be private or host");
                    problems.push(Problem::new(SETTINGS, message));
                    false
                }
            }
        };
        Isolated {
            shares_pid: shares("default_pid_mode"),
            shares_ipc: shares("default_ipc_mode"),
            allow_caps: self.texts(&format!("{name}.allow_caps")),
        }
    }

    fn containers(&self, name: &str, usual: Containers, problems: &mut Vec<Problem>) -> Containers {
        let whole = |key: &str| format!("{name}.{key}");
        let text = |key: &str| self.text(&whole(key)).map(str::to_owned);
        let flag = |key: &str, usual| self.flag(&whole(key)).unwrap_or(usual);
        let mut span = |key: &str, usual| match self.text(&whole(key)) {
            Some(text) => duration(&whole(key), text, problems),
            None => usual,
        };
        let modes = ["pid", "ipc", "userns", "uts"].into_iter();
        let modes = modes.filter_map(|mode| {
            let allowed = self.texts(&whole(&format!("allowed_modes.{mode}")))?;
            Some((mode.to_owned(), allowed))
        });
        let options = match self.0.get(&whole("logging.config")) {
            Some(Setting::Map(map)) => map.clone(),
            _ => BTreeMap::new(),
        };
        Containers {
            endpoint: text("endpoint").or_else(|| text("socket_path")),
            auth_config: text("auth.config"),
            auth_helper: text("auth.helper"),
            extra_labels: self.texts(&whole("extra_labels")).unwrap_or_default(),
            logging: text("logging.type").map(|kind| (kind, options)),
            gc_image: flag("gc.image", usual.gc_image),
            gc_image_delay: span("gc.image_delay", usual.gc_image_delay),
            gc_container: flag("gc.container", usual.gc_container),
            dangling: flag("gc.dangling_containers.enabled", usual.dangling),
            dangling_dry_run: flag("gc.dangling_containers.dry_run", false),
            dangling_period: span("gc.dangling_containers.period", usual.dangling_period)
                .max(Duration::from_secs(1)),
            dangling_grace: span(
                "gc.dangling_containers.creation_grace",
                usual.dangling_grace,
            ),
            volumes: flag("volumes.enabled", usual.volumes),
            selinux_label: text("volumes.selinuxlabel").unwrap_or_default(),
            allow_privileged: flag("allow_privileged", false),
            allow_caps: self.texts(&whole("allow_caps")),
            allow_runtimes: self
                .texts(&whole("allow_runtimes"))
                .unwrap_or(usual.allow_runtimes),
            allowed_modes: modes.collect(),
            pids_limit: self.number(&whole("pids_limit")).unwrap_or(0),
            oom_score_adj: self.number(&whole("oom_score_adj")).unwrap_or(0),
            image_pull_timeout: span("image_pull_timeout", usual.image_pull_timeout),
            pull_activity_timeout: span("pull_activity_timeout", usual.pull_activity_timeout),
            disable_log_collection: flag("disable_log_collection", false),
        }
    }

    /// A text for a setting that is not written.
    pub(super) fn text_unless_set(&mut self, whole: &str, text: &str) {
        self.unless_set(whole, Setting::Text(text.to_owned()));
    }

    /// The same for a list.
    pub(super) fn texts_unless_set(&mut self, whole: &str, texts: Vec<String>) {
        self.unless_set(whole, Setting::Texts(texts));
    }

    /// The same for a flag.
    pub(super) fn flag_unless_set(&mut self, whole: &str, flag: bool) {
        self.unless_set(whole, Setting::Flag(flag));
    }

    fn unless_set(&mut self, whole: &str, setting: Setting) {
        self.0.entry(whole.to_owned()).or_insert(setting);
    }

    fn text(&self, whole: &str) -> Option<&str> {
        match self.0.get(whole) {
            Some(Setting::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn texts(&self, whole: &str) -> Option<Vec<String>> {
        match self.0.get(whole) {
            Some(Setting::Texts(texts)) => Some(texts.clone()),
            _ => None,
        }
    }

    fn flag(&self, whole: &str) -> Option<bool> {
        match self.0.get(whole) {
            Some(Setting::Flag(flag)) => Some(*flag),
            _ => None,
        }
    }

    fn number(&self, whole: &str) -> Option<u64> {
        match self.0.get(whole) {
            Some(Setting::Number(number)) => Some(*number),
            _ => None,
        }
    }
}

/// The texts of a block by name; numbers and flags become texts.
pub(super) fn texts(entry: Entry, reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for inner in reader.block(entry) {
        let text = match &inner.value {
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => reader.text(&inner),
        };
        if let Some(text) = text {
            found.insert(inner.key, text);
        }
    }
    found
}
