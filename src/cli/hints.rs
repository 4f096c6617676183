//! The pages of the web UI that show what a command printed.

use super::browser;
use super::context::Context;
use super::http::segment;
use serde_json::Value;

/// Variable of the environment that switches the hints off, or on where the agent switched them
/// off.
const SWITCH: &str = "NOMAD_CLI_SHOW_HINTS";

/// A page of the web UI.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Page<'a> {
    /// The servers.
    Servers,
    /// All nodes.
    Nodes,
    /// One node, by its id.
    Node(&'a str),
    /// All jobs.
    Jobs,
    /// One job, looked at.
    Job { id: &'a str, namespace: &'a str },
    /// One job, after something was done to it.
    ChangedJob { id: &'a str, namespace: &'a str },
    /// The deployments of a job, by its id.
    Deployments(&'a str),
    /// One allocation, by its id.
    Allocation(&'a str),
    /// All evaluations.
    Evaluations,
    /// One evaluation, by its id.
    Evaluation(&'a str),
    /// Variables, all of them or those below a path.
    Variables(Option<&'a str>),
    /// One variable.
    Variable { path: &'a str, namespace: &'a str },
}

impl Page<'_> {
    /// What is done there.
    fn purpose(self) -> &'static str {
        match self {
            Self::Servers => "View and manage Nomad servers",
            Self::Nodes => "View and manage Nomad clients",
            Self::Node(_) => "View client details and metrics",
            Self::Jobs => "View and manage Nomad jobs",
            Self::Job { .. } => "View job details and metrics",
            Self::ChangedJob { .. } => "View this job",
            Self::Deployments(_) => "View all deployments for this job",
            Self::Allocation(_) => "View allocation details",
            Self::Evaluations => "View evaluations",
            Self::Evaluation(_) => "View evaluation details",
            Self::Variables(None) => "View Nomad variables",
            Self::Variables(Some(_)) => "View Nomad variables at this path",
            Self::Variable { .. } => "View variable details",
        }
    }

    /// Where it is below `/ui`.
    pub(crate) fn path(self) -> String {
        match self {
            Self::Servers => "/servers".to_owned(),
            Self::Nodes => "/clients".to_owned(),
            Self::Node(id) => format!("/clients/{id}"),
            Self::Jobs => "/jobs".to_owned(),
            Self::Job { id, namespace } | Self::ChangedJob { id, namespace } => {
                format!("/jobs/{}@{namespace}", segment(id))
            }
            Self::Deployments(job) => format!("/jobs/{}/deployments", segment(job)),
            Self::Allocation(id) => format!("/allocations/{id}"),
            Self::Evaluations => "/evaluations".to_owned(),
            Self::Evaluation(id) => format!("/evaluations?currentEval={id}"),
            Self::Variables(None) => "/variables".to_owned(),
            Self::Variables(Some(prefix)) => format!("/variables/path/{prefix}"),
            Self::Variable { path, namespace } => format!("/variables/var/{path}@{namespace}"),
        }
    }
}

impl Context {
    /// Names the page on standard error, unless the agent or the user wants no such hints. Nothing
    /// is said where the agent cannot be asked.
    pub(crate) async fn hint(&mut self, page: Page<'_>) {
        if self.wants_hints().await {
            let text = format!("{} in the Web UI: {}", page.purpose(), self.url(page));
            self.point_out(&format!("\n\n==> {text}"));
        }
    }

    /// As [`Context::hint`], and opens the page in a browser when it is asked to: `-ui`. A browser
    /// that does not open changes nothing about what the command has done.
    pub(crate) async fn hint_or_open(&mut self, page: Page<'_>, opens: bool) {
        self.hint(page).await;
        if opens && let Err(error) = browser::open(&self.url(page)).await {
            self.complain(&format!("Failed to open the browser: {error:#}"));
        }
    }

    fn url(&self, page: Page<'_>) -> String {
        format!("{}/ui{}", self.http.address(), page.path())
    }

    async fn wants_hints(&self) -> bool {
        let own = std::env::var(SWITCH).ok().and_then(|text| switched(&text));
        if own == Some(false) || self.http.is_socket() {
            return false;
        }
        let agent = self.http.get_value("/v1/agent/self", &[]).await;
        let Ok(agent) = agent else {
            return false;
        };
        let shown = agent.pointer("/config/UI/ShowCLIHints");
        own.or_else(|| shown.and_then(Value::as_bool))
            .unwrap_or(false)
    }
}

/// A switch as the original reads it; none when it is no switch.
fn switched(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Page, switched};

    #[test]
    fn pages_have_the_addresses_that_bookmarks_hold() {
        let (id, namespace) = ("batch/dispatch-1-2", "default");
        for (page, path) in [
            (Page::Servers, "/servers"),
            (Page::Node("7ab3"), "/clients/7ab3"),
            (Page::Jobs, "/jobs"),
            (
                Page::Job { id, namespace },
                "/jobs/batch%2Fdispatch-1-2@default",
            ),
            (Page::Deployments("web"), "/jobs/web/deployments"),
            (Page::Allocation("51c8"), "/allocations/51c8"),
            (Page::Evaluation("e1"), "/evaluations?currentEval=e1"),
            (Page::Variables(Some("a/b")), "/variables/path/a/b"),
            (
                Page::Variable {
                    path: "a/b",
                    namespace,
                },
                "/variables/var/a/b@default",
            ),
        ] {
            assert_eq!(page.path(), path);
        }
    }

    #[test]
    fn what_is_no_switch_leaves_it_to_the_agent() {
        assert_eq!(switched("true"), Some(true));
        assert_eq!(switched("0"), Some(false));
        assert_eq!(switched("yes"), None);
    }
}
