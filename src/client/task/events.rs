//! Task events with the texts that users and their scripts know.
//!
//! Source: jobs API, `TaskEvent`.

use crate::drivers::Exit;
use jobs::model::{Span, TaskEvent, Text};
use std::time::Duration;
use sys::clock;

/// An event of `event_type` that reads `message`.
pub(crate) fn event(event_type: &str, message: impl Into<Text>) -> TaskEvent {
    TaskEvent {
        event_type: event_type.into(),
        time: clock::now(),
        display_message: message.into(),
        ..TaskEvent::default()
    }
}

/// As [`event`], with one fact.
pub(crate) fn with_detail(event_type: &str, message: impl Into<Text>, key: &str) -> TaskEvent {
    let mut event = event(event_type, message);
    let message = event.display_message.clone();
    event.details.insert(key.into(), message);
    event
}

/// A failure that ends the task.
pub(crate) fn failure(event_type: &str, message: impl Into<Text>, key: &str) -> TaskEvent {
    let mut event = with_detail(event_type, message, key);
    event.details.insert("fails_task".into(), "true".into());
    event.fails_task = true;
    event
}

/// The end of a run.
pub(crate) fn terminated(exit: &Exit) -> TaskEvent {
    let mut message = format!("Exit Code: {}", exit.ended.code);
    if exit.ended.signal != 0 {
        message.push_str(&format!(", Signal: {}", exit.ended.signal));
    }
    if !exit.message.is_empty() {
        message.push_str(&format!(", Exit Message: \"{}\"", exit.message));
    }
    let mut event = event("Terminated", message);
    event.time = exit.at;
    event.exit_code = exit.ended.code;
    event.signal = exit.ended.signal;
    for (key, value) in [
        ("exit_code", exit.ended.code.to_string()),
        ("signal", exit.ended.signal.to_string()),
        ("exit_message", exit.message.clone()),
        ("oom_killed", exit.is_out_of_memory.to_string()),
    ] {
        event.details.insert(key.into(), value.into());
    }
    event
}

/// A restart that is about to come.
pub(crate) fn restarting(after: Duration, reason: &str) -> TaskEvent {
    let pause = Span::from(after);
    let prefix = if reason.is_empty() {
        String::new()
    } else {
        format!("{reason} - ")
    };
    let mut event = event("Restarting", format!("{prefix}Task restarting in {pause}"));
    let details = &mut event.details;
    details.insert("restart_reason".into(), reason.into());
    details.insert("start_delay".into(), after.as_nanos().to_string().into());
    event
}

/// The kill signal is on its way.
pub(crate) fn killing(reason: &str, kill_timeout: Duration) -> TaskEvent {
    let pause = Span::from(kill_timeout);
    let message = if reason.is_empty() {
        format!("Sent interrupt. Waiting {pause} before force killing")
    } else {
        reason.to_owned()
    };
    let mut event = event("Killing", message);
    event
        .details
        .insert("kill_timeout".into(), pause.to_string().into());
    if !reason.is_empty() {
        event.details.insert("kill_reason".into(), reason.into());
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_task_says_which_signal_it_was() {
        let mut exit = Exit::default();
        exit.ended.code = 137;
        exit.ended.signal = 9;
        assert_eq!(
            terminated(&exit).display_message,
            "Exit Code: 137, Signal: 9"
        );
    }
}
