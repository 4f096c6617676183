//! Keys of published configuration files that nothing here acts on. They are taken with a warning,
//! so that the files load as they are. What protects something is not among them: a file that
//! switches access control on is refused as long as there is none.

/// The keys, with their blocks.
pub(super) const KEYS: [&str; 54] = [
    "disable_update_check",
    "enable_debug",
    "plugin_dir",
    "reporting",
    "ui.consul",
    "ui.content_security_policy",
    "ui.label.background_color",
    "ui.label.text_color",
    "ui.vault",
    "client.artifact.disable_artifact_inspection",
    "client.artifact.disable_filesystem_isolation",
    "client.artifact.filesystem_isolation_extra_paths",
    "client.artifact.gcs_timeout",
    "client.artifact.hg_timeout",
    "client.artifact.set_environment_variables",
    "client.network_speed",
    "client.template.block_query_wait",
    "client.template.block_query_wait_time",
    "client.template.consul_retry",
    "client.template.disable_file_sandbox",
    "client.template.max_stale",
    "client.template.nomad_retry",
    "client.template.vault_retry",
    "server.enabled_schedulers",
    "server.num_schedulers",
    "server.raft_protocol",
    "server.rejoin_after_leave",
    "telemetry.allowed_metadata_keys_in_metrics",
    "telemetry.backwards_compatible_metrics",
    "telemetry.circonus_api_app",
    "telemetry.circonus_api_token",
    "telemetry.circonus_api_url",
    "telemetry.circonus_broker_id",
    "telemetry.circonus_broker_select_tag",
    "telemetry.circonus_check_display_name",
    "telemetry.circonus_check_force_metric_activation",
    "telemetry.circonus_check_id",
    "telemetry.circonus_check_instance_id",
    "telemetry.circonus_check_search_tag",
    "telemetry.circonus_check_tags",
    "telemetry.circonus_submission_interval",
    "telemetry.circonus_submission_url",
    "telemetry.disable_allocation_hook_metrics",
    "telemetry.disable_dispatched_job_summary_metrics",
    "telemetry.disable_quota_utilization_metrics",
    "telemetry.disable_rpc_rate_metrics_labels",
    "telemetry.disable_tagged_metrics",
    "telemetry.filter_default",
    "telemetry.in_memory_collection_interval",
    "telemetry.in_memory_retention_period",
    "telemetry.include_alloc_metadata_in_metrics",
    "telemetry.prefix_filter",
    "telemetry.statsite_address",
    "vault",
];

const NO_SUCH_SOURCE: &str = "artifacts do not come from there";

/// What is said of some of them beside that.
const WHY: [(&str, &str); 12] = [
    (
        "enable_debug",
        "the program has no profiles to be asked for",
    ),
    (
        "client.artifact.disable_filesystem_isolation",
        "files are fetched by the agent, which writes into the directory of the allocation alone",
    ),
    (
        "client.artifact.set_environment_variables",
        "no program but git is started for an artifact",
    ),
    ("client.artifact.gcs_timeout", NO_SUCH_SOURCE),
    ("client.artifact.hg_timeout", NO_SUCH_SOURCE),
    (
        "client.template.disable_file_sandbox",
        "templates read files of their allocation alone",
    ),
    (
        "client.template.max_stale",
        "templates follow the servers and ask nobody at intervals",
    ),
    (
        "client.template.consul_retry",
        "what is missing is waited for",
    ),
    (
        "plugin_dir",
        "all drivers are part of the program, and it starts no others",
    ),
    (
        "server.enabled_schedulers",
        "the leader decides about every kind of job",
    ),
    (
        "server.num_schedulers",
        "the leader decides about evaluations in batches, one after the other",
    ),
    (
        "server.rejoin_after_leave",
        "a server that left joins again when it is started",
    ),
];

/// What is said of a key in the log.
pub(super) fn note(key: &str) -> String {
    let why = WHY.iter().find(|(known, _)| *known == key);
    match why {
        Some((_, why)) => format!("`{key}` is known and not acted on: {why}"),
        None => format!("`{key}` is known and not acted on"),
    }
}
