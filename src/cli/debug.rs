//! `debug`: captures for a while what is known of an agent, into one archive.

use super::{catalog_options::CatalogOptions, context::Context, http::Http};
use anyhow::{Context as _, bail, ensure};
use flate2::{Compression, write::GzEncoder};
use futures_util::StreamExt as _;
use jobs::model::Span;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};
use tokio::time::{Instant, interval, timeout_at};

use sys::files::{Durability, write_atomic};

/// Shortest time of a capture.
const DURATION_MIN: Duration = Duration::from_secs(10);
/// Longest time of a capture.
const DURATION_MAX: Duration = Duration::from_hours(1);
/// Shortest pause between two looks.
const INTERVAL_MIN: Duration = Duration::from_secs(5);
/// Longest log that is kept, bytes.
const LOG_BYTES_MAX: usize = 64 << 20;
/// What can be captured.
const TARGETS: [&str; 5] = ["metrics", "logs", "host", "agent", "members"];

/// Arguments of `debug`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// How long to capture
    #[arg(long, default_value = "2m")]
    duration: String,
    /// Pause between two looks at what changes
    #[arg(long, default_value = "30s")]
    interval: String,
    /// Name of the archive, without `.tar.gz`
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// What to capture: metrics, logs, host, agent or members; may be repeated
    #[arg(long, value_name = "WHAT")]
    capture: Vec<String>,
}

/// What is to be captured, for how long, and where to.
struct Plan<'a> {
    duration: Duration,
    interval: Duration,
    targets: BTreeSet<&'a str>,
    /// Name of the directory in the archive.
    name: String,
    archive: PathBuf,
}

impl<'a> Plan<'a> {
    fn of(arguments: &'a Arguments) -> anyhow::Result<Self> {
        let duration = Span::parse(&arguments.duration).context("Invalid -duration")?;
        let interval = Span::parse(&arguments.interval).context("Invalid -interval")?;
        let (duration, interval) = (duration.to_std(), interval.to_std());
        let [least, most, pause] = [DURATION_MIN, DURATION_MAX, INTERVAL_MIN].map(Span::from);
        ensure!(
            duration >= DURATION_MIN,
            "duration must be longer than {least}"
        );
        ensure!(
            duration <= DURATION_MAX,
            "duration must not be longer than {most}"
        );
        ensure!(
            interval >= INTERVAL_MIN,
            "interval must be longer than {pause}"
        );
        ensure!(
            interval <= duration,
            "interval must not be longer than duration"
        );
        let mut targets: BTreeSet<&str> = arguments.capture.iter().map(String::as_str).collect();
        for target in &targets {
            match *target {
                known if TARGETS.contains(&known) => {}
                "pprof" => bail!("`pprof` is not captured: this program has no such profiles"),
                other => bail!(
                    "Invalid capture target: {other}; known: {}",
                    TARGETS.join(", ")
                ),
            }
        }
        if targets.is_empty() {
            targets = TARGETS.into();
        }
        let output = arguments.output.clone().unwrap_or_else(|| {
            let seconds = jiff::Timestamp::now().as_second();
            PathBuf::from(format!("consul-debug-{seconds}"))
        });
        let name = output.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        Ok(Self {
            duration,
            interval,
            targets,
            archive: output.with_file_name(format!("{name}.tar.gz")),
            name,
        })
    }

    /// What is known before anything is captured.
    fn shown(&self, arguments: &Arguments, agent: &Value) -> String {
        let targets: Vec<&str> = self.targets.iter().copied().collect();
        let version = agent["Config"]["Version"].as_str().unwrap_or_default();
        let facts = [
            ("Agent Version", format!("'{version}'")),
            ("Interval", format!("'{}'", arguments.interval)),
            ("Duration", format!("'{}'", arguments.duration)),
            ("Output", format!("'{}'", self.archive.display())),
            ("Capture", format!("'{}'", targets.join(", "))),
        ];
        let lines = facts.map(|(key, value)| format!("{key:>18}: {value}"));
        lines.join("\n")
    }
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let plan = Plan::of(arguments)?;
    let http = arguments.options.http(cx)?;
    let agent = http.get_value("/v1/agent/self", &[]).await;
    let agent = agent.context("error querying target agent")?;
    cx.print("==> Starting debugger and capturing static information...")?;
    cx.print(&plan.shown(arguments, &agent))?;
    let mut files = BTreeMap::new();
    let about = json!({
        "Version": 1,
        "AgentVersion": agent["Config"]["Version"],
        "Interval": arguments.interval,
        "Duration": arguments.duration,
        "Targets": plan.targets,
    });
    files.insert("index.json".to_owned(), about.to_string().into_bytes());
    for (target, file, path) in [
        ("agent", "agent.json", "/v1/agent/self"),
        ("host", "host.json", "/v1/agent/host"),
        ("members", "members.json", "/v1/agent/members"),
    ] {
        if plan.targets.contains(target) {
            let value = http.get_value(path, &[]).await?;
            files.insert(file.to_owned(), value.to_string().into_bytes());
        }
    }
    let end = Instant::now() + plan.duration;
    let logged = async {
        if !plan.targets.contains("logs") {
            return Ok(None);
        }
        log(&http, end).await.map(Some)
    };
    let measured = async {
        if !plan.targets.contains("metrics") {
            return Ok(None);
        }
        metrics(&http, end, plan.interval).await.map(Some)
    };
    let (log, metrics) = tokio::try_join!(logged, measured)?;
    files.extend(log.map(|log| ("consul.log".to_owned(), log)));
    files.extend(metrics.map(|metrics| ("metrics.json".to_owned(), metrics)));
    let packed = packed(&plan.name, &files)?;
    let archive = plan.archive.display();
    write_atomic(&plan.archive, &packed, Durability::Power)
        .with_context(|| format!("cannot write `{archive}`"))?;
    cx.print(&format!("    Saved debug archive: {archive}"))?;
    Ok(0)
}

/// What the agent logs until `end`.
async fn log(http: &Http, end: Instant) -> anyhow::Result<Vec<u8>> {
    let mut lines = http
        .stream("/v1/agent/monitor", &[("loglevel", "debug")])
        .await?;
    let mut log = Vec::new();
    while let Ok(Some(piece)) = timeout_at(end, lines.next()).await {
        let piece = piece?;
        if log.len() + piece.len() > LOG_BYTES_MAX {
            break;
        }
        log.extend_from_slice(&piece);
    }
    Ok(log)
}

/// The agent's figures until `end`, a line for each look.
async fn metrics(http: &Http, end: Instant, pause: Duration) -> anyhow::Result<Vec<u8>> {
    let mut looks = interval(pause);
    let mut lines = Vec::new();
    while timeout_at(end, looks.tick()).await.is_ok() {
        let value: Value = http.get_value("/v1/agent/metrics", &[]).await?;
        lines.extend_from_slice(value.to_string().as_bytes());
        lines.push(b'\n');
    }
    Ok(lines)
}

fn packed(name: &str, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<Vec<u8>> {
    let out = GzEncoder::new(Vec::new(), Compression::default());
    let mut tar = tar::Builder::new(out);
    for (file, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, format!("{name}/{file}"), content.as_slice())?;
    }
    Ok(tar.into_inner()?.finish()?)
}
