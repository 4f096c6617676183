//! Networks that plugins of the operator make: which there are on this machine, and the calls that
//! join an allocation to one and take it out again.
//!
//! Source: `cni_path` and `cni_config_dir` of the client block, `network` block with mode
//! `cni/NAME`; the Container Network Interface. Differs: when plugins fail at the end, the others
//! are still called, and the namespace goes whatever they say.

mod lists;
mod protocol;
mod run;

pub(super) use protocol::{PortMapping, status};

use futures_util::{StreamExt as _, stream};
use lists::List;
use protocol::{Command, environment, input, refusal, result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use sys::processes;

/// Programs in the directories of plugins that are looked at, and how many are asked at a time.
const PROGRAMS_MAX: usize = 256;
const ASKED_AT_A_TIME: usize = 4;
/// The first version of the interface with [`Command::Check`].
const CHECKED_SINCE: (u64, u64) = (0, 4);

/// The plugins of this machine.
#[derive(Clone, Debug)]
pub(super) struct Plugins {
    dirs: Vec<PathBuf>,
    lists: PathBuf,
}

/// An allocation's part in the network of a list, as it is written down.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Attachment {
    list: List,
    args: BTreeMap<String, String>,
    ports: Vec<PortMapping>,
    /// What the plugins have made; none until they have.
    pub(super) result: Option<Value>,
}

/// Whom plugins are asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// Id of the allocation.
    pub(super) container: &'a str,
    /// The file of its namespace; empty when there is none any more.
    pub(super) namespace: &'a Path,
}

/// A plugin did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("plugin `{plugin}` failed at {command}: {reason}")]
pub(super) struct PluginError {
    plugin: String,
    command: &'static str,
    reason: String,
}

impl Plugins {
    /// Those in `dirs`, in this order, with the lists of a directory.
    pub(super) fn new(dirs: Vec<PathBuf>, lists: PathBuf) -> Self {
        Self { dirs, lists }
    }

    /// The names of the networks. What is wrong with a file is logged.
    pub(super) fn networks(&self) -> Vec<String> {
        let (lists, wrong) = lists::read(&self.lists);
        for (path, reason) in wrong {
            tracing::warn!(path = %path.display(), reason, "a network of plugins is left out");
        }
        lists.into_keys().collect()
    }

