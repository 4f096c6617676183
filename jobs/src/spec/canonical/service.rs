use super::Findings;
use super::check::{check, check_restart};
use super::network::Ports;
use super::{connect, credentials};
use crate::model::{self, TaskName};
use crate::wire;
use std::collections::{BTreeMap, BTreeSet};

/// Where a service stands: the names that its own name may be built of.
pub(super) struct Place<'a> {
    pub(super) job: &'a str,
    pub(super) group: &'a str,
    /// None for a service of the group.
    pub(super) task: Option<&'a str>,
}

/// A service with its defaults; what is wrong goes below `title`.
pub(super) fn service(
    findings: &mut Findings,
    given: wire::Service,
    place: &Place<'_>,
    index: usize,
) -> model::ServiceSpec {
    let mut part = Findings::default();
    let name = service_name(given.name, place);
    let mut service = model::ServiceSpec {
        provider: or(given.provider, "consul"),
        port_label: given.port_label,
        address: given.address,
        address_mode: or(given.address_mode, "auto"),
        task_name: TaskName::from(or(given.task_name, place.task.unwrap_or_default())).or_none(),
        tags: given.tags.unwrap_or_default(),
        canary_tags: given.canary_tags.unwrap_or_default(),
        meta: given.meta.unwrap_or_default(),
        canary_meta: given.canary_meta.unwrap_or_default(),
        tagged_addresses: given.tagged_addresses.unwrap_or_default(),
        enable_tag_override: given.enable_tag_override,
        on_update: or(given.on_update, "require_healthy"),
        weights: given.weights.map(|weights| {
            let weight = |value: i64| match i32::try_from(value) {
                Ok(0) | Err(_) => 1,
                Ok(number) => number,
            };
            model::Weights {
                passing: weight(weights.passing),
                warning: weight(weights.warning),
            }
        }),
        checks: Vec::new(),
        check_restart: given
            .check_restart
            .map(|block| check_restart(&mut part, block)),
        connect: given.connect.map(connect::with_defaults),
        identity: None,
        // The default one is what nothing means.
        cluster: Some(given.cluster)
            .filter(|name| name != "default")
            .unwrap_or_default()
            .into(),
        kind: given.kind.into(),
        name,
    };
    service.identity = given.identity.map(|token| {
        let token = credentials::service_identity(token, &service);
        part.require(
            token.audience.as_ref().is_some_and(|aud| !aud.is_empty()),
            || "Service identity must provide at least one target aud value".into(),
        );
        Box::new(token)
    });
    if let Some(token) = &service.identity {
        for doubt in credentials::doubts(token) {
            part.warning(format!("Service {:?}: {doubt}", service.name));
        }
    }
    validate(&mut part, &service);
    let checks = given.checks.unwrap_or_default();
    service.checks = checks
        .into_iter()
        .map(|given| check(&mut part, given, &service))
        .collect();
    connect::check(&mut part, &service);
    let title = match place.task {
        Some(_) => format!("service[{index}] {:?} validation failed", service.name),
        None => format!("Service[{index}] {} validation failed", service.name),
    };
    findings.nest(&title, part);
    service
}

fn or(given: String, default: &str) -> String {
    if given.is_empty() {
        default.to_owned()
    } else {
        given
    }
}

/// The name, with the placeholders that the servers replace filled in.
pub(super) fn service_name(given: String, place: &Place<'_>) -> String {
    let Place { job, group, task } = place;
    let base = match task {
        Some(task) => format!("{job}-{group}-{task}"),
        None => format!("{job}-{group}"),
    };
    let name = or(given, &base);
    name.replace("${JOB}", job)
        .replace("${TASKGROUP}", group)
        .replace("${TASK}", task.unwrap_or_default())
        .replace("${BASE}", &base)
}

fn validate(findings: &mut Findings, service: &model::ServiceSpec) {
    findings.require(valid_name(&service.name), || {
        format!(
            "Service name must be valid per RFC 1123 and can contain only alphanumeric characters or dashes and must be no longer than 63 characters: {:?}",
            service.name
        )
    });
    match service.address_mode.as_str() {
        "auto" => {}
        "host" | "driver" | "alloc" | "alloc_ipv6" => findings
            .require(service.address.is_empty(), || {
                "Service address_mode must be \"auto\" if address is set".into()
            }),
        other => findings.error(format!(
            "Service address_mode must be \"auto\", \"host\", or \"driver\"; not {other:?}"
        )),
    }
    let on_update = service.on_update.as_str();
    findings.require(["require_healthy", "ignore_warnings", "ignore"].contains(&on_update), || {
        format!("Service on_update must be \"require_healthy\", \"ignore_warnings\", or \"ignore\"; not {on_update:?}")
    });
    let kinds = [
        "",
        "typical",
        "api-gateway",
        "ingress-gateway",
        "mesh-gateway",
        "terminating-gateway",
    ];
    findings.require(kinds.contains(&&*service.kind), || {
        format!(
            "Service {} kind must be one of consul service kind or empty",
            service.name
        )
    });
    let (_, problems) = model::RolloutPolicy::of_meta(&service.meta);
    for (_, problem) in problems {
        findings.error(format!("Service {:?} meta: {problem}", service.name));
    }
    let provider = service.provider.as_str();
    findings.require(["consul", "nomad"].contains(&provider), || {
        format!("Service provider must be \"consul\", or \"nomad\"; not {provider:?}")
    });
}

