use super::credentials;
use super::device;
use super::network::Ports;
use super::scaling;
use super::service::{Place, service, task_services};
use super::volume;
use super::{DEFAULT_SIGNAL, Findings, count, placement, policy, shown, text};
use crate::model::{self, FlatMap, JobType, Span};
use crate::wire;
use std::collections::{BTreeMap, BTreeSet};

/// What a task takes from its group.
pub(super) struct Group<'a> {
    pub(super) job: &'a str,
    pub(super) job_type: JobType,
    pub(super) name: &'a str,
    /// What a rule about the count of the group says that it is about.
    pub(super) target: [(&'a str, &'a str); 3],
    pub(super) restart: &'a model::RestartPolicy,
    pub(super) update: Option<&'a model::UpdateStrategy>,
    pub(super) disk_mb: i64,
    pub(super) volumes: &'a FlatMap<String, model::VolumeRequest>,
    pub(super) ports: &'a Ports,
}

/// A task with its defaults; its networks come from the group, which knows all ports.
pub(super) fn task(
    findings: &mut Findings,
    given: wire::Task,
    networks: Vec<model::NetworkResource>,
    group: &Group<'_>,
) -> model::Task {
    let name = given.name;
    let place = Place {
        job: group.job,
        group: group.name,
        task: Some(&name),
    };
    let mut services = Vec::new();
    for (index, given) in given.services.into_iter().flatten().enumerate() {
        services.push(service(findings, given, &place, index));
    }
    task_services(findings, &name, &services, group.ports);
    let task = model::Task {
        driver: given.driver,
        user: given.user,
        config: given
            .config
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key.into(), value))
            .collect(),
        env: given.env.unwrap_or_default(),
        meta: given.meta.unwrap_or_default(),
        leader: given.leader,
        lifecycle: given.lifecycle.map(|given| model::Lifecycle {
            hook: given.hook,
            sidecar: given.sidecar,
        }),
        resources: resources(findings, given.resources, networks),
        restart_policy: Some(policy::restart(
            findings,
            given.restart_policy,
            Some(group.restart),
            group.job_type,
        )),
        constraints: placement::constraints(findings, given.constraints),
        affinities: placement::affinities(findings, given.affinities, group.job_type),
        services,
        artifacts: artifacts(findings, given.artifacts),
        templates: templates(findings, given.templates),
        kill_timeout: given.kill_timeout.unwrap_or(Span::from_secs(5)),
        kill_signal: given.kill_signal,
        shutdown_delay: given.shutdown_delay,
        log_config: logs(findings, given.log_config, group.disk_mb),
        kind: given.kind.into(),
        vault: given
            .vault
            .map(|vault| Box::new(credentials::vault(findings, vault))),
        consul: given.consul.map(credentials::consul),
        secrets: credentials::secrets(findings, given.secrets),
        identity: given
            .identity
            .map(credentials::identity)
            .filter(|token| *token != model::WorkloadIdentity::of_task())
            .map(Box::new),
        identities: given
            .identities
            .into_iter()
            .flatten()
            .map(credentials::identity)
            .collect(),
        actions: actions(findings, given.actions),
        schedule: schedule(findings, given.schedule),
        csi_plugin_config: volume::plugin(findings, given.csi_plugin_config),
        dispatch_payload: dispatch_payload(findings, given.dispatch_payload),
        volume_mounts: volume::mounts(findings, given.volume_mounts, group.volumes),
        scaling_policies: scaling::of_task(given.scaling_policies, &group.target, &name),
        name: name.into(),
    };
    credentials::identities(findings, &task);
    validate(findings, &task, group);
    task
}

