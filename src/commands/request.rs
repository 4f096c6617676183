use cli::{self, Global, Request};
use std::process::ExitCode;

/// A request to an agent.
pub(crate) fn run(program: String, global: Global, request: Request) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(ExitCode::from(
        runtime.block_on(cli::run(program, global, request)),
    ))
}
