use super::Programs;
use crate::{
    client::drivers::{
        Driver, Found, Owner, Run, Start, StartError, Unrunnable,
        options::{self, Kind},
    },
    sys::processes::TaskProcess,
};
use futures_util::future::{BoxFuture, ready};
use globset::GlobBuilder;
use jobs::model::DriverInfo;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, io};

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
    programs: Programs,
}

impl RawExec {
    pub(in crate::client::drivers) fn new(programs: Programs) -> Self {
        Self { programs }
    }

    /// The program to start.
    fn process(&self, task: &Start) -> Result<TaskProcess, Unrunnable> {
        let command = options::text(&task.config, "command");
        Ok(TaskProcess {
            program: self.programs.lookup.find(&command, &task.dir)?,
            args: options::list(&task.config, "args"),
            env: allowed(&task.env, &options::list(&task.config, "denied_envvars")),
            dir: options::work_dir(&task.config, &task.dir),
            user: task.user.clone(),
        })
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
        problems(config)
    }

    fn takes_signals(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, start: &'a Start) -> BoxFuture<'a, Result<Box<dyn Run>, StartError>> {
        Box::pin(async {
            let process = self.process(start)?;
            self.programs.start(start, process).await
        })
    }

    fn find<'a>(&'a self, owner: &'a Owner, handle: &'a str) -> BoxFuture<'a, io::Result<Found>> {
        Box::pin(self.programs.find(owner, handle))
    }

    fn forget(&self, owner: &Owner) {
        self.programs.supervisors.forget(owner);
    }
}

fn problems(config: &Map<String, Value>) -> Vec<String> {
    let mut problems = options::problems(config, OPTIONS);
    if options::text(config, "command").is_empty() {
        problems.push("config option `command` is missing: it names the program to run".into());
    }
    problems
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
        let problems = problems(config.as_object().unwrap());
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
