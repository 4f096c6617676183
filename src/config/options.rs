//! `client.options`: the older form of settings of drivers, and rules about drivers, facts, users
//! and variables that have no other form.

use super::{
    file::{Entry, Problem, SETTINGS},
    plugins::{self, WrittenPlugins},
    published,
    reader::Reader,
};
use std::collections::{BTreeMap, BTreeSet};

/// Users that no task of the checked drivers may be run by, unless others are written.
const DENIED_USERS: [&str; 2] = ["root", "Administrator"];
/// Those drivers.
const CHECKED_DRIVERS: [&str; 3] = ["exec", "qemu", "java"];
/// Options that are settings of drivers, with their names there.
const OF_PLUGINS: [(&str, &str, Kind); 12] = [
    ("driver.raw_exec.enable", "raw_exec.enabled", Kind::Flag),
    ("docker.endpoint", "docker.endpoint", Kind::Text),
    ("docker.auth.config", "docker.auth.config", Kind::Text),
    ("docker.auth.helper", "docker.auth.helper", Kind::Text),
    ("docker.cleanup.image", "docker.gc.image", Kind::Flag),
    (
        "docker.cleanup.image.delay",
        "docker.gc.image_delay",
        Kind::Text,
    ),
    (
        "docker.cleanup.container",
        "docker.gc.container",
        Kind::Flag,
    ),
    (
        "docker.volumes.enabled",
        "docker.volumes.enabled",
        Kind::Flag,
    ),
    (
        "docker.volumes.selinuxlabel",
        "docker.volumes.selinuxlabel",
        Kind::Text,
    ),
    (
        "docker.privileged.enabled",
        "docker.allow_privileged",
        Kind::Flag,
    ),
    ("docker.caps.allowlist", "docker.allow_caps", Kind::Texts),
    ("docker.caps.whitelist", "docker.allow_caps", Kind::Texts),
];
/// Options that are rules, by their older names too.
const RULES: [(&str, &str); 13] = [
    ("driver.allowlist", "driver.allowlist"),
    ("driver.whitelist", "driver.allowlist"),
    ("driver.denylist", "driver.denylist"),
    ("driver.blacklist", "driver.denylist"),
    ("fingerprint.allowlist", "fingerprint.allowlist"),
    ("fingerprint.whitelist", "fingerprint.allowlist"),
    ("fingerprint.denylist", "fingerprint.denylist"),
    ("fingerprint.blacklist", "fingerprint.denylist"),
    ("user.denylist", "user.denylist"),
    ("user.blacklist", "user.denylist"),
    ("user.checked_drivers", "user.checked_drivers"),
    ("env.denylist", "env.denylist"),
    ("env.blacklist", "env.denylist"),
];

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Flag,
}

/// The options as they are written, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenOptions(BTreeMap<String, String>);

/// Rules about what a client offers, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which drivers there are.
    pub drivers: Listed,
    /// Which facts are found out, by the kinds that are published.
    pub facts: Listed,
    /// Who may run tasks.
    pub users: Users,
    /// Variables of the agent that tasks do not get, beside those that they never do.
    pub hidden_variables: BTreeSet<String>,
}

/// Which of several names count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// These alone; none for all.
    pub allowed: Option<BTreeSet<String>>,
    /// But for these.
    pub denied: BTreeSet<String>,
}

impl Listed {
    /// Whether a name counts.
    #[must_use]
    pub fn takes(&self, name: &str) -> bool {
        let is_allowed = self
            .allowed
            .as_ref()
            .is_none_or(|allowed| allowed.contains(name));
        is_allowed && !self.denied.contains(name)
    }
}

/// Who may run tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users {
    /// Nobody of these.
    pub denied: BTreeSet<String>,
    /// As far as tasks of these drivers go.
    pub checked_drivers: BTreeSet<String>,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            denied: DENIED_USERS.map(str::to_owned).into(),
            checked_drivers: CHECKED_DRIVERS.map(str::to_owned).into(),
        }
    }
}

impl Users {
    /// Whether tasks of a driver must not be run by a user. The number of root is root.
    #[must_use]
    pub fn refuses(&self, driver: &str, user: &str) -> bool {
        let is_denied = |user: &str| self.denied.contains(user);
        self.checked_drivers.contains(driver)
            && (is_denied(user) || user == "0" && is_denied("root"))
    }
}

impl WrittenOptions {
    /// `self` with everything that `other` sets.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(super) fn take(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        self.0.extend(plugins::texts(entry, reader));
    }

    /// What is said of those that nothing acts on.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        let is_known = |name: &str| {
            OF_PLUGINS.iter().any(|(known, _, _)| *known == name)
                || RULES.iter().any(|(known, _)| *known == name)
        };
        let others = self.0.keys().filter(move |name| !is_known(name));
        others.map(|name| format!("`client.options` has `{name}`, which is not acted on"))
    }

    /// Settings of drivers that are written nowhere else.
    pub(super) fn fill(&self, plugins: &mut WrittenPlugins, problems: &mut Vec<Problem>) {
        for (name, own, kind) in OF_PLUGINS {
            let Some(text) = self.0.get(name) else {
                continue;
            };
            match kind {
                Kind::Text => plugins.text_unless_set(own, text),
                Kind::Texts => plugins.texts_unless_set(own, items(text)),
                Kind::Flag => match published::switch(text) {
                    Some(flag) => plugins.flag_unless_set(own, flag),
                    None => {
                        let message = format!(
                            "`client.options` has `{name}` with `{text}`; it must be true or false"
                        );
                        problems.push(Problem::new(SETTINGS, message));
                    }
                },
            }
        }
    }

    pub(super) fn resolve(&self) -> Options {
        let list = |wanted: &str| -> Option<BTreeSet<String>> {
            let mut names = RULES.iter().filter(|(_, own)| *own == wanted);
            let text = names.find_map(|(name, _)| self.0.get(*name))?;
            Some(items(text).into_iter().collect())
        };
        let listed = |kind: &str| Listed {
            // An empty list allows everything.
            allowed: list(&format!("{kind}.allowlist")).filter(|names| !names.is_empty()),
            denied: list(&format!("{kind}.denylist")).unwrap_or_default(),
        };
        let usual = Users::default();
        Options {
            drivers: listed("driver"),
            facts: listed("fingerprint"),
            users: Users {
                denied: list("user.denylist").unwrap_or(usual.denied),
                checked_drivers: list("user.checked_drivers").unwrap_or(usual.checked_drivers),
            },
            hidden_variables: list("env.denylist").unwrap_or_default(),
        }
    }
}

/// What stands between commas.
fn items(text: &str) -> Vec<String> {
    let items = text.split(',').map(str::trim);
    items
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}