fn validate(findings: &mut Findings, task: &model::Task, group: &Group<'_>) {
    let name = task.name.as_str();
    findings.require(!name.is_empty(), || "Missing task name".into());
    findings.require(name != "alloc", || "Task cannot be named \"alloc\"".into());
    findings.require(!name.contains(['/', '\\']), || {
        "Task name cannot include slashes".into()
    });
    findings.require(!name.contains('\0'), || {
        "Task name cannot include null characters".into()
    });
    // A directory of these names is not below the allocation's.
    findings.require(name != "." && name != "..", || {
        format!("Task cannot be named {name:?}")
    });
    findings.require(!task.driver.is_empty(), || "Missing task driver".into());
    if task.kill_timeout < Span::ZERO {
        findings.error("KillTimeout must be a positive value");
    } else if let (JobType::Service, Some(update)) = (group.job_type, group.update) {
        let deadline = update.progress_deadline;
        findings.require(
            deadline <= Span::ZERO || task.kill_timeout <= deadline,
            || {
                format!(
                    "KillTimout ({}) longer than the group's ProgressDeadline ({})",
                    task.kill_timeout, deadline
                )
            },
        );
    }
    findings.require(task.shutdown_delay >= Span::ZERO, || {
        "ShutdownDelay must be a positive value".into()
    });
    for (index, constraint) in task.constraints.iter().enumerate() {
        let operand = constraint.operand.as_str();
        findings.require(
            !matches!(operand, "distinct_hosts" | "distinct_property"),
            || {
                format!(
                    "Constraint {} has disallowed Operand at task level: {operand}",
                    index + 1
                )
            },
        );
    }
    if let Some(lifecycle) = &task.lifecycle {
        match lifecycle.hook.as_str() {
            "prestart" | "poststart" | "poststop" => {}
            "" => findings.error("Lifecycle validation failed: no lifecycle hook provided"),
            other => findings.error(format!(
                "Lifecycle validation failed: invalid hook: {other}"
            )),
        }
    }
}

fn resources(
    findings: &mut Findings,
    given: Option<wire::Resources>,
    networks: Vec<model::NetworkResource>,
) -> model::Resources {
    let given = given.unwrap_or_default();
    if given.iops.is_some_and(|iops| iops > 0) {
        findings.warning(
            "IOPS has been deprecated as of Nomad 0.9.0. Please remove IOPS from resource block.",
        );
    }
    if given.disk_mb.is_some_and(|disk| disk > 0) {
        findings
            .warning("disk has no effect on a task. Please use the group's ephemeral_disk block.");
    }
    if !networks.is_empty() {
        findings.warning("task network resources have been deprecated as of Nomad 0.12.0. Please configure networking via group network block.");
    }
    let cores = given.cores.unwrap_or(0);
    let base = model::Resources::default();
    let resources = model::Resources {
        cpu: given.cpu.unwrap_or(if cores > 0 { 0 } else { base.cpu }),
        cores,
        memory_mb: given.memory_mb.unwrap_or(base.memory_mb),
        memory_max_mb: given.memory_max_mb.unwrap_or(0),
        disk_mb: 0,
        networks,
        devices: device::requested(findings, given.devices),
        numa: device::numa(findings, given.numa),
        secrets_mb: given.secrets_mb.unwrap_or(0),
    };
    let (cpu, memory, most) = (resources.cpu, resources.memory_mb, resources.memory_max_mb);
    findings.require(cores <= 0 || cpu <= 0, || {
        "Task can only ask for 'cpu' or 'cores' resource, not both.".into()
    });
    findings.require(cores >= 0, || {
        format!("cores value ({cores}) cannot be negative")
    });
    findings.require(cpu >= 1 || cores > 0, || {
        format!("minimum CPU value is 1; got {cpu}")
    });
    findings.require(memory >= 10, || {
        format!("minimum MemoryMB value is 10; got {memory}")
    });
    findings.require(matches!(most, 0 | -1) || most >= memory, || {
        format!("MemoryMaxMB value ({most}) should be larger than MemoryMB value ({memory})")
    });
    let secrets = resources.secrets_mb;
    findings.require(secrets >= 0, || {
        format!("SecretsMB value ({secrets}) cannot be negative")
    });
    findings.require(secrets <= memory, || {
        format!("SecretsMB value ({secrets}) cannot be larger than MemoryMB value ({memory})")
    });
    for (key, value) in [
        ("CPU", cpu),
        ("Cores", cores),
        ("MemoryMB", memory),
        ("MemoryMaxMB", most),
    ] {
        findings.require(value <= super::RESOURCE_MAX, || {
            format!("{key} value ({value}) is too large")
        });
    }
    resources
}

fn logs(findings: &mut Findings, given: Option<wire::LogConfig>, disk_mb: i64) -> model::LogConfig {
    let given = given.unwrap_or_default();
    let base = model::LogConfig::default();
    let files = given.max_files.unwrap_or_else(|| base.max_files.into());
    let size = given
        .max_file_size_mb
        .unwrap_or_else(|| base.max_file_size_mb.into());
    findings.require(files >= 1, || {
        format!("minimum number of files is 1; got {files}")
    });
    findings.require(size >= 1, || {
        format!("minimum file size is 1MB; got {size}")
    });
    let usage = files.saturating_mul(size);
    findings.require(disk_mb > usage, || {
        format!("log storage ({usage} MB) must be less than requested disk capacity ({disk_mb} MB)")
    });
    model::LogConfig {
        max_files: count(findings, "max_files", Some(files), 0),
        max_file_size_mb: count(findings, "max_file_size", Some(size), 0),
        disabled: given.disabled.unwrap_or(false),
    }
}