    /// What is to be asked for of the network of that name.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn attachment(
        &self,
        name: &str,
        args: BTreeMap<String, String>,
        ports: Vec<PortMapping>,
    ) -> Result<Attachment, String> {
        let (mut lists, _) = lists::read(&self.lists);
        let list = lists.remove(name);
        let list = list.ok_or_else(|| {
            format!(
                "no file of `{}` defines network `{name}`",
                self.lists.display()
            )
        })?;
        Ok(Attachment {
            list,
            args,
            ports,
            result: None,
        })
    }

    /// The versions of the programs that say one, by name.
    pub(super) async fn versions(&self) -> BTreeMap<String, String> {
        let mut programs = BTreeMap::new();
        for dir in self.dirs.iter().rev() {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()).take(PROGRAMS_MAX) {
                if let Some(name) = path.file_name().and_then(|name| name.to_str())
                    && is_program(&path)
                {
                    programs.insert(name.to_owned(), path.clone());
                }
            }
        }
        let asked = programs.into_iter().map(|(name, path)| async move {
            let said = run::about(&path, agents_own()).await?;
            Some((name, version(&said)?))
        });
        let asked = stream::iter(asked).buffer_unordered(ASKED_AT_A_TIME);
        asked.filter_map(std::future::ready).collect().await
    }

    /// Joins a namespace to the network: each plugin in its turn.
    ///
    /// # Errors
    /// [`PluginError`]; what was made until then is there.
    pub(super) async fn add(
        &self,
        attachment: &Attachment,
        asked: Asked<'_>,
    ) -> Result<Value, PluginError> {
        let mut made = None;
        for plugin in 0..attachment.list.plugins.len() {
            let call = self.call(Command::Add, attachment, plugin, made.as_ref(), asked);
            made = Some(call.await?);
        }
        Ok(made.unwrap_or_default())
    }

    /// Asks the plugins whether the network is as they made it; those of old versions cannot be
    /// asked.
    ///
    /// # Errors
    /// [`PluginError`].
    pub(super) async fn check(
        &self,
        attachment: &Attachment,
        asked: Asked<'_>,
    ) -> Result<(), PluginError> {
        let list = &attachment.list;
        if list.disable_check || since(&list.version) < CHECKED_SINCE {
            return Ok(());
        }
        for plugin in 0..list.plugins.len() {
            let made = attachment.result.as_ref();
            self.call(Command::Check, attachment, plugin, made, asked)
                .await?;
        }
        Ok(())
    }

    /// Takes a namespace out of the network: each plugin in the other order, whatever the others
    /// say.
    ///
    /// # Errors
    /// That of the first plugin that failed.
    pub(super) async fn del(
        &self,
        attachment: &Attachment,
        asked: Asked<'_>,
    ) -> Result<(), PluginError> {
        // Of earlier versions nobody is told what was made.
        let made = attachment.result.as_ref();
        let made = made.filter(|_| since(&attachment.list.version) >= CHECKED_SINCE);
        let mut first = Ok(());
        for plugin in (0..attachment.list.plugins.len()).rev() {
            let done = self
                .call(Command::Del, attachment, plugin, made, asked)
                .await;
            if first.is_ok() {
                first = done.map(drop);
            }
        }
        first
    }

    async fn call(
        &self,
        command: Command,
        attachment: &Attachment,
        plugin: usize,
        made: Option<&Value>,
        asked: Asked<'_>,
    ) -> Result<Value, PluginError> {
        let list = &attachment.list;
        let Some(config) = list.plugins.get(plugin) else {
            return Ok(Value::Null);
        };
        let name = config
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let failed = |reason: String| PluginError {
            plugin: name.to_owned(),
            command: command.name(),
            reason,
        };
        let program = self.find(name).map_err(failed)?;
        let dirs: Vec<String> = self
            .dirs
            .iter()
            .map(|dir| dir.display().to_string())
            .collect();
        let own = environment(
            command,
            asked.container,
            &asked.namespace.display().to_string(),
            super::INSIDE,
            &dirs.join(":"),
            &attachment.args,
        );
        let mut env = agents_own();
        env.extend(own.map(|(name, value)| (name.to_owned(), value)));
        let input = input(list, config, made, &attachment.ports).to_string();
        let ran = run::run(&program, env, input.as_bytes())
            .await
            .map_err(failed)?;
        if !ran.is_success {
            return Err(failed(refusal(&ran.output, &ran.errors)));
        }
        match command {
            Command::Add => result(list, &ran.output).map_err(failed),
            Command::Check | Command::Del => Ok(Value::Null),
        }
    }

    fn find(&self, name: &str) -> Result<PathBuf, String> {
        let mut paths = self.dirs.iter().map(|dir| dir.join(name));
        let found = paths.find(|path| is_program(path));
        found.ok_or_else(|| {
            let dirs: Vec<String> = self
                .dirs
                .iter()
                .map(|dir| dir.display().to_string())
                .collect();
            format!("there is no such program in {}", dirs.join(":"))
        })
    }
}

