use super::{DEFAULT_SIGNAL, Findings, shown};
use crate::model::{
    Consul, DEFAULT_AUDIENCE, DEFAULT_IDENTITY, Secret, ServiceSpec, Task, Vault, WorkloadIdentity,
};
use std::collections::BTreeSet;

/// Which of several catalogs or stores of secrets is meant unless one is named.
const DEFAULT_CLUSTER: &str = "default";

/// A token of a task with its defaults.
pub(super) fn identity(mut token: WorkloadIdentity) -> WorkloadIdentity {
    if token.name.is_empty() {
        DEFAULT_IDENTITY.clone_into(&mut token.name);
    }
    if token.name == DEFAULT_IDENTITY {
        token.audience = Some(vec![DEFAULT_AUDIENCE.into()]);
    }
    without_empty_lists(token)
}

/// The token of a service, which is called after it.
pub(super) fn service_identity(token: WorkloadIdentity, service: &ServiceSpec) -> WorkloadIdentity {
    let kind = match service.provider.as_str() {
        "nomad" => "nomad-service",
        _ => "consul-service",
    };
    let task = service.task_name.as_ref();
    let task = task.map_or_else(String::new, |task| format!("{task}-"));
    let (name, port) = (&service.name, &service.port_label);
    without_empty_lists(WorkloadIdentity {
        name: format!("{kind}_{task}{name}-{port}"),
        service_name: name.clone(),
        ..token
    })
}

fn without_empty_lists(mut token: WorkloadIdentity) -> WorkloadIdentity {
    token.audience = token.audience.filter(|list| !list.is_empty());
    token.extra_claims = token.extra_claims.filter(|list| !list.is_empty());
    token.change_signal = token.change_signal.to_uppercase();
    token
}

/// Rules of the tokens of a task.
pub(super) fn identities(findings: &mut Findings, task: &Task) {
    let mut names = BTreeSet::new();
    for token in task
        .identity
        .iter()
        .map(|token| &**token)
        .chain(&task.identities)
    {
        let mut part = Findings::default();
        token_rules(&mut part, token);
        findings.nest(&format!("Identity {:?} is invalid", token.name), part);
        let of_list = task.identities.iter().any(|one| std::ptr::eq(one, token));
        for doubt in doubts(token).filter(|_| of_list) {
            findings.warning(format!("Identity[{}] {doubt}", shown(&token.name)));
        }
        findings.require(names.insert(&token.name), || {
            format!("Multiple identities with name {:?}", token.name)
        });
    }
}

/// What makes a token less safe than it could be.
pub(super) fn doubts(token: &WorkloadIdentity) -> impl Iterator<Item = String> {
    let audiences = token.audience.as_ref().map_or(0, Vec::len);
    let own = !matches!(token.name.as_str(), "" | DEFAULT_IDENTITY);
    let stale = token.env && token.change_mode != "restart";
    let doubts = [
        (audiences == 0).then(|| "identities without an audience are insecure".into()),
        (audiences > 1).then(|| {
            "while multiple audiences is allowed, it is more secure to use 1 audience per identity"
                .into()
        }),
        (own && token.ttl.is_zero()).then(|| "identities without an expiration are insecure".into()),
        stale.then(|| {
            "using env=true without change_mode=\"restart\" may result in task not getting updated identity".into()
        }),
    ];
    doubts.into_iter().flatten()
}

