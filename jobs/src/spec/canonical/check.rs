use super::refuse::{Owner, refuse};
use super::{Findings, count, text};
use crate::model::{self, Span};
use crate::wire;

/// Longest note that the catalog keeps.
const LONGEST_NOTES: usize = 255;

/// One check of a service whose own values are inherited.
pub(super) fn check(
    findings: &mut Findings,
    given: wire::ServiceCheck,
    service: &model::ServiceSpec,
) -> model::ServiceCheck {
    let name = given
        .name
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| format!("service: {:?} check", service.name));
    let mut part = Findings::default();
    refuse(&mut part, Owner::Check, &given.rest);
    let own_restart = given
        .check_restart
        .map(|block| check_restart(&mut part, block));
    let check = model::ServiceCheck {
        check_type: text(given.check_type).to_lowercase(),
        command: text(given.command),
        args: given.args.unwrap_or_default(),
        path: text(given.path),
        protocol: text(given.protocol),
        port_label: text(given.port_label),
        address_mode: text(given.address_mode),
        interval: given.interval.unwrap_or_default(),
        timeout: given.timeout.unwrap_or_default(),
        initial_status: text(given.initial_status),
        tls_skip_verify: given.tls_skip_verify.unwrap_or(false),
        method: text(given.method),
        header: given.header.unwrap_or_default(),
        body: text(given.body),
        notes: text(given.notes),
        task_name: given
            .task_name
            .filter(|task| !task.is_empty())
            .unwrap_or_else(|| service.task_name.clone()),
        success_before_passing: count(
            &mut part,
            "success_before_passing",
            given.success_before_passing,
            0,
        ),
        failures_before_critical: count(
            &mut part,
            "failures_before_critical",
            given.failures_before_critical,
            0,
        ),
        failures_before_warning: count(
            &mut part,
            "failures_before_warning",
            given.failures_before_warning,
            0,
        ),
        on_update: given
            .on_update
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| service.on_update.clone()),
        check_restart: own_restart.or_else(|| service.check_restart.clone()),
        name,
    };
    if check.port_label.is_empty()
        && service.port_label.is_empty()
        && check.check_type != "script"
        && known(&check)
    {
        findings.error(format!(
            "Check {} invalid: check requires a port but neither check nor service {:?} have a port",
            check.name, service.name
        ));
    } else {
        common(&mut part, &check, &service.provider);
        if service.provider == "nomad" {
            nomad(&mut part, &check);
        } else {
            catalog(&mut part, &check);
        }
    }
    for error in part.errors {
        findings.error(format!("Check {} invalid: {error}", check.name));
    }
    check
}

/// True for the types that this version runs.
fn known(check: &model::ServiceCheck) -> bool {
    ["http", "tcp", "script"].contains(&check.check_type.as_str())
}

