//! Commands inside of a running task that changed templates ask for.

use super::events;
use crate::{
    checks::{ScriptContext, run_script},
    shared::Shared,
};
use jobs::model::{ChangeScript, TaskEvent};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// How long a command may take unless the job says so.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Runs a command beside the run of the task that has this handle. What came of it is told as an
/// event; the answer is one more when the task is to fail for it.
pub(super) fn begin(
    running: &mut JoinSet<Option<TaskEvent>>,
    shared: &Arc<Shared>,
    task: &str,
    handle: String,
    script: ChangeScript,
) {
    let (shared, task) = (Arc::clone(shared), task.to_owned());
    running.spawn(async move {
        let command = script.command.clone().unwrap_or_default();
        let ran = match context(&shared, &task, handle) {
            None => Err("the task is not there any more".to_owned()),
            Some(context) => {
                let args = script.args.clone().unwrap_or_default();
                let limit = script
                    .timeout
                    .map_or(TIMEOUT_DEFAULT, |limit| limit.to_std());
                run_script(&context, &command, &args, limit).await
            }
        };
        let Err(reason) = ran else {
            let text = format!("Template successfully ran script {command}");
            shared.event(&task, events::with_detail("Template", text, "message"));
            return None;
        };
        let text = format!("Template failed to run script {command}: {reason}");
        shared.event(&task, events::with_detail("Template", text, "message"));
        let fails = script.fail_on_error == Some(true);
        fails.then(|| {
            let text = "Template script failed, task is being killed";
            events::failure("Killing", text, "kill_reason")
        })
    });
}

fn context(shared: &Shared, task: &str, handle: String) -> Option<ScriptContext> {
    let alloc = shared.alloc();
    let definition = alloc.group()?.task(task)?;
    let node = Arc::clone(&shared.cx.node.borrow());
    let environment = shared.environment(&alloc, definition, &node);
    Some(ScriptContext {
        driver: Arc::clone(shared.cx.drivers.get(&definition.driver)?),
        handle: Some(handle),
        config: definition.config.clone(),
        network: shared.network().map(|network| network.namespace),
        dir: shared.work_dir(definition),
        env: environment.variables().clone(),
        user: definition.user.clone(),
    })
}