fn artifacts(findings: &mut Findings, given: Option<Vec<wire::Artifact>>) -> Vec<model::Artifact> {
    let mut all = Vec::new();
    for (index, given) in given.into_iter().flatten().enumerate() {
        let mut part = Findings::default();
        let source = text(given.getter_source);
        part.require(!source.is_empty(), || "source must be specified".into());
        let mode = given
            .getter_mode
            .filter(|mode| !mode.is_empty())
            .unwrap_or_else(|| "any".into());
        part.require(["any", "file", "dir"].contains(&mode.as_str()), || {
            format!("invalid artifact mode {mode:?}; must be one of: any, file, dir")
        });
        let destination = given
            .relative_dest
            .filter(|dest| !dest.is_empty())
            .unwrap_or_else(|| {
                let base = source.rsplit('/').next().unwrap_or_default();
                if mode == "file" {
                    format!("local/{base}")
                } else {
                    "local/".into()
                }
            });
        part.require(!escapes(&destination), || {
            "destination escapes allocation directory".into()
        });
        let options = given.getter_options.unwrap_or_default();
        if let Some(checksum) = options.get("checksum") {
            check_checksum(&mut part, checksum);
        }
        findings.nest(&format!("Artifact {} validation failed", index + 1), part);
        all.push(model::Artifact {
            getter_source: source,
            getter_options: options,
            getter_headers: given.getter_headers.unwrap_or_default(),
            getter_mode: mode,
            getter_insecure: given.getter_insecure.unwrap_or(false),
            relative_dest: destination,
            chown: given.chown,
        });
    }
    all
}

fn check_checksum(findings: &mut Findings, checksum: &str) {
    if checksum.trim().is_empty() {
        findings.error("checksum value cannot be empty");
        return;
    }
    // What only the node knows cannot be checked here.
    if checksum.contains("${") {
        return;
    }
    let Some((kind, digits)) = checksum.split_once(':') else {
        findings.error(format!(
            "checksum must be given as \"type:value\"; got {checksum:?}"
        ));
        return;
    };
    let length = match kind {
        "md5" => 32,
        "sha1" => 40,
        "sha256" => 64,
        "sha512" => 128,
        other => {
            findings.error(format!("unsupported checksum type: {other}"));
            return;
        }
    };
    let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    findings.require(hex && digits.len() == length, || {
        format!("invalid {kind} checksum: {digits}")
    });
}

/// True when a path relative to the task's directory leaves the allocation's directory.
fn escapes(path: &str) -> bool {
    // The task's directory is one below the allocation's.
    let mut depth: i64 = 1;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

fn templates(findings: &mut Findings, given: Option<Vec<wire::Template>>) -> Vec<model::Template> {
    let mut all = Vec::new();
    let mut destinations: BTreeMap<String, usize> = BTreeMap::new();
    for (index, given) in given.into_iter().flatten().enumerate() {
        let mut part = Findings::default();
        if given.vault_grace.is_some_and(|grace| !grace.is_zero()) {
            findings.warning(format!(
                "Template[{index}] VaultGrace has been deprecated as of Nomad 0.11 and ignored since Vault 0.5. Please remove VaultGrace / vault_grace from template block."
            ));
        }
        let or = |given: Option<String>, default: &str| {
            given
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| default.to_owned())
        };
        let change_mode = or(given.change_mode, "restart");
        let template = model::Template {
            source_path: text(given.source_path),
            dest_path: text(given.dest_path),
            embedded_tmpl: text(given.embedded_tmpl),
            change_signal: match given.change_signal {
                None if change_mode == "signal" => DEFAULT_SIGNAL.into(),
                signal => text(signal).to_uppercase(),
            },
            change_mode,
            perms: or(given.perms, "0644"),
            envvars: given.envvars.unwrap_or(false),
            splay: given.splay.unwrap_or(Span::from_secs(5)),
            left_delim: or(given.left_delim, "{{"),
            right_delim: or(given.right_delim, "}}"),
            once: given.once.unwrap_or(false),
            err_missing_key: given.err_missing_key.unwrap_or(false),
            uid: given.uid,
            gid: given.gid,
            change_script: given.change_script.map(|script| {
                Box::new(model::ChangeScript {
                    command: Some(script.command.unwrap_or_default()),
                    args: script.args.filter(|args| !args.is_empty()),
                    timeout: Some(script.timeout.unwrap_or(Span::from_secs(5))),
                    fail_on_error: Some(script.fail_on_error.unwrap_or(false)),
                    run_on_first_render: Some(script.run_on_first_render.unwrap_or(false)),
                })
            }),
            wait: given.wait.map(Box::new),
        };
        check_template(&mut part, &template);
        let number = index + 1;
        findings.nest(&format!("Template {number} validation failed"), part);
        let first = *destinations
            .entry(template.dest_path.clone())
            .or_insert(number);
        findings.require(first == number, || {
            format!("Template {number} has same destination as {first}")
        });
        all.push(template);
    }
    all
}

