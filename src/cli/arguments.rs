//! Arguments as people type them (`-check-index 41`, `-detach=false`) to arguments as the parser
//! wants them (`--check-index=41`).

use clap::{Arg, ArgAction, Command};
use std::ffi::{OsStr, OsString};

/// Rewrites the arguments behind the program's name for `command` and its subcommands.
///
/// Everything behind `--` stays as it is, and so does what a command passes on: everything behind
/// the flags that it knows.
pub(super) fn rewrite(command: &Command, args: Vec<OsString>) -> Vec<OsString> {
    let mut out = Vec::with_capacity(args.len());
    let mut path: Vec<&Command> = vec![command];
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" || passes_on(&path, &arg) {
            out.push(arg);
            out.extend(args);
            break;
        }
        let Some((name, value)) = known_flag(&path, &arg) else {
            let deeper = path.last().and_then(|at| subcommand(at, &arg));
            path.extend(deeper);
            out.push(arg);
            continue;
        };
        let flag = path.iter().rev().find_map(|at| flag(at, &name));
        let switch = flag.is_some_and(|flag| matches!(flag.get_action(), ArgAction::SetTrue));
        match value {
            Some(value) if switch && value == "true" => out.push(joined(&name, None)),
            Some(value) if switch && value == "false" => {}
            Some(value) => out.push(joined(&name, Some(&value))),
            None if flag.is_some_and(takes_next) => {
                let value = args.next();
                out.push(joined(&name, value.as_deref()));
            }
            None => out.push(joined(&name, None)),
        }
    }
    out
}

/// The names of the subcommands that the arguments lead to, outermost first.
pub(super) fn subcommands(command: &Command, args: &[OsString]) -> Vec<String> {
    let mut at = command;
    let mut names = Vec::new();
    for arg in args {
        if let Some(deeper) = subcommand(at, arg) {
            names.push(deeper.get_name().to_owned());
            at = deeper;
        }
    }
    names
}

/// True for the first argument that a command passes on.
fn passes_on(path: &[&Command], arg: &OsStr) -> bool {
    let passes = path
        .last()
        .is_some_and(|at| at.get_arguments().any(Arg::is_trailing_var_arg_set));
    let is_known = |(name, _): (String, _)| path.iter().any(|at| flag(at, &name).is_some());
    passes && !known_flag(path, arg).is_some_and(is_known)
}

/// Makes the arguments of these names flags that are given as `-name`, `-name=true` or
/// `-name=false`.
pub(super) fn switches(names: &'static [&'static str]) -> impl FnMut(Arg) -> Arg {
    move |arg| {
        if !names.contains(&arg.get_id().as_str()) {
            return arg;
        }
        arg.value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .action(ArgAction::Set)
    }
}

/// As [`long_flag`], also of one letter where a command of the path calls one of its flags so.
fn known_flag(path: &[&Command], arg: &OsStr) -> Option<(String, Option<OsString>)> {
    let is_known = |name: &str| path.iter().any(|at| flag(at, name).is_some());
    long_flag(arg).or_else(|| {
        let body = arg.to_str()?.strip_prefix('-')?;
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (body, None),
        };
        (name.len() == 1 && is_known(name)).then(|| (name.to_owned(), value))
    })
}

fn subcommand<'a>(command: &'a Command, arg: &OsStr) -> Option<&'a Command> {
    let name = arg.to_str()?;
    command.find_subcommand(name)
}

/// `-name`, `--name` or either with `=value`, of two letters or more.
fn long_flag(arg: &OsStr) -> Option<(String, Option<OsString>)> {
    let text = arg.to_str()?;
    let (body, doubled) = match text.strip_prefix("--") {
        Some(body) => (body, true),
        None => (text.strip_prefix('-')?, false),
    };
    let (name, value) = match body.split_once('=') {
        Some((name, value)) => (name, Some(OsString::from(value))),
        None => (body, None),
    };
    let letters = name.chars().count();
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    (starts_well && (letters > 1 || doubled)).then(|| (name.to_owned(), value))
}

fn flag<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| {
        arg.get_long() == Some(name)
            || arg
                .get_all_aliases()
                .is_some_and(|aliases| aliases.contains(&name))
    })
}

fn takes_next(flag: &Arg) -> bool {
    let takes = matches!(flag.get_action(), ArgAction::Set | ArgAction::Append);
    takes && !flag.is_require_equals_set()
}

fn joined(name: &str, value: Option<&OsStr>) -> OsString {
    let mut out = OsString::from(format!("--{name}"));
    if let Some(value) = value {
        out.push("=");
        out.push(value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn check(input: &str, expected: &str) {
        let split =
            |text: &str| -> Vec<OsString> { text.split_whitespace().map(OsString::from).collect() };
        let command = super::super::Line::command();
        assert_eq!(rewrite(&command, split(input)), split(expected), "{input}");
    }

    #[test]
    fn long_flags_may_have_one_dash() {
        check("job run -detach web.nomad", "job run --detach web.nomad");
        check("job run -check-index 41 w", "job run --check-index=41 w");
        check("job run -check-index=41 w", "job run --check-index=41 w");
        check(
            "job run -var a=-b -var=c=d w",
            "job run --var=a=-b --var=c=d w",
        );
        check("job run -var -x w", "job run --var=-x w");
    }

    #[test]
    fn switches_take_true_and_false() {
        check("job run -detach=true w", "job run --detach w");
        check("job run --detach=false w", "job run w");
        check("job plan -diff=false w", "job plan --diff=false w");
        check("job plan -diff w", "job plan --diff w");
    }

    #[test]
    fn short_flags_and_values_stay() {
        check(
            "alloc logs -f -n 5 -stderr 7ab",
            "alloc logs -f -n 5 --stderr 7ab",
        );
        check("alloc logs -n=5 7ab", "alloc logs -n=5 7ab");
        check("lock -n=2 -try 1s p c -n", "lock --n=2 --try=1s p c -n");
        check("lock -n 2 -verbose p c", "lock --n=2 --verbose p c");
        check("job scale web -5", "job scale web -5");
        check("-address x status", "--address=x status");
        check("status -address http://a:1", "status --address=http://a:1");
    }

    #[test]
    fn what_is_passed_on_stays() {
        check("supervise -x --y=1 -detach", "supervise -x --y=1 -detach");
        check(
            "var lock -ttl 20s -early-return path run -ttl -x",
            "var lock --ttl=20s --early-return path run -ttl -x",
        );
        check("job run -- -detach", "job run -- -detach");
        check(
            "alloc exec -i=false -t -e none -task web 7ab sh -c -i",
            "alloc exec --i=false --t --e=none --task=web 7ab sh -c -i",
        );
    }
}
