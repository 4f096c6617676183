//! `node drain`: empties a node, or ends that.

use super::own_id;
use crate::{context::Context, http::Http, http::segment, lookup, view::quoted};
use anyhow::{Context as _, bail};
use jobs::model::{
    ClientStatus, DesiredStatus, DesiredTransition, Index, JobType, NodeStatus, Span,
};
use jobs::wire::{DrainSpec, Node, NodeDrainRequest, NodeUpdateResponse};
use serde::Deserialize;
use std::{collections::BTreeMap, io::IsTerminal as _};
use tokio::{sync::mpsc, time::Instant};

use crate::render::monitor::next_index;

/// How long allocations may take when nothing else is said.
const DEADLINE: Span = Span::HOUR;
/// How a drain without patience is asked for.
const AT_ONCE: Span = Span::from_nanos(-1_000_000_000);
/// Lines of the monitor that wait to be printed.
const LINES_MAX: usize = 64;

/// Arguments of `node drain`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Node id or its beginning
    id: Option<String>,
    /// The node of the agent that is asked
    #[arg(long = "self", conflicts_with = "id")]
    own: bool,
    /// Empty it
    #[arg(long)]
    enable: bool,
    /// Empty it no more
    #[arg(long)]
    disable: bool,
    /// Follow a drain that is under way
    #[arg(long)]
    monitor: bool,
    /// How long allocations may take to leave before they are stopped, such as 30m; 1h if not given
    #[arg(long, value_name = "DURATION")]
    deadline: Option<String>,
    /// Stop all allocations at once
    #[arg(long)]
    force: bool,
    /// Wait for allocations however long they take
    #[arg(long)]
    no_deadline: bool,
    /// Leave the allocations of system jobs where they are
    #[arg(long)]
    ignore_system: bool,
    /// Take no new allocations although the drain is ended
    #[arg(long)]
    keep_ineligible: bool,
    /// A note about the drain
    #[arg(short = 'm', long = "m", value_name = "MESSAGE")]
    message: Option<String>,
    /// Something to keep with the drain, `key=value`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    meta: Vec<String>,
    /// Do not follow the drain
    #[arg(long)]
    detach: bool,
    /// Do not ask back
    #[arg(long, short = 'y')]
    yes: bool,
}

impl Arguments {
    /// What contradicts itself.
    fn check(&self) -> anyhow::Result<()> {
        let shapes = self.force || self.no_deadline || self.ignore_system;
        if self.monitor && (self.enable || self.disable) {
            bail!("The -monitor flag cannot be used with the '-enable' or '-disable' flags");
        }
        if !self.monitor && self.enable == self.disable {
            bail!("Either the '-enable' or '-disable' flag must be set, unless using '-monitor'");
        }
        if self.disable && (self.deadline.is_some() || shapes) {
            bail!("-disable can't be combined with flags configuring drain strategy");
        }
        if self.deadline.is_some() && (self.force || self.no_deadline) {
            bail!("-deadline can't be combined with -force or -no-deadline");
        }
        if self.force && self.no_deadline {
            bail!("-force and -no-deadline are mutually exclusive");
        }
        Ok(())
    }

    fn patience(&self) -> anyhow::Result<Span> {
        match &self.deadline {
            _ if self.force => Ok(AT_ONCE),
            _ if self.no_deadline => Ok(Span::ZERO),
            None => Ok(DEADLINE),
            Some(text) => {
                let deadline = Span::parse(text)
                    .with_context(|| format!("Failed to parse deadline {text:?}"))?;
                if deadline <= Span::ZERO {
                    bail!("A positive drain duration must be given");
                }
                Ok(deadline)
            }
        }
    }

    /// What is noted with the drain; the end of one keeps what was noted at its beginning.
    fn notes(&self, node: &Node) -> BTreeMap<String, String> {
        let earlier = node.row.last_drain.as_ref().filter(|_| self.disable);
        let mut notes = earlier
            .and_then(|last| last.meta.clone())
            .unwrap_or_default();
        if let Some(message) = &self.message {
            let key = if self.enable {
                "message"
            } else {
                "cancel_message"
            };
            notes.insert(key.to_owned(), message.clone());
        }
        for pair in &self.meta {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            notes.insert(key.to_owned(), value.to_owned());
        }
        notes
    }
}

/// What the monitor looks at of an allocation.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Seen {
    #[serde(rename = "ID")]
    id: String,
    client_status: ClientStatus,
    desired_status: DesiredStatus,
    desired_transition: DesiredTransition,
    job: SeenJob,
}

/// What the monitor looks at of a job.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SeenJob {
    #[serde(rename = "Type")]
    job_type: JobType,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    arguments.check()?;
    let deadline = arguments.patience()?;
    let id = match (&arguments.id, arguments.own) {
        (Some(id), _) => id.clone(),
        (None, true) => own_id(&cx.http).await?,
        (None, false) => bail!("Node ID must be specified if -self isn't being used"),
    };
    let stub = lookup::node(cx, &id).await?;
    let path = format!("/v1/node/{}", segment(stub.id));
    let read = cx.http.get_after::<Node>(&path, &[], 0, None).await;
    let answer = read.context("Error toggling drain mode")?;
    let node = answer.body;
    let full = node.row.id.to_string();
    if arguments.monitor {
        if node.row.drain_strategy.is_none() {
            cx.complain("No drain strategy set");
            return Ok(0);
        }
        let shown = quoted(&full);
        say(
            cx,
            &format!("Monitoring node {shown}: Ctrl-C to detach monitoring"),
        )?;
        return follow(cx, &full, answer.index, arguments.ignore_system).await;
    }
    if id != full && !arguments.yes && !confirmed(cx, &full, arguments.disable)? {
        return Ok(0);
    }
    let request = NodeDrainRequest {
        node_id: full.clone(),
        drain_spec: arguments.enable.then_some(DrainSpec {
            deadline,
            ignore_system_jobs: arguments.ignore_system,
        }),
        mark_eligible: !arguments.keep_ineligible,
        meta: Some(arguments.notes(&node)),
    };
    let written: NodeUpdateResponse = cx
        .http
        .put(&format!("{path}/drain"), &[], &request)
        .await
        .context("Error updating drain specification")?;
    let set = if arguments.enable { "set" } else { "unset" };
    let done = format!("Node {} drain strategy {set}", quoted(&full));
    if !arguments.enable || arguments.detach {
        cx.print(&done)?;
        return Ok(0);
    }
    say(
        cx,
        "Ctrl-C to stop monitoring: will not cancel the node drain",
    )?;
    say(cx, &done)?;
    follow(cx, &full, written.index, arguments.ignore_system).await
}

