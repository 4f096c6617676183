use super::{Connect, Span, TaskName, WorkloadIdentity, is_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a job asks the catalog to list.
///
/// Source: jobs API, `Services`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceSpec {
    /// Name in the catalog; may hold `${…}`.
    pub name: String,
    /// `consul` (the built-in catalog) or `nomad`.
    pub provider: String,
    /// Port label or number; empty for none.
    pub port_label: String,
    /// Address to publish instead of the node's.
    pub address: String,
    /// `auto`, `host`, `driver`, `alloc`.
    pub address_mode: String,
    /// Owning task of a task-level service, or the task that script checks of a group service run
    /// in.
    #[serde(with = "super::name::or_none")]
    pub task_name: Option<TaskName>,
    /// Tags.
    pub tags: Vec<String>,
    /// Tags while the allocation is an unpromoted canary; empty means `tags`.
    pub canary_tags: Vec<String>,
    /// Labels.
    pub meta: BTreeMap<String, String>,
    /// Labels while the allocation is an unpromoted canary; empty means `meta`.
    pub canary_meta: BTreeMap<String, String>,
    /// Extra addresses by name.
    pub tagged_addresses: BTreeMap<String, String>,
    /// Let the catalog's users change the tags.
    pub enable_tag_override: bool,
    /// How check states count for a deployment: `require_healthy`, `ignore_warnings`, `ignore`.
    pub on_update: String,
    /// SRV weights.
    pub weights: Option<Weights>,
    /// Health checks.
    pub checks: Vec<ServiceCheck>,
    /// Restart the task after failing checks.
    pub check_restart: Option<CheckRestart>,
    /// How it takes part in the mesh.
    #[serde(skip_serializing_if = "is_default")]
    pub connect: Option<Box<Connect>>,
    /// Token that it is registered with.
    #[serde(skip_serializing_if = "is_default")]
    pub identity: Option<Box<WorkloadIdentity>>,
    /// Which of several catalogs; empty for the default one.
    #[serde(skip_serializing_if = "is_default")]
    pub cluster: Box<str>,
    /// What it is to the mesh; empty for an ordinary service.
    #[serde(skip_serializing_if = "is_default")]
    pub kind: Box<str>,
}

/// SRV weights of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Weights {
    /// While passing.
    pub passing: i32,
    /// While in warning.
    pub warning: i32,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            passing: 1,
            warning: 1,
        }
    }
}

/// One health check of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceCheck {
    /// Name; derived from the service when blank.
    pub name: String,
    /// `http`, `tcp` or `script`; `grpc` is refused by this version.
    #[serde(rename = "Type")]
    pub check_type: String,
    /// Program of a script check.
    pub command: String,
    /// Arguments of a script check.
    pub args: Vec<String>,
    /// Path of an http check.
    pub path: String,
    /// `http` or `https`.
    pub protocol: String,
    /// Port label; the service's unless given.
    pub port_label: String,
    /// As on the service.
    pub address_mode: String,
    /// Nanoseconds between runs.
    pub interval: Span,
    /// Nanoseconds until a run fails.
    pub timeout: Span,
    /// Status before the first result; empty is `critical`.
    pub initial_status: String,
    /// Skip certificate checks.
    #[serde(rename = "TLSSkipVerify")]
    pub tls_skip_verify: bool,
    /// HTTP method; empty is GET.
    pub method: String,
    /// HTTP request headers.
    pub header: BTreeMap<String, Vec<String>>,
    /// HTTP request body.
    pub body: String,
    /// Free text.
    pub notes: String,
    /// Task that a script check of a group service runs in.
    #[serde(with = "super::name::or_none")]
    pub task_name: Option<TaskName>,
    /// Results in a row before it turns passing, beyond the first.
    pub success_before_passing: u32,
    /// Results in a row before it turns critical, beyond the first.
    pub failures_before_critical: u32,
    /// Results in a row before it turns warning, beyond the first.
    pub failures_before_warning: u32,
    /// As on the service.
    pub on_update: String,
    /// Restart the task after failing; the service's unless given.
    pub check_restart: Option<CheckRestart>,
    /// Let it through the proxy of the service.
    #[serde(skip_serializing_if = "is_default")]
    pub expose: bool,
    /// Service of a grpc check.
    #[serde(rename = "GRPCService", skip_serializing_if = "is_default")]
    pub grpc_service: Box<str>,
    /// Encrypt a grpc check.
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "is_default")]
    pub grpc_use_tls: bool,
    /// Name that the certificate must have.
    #[serde(rename = "TLSServerName", skip_serializing_if = "is_default")]
    pub tls_server_name: Box<str>,
    /// Address to publish for it.
    #[serde(skip_serializing_if = "is_default")]
    pub advertise: Box<str>,
}

/// Restarting a task whose check keeps failing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckRestart {
    /// Failures in a row; 0 switches it off.
    pub limit: u32,
    /// Time after a start during which failures do not count.
    pub grace: Span,
    /// Count warning as passing.
    pub ignore_warnings: bool,
}
