use super::{Findings, count};
use crate::model::{self, Span, TaskName};
use crate::wire;

/// Longest note that the catalog keeps.
const LONGEST_NOTES: usize = 255;

/// One check of a service whose own values are inherited.
pub(super) fn check(
    findings: &mut Findings,
    given: wire::ServiceCheck,
    service: &model::ServiceSpec,
) -> model::ServiceCheck {
    let or = |given: String, default: &str| {
        if given.is_empty() {
            default.to_owned()
        } else {
            given
        }
    };
    let name = or(given.name, &format!("service: {:?} check", service.name));
    let mut part = Findings::default();
    let own_restart = given
        .check_restart
        .map(|block| check_restart(&mut part, block));
    let check = model::ServiceCheck {
        check_type: given.check_type.to_lowercase(),
        command: given.command,
        args: given.args.unwrap_or_default(),
        path: given.path,
        protocol: given.protocol,
        port_label: given.port_label,
        address_mode: given.address_mode,
        interval: given.interval,
        timeout: given.timeout,
        initial_status: given.initial_status,
        tls_skip_verify: given.tls_skip_verify,
        method: given.method,
        header: given.header.unwrap_or_default(),
        body: given.body,
        notes: given.notes,
        task_name: TaskName::from(given.task_name)
            .or_none()
            .or_else(|| service.task_name.clone()),
        success_before_passing: count(
            &mut part,
            "success_before_passing",
            Some(given.success_before_passing),
            0,
        ),
        failures_before_critical: count(
            &mut part,
            "failures_before_critical",
            Some(given.failures_before_critical),
            0,
        ),
        failures_before_warning: count(
            &mut part,
            "failures_before_warning",
            Some(given.failures_before_warning),
            0,
        ),
        on_update: or(given.on_update, &service.on_update),
        check_restart: own_restart.or_else(|| service.check_restart.clone()),
        expose: given.expose,
        grpc_service: given.grpc_service.into(),
        grpc_use_tls: given.grpc_use_tls,
        tls_server_name: given.tls_server_name.into(),
        advertise: given.advertise.into(),
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

/// True for the types that there are.
fn known(check: &model::ServiceCheck) -> bool {
    ["http", "tcp", "grpc", "script"].contains(&check.check_type.as_str())
}

fn common(findings: &mut Findings, check: &model::ServiceCheck, provider: &str) {
    let allowed: &[&str] = if provider == "nomad" {
        &["tcp", "http"]
    } else {
        &["grpc", "tcp", "http", "script"]
    };
    let kind = check.check_type.as_str();
    if !allowed.contains(&kind) {
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
    findings.require(!check.expose, || {
        "expose may only be set for Consul service checks".into()
    });
    findings.require(check.tls_server_name.is_empty(), || {
        "tls_server_name may only be set for Consul service checks".into()
    });
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
    let kind = check.check_type.as_str();
    findings.require(!check.expose || matches!(kind, "http" | "grpc"), || {
        "expose may only be set on HTTP or gRPC checks".into()
    });
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
    let limit = given.limit;
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
        ignore_warnings: given.ignore_warnings,
    }
}