fn check_template(findings: &mut Findings, template: &model::Template) {
    findings.require(
        !template.source_path.is_empty() || !template.embedded_tmpl.is_empty(),
        || "Must specify a source path or have an embedded template".into(),
    );
    findings.require(!template.dest_path.is_empty(), || {
        "Must specify a destination for the template".into()
    });
    findings.require(!escapes(&template.dest_path), || {
        "destination escapes allocation directory".into()
    });
    match template.change_mode.as_str() {
        "noop" | "restart" => {}
        "signal" => {
            findings.require(!template.change_signal.is_empty(), || {
                "Must specify signal value when change mode is signal".into()
            });
            findings.require(!template.envvars, || {
                "cannot use signals with env var templates".into()
            });
        }
        "script" => {
            let command = template
                .change_script
                .as_ref()
                .and_then(|script| script.command.as_deref());
            findings.require(template.change_script.is_some(), || {
                "must specify change script configuration value when change mode is script".into()
            });
            findings.require(
                template.change_script.is_none() || command.is_some_and(|text| !text.is_empty()),
                || "must specify script path value when change mode is script".into(),
            );
        }
        _ => findings.error(
            "Invalid change mode. Must be one of the following: noop, signal, script, restart",
        ),
    }
    if let Some((min, max)) = template
        .wait
        .as_ref()
        .and_then(|wait| wait.min.zip(wait.max))
    {
        findings.require(min <= max, || {
            format!("wait min {min} is greater than max {max}")
        });
    }
    findings.require(template.splay >= Span::ZERO, || {
        "Must specify positive splay value".into()
    });
    let octal = u32::from_str_radix(&template.perms, 8).is_ok_and(|bits| bits < 1 << 12);
    findings.require(octal, || {
        format!("Failed to parse {:?} as octal", template.perms)
    });
}

fn actions(findings: &mut Findings, given: Option<Vec<model::Action>>) -> Box<[model::Action]> {
    let mut names = BTreeSet::new();
    let given = given.unwrap_or_default();
    for action in &given {
        let name = action.name.as_str();
        let valid =
            (1..=128).contains(&name.chars().count()) && !name.contains(char::is_whitespace);
        let mut part = Findings::default();
        part.require(valid, || format!("invalid name '{name}'"));
        part.require(!action.command.is_empty(), || {
            "command cannot be empty".into()
        });
        findings.nest(&format!("Action {} validation failed", shown(name)), part);
        findings.require(names.insert(name), || {
            format!("Action {} defined multiple times", shown(name))
        });
    }
    given
        .into_iter()
        .map(|action| model::Action {
            args: action.args.filter(|args| !args.is_empty()),
            ..action
        })
        .collect()
}

fn schedule(
    findings: &mut Findings,
    given: Option<model::Schedule>,
) -> Option<Box<model::Schedule>> {
    let given = given?;
    match &given.cron {
        None => findings.error("Schedule invalid: must specify cron block"),
        Some(cron) => {
            for (name, text, fields) in [("start", &cron.start, 6), ("end", &cron.end, 2)] {
                findings.require(text.split(' ').count() == fields, || {
                    format!("Schedule invalid: cron.{name} must contain {fields} fields")
                });
                findings.require(!text.contains(['/', ',']), || {
                    format!("Schedule invalid: cron.{name} must not contain \"/,\"")
                });
            }
        }
    }
    Some(Box::new(given))
}

fn dispatch_payload(
    findings: &mut Findings,
    given: Option<model::DispatchPayload>,
) -> Option<Box<model::DispatchPayload>> {
    let given = given?;
    // The file lies below the task's `local` folder.
    findings.require(!escapes(&format!("local/{}", given.file)), || {
        "Dispatch Payload validation failed: destination escapes allocation directory".into()
    });
    Some(Box::new(given))
}
