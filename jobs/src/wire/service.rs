use crate::model::Span;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a job asks the catalog to list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Service {
    /// Name in the catalog; may hold `${…}`.
    pub name: Option<String>,
    /// `consul` (the built-in catalog) or `nomad`.
    pub provider: Option<String>,
    /// Port label or number; empty for none.
    pub port_label: Option<String>,
    /// Address to publish instead of the node's.
    pub address: Option<String>,
    /// `auto`, `host`, `driver`, `alloc`.
    pub address_mode: Option<String>,
    /// Owning task of a task-level service, or the task that script checks of a group service run in.
    pub task_name: Option<String>,
    /// Tags.
    pub tags: Option<Vec<String>>,
    /// Tags while the allocation is an unpromoted canary; empty means `tags`.
    pub canary_tags: Option<Vec<String>>,
    /// Labels.
    pub meta: Option<BTreeMap<String, String>>,
    /// Labels while the allocation is an unpromoted canary; empty means `meta`.
    pub canary_meta: Option<BTreeMap<String, String>>,
    /// Extra addresses by name.
    pub tagged_addresses: Option<BTreeMap<String, String>>,
    /// Let the catalog's users change the tags.
    pub enable_tag_override: Option<bool>,
    /// How check states count for a deployment: `require_healthy`, `ignore_warnings`, `ignore`.
    pub on_update: Option<String>,
    /// SRV weights.
    pub weights: Option<Weights>,
    /// Health checks.
    pub checks: Option<Vec<ServiceCheck>>,
    /// Restart the task after failing checks.
    pub check_restart: Option<CheckRestart>,
    /// Keys that are not modelled; validation refuses those that ask for something.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// SRV weights of an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Weights {
    /// While passing.
    pub passing: Option<i64>,
    /// While in warning.
    pub warning: Option<i64>,
}

/// One health check of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceCheck {
    /// Name; derived from the service when blank.
    pub name: Option<String>,
    /// `http`, `tcp` or `script`; `grpc` is refused by this version.
    #[serde(rename = "Type")]
    pub check_type: Option<String>,
    /// Program of a script check.
    pub command: Option<String>,
    /// Arguments of a script check.
    pub args: Option<Vec<String>>,
    /// Path of an http check.
    pub path: Option<String>,
    /// `http` or `https`.
    pub protocol: Option<String>,
    /// Port label; the service's unless given.
    pub port_label: Option<String>,
    /// As on the service.
    pub address_mode: Option<String>,
    /// Nanoseconds between runs.
    pub interval: Option<Span>,
    /// Nanoseconds until a run fails.
    pub timeout: Option<Span>,
    /// Status before the first result; empty is `critical`.
    pub initial_status: Option<String>,
    /// Skip certificate checks.
    #[serde(rename = "TLSSkipVerify")]
    pub tls_skip_verify: Option<bool>,
    /// HTTP method; empty is GET.
    pub method: Option<String>,
    /// HTTP request headers.
    pub header: Option<BTreeMap<String, Vec<String>>>,
    /// HTTP request body.
    pub body: Option<String>,
    /// Free text.
    pub notes: Option<String>,
    /// Task that a script check of a group service runs in.
    pub task_name: Option<String>,
    /// Results in a row before it turns passing, beyond the first.
    pub success_before_passing: Option<i64>,
    /// Results in a row before it turns critical, beyond the first.
    pub failures_before_critical: Option<i64>,
    /// Results in a row before it turns warning, beyond the first.
    pub failures_before_warning: Option<i64>,
    /// As on the service.
    pub on_update: Option<String>,
    /// Restart the task after failing; the service's unless given.
    pub check_restart: Option<CheckRestart>,
    /// Keys that are not modelled; validation refuses those that ask for something.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Restarting a task whose check keeps failing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckRestart {
    /// Failures in a row; 0 switches it off.
    pub limit: Option<i64>,
    /// Time after a start during which failures do not count.
    pub grace: Option<Span>,
    /// Count warning as passing.
    pub ignore_warnings: Option<bool>,
}
