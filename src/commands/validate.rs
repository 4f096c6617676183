use super::say;
use cli::ValidateArguments;
use std::{io::Write as _, process::ExitCode};
use trivet::agent;

/// `validate-services`: reads files of definitions as an agent would.
pub(crate) fn run(arguments: &ValidateArguments) -> anyhow::Result<ExitCode> {
    let Err(problems) = agent::validate(&arguments.paths) else {
        if !arguments.quiet {
            say("Configuration is valid!\n");
        }
        return Ok(ExitCode::SUCCESS);
    };
    let mut stderr = std::io::stderr();
    for problem in problems {
        writeln!(stderr, "Config validation failed: {problem}")?;
    }
    Ok(ExitCode::FAILURE)
}
