//! `job action`: runs a command that the job names inside one of its tasks.

use super::super::{
    alloc::{self, exec::Attachment},
    arguments::switches,
    context::Context,
    http::segment,
    lookup,
};

/// Arguments of `job action`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(mut_args(switches(&["interactive", "tty"])))]
pub struct Arguments {
    /// Name of the action
    action: String,
    /// Job id or its beginning
    #[arg(long, value_name = "JOB")]
    job: String,
    /// Allocation id or its beginning; the newest one that runs unless given
    #[arg(long, value_name = "ALLOCATION")]
    alloc: Option<String>,
    /// Only allocations of this group
    #[arg(long, conflicts_with = "alloc")]
    group: Option<String>,
    /// Task; may be left out when there is one
    #[arg(long)]
    task: Option<String>,
    /// Pass on the standard input
    #[arg(long = "i", default_value_t = true)]
    interactive: bool,
    /// Give the command a terminal; as this one has it unless given
    #[arg(long = "t")]
    tty: Option<bool>,
    /// Character that, at the beginning of a line and before a dot, ends the session; none for none
    #[arg(long = "e", value_name = "CHARACTER", default_value = "~")]
    escape: String,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let found = match &arguments.alloc {
        Some(id) => lookup::allocation(cx, id, &cx.view(false)).await?,
        None => {
            let group = arguments.group.as_deref();
            lookup::allocation_of_job(cx, &arguments.job, group).await?
        }
    };
    let task = alloc::task(&found, arguments.task.as_deref())?;
    let id = found.row.id.to_string();
    let path = format!("/v1/job/{}/action", segment(&found.row.job_id));
    let query = [
        ("task", task),
        ("action", arguments.action.as_str()),
        ("allocID", id.as_str()),
        ("group", found.row.task_group.as_str()),
    ];
    let attachment = Attachment {
        tty: arguments.tty,
        interactive: arguments.interactive,
        escape: &arguments.escape,
    };
    let http = cx.http.in_namespace(&found.row.namespace);
    attachment.open(cx, &http, &path, &query).await
}