fn confirmed(cx: &mut Context, id: &str, disables: bool) -> anyhow::Result<bool> {
    let verb = if disables { "disable" } else { "enable" };
    let question = format!("Are you sure you want to {verb} drain mode for node {id:?}? [y/N] ");
    cx.write(question.as_bytes())?;
    if !std::io::stdin().is_terminal() {
        bail!("no terminal to confirm on: give the whole id or -yes");
    }
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .context("Failed to parse answer")?;
    match line.trim() {
        "y" => return Ok(true),
        "" => cx.print("Canceling drain toggle")?,
        text if text.to_lowercase().starts_with('n') => cx.print("Canceling drain toggle")?,
        text if text.to_lowercase().starts_with('y') => {
            cx.print("For confirmation, an exact ‘y’ is required.")?;
        }
        _ => bail!("No confirmation detected. For confirmation, an exact 'y' is required."),
    }
    Ok(false)
}

fn say(cx: &mut Context, text: &str) -> anyhow::Result<()> {
    let now = cx.view(false).now();
    cx.print(&format!("{now}: {text}"))
}

/// Tells what happens to the node and its allocations until the drain is over and they stopped.
async fn follow(cx: &mut Context, id: &str, index: Index, no_system: bool) -> anyhow::Result<u8> {
    let (lines, mut heard) = mpsc::channel(LINES_MAX);
    let http = cx.http.clone();
    let node = follow_node(&http, id, index, lines.clone());
    let allocs = follow_allocs(&http, id, no_system, lines);
    let print = async {
        while let Some(line) = heard.recv().await {
            say(cx, &line)?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(node, allocs, print)?;
    Ok(0)
}

async fn follow_node(
    http: &Http,
    id: &str,
    mut index: Index,
    lines: mpsc::Sender<String>,
) -> anyhow::Result<()> {
    let path = format!("/v1/node/{}", segment(id));
    let mut last = None;
    loop {
        let asked = Instant::now();
        let answer = http.get_after::<Node>(&path, &[], index, None).await;
        let answer = answer.context("Error monitoring node")?;
        let node = answer.body.row;
        let Some(strategy) = node.drain_strategy else {
            lines.send(format!("Drain complete for node {id}")).await?;
            return Ok(());
        };
        let shown = quoted(id);
        if node.status == NodeStatus::Down {
            lines.send(format!("Node {shown} down")).await?;
        }
        if last.is_some_and(|last| last != strategy) {
            lines.send(format!("Node {shown} drain updated")).await?;
        }
        last = Some(strategy);
        index = next_index(index, answer.index, asked).await;
    }
}

async fn follow_allocs(
    http: &Http,
    id: &str,
    no_system: bool,
    lines: mpsc::Sender<String>,
) -> anyhow::Result<()> {
    let path = format!("/v1/node/{}/allocations", segment(id));
    let mut known: BTreeMap<String, Seen> = BTreeMap::new();
    let mut index = 0;
    loop {
        let asked = Instant::now();
        let answer = http.get_after::<Vec<Seen>>(&path, &[], index, None).await;
        let answer = answer.context("Error monitoring allocations")?;
        let mut running = 0;
        for alloc in answer.body {
            let name = alloc.id.clone();
            if let Some(text) = known.get(&name).and_then(|before| news(before, &alloc)) {
                lines
                    .send(format!("Alloc {} {text}", quoted(&name)))
                    .await?;
            }
            let counts = !(no_system && alloc.job.job_type == JobType::System);
            let runs = matches!(
                alloc.client_status,
                ClientStatus::Pending | ClientStatus::Running
            );
            running += usize::from(counts && runs);
            known.insert(name, alloc);
        }
        if running == 0 {
            let shown = quoted(id);
            lines
                .send(format!("All allocations on node {shown} have stopped"))
                .await?;
            return Ok(());
        }
        index = next_index(index, answer.index, asked).await;
    }
}

/// What happened to an allocation between two looks.
fn news(before: &Seen, now: &Seen) -> Option<String> {
    let migrates = |alloc: &Seen| alloc.desired_transition.migrate == Some(true);
    if before.client_status != now.client_status {
        let (from, to) = (before.client_status.as_str(), now.client_status.as_str());
        return Some(format!("status {from} -> {to}"));
    }
    if !migrates(now) {
        return None;
    }
    if !migrates(before) {
        return Some("marked for migration".to_owned());
    }
    let stops = now.desired_status == DesiredStatus::Stop;
    (before.desired_status != now.desired_status && stops).then(|| "draining".to_owned())
}
