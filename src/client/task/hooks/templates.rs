use super::{SetupError, identities};
use crate::{
    shared::Shared,
    task::events,
    templates::{Begin, Place, Setting, Templates, Wanted},
};
use jobs::{
    environment::TaskEnvironment,
    model::{Task, Template},
};
use std::sync::Arc;

/// Renders the task's files, once they can be, and adds the variables that they hold. `templates`
/// is where they are followed from then on.
pub(super) async fn run(
    shared: &Arc<Shared>,
    task: &Task,
    environment: &mut TaskEnvironment<'_>,
    templates: &mut Option<Templates>,
) -> Result<(), SetupError> {
    if !has_any(task) {
        return Ok(());
    }
    let renders_again = task
        .restart_policy
        .as_ref()
        .is_some_and(|policy| policy.render_templates);
    if renders_again {
        *templates = None;
    }
    let followed = match templates {
        Some(followed) => followed,
        None => {
            let setting = setting(shared, task, environment)?;
            templates.insert(Templates::begin(setting, Begin::BeforeStart))
        }
    };
    let added = followed.ready().await;
    if added.is_err() {
        // The next attempt tries anew.
        *templates = None;
    }
    for (name, value) in &*added? {
        environment.set(name, value);
    }
    Ok(())
}

/// The templates of a task that an earlier agent has started; none when it has none.
pub(super) fn resume(shared: &Arc<Shared>, task: &str) -> Option<Templates> {
    let alloc = shared.alloc();
    let task = alloc.group()?.task(task)?;
    if !has_any(task) {
        return None;
    }
    let node = Arc::clone(&shared.cx.node.borrow());
    let environment = shared.environment(&alloc, task, &node);
    let setting = setting(shared, task, &environment).ok()?;
    Some(Templates::begin(setting, Begin::Running))
}

/// True when the environment is complete only after them.
pub(super) fn add_variables(task: &Task) -> bool {
    task.templates.iter().any(|one| one.envvars) || task.all_identities().any(|one| one.env)
}

/// True when something is to be rendered or given to the task.
fn has_any(task: &Task) -> bool {
    !task.templates.is_empty() || identities::are_given(task)
}

fn setting(
    shared: &Arc<Shared>,
    task: &Task,
    environment: &TaskEnvironment<'_>,
) -> Result<Setting, SetupError> {
    let mut wanted = identities::wanted(shared, task, environment)?;
    let resolved = |template: &Template| Template {
        source_path: environment.interpolate(&template.source_path),
        dest_path: environment.interpolate(&template.dest_path),
        ..template.clone()
    };
    let (told, name) = (Arc::downgrade(shared), task.name.clone());
    let (added, of) = (Arc::downgrade(shared), task.name.clone());
    wanted.extend(task.templates.iter().map(resolved).map(Wanted::from));
    let alloc = shared.alloc();
    Ok(Setting {
        dir: shared.dir.clone(),
        task: task.name.to_string(),
        variables: Arc::new(environment.variables().clone()),
        place: Place {
            node: shared.cx.node.borrow().name.to_string(),
            namespace: alloc.namespace.to_string(),
            alloc_id: alloc.id,
            task: task.name.clone(),
        },
        session: shared.cx.session.clone(),
        threads: shared.cx.files.templates.clone(),
        wanted,
        rules: shared.cx.config.template.clone(),
        tell: Box::new(move |text| {
            if let Some(shared) = told.upgrade() {
                shared.event(&name, events::with_detail("Template", text, "message"));
            }
        }),
        add: Box::new(move |variables| {
            if let Some(shared) = added.upgrade() {
                shared.added.lock().insert(of.clone(), variables);
            }
        }),
    })
}
