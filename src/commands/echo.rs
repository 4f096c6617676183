use super::say;
use anyhow::Context as _;
use cli::EchoArguments;
use std::{net::SocketAddr, process::ExitCode};
use trivet::{agent, echo};

/// `echo`: the sample workload.
pub(crate) fn run(arguments: EchoArguments) -> anyhow::Result<ExitCode> {
    telemetry::start("info")?;
    let listen = listen_address(&arguments.listen)?;
    let mut headers = http::HeaderMap::new();
    for (name, value) in &arguments.header {
        let name: http::HeaderName = name
            .parse()
            .with_context(|| format!("`{name}` is no header name"))?;
        headers.append(
            name,
            value
                .parse()
                .with_context(|| format!("`{value}` is no header value"))?,
        );
    }
    let config = echo::Config {
        listen,
        text: arguments.text,
        status: arguments.status,
        headers,
        delay: arguments.delay,
        error_rate: arguments.error_rate,
        reset_rate: arguments.reset_rate,
        only: arguments.only,
        while_there: arguments.while_there,
        drain: arguments.drain,
    };
    // One thread is enough for a sample, and many of them run side by side.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let interrupted = agent::interrupted(true)?;
        let server = echo::Echo::bind(config)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        say(&format!("listening on {}\n", server.local_addr()?));
        server.run(interrupted).await;
        Ok(ExitCode::SUCCESS)
    })
}

fn listen_address(text: &str) -> anyhow::Result<SocketAddr> {
    let whole = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.to_owned()
    };
    whole
        .parse()
        .with_context(|| format!("`{text}` is no address such as 127.0.0.1:8080 or :8080"))
}