/// The agent's environment without what is said to plugins.
fn agents_own() -> BTreeMap<String, String> {
    let mut env = processes::environment();
    env.retain(|name, _| !name.starts_with("CNI_"));
    env
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The first two numbers of a version.
fn since(version: &str) -> (u64, u64) {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The version in what a plugin says of itself: `CNI NAME plugin v1.2.3`.
fn version(said: &str) -> Option<String> {
    let line = said.lines().find(|line| line.starts_with("CNI "))?;
    let version = line.split_once(" plugin ")?.1.split_whitespace().next()?;
    let version = version.trim_start_matches('v');
    let is_version = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    let is_one =
        version.starts_with(|c: char| c.is_ascii_digit()) && version.chars().all(is_version);
    is_one.then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plugin that writes down what it is asked, and adds its name to what was made.
    const SCRIPT: &str = r#"#!/bin/sh
[ -z "$CNI_COMMAND" ] && { echo "CNI $(basename $0) plugin v1.2.3" >&2; exit 0; }
input=$(cat)
echo "$CNI_COMMAND $(basename $0) $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS $input" >> $(dirname $0)/calls
[ -e "$(dirname $0)/$CNI_COMMAND-fails" ] && { echo '{"code": 11, "msg": "not now"}'; exit 1; }
[ $CNI_COMMAND = ADD ] && echo "{\"cniVersion\": \"1.0.0\", \"by\": \"$(basename $0)\"}"
exit 0
"#;

    struct Place {
        dir: tempfile::TempDir,
        plugins: Plugins,
    }

    impl Place {
        fn new(programs: &[&str], list: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in programs {
                let path = dir.path().join(name);
                fs::write(&path, SCRIPT).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
            let lists = dir.path().join("lists");
            fs::create_dir(&lists).unwrap();
            fs::write(lists.join("own.conflist"), list).unwrap();
            let plugins = Plugins::new(vec!["/nonexistent".into(), dir.path().into()], lists);
            Self { dir, plugins }
        }

        fn calls(&self) -> Vec<(String, Value)> {
            let path = self.dir.path().join("calls");
            let text = fs::read_to_string(&path).unwrap_or_default();
            fs::remove_file(&path).ok();
            let calls = text.lines().map(|line| {
                let (said, input) = line.split_at(line.find('{').unwrap());
                (said.trim().to_owned(), serde_json::from_str(input).unwrap())
            });
            calls.collect()
        }

        fn fails(&self, command: &str) {
            fs::write(self.dir.path().join(format!("{command}-fails")), "").unwrap();
        }
    }

    const LIST: &str =
        r#"{"name": "own", "cniVersion": "1.0.0", "plugins": [{"type": "one"}, {"type": "two"}]}"#;

    fn asked() -> Asked<'static> {
        Asked {
            container: "id",
            namespace: Path::new("/run/netns/id"),
        }
    }

    #[tokio::test]
    async fn a_list_is_gone_through_and_back() {
        let place = Place::new(&["one", "two"], LIST);
        let plugins = &place.plugins;
        assert_eq!(plugins.networks(), ["own"]);
        let versions = plugins.versions().await;
        let expected = ["one", "two"].map(|name| (name.to_owned(), "1.2.3".to_owned()));
        assert_eq!(versions, expected.into());
        assert!(
            plugins
                .attachment("other", BTreeMap::new(), Vec::new())
                .is_err()
        );
        let args = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let mut attachment = plugins.attachment("own", args, Vec::new()).unwrap();
        let made = plugins.add(&attachment, asked()).await.unwrap();
        assert_eq!(made["by"], "two");
        attachment.result = Some(made);
        plugins.check(&attachment, asked()).await.unwrap();
        plugins.del(&attachment, asked()).await.unwrap();
        let calls = place.calls();
        let said: Vec<&str> = calls.iter().map(|(said, _)| said.as_str()).collect();
        let line = |command: &str, plugin: &str| {
            format!("{command} {plugin} id /run/netns/id eth0 IgnoreUnknown=true;a=1")
        };
        let expected = [
            line("ADD", "one"),
            line("ADD", "two"),
            line("CHECK", "one"),
            line("CHECK", "two"),
            line("DEL", "two"),
            line("DEL", "one"),
        ];
        assert_eq!(said, expected);
        let before: Vec<&Value> = calls
            .iter()
            .map(|(_, input)| &input["prevResult"]["by"])
            .collect();
        let two = &Value::from("two");
        assert_eq!(
            before,
            [&Value::Null, &Value::from("one"), two, two, two, two]
        );
        assert_eq!(calls[0].1["name"], "own");
    }

    #[tokio::test]
    async fn a_plugin_that_fails_or_is_missing_is_named_and_the_others_still_clear_up() {
        let place = Place::new(&["one"], LIST);
        let plugins = &place.plugins;
        let attachment = plugins
            .attachment("own", BTreeMap::new(), Vec::new())
            .unwrap();
        let error = plugins
            .add(&attachment, asked())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("plugin `two` failed at ADD: there is no such program"),
            "{error}"
        );
        let error = plugins
            .del(&attachment, asked())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("plugin `two` failed at DEL"), "{error}");
        let said: Vec<String> = place.calls().into_iter().map(|(said, _)| said).collect();
        assert!(
            said.len() == 2 && said[1].starts_with("DEL one "),
            "{said:?}"
        );
        place.fails("ADD");
        let error = plugins
            .add(&attachment, asked())
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(error, "plugin `one` failed at ADD: not now (code 11)");
    }

    #[test]
    fn a_version_is_read_from_what_a_plugin_says_of_itself() {
        for (said, expected) in [
            (
                "CNI bridge plugin v1.1.1\nCNI protocol versions supported: 0.1.0",
                Some("1.1.1"),
            ),
            ("CNI portmap plugin 0.9.0-rc1", Some("0.9.0-rc1")),
            ("some program\nCNI loopback plugin v1.0.0", Some("1.0.0")),
            ("CNI x plugin version unknown", None),
            ("", None),
        ] {
            assert_eq!(version(said).as_deref(), expected, "{said}");
        }
    }
}
