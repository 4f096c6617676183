//! A deployment's progress, repainted in place on a terminal.

use crate::{context::Context, view::quoted};
use jobs::model::{Deployment, DeploymentId, DeploymentStatus};
use std::time::Duration;

/// How often the spinner turns.
const REPAINT_INTERVAL: Duration = Duration::from_millis(100);

const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// How a deployment's progress is painted.
#[derive(Debug)]
pub(super) struct Screen {
    repaints: bool,
    frame: usize,
    block: String,
    /// Lines on the terminal that the next painting replaces.
    painted: usize,
}

impl Screen {
    pub(super) fn new(repaints: bool) -> Self {
        Self {
            repaints,
            frame: 0,
            block: String::new(),
            painted: 0,
        }
    }

    /// Turns the spinner until the future is done.
    pub(super) async fn while_waiting<T>(
        &mut self,
        cx: &mut Context,
        id: DeploymentId,
        verbose: bool,
        work: impl Future<Output = T>,
    ) -> anyhow::Result<T> {
        if !self.repaints {
            return Ok(work.await);
        }
        let mut work = std::pin::pin!(work);
        let mut tick = tokio::time::interval(REPAINT_INTERVAL);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                _ = tick.tick() => {
                    self.frame += 1;
                    let spinner = SPINNER.get(self.frame % SPINNER.len()).unwrap_or(&' ');
                    let view = cx.view(verbose);
                    let head = format!("  {spinner} Deployment {} in progress...", quoted(view.id(id)));
                    self.paint(cx, &head)?;
                }
            }
        }
    }

    /// Takes a new state over.
    pub(super) fn show(
        &mut self,
        cx: &mut Context,
        current: &Deployment,
        block: String,
        verbose: bool,
    ) -> anyhow::Result<()> {
        if !self.repaints {
            return cx.print(&format!("\n{block}"));
        }
        self.block = indented(&block);
        let view = cx.view(verbose);
        let spinner = SPINNER.get(self.frame % SPINNER.len()).unwrap_or(&' ');
        let id = quoted(view.id(current.id));
        self.paint(cx, &format!("  {spinner} Deployment {id} in progress..."))
    }

    /// Leaves the last state on the terminal.
    pub(super) fn close(
        &mut self,
        cx: &mut Context,
        last: &Deployment,
        verbose: bool,
    ) -> anyhow::Result<()> {
        if !self.repaints {
            return Ok(());
        }
        let mark = match last.status {
            DeploymentStatus::Successful => '✓',
            _ => '!',
        };
        let id = quoted(cx.view(verbose).id(last.id));
        let status = last.status.as_str();
        self.paint(cx, &format!("  {mark} Deployment {id} {status}"))
    }

    fn paint(&mut self, cx: &mut Context, head: &str) -> anyhow::Result<()> {
        let mut lines = vec![head.to_owned()];
        if !self.block.is_empty() {
            lines.push(String::new());
            lines.extend(self.block.lines().map(str::to_owned));
        }
        lines.push(String::new());
        let mut text = String::new();
        if self.painted > 0 {
            text.push_str(&format!("\u{1b}[{}A", self.painted));
        }
        // Wrapped lines would break the count, so wrapping is off while painting.
        text.push_str("\u{1b}[J\u{1b}[?7l");
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str("\u{1b}[?7h");
        self.painted = lines.len();
        cx.write(text.as_bytes())
    }
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            if line.is_empty() {
                String::new()
            } else {
                format!("    {line}")
            }
        })
        .collect();
    lines.join("\n")
}