fn common(findings: &mut Findings, check: &model::ServiceCheck, provider: &str) {
    let allowed: &[&str] = if provider == "nomad" {
        &["tcp", "http"]
    } else {
        &["tcp", "http", "script"]
    };
    let kind = check.check_type.as_str();
    if kind == "grpc" && provider != "nomad" {
        findings.error(
            "check type \"grpc\" is not supported yet by this version; use tcp, http or script",
        );
    } else if !allowed.contains(&kind) {
        findings.error(format!(
            "invalid check type ({kind:?}), must be one of {}",
            allowed.join(", ")
        ));
    }
    if kind == "http" {
        findings.require(!check.path.is_empty(), || {
            "http type must have http path".into()
        });
        findings.require(!check.path.contains("://"), || {
            "http type must have relative http path".into()
        });
    }
    findings.require(kind != "script" || !check.command.is_empty(), || {
        "script type must have a valid script path".into()
    });
    match check.interval {
        Span::ZERO => {
            findings.error("missing required value interval. Interval cannot be less than 1s")
        }
        interval => findings.require(interval >= Span::SECOND, || {
            format!("interval ({interval}) cannot be lower than 1s")
        }),
    }
    match check.timeout {
        Span::ZERO => {
            findings.error("missing required value timeout. Timeout cannot be less than 1s")
        }
        timeout => findings.require(timeout >= Span::SECOND, || {
            format!("timeout ({timeout}) is lower than required minimum timeout 1s")
        }),
    }
    let status = check.initial_status.as_str();
    findings.require(["", "passing", "warning", "critical"].contains(&status), || {
        format!("invalid initial check state ({status}), must be one of \"passing\", \"warning\", \"critical\" or empty")
    });
    match check.address_mode.as_str() {
        "" | "host" | "driver" | "alloc" | "alloc_ipv6" => {}
        "auto" => findings.error("invalid address_mode \"auto\" - auto only valid for services"),
        other => findings.error(format!("invalid address_mode {other:?}")),
    }
    let on_update = check.on_update.as_str();
    findings.require(["", "ignore", "require_healthy", "ignore_warnings"].contains(&on_update), || {
        format!("on_update must be \"require_healthy\", \"ignore_warnings\", or \"ignore\"; got {on_update:?}")
    });
    if let Some(restart) = &check.check_restart {
        findings.require(on_update != "ignore", || {
            format!("on_update value {on_update:?} is not compatible with check_restart")
        });
        findings.require(restart.ignore_warnings || on_update != "ignore_warnings", || {
            format!("on_update value {on_update:?} not supported with check_restart ignore_warnings value \"false\"")
        });
    }
}

/// What checks of the scheduler's own provider do not know.
fn nomad(findings: &mut Findings, check: &model::ServiceCheck) {
    findings.require(check.on_update != "ignore_warnings", || {
        "on_update may only be set to ignore_warnings for Consul service checks".into()
    });
    findings.require(
        check
            .check_restart
            .as_ref()
            .is_none_or(|restart| !restart.ignore_warnings),
        || "ignore_warnings on check_restart only supported for Consul service checks".into(),
    );
    findings.require(check.address_mode != "driver", || {
        "address_mode = driver may only be set for Consul service checks".into()
    });
    let method = check.method.as_str();
    let methods = [
        "", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE",
    ];
    findings.require(
        check.check_type != "http" || methods.contains(&method),
        || format!("method type {method:?} not supported in Nomad http check"),
    );
    for (name, value) in thresholds(check) {
        findings.require(value == 0, || {
            format!("{name} may only be set for Consul service checks")
        });
    }
}

/// What checks of the catalog know beyond the common rules.
fn catalog(findings: &mut Findings, check: &model::ServiceCheck) {
    for (name, value) in thresholds(check) {
        findings.require(value == 0 || check.check_type != "script", || {
            format!(
                "{name} not supported for check of type {:?}",
                check.check_type
            )
        });
    }
    findings.require(check.notes.len() <= LONGEST_NOTES, || {
        format!("notes must not be longer than {LONGEST_NOTES} characters")
    });
}

fn thresholds(check: &model::ServiceCheck) -> [(&'static str, u32); 3] {
    [
        ("success_before_passing", check.success_before_passing),
        ("failures_before_critical", check.failures_before_critical),
        ("failures_before_warning", check.failures_before_warning),
    ]
}

/// A `check_restart` block with its defaults.
pub(super) fn check_restart(
    findings: &mut Findings,
    given: wire::CheckRestart,
) -> model::CheckRestart {
    let limit = given.limit.unwrap_or(0);
    findings.require(limit >= 0, || {
        format!("limit must be greater than or equal to 0 but found {limit}")
    });
    let grace = given.grace.unwrap_or(Span::SECOND);
    findings.require(grace >= Span::ZERO, || {
        format!(
            "grace period must be greater than or equal to 0 but found {}",
            grace.as_nanos()
        )
    });
    model::CheckRestart {
        limit: super::unsigned(limit),
        grace,
        ignore_warnings: given.ignore_warnings.unwrap_or(false),
    }
}
