use super::{SetupError, directory::reader};
use crate::{
    allocdir::Reader,
    shared::Shared,
    templates::{Token, Wanted},
};
use jobs::{
    environment::TaskEnvironment,
    model::{DEFAULT_IDENTITY, Task, Template, WorkloadIdentity},
};

fn given(task: &Task) -> impl Iterator<Item = &WorkloadIdentity> {
    let all = task.all_identities();
    all.filter(|identity| identity.env || identity.file)
}

/// True when a task is given a token.
pub(super) fn are_given(task: &Task) -> bool {
    given(task).next().is_some()
}

/// The tokens that a task is given, as files and variables.
pub(super) fn wanted(
    shared: &Shared,
    task: &Task,
    environment: &TaskEnvironment<'_>,
) -> Result<Vec<Wanted>, SetupError> {
    given(task)
        .map(|identity| Ok(one(identity, reader(shared, task)?, environment)))
        .collect()
}

fn one(identity: &WorkloadIdentity, reader: Reader, environment: &TaskEnvironment<'_>) -> Wanted {
    let is_default = identity.name == DEFAULT_IDENTITY;
    let path = match (identity.filepath.as_str(), is_default) {
        ("", true) => "secrets/nomad_token".to_owned(),
        ("", false) => format!("secrets/nomad_{}.jwt", identity.name),
        (path, _) => environment.interpolate(path),
    };
    let variable = if is_default {
        "NOMAD_TOKEN".to_owned()
    } else {
        format!("NOMAD_TOKEN_{}", identity.name)
    };
    // For the one who reads the task's secrets, and nobody else.
    let (perms, owner) = match reader {
        Reader::Agent => ("0600", None),
        Reader::User(user, group) => ("0600", Some((user, group))),
        Reader::Anyone => ("0644", None),
    };
    Wanted {
        template: Template {
            dest_path: path,
            perms: perms.into(),
            uid: owner.map(|(user, _)| user.into()),
            gid: owner.map(|(_, group)| group.into()),
            change_mode: match identity.change_mode.as_str() {
                "" => "noop".into(),
                mode => mode.into(),
            },
            change_signal: identity.change_signal.clone(),
            ..Template::default()
        },
        token: Some(Token {
            identity: identity.name.clone(),
            variable: identity.env.then_some(variable),
            is_file: identity.file,
        }),
    }
}
