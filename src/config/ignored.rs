//! Keys of published configuration files that nothing here acts on. They are taken with a warning,
//! so that the files load as they are. What protects something is not among them: a file that
//! switches access control on is refused as long as there is none.

/// The keys, with their blocks.
pub(super) const KEYS: [&str; 46] = [
    "disable_update_check",
    "enable_debug",
    "enable_syslog",
    "log_include_location",
    "plugin_dir",
    "reporting",
    "syslog_facility",
    "ui",
    "client.artifact",
    "client.cni_config_dir",
    "client.cni_path",
    "client.host_network",
    "client.network_interface",
    "client.network_speed",
    "client.template",
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

/// What is said of some of them beside that.
const WHY: [(&str, &str); 4] = [
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
