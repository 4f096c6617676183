use super::SetupError;
use crate::{drivers::Driver, shared::Shared};
use jobs::{
    environment::TaskEnvironment,
    model::{Task, TaskConfig},
    spec,
};
use std::sync::Arc;

/// A definition without problems.
pub(super) struct Definition {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) config: TaskConfig,
}

/// Checks what only this machine can check; every problem at once.
pub(super) fn run(
    shared: &Shared,
    task: &Task,
    environment: &TaskEnvironment<'_>,
) -> Result<Definition, SetupError> {
    let mut problems = Vec::new();
    let users = &shared.cx.config.options.users;
    if users.refuses(&task.driver, &task.user) {
        problems.push(format!("running as user {:?} is disallowed", task.user));
    }
    let lookup = |name: &str| environment.lookup(name);
    let config = spec::resolve(&task.config, environment.variables(), &lookup).unwrap_or_else(
        |unresolved| {
            problems.extend(unresolved.iter().map(ToString::to_string));
            task.config.clone()
        },
    );
    let driver = shared.cx.drivers.get(task.driver.as_str());
    match driver {
        None => problems.push(format!(
            "driver `{}` is not available on this node",
            task.driver
        )),
        Some(driver) => problems.extend(driver.problems(&config)),
    }
    match driver {
        Some(driver) if problems.is_empty() => Ok(Definition {
            driver: Arc::clone(driver),
            config,
        }),
        _ => Err(SetupError::Invalid(problems)),
    }
}
