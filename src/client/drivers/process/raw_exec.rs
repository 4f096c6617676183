use super::{Kind, enter::Rights, lookup::Lookup};
use crate::{
    cores,
    drivers::{
        Exec, Isolation, Start, Unrunnable,
        options::{self, Kind as OptionKind, Table},
    },
};
use futures_util::future::{BoxFuture, ready};
use globset::GlobBuilder;
use jobs::model::{DriverInfo, TaskConfig};
use std::collections::BTreeMap;
use sys::{limits::Limits, processes::TaskProcess};

const OPTIONS: Table = &[
    ("command", OptionKind::Text),
    ("args", OptionKind::List),
    ("work_dir", OptionKind::Text),
    ("denied_envvars", OptionKind::List),
];

/// Runs a program of the machine as it is, without isolation.
///
/// Source: `raw_exec` driver. Differs: no resource limits but the cores that a task asks for, no
/// choice of cgroup or of an out-of-memory score.
#[derive(Debug)]
pub(in crate::drivers) struct RawExec;

impl Kind for RawExec {
    const NAME: &'static str = "raw_exec";
    const TAKES_SIGNALS: bool = true;

    fn isolation(&self) -> Isolation {
        Isolation::None
    }

    fn fingerprint<'a>(&'a self, _: &'a Lookup) -> BoxFuture<'a, DriverInfo> {
        Box::pin(ready(DriverInfo {
            attributes: [("driver.raw_exec".to_owned(), "true".to_owned())].into(),
            detected: true,
            healthy: true,
            health_description: "Healthy".into(),
            ..DriverInfo::default()
        }))
    }

    fn problems(&self, config: &TaskConfig) -> Vec<String> {
        let mut problems = options::problems(config, OPTIONS);
        if options::text(config, "command").is_empty() {
            problems.push("config option `command` is missing: it names the program to run".into());
        }
        problems
    }

    fn process(&self, lookup: &Lookup, task: &Start) -> Result<TaskProcess, Unrunnable> {
        let command = options::text(&task.config, "command");
        Ok(TaskProcess {
            program: lookup.find(&command, &task.dir)?,
            args: options::list(&task.config, "args"),
            env: allowed(&task.env, &options::list(&task.config, "denied_envvars")),
            dir: options::work_dir(&task.config, &task.dir),
            user: task.user.clone(),
            network: task.namespace(),
            isolation: None,
        })
    }

    fn rights(&self, _: &Exec) -> Option<Rights> {
        None
    }

    fn limits(&self, task: &Start) -> Option<Limits> {
        let cpus = cores::list(&task.limits.cores);
        (!cpus.is_empty()).then(|| Limits {
            cpus,
            ..Limits::default()
        })
    }
}

/// The variables that match none of the patterns.
fn allowed(env: &BTreeMap<String, String>, denied: &[String]) -> BTreeMap<String, String> {
    let denied: Vec<_> = denied
        .iter()
        .filter_map(|pattern| GlobBuilder::new(pattern).build().ok())
        .map(|glob| glob.compile_matcher())
        .collect();
    env.iter()
        .filter(|(name, _)| !denied.iter().any(|pattern| pattern.is_match(name)))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_configuration_gives_every_problem() {
        let config = serde_json::json!({"args": "text", "image": "x", "command": ""});
        let problems = RawExec.problems(&serde_json::from_value(config).unwrap());
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn denied_variables_do_not_reach_the_task() {
        let env = [("AWS_KEY", "x"), ("PATH", "/bin")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let left = allowed(&env, &["AWS_*".to_owned()]);
        assert_eq!(left.keys().collect::<Vec<_>>(), ["PATH"]);
    }
}
