use super::*;

/// Feeds one result per second, `p`assing, `w`arning or `c`ritical, and writes what was reported:
/// the status letter, or `.` for nothing.
fn reports(mut monitor: Monitor, results: &str) -> String {
    let letter = |status| match status {
        Status::Passing => 'p',
        Status::Warning => 'w',
        Status::Critical => 'c',
    };
    let mut seen = String::new();
    for (second, result) in results.chars().enumerate() {
        let status = match result {
            'p' => Status::Passing,
            'w' => Status::Warning,
            _ => Status::Critical,
        };
        let now = Duration::from_secs(u64::try_from(second).unwrap());
        let change = monitor.on_result(
            now,
            Outcome {
                status,
                output: String::new(),
            },
        );
        seen.push(change.map_or('.', |change| letter(change.status)));
    }
    seen
}

fn thresholds(successes: u32, failures: u32, warnings: Option<u32>) -> Thresholds {
    Thresholds {
        success_before_passing: successes,
        failures_before_critical: failures,
        failures_before_warning: warnings,
        ..Thresholds::default()
    }
}

#[test]
fn by_default_every_change_of_result_is_reported() {
    assert_eq!(
        reports(Monitor::new(Thresholds::default()), "cppwwccp"),
        ".p.w.c.p"
    );
    assert_eq!(
        reports(Monitor::new(thresholds(0, 0, None)), "cppccp"),
        ".p.c.p"
    );
}

#[test]
fn a_new_check_passes_after_enough_successes_in_a_row() {
    assert_eq!(
        reports(Monitor::new(thresholds(3, 1, None)), "ppcpppp"),
        ".....p."
    );
}

#[test]
fn warnings_count_as_successes() {
    assert_eq!(
        reports(Monitor::new(thresholds(3, 1, None)), "wwwp"),
        "..wp"
    );
}

#[test]
fn a_passing_check_fails_after_enough_failures_in_a_row() {
    assert_eq!(
        reports(Monitor::new(thresholds(1, 3, None)), "pccpcccc"),
        "p.....c."
    );
}

#[test]
fn a_failing_check_can_warn_before_it_is_critical() {
    assert_eq!(
        reports(Monitor::new(thresholds(1, 4, Some(2))), "pcccccp"),
        "p.w.c.p"
    );
}

#[test]
fn an_initial_status_of_passing_holds_until_enough_failures() {
    let initial = Thresholds {
        initial: Status::Passing,
        ..thresholds(1, 2, None)
    };
    assert_eq!(reports(Monitor::new(initial), "cc"), ".c");
}

#[test]
fn a_resumed_check_applies_its_first_result_at_once() {
    let resumed = |status| Monitor::resume(thresholds(3, 3, None), status, String::new());
    assert_eq!(reports(resumed(Status::Passing), "c"), "c");
    assert_eq!(reports(resumed(Status::Critical), "p"), "p");
    assert_eq!(reports(resumed(Status::Passing), "pcc"), "...");
}

#[test]
fn output_alone_is_reported_once_per_interval() {
    let mut monitor = Monitor::new(Thresholds::default());
    let outcome = |text: &str| Outcome {
        status: Status::Passing,
        output: text.to_owned(),
    };
    assert!(monitor.on_result(Duration::ZERO, outcome("a")).is_some());
    assert!(
        monitor
            .on_result(Duration::from_nanos(1), outcome("b"))
            .is_none()
    );
    assert!(
        monitor
            .on_result(OUTPUT_INTERVAL - Duration::from_nanos(1), outcome("c"))
            .is_none()
    );
    let change = monitor.on_result(OUTPUT_INTERVAL, outcome("d")).unwrap();
    assert_eq!(change.output, "d");
    assert!(
        monitor
            .on_result(2 * OUTPUT_INTERVAL, outcome("d"))
            .is_none()
    );
}

#[test]
fn a_change_of_status_carries_its_output_at_once() {
    let mut monitor = Monitor::new(Thresholds::default());
    monitor.on_result(
        Duration::ZERO,
        Outcome {
            status: Status::Passing,
            output: "up".to_owned(),
        },
    );
    let change = monitor.on_result(
        Duration::from_nanos(1),
        Outcome {
            status: Status::Critical,
            output: "down".to_owned(),
        },
    );
    assert_eq!(
        change,
        Some(Change {
            status: Status::Critical,
            output: "down".to_owned()
        })
    );
}

#[test]
fn long_output_is_cut_at_a_character_boundary() {
    let mut monitor = Monitor::new(Thresholds::default());
    let long = "é".repeat(3000);
    let change = monitor
        .on_result(
            Duration::ZERO,
            Outcome {
                status: Status::Passing,
                output: format!("x{long}"),
            },
        )
        .unwrap();
    assert!(
        change
            .output
            .ends_with(" ... (captured 4095 of 6001 bytes)"),
        "{}",
        change.output
    );
    assert_eq!(bound_output(change.output.clone()), change.output);
}
