use crate::model::{Connect, Span, WorkloadIdentity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a job asks the catalog to list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Service {
    /// Name in the catalog; may hold `${…}`.
    pub name: String,
    /// Tags.
    pub tags: Option<Vec<String>>,
    /// Tags while the allocation is an unpromoted canary; empty means `tags`.
    pub canary_tags: Option<Vec<String>>,
    /// Let the catalog's users change the tags.
    pub enable_tag_override: bool,
    /// Port label or number; empty for none.
    pub port_label: String,
    /// `auto`, `host`, `driver`, `alloc`.
    pub address_mode: String,
    /// Address to publish instead of the node's.
    pub address: String,
    /// Health checks.
    pub checks: Option<Vec<ServiceCheck>>,
    /// Restart the task after failing checks.
    pub check_restart: Option<CheckRestart>,
    /// How it takes part in the mesh.
    pub connect: Option<Connect>,
    /// Labels.
    pub meta: Option<BTreeMap<String, String>>,
    /// Labels while the allocation is an unpromoted canary; empty means `meta`.
    pub canary_meta: Option<BTreeMap<String, String>>,
    /// Extra addresses by name.
    pub tagged_addresses: Option<BTreeMap<String, String>>,
    /// Owning task of a task-level service, or the task that script checks of a group service run
    /// in.
    pub task_name: String,
    /// How check states count for a deployment: `require_healthy`, `ignore_warnings`, `ignore`.
    pub on_update: String,
    /// Token that it is registered with.
    pub identity: Option<WorkloadIdentity>,
    /// SRV weights.
    pub weights: Option<Weights>,
    /// `consul` (the built-in catalog) or `nomad`.
    pub provider: String,
    /// Which of several catalogs.
    pub cluster: String,
    /// What it is to the mesh.
    pub kind: String,
}

/// SRV weights of an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Weights {
    /// While passing.
    pub passing: i64,
    /// While in warning.
    pub warning: i64,
}

/// One health check of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceCheck {
    /// Name; derived from the service when blank.
    pub name: String,
    /// `http`, `tcp`, `grpc` or `script`.
    #[serde(rename = "Type")]
    pub check_type: String,
    /// Program of a script check.
    pub command: String,
    /// Arguments of a script check.
    pub args: Option<Vec<String>>,
    /// Path of an http check.
    pub path: String,
    /// `http` or `https`.
    pub protocol: String,
    /// Port label; the service's unless given.
    pub port_label: String,
    /// Let it through the proxy of the service.
    pub expose: bool,
    /// As on the service.
    pub address_mode: String,
    /// Address to publish for it.
    pub advertise: String,
    /// Time between runs.
    pub interval: Span,
    /// Time until a run fails.
    pub timeout: Span,
    /// Status before the first result; empty is `critical`.
    pub initial_status: String,
    /// Free text.
    pub notes: String,
    /// Name that the certificate must have.
    #[serde(rename = "TLSServerName")]
    pub tls_server_name: String,
    /// Skip certificate checks.
    #[serde(rename = "TLSSkipVerify")]
    pub tls_skip_verify: bool,
    /// HTTP request headers.
    pub header: Option<BTreeMap<String, Vec<String>>>,
    /// HTTP method; empty is GET.
    pub method: String,
    /// Restart the task after failing; the service's unless given.
    pub check_restart: Option<CheckRestart>,
    /// Service of a grpc check.
    #[serde(rename = "GRPCService")]
    pub grpc_service: String,
    /// Encrypt a grpc check.
    #[serde(rename = "GRPCUseTLS")]
    pub grpc_use_tls: bool,
    /// Task that a script check of a group service runs in.
    pub task_name: String,
    /// Results in a row before it turns passing, beyond the first.
    pub success_before_passing: i64,
    /// Results in a row before it turns critical, beyond the first.
    pub failures_before_critical: i64,
    /// Results in a row before it turns warning, beyond the first.
    pub failures_before_warning: i64,
    /// HTTP request body.
    pub body: String,
    /// As on the service.
    pub on_update: String,
}

/// Restarting a task whose check keeps failing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckRestart {
    /// Failures in a row; 0 switches it off.
    pub limit: i64,
    /// Time after a start during which failures do not count.
    pub grace: Option<Span>,
    /// Count warning as passing.
    pub ignore_warnings: bool,
}
