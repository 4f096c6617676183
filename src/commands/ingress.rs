use super::{say, started};
use anyhow::{Context as _, bail};
use cli::ProgramArguments;
use config::Standalone as Settings;
use std::{io::Write as _, process::ExitCode, time::Duration};
use trivet::agent::{self, Standalone};

/// How long a file of properties may take to come.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest one, bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The ingress by itself, under the name of the one that it stands in for: runs until interrupted.
pub(crate) fn run(arguments: &ProgramArguments) -> anyhow::Result<ExitCode> {
    if arguments.is_help {
        say(&Settings::help());
        return Ok(ExitCode::SUCCESS);
    }
    let file = Settings::file(&arguments.given);
    let file = file.map(|place| read(&place)).transpose()?;
    let environment = std::env::vars_os();
    let environment: Vec<(String, String)> = environment
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let loaded = Settings::load(&arguments.given, &environment, file.as_deref());
    let settings = match loaded {
        Ok(settings) => settings,
        Err(problems) => {
            let mut stderr = std::io::stderr();
            for problem in problems {
                writeln!(stderr, "{problem}")?;
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    telemetry::start(&settings.log_level).context("`log.level` is no level")?;
    agent::run(async |planes| {
        let interrupted = agent::interrupted(false)?;
        tokio::pin!(interrupted);
        let ingress = Standalone::start(settings, &planes).await?;
        say(&started("ingress", ingress.listeners()));
        interrupted.await;
        // Whoever asks again does not want to wait for the grace.
        ingress.stop_early(agent::interrupted(false)?).await;
        Ok(ExitCode::SUCCESS)
    })?
}

/// What stands in a file, or at a URL.
fn read(place: &str) -> anyhow::Result<String> {
    if !place.starts_with("http://") && !place.starts_with("https://") {
        return std::fs::read_to_string(place).with_context(|| format!("cannot read `{place}`"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let fetched = runtime.block_on(async {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(FETCH_TIMEOUT)
            .build()?;
        let mut answer = client.get(place).send().await?.error_for_status()?;
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            text.extend_from_slice(&piece);
            if text.len() > FILE_BYTES_MAX {
                bail!("it is larger than 1 MiB");
            }
        }
        Ok(String::from_utf8(text)?)
    });
    fetched.with_context(|| format!("cannot read `{place}`"))
}