/// A label of RFC 1123; what the client resolves counts as a valid part.
fn valid_name(name: &str) -> bool {
    let mut plain = String::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((_, after)) = after.split_once('}') else {
            return false;
        };
        plain.push_str(before);
        plain.push_str("ENV-VAR");
        rest = after;
    }
    plain.push_str(rest);
    let edge = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    plain.len() <= 63
        && edge(plain.chars().next())
        && edge(plain.chars().next_back())
        && plain
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
}

/// Rules of the services of one task beyond those of each service.
pub(super) fn task_services(
    findings: &mut Findings,
    task: &str,
    services: &[model::ServiceSpec],
    ports: &Ports,
) {
    let mut known = BTreeSet::new();
    for service in services {
        let name = &service.name;
        findings.require(known.insert((name, &service.port_label)), || {
            format!("service {name:?} is duplicate")
        });
        let named = service.task_name.as_deref().unwrap_or_default();
        findings.require(named == task, || {
            format!("Service {name} is invalid: may only specify task the service belongs to, got {named:?}")
        });
        let mode = service.address_mode.as_str();
        findings.require(!matches!(mode, "alloc" | "alloc_ipv6"), || {
            format!("service {name:?} cannot use address_mode={mode:?}, only services defined in a \"group\" block can use this mode")
        });
        let mut checks = BTreeSet::new();
        for check in &service.checks {
            let mode = check.address_mode.as_str();
            findings.require(checks.insert(&check.name), || {
                format!("check {:?} is duplicate", check.name)
            });
            let named = check.task_name.as_deref().unwrap_or_default();
            findings.require(named == task, || {
                format!(
                    "Check {} is invalid: may only specify task the check belongs to, got {named:?}",
                    check.name
                )
            });
            findings.require(!matches!(mode, "alloc" | "alloc_ipv6"), || {
                format!("check {:?} cannot use address_mode={mode:?}, only checks defined in a \"group\" service block can use this mode", check.name)
            });
            if let (Ok(number), false) = (
                check.port_label.parse::<i64>(),
                check.check_type == "script",
            ) {
                findings.require(mode == "driver", || {
                    format!("check {:?} cannot use a numeric port {number} without setting address_mode=\"driver\"", check.name)
                });
            }
        }
    }
    port_labels(findings, services, ports, false);
}

/// Rules of the services of a group beyond those of each service.
pub(super) fn group_services(
    findings: &mut Findings,
    group: &str,
    services: &[model::ServiceSpec],
    tasks: &[&str],
    ports: &Ports,
) {
    for service in services {
        findings.require(service.address_mode != "driver", || {
            format!(
                "service {:?} cannot use address_mode=\"driver\", only services defined in a \"task\" block can use this mode",
                service.name
            )
        });
        for check in &service.checks {
            if let Some(task) = check.task_name.as_deref() {
                findings.require(tasks.contains(&task), || {
                    format!(
                        "Check {} invalid: refers to non-existent task {task}",
                        check.name
                    )
                });
            }
            findings.require(
                check.check_type != "script" || check.task_name.is_some(),
                || {
                    format!(
                        "Service [{group}]->{} or Check {} must specify task parameter",
                        service.name, check.name
                    )
                },
            );
        }
    }
    port_labels(findings, services, ports, true);
}

/// Every port label of a service or check must exist; numbers name no label.
fn port_labels(
    findings: &mut Findings,
    services: &[model::ServiceSpec],
    ports: &Ports,
    numbers: bool,
) {
    let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for service in services {
        let of_checks = service
            .checks
            .iter()
            .filter(|check| check.check_type != "script")
            .map(|check| (check.port_label.as_str(), check.address_mode.as_str()));
        let own = (service.port_label.as_str(), service.address_mode.as_str());
        for (label, mode) in std::iter::once(own).chain(of_checks) {
            let number = label.parse::<i64>().is_ok();
            if !label.is_empty() && !(number && (numbers || mode == "driver")) {
                wanted.entry(label).or_default().insert(&service.name);
            }
        }
    }
    for (label, names) in wanted {
        // The client resolves these.
        if label.contains("${") || ports.has(label) {
            continue;
        }
        let names: Vec<&str> = names.into_iter().collect();
        findings.error(format!(
            "port label {label:?} referenced by services {} does not exist",
            names.join(", ")
        ));
    }
}

/// Rules across all services of a group and its tasks.
pub(super) fn across(findings: &mut Findings, group: &model::TaskGroup) {
    let of_group = group.services.iter().map(|service| ("group", service));
    let of_tasks = group.tasks.iter().flat_map(|task| {
        task.services
            .iter()
            .map(|service| (task.name.as_str(), service))
    });
    let (mut seen, mut twice, mut providers) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (owner, service) in of_group.chain(of_tasks) {
        let mut id = format!("{owner}->{}", service.name);
        if !service.port_label.is_empty() {
            id.push(':');
            id.push_str(&service.port_label);
        }
        if !seen.insert(id.clone()) {
            twice.insert(id);
        }
        providers.insert(service.provider.as_str());
    }
    findings.require(twice.is_empty(), || {
        let twice: Vec<&str> = twice.iter().map(String::as_str).collect();
        format!("Services are not unique: [{}]", twice.join(" "))
    });
    findings.require(providers.len() <= 1, || {
        "Multiple service providers used: task group services must use the same provider".into()
    });
}
