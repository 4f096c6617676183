use super::say;
use cli::{ValidateArguments, called};
use config::Part;
use std::{io::Write as _, process::ExitCode};
use trivet::agent;

/// `validate-services`: reads files of definitions as an agent would; by the name of the catalog,
/// files of its agent.
pub(crate) fn run(program: &str, arguments: &ValidateArguments) -> anyhow::Result<ExitCode> {
    let validated = match Part::of_program(called(program)) {
        Part::Catalog => agent::validate_catalog(&arguments.paths),
        Part::All | Part::Jobs => agent::validate(&arguments.paths),
    };
    let Err(problems) = validated else {
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
