//! The program: arguments to a runtime to an exit code.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    if env::args_os()
        .nth(1)
        .is_some_and(|verb| verb == trivet::client::supervisor::SUBCOMMAND)
    {
        return trivet::client::supervisor::main();
    }
    ExitCode::FAILURE
}
