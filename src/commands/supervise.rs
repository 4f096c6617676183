use client::supervisor;
use std::process::ExitCode;

/// True for the command line of a supervisor. One is started per task: it needs neither the parser
/// of command lines nor a runtime.
pub(crate) fn is_asked() -> bool {
    std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == supervisor::SUBCOMMAND)
}

/// `supervise`: stays until its task has ended.
pub(crate) fn run() -> ExitCode {
    supervisor::main()
}