fn token_rules(findings: &mut Findings, token: &WorkloadIdentity) {
    let name = token.name.as_str();
    let valid = (1..=128).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    findings.require(valid, || {
        format!("invalid name {name:?}. Must match regex ^[a-zA-Z0-9-_]{{1,128}}$")
    });
    for (at, audience) in token.audience.iter().flatten().enumerate() {
        findings.require(!audience.is_empty(), || {
            format!("an empty string is an invalid audience ({})", at + 1)
        });
    }
    let signal = token.change_signal.as_str();
    match token.change_mode.as_str() {
        "" | "noop" | "restart" => findings.require(signal.is_empty(), || {
            format!("can only use change_signal={signal:?} with change_mode=\"signal\"")
        }),
        "signal" => findings.require(!signal.is_empty(), || {
            "change_signal must be specified when using change_mode=\"signal\"".into()
        }),
        other => findings.error(format!("invalid change_mode: {other}")),
    }
    findings.require(
        token.ttl.as_nanos() <= 0 || name != DEFAULT_IDENTITY,
        || "ttl for default identity not yet supported".into(),
    );
    findings.require(token.ttl.as_nanos() >= 0, || "ttl must be >= 0".into());
    findings.require(token.filepath.is_empty() || token.file, || {
        "file parameter must be true in order to specify filepath".into()
    });
}

/// A `consul` block with its defaults.
pub(super) fn consul(given: Consul) -> Box<Consul> {
    let cluster = match given.cluster.as_str() {
        "" => DEFAULT_CLUSTER.to_owned(),
        _ => given.cluster,
    };
    Box::new(Consul { cluster, ..given })
}

/// A `vault` block with its defaults.
pub(super) fn vault(findings: &mut Findings, given: Vault) -> Vault {
    let mode = given
        .change_mode
        .filter(|mode| !mode.is_empty())
        .unwrap_or_else(|| "restart".into());
    let signal = given
        .change_signal
        .map_or_else(|| DEFAULT_SIGNAL.into(), |signal| signal.to_uppercase());
    match mode.as_str() {
        "signal" => findings.require(!signal.is_empty(), || {
            "Signal must be specified when using change mode \"signal\"".into()
        }),
        "noop" | "restart" => {}
        other => findings.error(format!("Unknown change mode {other:?}")),
    }
    Vault {
        policies: given.policies.filter(|list| !list.is_empty()),
        namespace: Some(given.namespace.unwrap_or_default()),
        cluster: if given.cluster.is_empty() {
            DEFAULT_CLUSTER.into()
        } else {
            given.cluster
        },
        env: Some(given.env.unwrap_or(true)),
        disable_file: Some(given.disable_file.unwrap_or(false)),
        change_mode: Some(mode),
        change_signal: Some(signal),
        allow_token_expiration: Some(given.allow_token_expiration.unwrap_or(false)),
        role: given.role,
    }
}

/// The secrets of a task.
pub(super) fn secrets(findings: &mut Findings, given: Option<Vec<Secret>>) -> Box<[Secret]> {
    let mut names = BTreeSet::new();
    let given = given.unwrap_or_default();
    for secret in &given {
        let mut part = Findings::default();
        let name = secret.name.as_str();
        let valid = (1..=128).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        part.require(valid, || {
            "secret name must match regex ^[a-zA-Z0-9_]{1,128}$".into()
        });
        part.require(!secret.provider.is_empty(), || {
            "secret provider cannot be empty".into()
        });
        part.require(!secret.path.is_empty(), || {
            "secret path cannot be empty".into()
        });
        let built_in = matches!(secret.provider.as_str(), "nomad" | "vault");
        let (env, config) = (
            secret.env.as_ref().is_some_and(|map| !map.is_empty()),
            secret.config.as_ref().is_some_and(|map| !map.is_empty()),
        );
        part.require(!built_in || !env, || {
            format!("{} provider cannot use the env block", secret.provider)
        });
        part.require(built_in || !config, || {
            format!(
                "custom plugin provider {} cannot use the config block",
                secret.provider
            )
        });
        findings.nest(&format!("Secret {name:?} is invalid"), part);
        findings.require(names.insert(name), || {
            format!("Duplicate secret {name:?} found")
        });
    }
    given
        .into_iter()
        .map(|secret| Secret {
            config: secret.config.filter(|map| !map.is_empty()),
            env: secret.env.filter(|map| !map.is_empty()),
            ..secret
        })
        .collect()
}
