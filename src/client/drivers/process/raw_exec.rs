use super::lookup::Lookup;
use crate::{
    client::drivers::{
        Driver, TaskContext, Unrunnable,
        options::{self, Kind},
    },
    sys::processes::TaskProcess,
};
use futures_util::future::{BoxFuture, ready};
use globset::GlobBuilder;
use jobs::model::DriverInfo;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc};

const OPTIONS: &[(&str, Kind)] = &[
    ("command", Kind::Text),
    ("args", Kind::List),
    ("work_dir", Kind::Text),
    ("denied_envvars", Kind::List),
];

/// Runs a program of the machine as it is, without isolation.
///
/// Source: `raw_exec` driver. Differs: no resource limits, no choice of cgroup or of an out-of-memory score.
#[derive(Debug)]
pub(in crate::client::drivers) struct RawExec {
    lookup: Arc<Lookup>,
}

impl RawExec {
    pub(in crate::client::drivers) fn new(lookup: Arc<Lookup>) -> Self {
        Self { lookup }
    }
}

impl Driver for RawExec {
    fn name(&self) -> &'static str {
        "raw_exec"
    }

    fn fingerprint(&self) -> BoxFuture<'_, DriverInfo> {
        Box::pin(ready(DriverInfo {
            attributes: [("driver.raw_exec".to_owned(), "true".to_owned())].into(),
            detected: true,
            healthy: true,
            health_description: "Healthy".into(),
            ..DriverInfo::default()
        }))
    }

    fn problems(&self, config: &Map<String, Value>) -> Vec<String> {
        let mut problems = options::problems(config, OPTIONS);
        if options::text(config, "command").is_empty() {
            problems.push("config option `command` is missing: it names the program to run".into());
        }
        problems
    }

    fn process(&self, task: &TaskContext<'_>) -> Result<TaskProcess, Unrunnable> {
        let command = options::text(task.config, "command");
        Ok(TaskProcess {
            program: self.lookup.find(&command, task.dir)?,
            args: options::list(task.config, "args"),
            env: allowed(task.env, &options::list(task.config, "denied_envvars")),
            dir: options::work_dir(task.config, task.dir),
            user: task.user.to_owned(),
        })
    }

    fn takes_signals(&self) -> bool {
        true
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
    use std::path::Path;

    #[test]
    fn a_bad_configuration_gives_every_problem() {
        let driver = RawExec::new(Arc::new(Lookup::new(Path::new("/bin/agent"))));
        let config = serde_json::json!({"args": "text", "image": "x", "command": ""});
        let problems = driver.problems(config.as_object().unwrap());
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
