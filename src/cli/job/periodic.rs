//! `job periodic …`, and when a job is launched next.

use super::super::{
    context::Context,
    http::segment,
    lookup::{Kind, job_of},
    view::View,
};
use anyhow::Context as _;
use jobs::{
    model::{Periodic, Timestamp},
    wire::PeriodicForceResponse,
};
use sys::clock;

/// Act on jobs that are launched at set times.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Launch a periodic job now
    Force(Force),
}

/// Arguments of `job periodic force`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Force {
    /// Job id or its beginning
    job: String,
    /// Do not follow the evaluation
    #[arg(long)]
    detach: bool,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Force(arguments) => force(cx, &arguments).await,
    }
}

async fn force(cx: &mut Context, arguments: &Force) -> anyhow::Result<u8> {
    let job = job_of(cx, arguments.job.trim(), Kind::Periodic).await?;
    let http = cx.http.in_namespace(&job.namespace);
    let path = format!("/v1/job/{}/periodic/force", segment(&job.id));
    let answer: PeriodicForceResponse = http
        .put(&path, &[], &serde_json::Value::Null)
        .await
        .with_context(|| format!("Error forcing periodic job {:?}", job.id))?;
    if arguments.detach {
        cx.print("Force periodic successful")?;
    }
    let (eval_id, detach) = (answer.eval_id, arguments.detach);
    super::follow(cx, &http, eval_id, detach, arguments.verbose).await
}

/// When a job is launched next, in its own time zone, and how long that is from now on; none when
/// that never happens.
pub(super) fn next_launch(periodic: &Periodic, view: View) -> Option<String> {
    let zone = clock::zone(periodic.time_zone.as_deref().unwrap_or_default())?;
    let now = view.now;
    let next = periodic.next(now, &zone)?;
    let now = Timestamp::from_secs(now.as_nanos().div_euclid(1_000_000_000));
    let view = View { zone, ..view };
    Some(format!("{} ({} from now)", view.time(next), next - now))
}

#[cfg(test)]
mod tests {
    use super::next_launch;
    use crate::view::test_view;
    use jobs::model::Periodic;

    #[test]
    fn the_next_launch_is_told_in_the_zone_of_the_job() {
        let mut periodic = Periodic {
            specs: Some(vec!["0 12 * * *".into()]),
            time_zone: Some("Etc/GMT-2".into()),
            ..Periodic::default()
        };
        let told = next_launch(&periodic, test_view()).unwrap();
        assert!(
            told.contains("T12:00:00+02:00 (") && told.ends_with(" from now)"),
            "{told}"
        );
        periodic.enabled = Some(false);
        assert_eq!(next_launch(&periodic, test_view()), None);
    }
}
